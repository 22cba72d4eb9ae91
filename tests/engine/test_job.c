/* What the check of a job refuses; the facts of a job; devices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "close.h"
#include "data/picture.h"
#include "data_folder.h"
#include "engine/job.h"
#include "idx_folder.h"

/* --- the check -------------------------------------------------------------------------------- */

struct list {
    int n;
    char pointer[8][64], message[8][512];
};

static void collect(void *to, const char *pointer, const char *message)
{
    struct list *list = to;

    assert_true(list->n < 8);
    snprintf(list->pointer[list->n], 64, "%s", pointer);
    snprintf(list->message[list->n++], 512, "%s", message);
}

static void check(const struct engine_job *job, struct list *list)
{
    struct problems problems = {.tell = collect, .to = list};

    *list = (struct list){0};
    engine_job_check(job, &problems);
    engine_job_check_silent(job, false, &problems);
    assert_int_equal(problems.n, list->n);
}

static void assert_sound(const struct engine_job *job)
{
    struct list list;

    check(job, &list);
    if (list.n)
        fail_msg("%s: %s", list.pointer[0], list.message[0]);
}

/* The only problem is `pointer`'s, and its message says `says`. */
static void assert_problem(const struct engine_job *job, const char *pointer, const char *says)
{
    struct list list;

    check(job, &list);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.pointer[0], pointer);
    if (!strstr(list.message[0], says))
        fail_msg("\"%s\" does not say \"%s\"", list.message[0], says);
}

static struct engine_job default_job(int method)
{
    struct engine_job job;

    engine_job_defaults(&job, MODEL_RESNET18, DATASET_DIGITS, method);
    return job;
}

static void defaults_are_sound(void **state)
{
    (void)state;
    for (int method = METHOD_SGD; method < METHOD_KINDS; method++) {
        struct engine_job job = default_job(method);

        assert_sound(&job);
    }
}

static void a_mix_of_one_only_is_sound(void **state)
{
    struct engine_job job = default_job(METHOD_M_RWP);

    (void)state;
    job.method.lambda = 0;
    assert_sound(&job);
    job.method.lambda = 1;
    assert_sound(&job);
}

static void models_too_deep_for_the_images_are_refused(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);

    (void)state;
    job.model.blocks = (struct spec_int_list){5, {1, 1, 1, 1, 1}};
    assert_problem(&job, "/model/blocks", "8×8");
    job.model.blocks.n = 0;
    assert_problem(&job, "/model/blocks", "at least one");
}

static void models_tell_what_they_need(void **state)
{
    struct engine_job job;

    (void)state;
    engine_job_defaults(&job, MODEL_VGG16_BN, DATASET_DIGITS, METHOD_SGD);
    assert_problem(&job, "/model/kind", "32×32");
    engine_job_defaults(&job, MODEL_WRN, DATASET_DIGITS, METHOD_SGD);
    job.model.widen = 2;
    assert_sound(&job);
    job.model.depth = 17;
    assert_problem(&job, "/model/depth", "6·n + 4");
    engine_job_defaults(&job, MODEL_PRERESNET164, DATASET_DIGITS, METHOD_SGD);
    job.model.width = 4;
    assert_sound(&job);
}

/* resnet18 makes 1×1 of 8×8: a last batch of one sample is a single value for batch norm. */
static void a_single_value_cannot_be_normalised(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);

    (void)state;
    job.dataset.train_limit = 257;
    assert_problem(&job, "/batch_size", "single value");
    job.dataset.train_limit = 258;
    assert_sound(&job);
    job.batch_size = 1;
    assert_problem(&job, "/batch_size", "single value");
    job.model.blocks.n = 3; /* 2×2 */
    assert_sound(&job);
}

static void a_run_has_one_length(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);
    struct engine_job_facts facts;
    struct err err;

    (void)state;
    job.updates = 25;
    assert_problem(&job, "/updates", "one of the two");
    job.epochs = 0;
    assert_sound(&job);
    assert_int_equal(engine_job_facts(&job, &facts, &err), 0);
    assert_int_equal(facts.updates, 25);
    assert_int_equal(facts.updates_per_epoch, 11);
    job.updates = 0;
    assert_problem(&job, "/epochs", "epochs or updates");
}

static void a_warm_up_leaves_something(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);

    (void)state;
    job.epochs = 2; /* of 11 updates */
    job.schedule.warmup_updates = 21;
    assert_sound(&job);
    job.schedule.warmup_updates = 22;
    assert_problem(&job, "/schedule/warmup_updates", "22 updates");
    job.schedule.warmup_updates = 0;
    job.schedule.warmup_epochs = 1;
    assert_sound(&job);
    job.schedule.warmup_epochs = 2;
    assert_problem(&job, "/schedule/warmup_epochs", "22 updates");
    job.schedule = (struct job_schedule){.warmup_updates = 1, .warmup_epochs = 1};
    assert_problem(&job, "/schedule/warmup_epochs", "not both");
}

static void parts_need_samples(void **state)
{
    struct engine_job job = default_job(METHOD_RWP);

    (void)state;
    job.method.samples = 8;
    job.dataset.train_limit = 256 + 7;
    assert_problem(&job, "/method/samples", "has 7 samples for 8 parts");
    job.dataset.train_limit = 256 + 15;
    assert_problem(&job, "/batch_size", "one sample a part");
    job.dataset.train_limit = 256 + 16;
    assert_sound(&job);
}

static void nesterov_needs_momentum(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);

    (void)state;
    job.optimizer.nesterov = true;
    assert_sound(&job);
    job.optimizer.momentum = 0;
    assert_problem(&job, "/optimizer/nesterov", "momentum above 0");
}

static void more_samples_than_there_are_are_refused(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);

    (void)state;
    job.dataset.train_limit = 1298;
    assert_problem(&job, "/dataset/train_limit", "1297");
    job.dataset.train_limit = 100;
    assert_problem(&job, "/batch_size", "only 100");
}

static void precisions_belong_to_devices(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);
    struct engine_job_facts facts;
    struct err err;

    (void)state;
    job.device = DEVICE_CPU;
    job.precision = PRECISION_FP64;
    assert_problem(&job, "/precision", "fp32 only");
    assert_int_equal(engine_job_facts(&job, &facts, &err), ERR_INVALID);
    job.device = DEVICE_REFERENCE;
    job.precision = PRECISION_FP32;
    assert_problem(&job, "/precision", "fp64 only");
    job.device = DEVICE_AUTO;
    assert_int_equal(engine_job_facts(&job, &facts, &err), 0);
    assert_string_equal(facts.device, "cpu");
    job.precision = PRECISION_FP64;
    assert_int_equal(engine_job_facts(&job, &facts, &err), 0);
    assert_string_equal(facts.device, "reference");
    assert_string_equal(facts.precision, "fp64");
}

static void endless_and_giant_jobs_are_refused(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);

    (void)state;
    job.model.blocks.n = 3;
    job.batch_size = 1;
    job.epochs = 100000;
    assert_sound(&job); /* 129,700,000 */
    job.epochs = 1000000;
    assert_problem(&job, "/epochs", "1000000 epochs");
    job = default_job(METHOD_SGD);
    job.model.width = 1024;
    job.model.blocks = (struct spec_int_list){4, {64, 64, 64, 64}};
    assert_problem(&job, "/model", "GiB");
}

static void datasets_must_be_readable(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);

    (void)state;
    idx_folder_make(&job.dataset);
    job.model.blocks.n = 2;
    job.batch_size = 8;
    assert_sound(&job);
    idx_folder_resize(&job.dataset, "t10k-labels-idx1-ubyte", 10);
    assert_problem(&job, "/dataset/path", "t10k-labels-idx1-ubyte");
    idx_folder_remove(&job.dataset);
    assert_problem(&job, "/dataset/path", "No such file");
    strcpy(job.dataset.path, "relative");
    assert_problem(&job, "/dataset/path", "absolute");
}

/* Files of 64 GiB with a hole in place of the pixels: nobody reads them before a job is run. */
static void a_dataset_has_to_fit_into_memory(void **state)
{
    enum { SIDE = 4096, N = 4096, BYTES = 16 };
    static const uint8_t head[] = {0,         0,          N >> 8, N & 255, 0,         0,
                                   SIDE >> 8, SIDE & 255, 0,      0,       SIDE >> 8, SIDE & 255};
    static const char *const splits[] = {"train", "t10k"};
    const struct engine_device *devices;
    struct engine_job job;
    char name[64];
    int n;

    (void)state;
    devices = engine_devices(&n);
    if (devices[n - 1].memory_bytes >= INT64_C(2) * N * SIDE * SIDE)
        skip();
    engine_job_defaults(&job, MODEL_RESNET, DATASET_IDX, METHOD_SGD);
    job.model.blocks = (struct spec_int_list){1, {1}};
    job.model.width = 1;
    job.model.stem = STEM_IMAGENET;
    job.batch_size = 2;
    idx_folder_make(&job.dataset);
    for (size_t s = 0; s < ARRAY_LENGTH(splits); s++) {
        snprintf(name, sizeof name, "%s-images-idx3-ubyte", splits[s]);
        idx_folder_resize(&job.dataset, name, (size_t)N * SIDE * SIDE + BYTES);
        idx_folder_patch(&job.dataset, name, 4, head, sizeof head);
        snprintf(name, sizeof name, "%s-labels-idx1-ubyte", splits[s]);
        idx_folder_resize(&job.dataset, name, N + 8);
        idx_folder_patch(&job.dataset, name, 4, head, 4);
    }
    assert_problem(&job, "/dataset/path", "128.0 GiB");
    idx_folder_remove(&job.dataset);
}

static void augmentation_must_fit_the_images(void **state)
{
    struct engine_job job;

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_CIFAR100, METHOD_SGD);
    cifar_folder_make(&job.dataset, 100, 200);
    job.dataset.augment.cutout = 0;
    job.dataset.augment.crop_padding = 31;
    assert_sound(&job);
    job.dataset.augment.crop_padding = 32;
    assert_problem(&job, "/dataset/augment/crop_padding", "side of 32");
    data_folder_remove(job.dataset.path);
    assert_problem(&job, "/dataset/path", "No such file");
}

static void folders_of_images_are_checked(void **state)
{
    struct engine_job job;

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_IMAGE_FOLDER, METHOD_SGD);
    strcpy(job.dataset.path, "images");
    assert_problem(&job, "/dataset/path", "absolute");
    photo_folder_make(&job.dataset);
    job.batch_size = 5;
    if (!picture_codecs[0]) {
        assert_problem(&job, "/dataset/kind", "libjpeg-turbo");
    } else {
        assert_sound(&job);
        job.dataset.resize = PHOTOS_SIZE - 1;
        assert_problem(&job, "/dataset/resize", "at least size, 16");
    }
    data_folder_remove(job.dataset.path);
}

/* Refused of new jobs: those that are stored have run with it. */
static void augmentation_that_says_nothing_is_refused(void **state)
{
    struct engine_job job;
    struct job_augment *augment = &job.dataset.augment;
    struct problems problems = {0};

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_IMAGE_FOLDER, METHOD_SGD);
    engine_job_check_silent(&job, false, &problems);
    augment->crop = CROP_CENTER; /* the rest as it is shown of any such job */
    engine_job_check_silent(&job, false, &problems);
    assert_int_equal(problems.n, 0);
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_CIFAR100, METHOD_SGD);
    cifar_folder_make(&job.dataset, 100, 200);
    augment->cutout = 16;
    augment->cutout_probability = 1;
    assert_sound(&job);
    augment->cutout = 0;
    assert_problem(&job, "/dataset/augment/cutout_probability", "cutout");
    augment->cutout_probability = 0.5;
    augment->randaugment_magnitude = 5;
    assert_problem(&job, "/dataset/augment/randaugment_magnitude", "randaugment");
    augment->randaugment = 1;
    assert_sound(&job);
    data_folder_remove(job.dataset.path);
}

static void a_crop_takes_its_own_settings_only(void **state)
{
    struct engine_job job;
    struct list list = {0};
    struct problems problems = {.tell = collect, .to = &list};

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_IMAGE_FOLDER, METHOD_SGD);
    job.dataset.augment.crop_area_min = 0.5;
    engine_job_check_silent(&job, false, &problems);
    assert_int_equal(problems.n, 0);
    job.dataset.augment.crop = CROP_RANDOM;
    engine_job_check_silent(&job, false, &problems);
    assert_int_equal(problems.n, 1);
    assert_string_equal(list.pointer[0], "/dataset/augment/crop_area_min");
}

/* What the methods' reference code does to CIFAR, and torchvision's scripts to ImageNet. */
static void augmentation_by_default(void **state)
{
    struct engine_job job;
    const struct job_augment *augment = &job.dataset.augment;

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_CIFAR10, METHOD_SGD);
    assert_true(augment->flip);
    assert_int_equal(augment->crop_padding, 4);
    assert_int_equal(augment->cutout, 16);
    assert_close(augment->cutout_probability, 0.5, 0);
    assert_int_equal(augment->randaugment, 0);
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_IMAGE_FOLDER, METHOD_SGD);
    assert_int_equal(job.dataset.size, 224);
    assert_int_equal(job.dataset.resize, 256);
    assert_int_equal(augment->crop, CROP_RANDOM_RESIZED);
    assert_close(augment->crop_area_min, 0.08, 0);
    assert_true(augment->flip);
    assert_int_equal(augment->crop_padding, 0);
    assert_int_equal(augment->cutout, 0);
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_IDX, METHOD_SGD);
    assert_false(augment->flip);
    assert_int_equal(augment->crop_padding + augment->cutout, 0);
}

static void all_problems_are_told_at_once(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);
    struct list list;

    (void)state;
    job.dataset.train_limit = 1300;
    job.batch_size = 2000;
    job.device = DEVICE_CPU;
    job.precision = PRECISION_FP64;
    job.model.blocks = (struct spec_int_list){6, {1, 1, 1, 1, 1, 1}};
    check(&job, &list);
    assert_int_equal(list.n, 4);
}

/* --- facts, devices --------------------------------------------------------------------------- */

static void facts_of_the_demonstration(void **state)
{
    struct engine_job job;
    struct engine_job_facts facts;
    struct err err;

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET, DATASET_DIGITS, METHOD_M_RWP);
    job.model.width = 8;
    job.model.blocks = (struct spec_int_list){3, {1, 1, 1}};
    job.dataset.train_limit = 300;
    job.batch_size = 31;
    job.epochs = 60;
    assert_int_equal(engine_job_facts(&job, &facts, &err), 0);
    assert_int_equal(facts.parameters, 19810);
    assert_int_equal(facts.train_samples, 300);
    assert_int_equal(facts.test_samples, 500);
    assert_int_equal(facts.classes, 10);
    assert_int_equal(facts.updates_per_epoch, 10); /* nine of 31, one of 21 */
    assert_int_equal(facts.updates, 600);
    assert_int_equal(facts.gradients_per_update, 2);
}

/* A probe whose members are all sound: every default is. */
static struct engine_probe default_probe(int kind)
{
    struct engine_probe probe = {.kind = kind, .every_epochs = 10, .draws = 1, .rho = 0.1};

    return probe;
}

static void probes_are_due_at_the_end_of_their_epochs(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);
    uint64_t due[8];
    int n = 0;

    (void)state;
    job.probes.n = 1;
    job.probes.item[0] = default_probe(PROBE_SHARPNESS);
    job.probes.item[0].every_epochs = 2;
    /* Seven updates an epoch, and a last epoch that is a part of one. */
    for (uint64_t update = 0; update <= 45; update++)
        if (engine_job_probe_due(&job, 0, 7, 45, update))
            due[n++] = update;
    assert_int_equal(n, 4);
    assert_true(due[0] == 14 && due[1] == 28 && due[2] == 42 && due[3] == 45);
}

/* A line of the job's own list may end at a checkpoint of the job itself, one that will be there.
 */
static void a_line_ends_at_a_checkpoint_that_comes(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);
    struct engine_job_facts facts;
    struct engine_probe *line = &job.probes.item[0];
    int64_t epoch;

    (void)state;
    job.epochs = 10;
    job.checkpoint = (struct job_checkpoint){.every_epochs = 3, .every_seconds = 1, .keep = 1};
    assert_int_equal(engine_job_facts(&job, &facts, NULL), 0);
    epoch = facts.updates_per_epoch;
    job.probes.n = 1;
    *line = (struct engine_probe){.kind = PROBE_LANDSCAPE,
                                  .every_epochs = 4,
                                  .x = {.direction = DIRECTION_LINE, .to = 1, .points = 3},
                                  .y = {.from = -1, .to = 1}};
    line->other.update = 3 * epoch;
    assert_sound(&job);
    line->other.update = 4 * epoch; /* its own first one */
    assert_sound(&job);
    line->other.update = 2 * epoch;
    assert_problem(&job, "/probes/0/other/update", "writes no checkpoint after update");
    line->other.update = 3 * epoch + 1;
    assert_problem(&job, "/probes/0/other/update", "writes no checkpoint after update");
    line->other.update = 11 * epoch;
    assert_problem(&job, "/probes/0/other/update", "writes no checkpoint after update");
    line->other.update = 6 * epoch; /* the first line is drawn before */
    assert_problem(&job, "/probes/0/other/update", "is drawn after update");
    line->every_epochs = 100; /* one line, at the end */
    assert_sound(&job);
    line->other.update = 10 * epoch;
    assert_sound(&job);
    line->other = (struct probe_other){.job = 5, .update = 2 * epoch}; /* another job's */
    assert_sound(&job);
    job.checkpoint.every_epochs = 0;
    line->other = (struct probe_other){.update = 3 * epoch};
    assert_problem(&job, "/probes/0/other/update", "writes no checkpoint after update");
    job.probes.n = 2;
    job.probes.item[1] = default_probe(PROBE_SHARPNESS);
    job.probes.item[1].every_epochs = 3; /* which has a checkpoint written */
    assert_sound(&job);
}

static void probes_of_a_job_are_checked(void **state)
{
    struct engine_job job = default_job(METHOD_SGD);

    (void)state;
    job.epochs = 100;
    job.probes.n = 2;
    job.probes.item[0] = default_probe(PROBE_SHARPNESS);
    job.probes.item[1] = default_probe(PROBE_SHARPNESS);
    assert_sound(&job);
    job.probes.item[1].adaptive = true; /* SGD has no Fisher numbers */
    assert_problem(&job, "/probes/1/adaptive", "Fisher");
    job.probes.item[1].adaptive = false;
    job.epochs = 500;
    job.probes.item[0].every_epochs = job.probes.item[1].every_epochs = 1;
    assert_sound(&job);
    job.epochs = 501;
    assert_problem(&job, "/probes/1/every_epochs", "1000");
}

static void devices_of_this_machine(void **state)
{
    int n;
    const struct engine_device *devices = engine_devices(&n);

    (void)state;
    assert_int_equal(n, 2);
    assert_string_equal(devices[0].name, "cpu");
    for (int i = 0; i < n; i++) {
        assert_true(devices[i].cores >= 1);
        assert_true(devices[i].memory_bytes > 0);
        assert_true(devices[i].description[0]);
        assert_non_null(devices[i].precisions[0]);
        assert_null(devices[i].precisions[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_sound),
        cmocka_unit_test(a_mix_of_one_only_is_sound),
        cmocka_unit_test(models_too_deep_for_the_images_are_refused),
        cmocka_unit_test(models_tell_what_they_need),
        cmocka_unit_test(a_single_value_cannot_be_normalised),
        cmocka_unit_test(a_run_has_one_length),
        cmocka_unit_test(a_warm_up_leaves_something),
        cmocka_unit_test(parts_need_samples),
        cmocka_unit_test(nesterov_needs_momentum),
        cmocka_unit_test(more_samples_than_there_are_are_refused),
        cmocka_unit_test(precisions_belong_to_devices),
        cmocka_unit_test(endless_and_giant_jobs_are_refused),
        cmocka_unit_test(datasets_must_be_readable),
        cmocka_unit_test(a_dataset_has_to_fit_into_memory),
        cmocka_unit_test(augmentation_must_fit_the_images),
        cmocka_unit_test(folders_of_images_are_checked),
        cmocka_unit_test(augmentation_that_says_nothing_is_refused),
        cmocka_unit_test(a_crop_takes_its_own_settings_only),
        cmocka_unit_test(augmentation_by_default),
        cmocka_unit_test(all_problems_are_told_at_once),
        cmocka_unit_test(facts_of_the_demonstration),
        cmocka_unit_test(probes_are_due_at_the_end_of_their_epochs),
        cmocka_unit_test(a_line_ends_at_a_checkpoint_that_comes),
        cmocka_unit_test(probes_of_a_job_are_checked),
        cmocka_unit_test(devices_of_this_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
