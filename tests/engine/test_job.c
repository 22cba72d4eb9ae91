/* The tables of a job: consistent with themselves and with engine/job.h; what the check refuses. */
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

/* --- the tables ------------------------------------------------------------------------------- */

static size_t member_bytes(const struct spec_field *field)
{
    static const size_t bytes[] = {
        [SPEC_INT] = sizeof(int64_t),
        [SPEC_REAL] = sizeof(double),
        [SPEC_BOOL] = sizeof(bool),
        [SPEC_CHOICE] = sizeof(int),
        [SPEC_INT_LIST] = sizeof(struct spec_int_list),
    };

    return field->type == SPEC_STRING ? field->max_length + 1 : bytes[field->type];
}

static bool in_range(const struct spec_field *field, double value)
{
    return (field->above_min ? value > field->min : value >= field->min) &&
           (field->below_max ? value < field->max : value <= field->max);
}

static void check_default(const struct spec_field *field)
{
    int n = 0;

    switch (field->type) {
    case SPEC_INT:
    case SPEC_REAL:
        assert_true(field->min < field->max);
        assert_true(in_range(field, field->number));
        break;
    case SPEC_CHOICE:
        while (field->choices[n])
            n++;
        assert_in_range(field->number, 0, n - 1);
        break;
    case SPEC_INT_LIST:
        assert_in_range(field->list.n, 1, field->max_length);
        assert_true(field->max_length <= SPEC_LIST_MAX);
        for (int i = 0; i < field->list.n; i++)
            assert_true(in_range(field, (double)field->list.item[i]));
        break;
    default:
        break;
    }
}

static void check_object(const struct spec_object *object, size_t size, size_t first);

static size_t variant_bytes(const char *name)
{
    static const struct {
        const char *name;
        size_t bytes;
    } sizes[] = {
        {"model", sizeof(struct job_model)},           {"dataset", sizeof(struct job_dataset)},
        {"augment", sizeof(struct job_augment)},       {"method", sizeof(struct job_method)},
        {"optimizer", sizeof(struct job_optimizer)},   {"schedule", sizeof(struct job_schedule)},
        {"checkpoint", sizeof(struct job_checkpoint)}, {"evaluate", sizeof(struct job_evaluate)}};

    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        if (!strcmp(sizes[i].name, name))
            return sizes[i].bytes;
    fail_msg("no struct for %s", name);
    return 0;
}

static void check_field(const struct spec_field *field, size_t size, size_t first)
{
    assert_non_null(field->doc);
    assert_true(field->doc[strlen(field->doc) - 1] == '.');
    assert_true(field->offset >= first);
    if (field->type == SPEC_OBJECT) {
        check_object(field->object, variant_bytes(field->name), 0);
    } else if (field->type == SPEC_VARIANT) {
        assert_true(field->n_kinds > 0);
        assert_in_range(field->default_kind, 0, field->n_kinds - 1);
        assert_true(field->offset + variant_bytes(field->name) <= size);
        for (int k = 0; k < field->n_kinds; k++) {
            assert_non_null(field->kinds[k].name);
            check_object(&field->kinds[k], variant_bytes(field->name), sizeof(int));
        }
    } else {
        assert_true(field->offset + member_bytes(field) <= size);
        check_default(field);
    }
}

static void check_object(const struct spec_object *object, size_t size, size_t first)
{
    assert_non_null(object->doc);
    for (int i = 0; i < object->n_fields; i++) {
        check_field(&object->fields[i], size, first);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(object->fields[i].name, object->fields[j].name);
    }
}

static void tables_are_consistent(void **state)
{
    (void)state;
    check_object(engine_job_spec(), sizeof(struct engine_job), 0);
}

static const struct spec_field *field_of(const struct spec_object *object, const char *name)
{
    for (int i = 0; i < object->n_fields; i++)
        if (!strcmp(object->fields[i].name, name))
            return &object->fields[i];
    fail_msg("no field %s", name);
    return NULL;
}

static void kinds_are_at_their_enums_places(void **state)
{
    const struct spec_object *job = engine_job_spec();
    const struct spec_field *model = field_of(job, "model");
    const struct spec_field *method = field_of(job, "method");
    const struct spec_field *schedule = field_of(job, "schedule");
    const struct spec_field *dataset = field_of(job, "dataset");
    const struct spec_object *augment;

    (void)state;
    assert_string_equal(model->kinds[MODEL_RESNET].name, "resnet");
    assert_string_equal(model->kinds[MODEL_RESNET18].name, "resnet18");
    assert_string_equal(model->kinds[MODEL_RESNET34].name, "resnet34");
    assert_string_equal(model->kinds[MODEL_RESNET50].name, "resnet50");
    assert_string_equal(model->kinds[MODEL_RESNET101].name, "resnet101");
    assert_string_equal(model->kinds[MODEL_PRERESNET].name, "preresnet");
    assert_string_equal(model->kinds[MODEL_PRERESNET164].name, "preresnet164");
    assert_string_equal(model->kinds[MODEL_VGG16_BN].name, "vgg16_bn");
    assert_string_equal(model->kinds[MODEL_VGG19_BN].name, "vgg19_bn");
    assert_string_equal(model->kinds[MODEL_WRN].name, "wrn");
    assert_string_equal(model->kinds[MODEL_WRN16_8].name, "wrn16_8");
    assert_string_equal(model->kinds[MODEL_WRN28_10].name, "wrn28_10");
    assert_string_equal(model->kinds[MODEL_WRN22_8].name, "wrn22_8");
    assert_string_equal(model->kinds[MODEL_WRN34_10].name, "wrn34_10");
    assert_string_equal(model->kinds[MODEL_VIT].name, "vit");
    assert_string_equal(model->kinds[MODEL_VIT_S32].name, "vit_s32");
    assert_string_equal(model->kinds[MODEL_VIT_S16].name, "vit_s16");
    assert_string_equal(model->kinds[MODEL_VIT_B16].name, "vit_b16");
    assert_int_equal(model->n_kinds, MODEL_KINDS);
    assert_string_equal(field_of(&model->kinds[MODEL_RESNET], "stem")->choices[STEM_IMAGENET],
                        "imagenet");
    assert_string_equal(dataset->kinds[DATASET_DIGITS].name, "digits");
    assert_string_equal(dataset->kinds[DATASET_IDX].name, "idx");
    assert_string_equal(dataset->kinds[DATASET_CIFAR10].name, "cifar10");
    assert_string_equal(dataset->kinds[DATASET_CIFAR100].name, "cifar100");
    assert_string_equal(dataset->kinds[DATASET_IMAGE_FOLDER].name, "image_folder");
    augment = field_of(&dataset->kinds[DATASET_IMAGE_FOLDER], "augment")->object;
    assert_string_equal(field_of(augment, "crop")->choices[CROP_RANDOM], "random");
    assert_string_equal(field_of(augment, "crop")->choices[CROP_RANDOM_RESIZED], "random_resized");
    assert_string_equal(method->kinds[METHOD_SGD].name, "sgd");
    assert_string_equal(method->kinds[METHOD_SAM].name, "sam");
    assert_string_equal(method->kinds[METHOD_RWP].name, "rwp");
    assert_string_equal(method->kinds[METHOD_ARWP].name, "arwp");
    assert_string_equal(method->kinds[METHOD_M_RWP].name, "m-rwp");
    assert_string_equal(method->kinds[METHOD_M_ARWP].name, "m-arwp");
    assert_string_equal(schedule->kinds[SCHEDULE_COSINE].name, "cosine");
    assert_string_equal(schedule->kinds[SCHEDULE_STEP].name, "step");
    assert_string_equal(schedule->kinds[SCHEDULE_CONSTANT].name, "constant");
    assert_string_equal(field_of(job, "device")->choices[DEVICE_REFERENCE], "reference");
    assert_string_equal(field_of(job, "precision")->choices[PRECISION_FP64], "fp64");
}

static void defaults_are_the_scripts(void **state)
{
    struct engine_job job;

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET34, DATASET_DIGITS, METHOD_M_ARWP);
    assert_close(job.method.sigma, 0.015, 0);
    assert_close(job.method.lambda, 0.5, 0);
    assert_close(job.method.ramp, 0, 0);
    assert_close(job.method.eta, 0.1, 0);
    assert_close(job.method.beta, 0.99, 0);
    assert_close(job.optimizer.lr, 0.1, 0);
    assert_close(job.optimizer.momentum, 0.9, 0);
    assert_close(job.optimizer.weight_decay, 0.001, 0);
    assert_int_equal(job.schedule.kind, SCHEDULE_COSINE);
    assert_int_equal(job.model.blocks.n, 4);
    assert_int_equal(job.model.blocks.item[2], 6);
    assert_int_equal(job.batch_size, 128);
    assert_int_equal(job.checkpoint.every_seconds, 300);
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_DIGITS, METHOD_RWP);
    assert_close(job.method.sigma, 0.001, 0);
    assert_close(job.method.ramp, 10, 0);
    assert_close(job.method.eta, 0, 0);
    assert_close(job.method.lambda, 0, 0);
    assert_int_equal(job.model.blocks.item[2], 2);
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_DIGITS, METHOD_SAM);
    assert_close(job.method.rho, 0.05, 0);
}

/* --- the check -------------------------------------------------------------------------------- */

struct problems {
    int n;
    char pointer[8][64], message[8][512];
};

static void collect(void *context, const char *pointer, const char *message)
{
    struct problems *problems = context;

    assert_true(problems->n < 8);
    snprintf(problems->pointer[problems->n], 64, "%s", pointer);
    snprintf(problems->message[problems->n++], 512, "%s", message);
}

static void assert_sound(const struct engine_job *job)
{
    struct problems problems = {0};

    if (engine_job_check(job, collect, &problems))
        fail_msg("%s: %s", problems.pointer[0], problems.message[0]);
}

/* The only problem is `pointer`'s, and its message says `says`. */
static void assert_problem(const struct engine_job *job, const char *pointer, const char *says)
{
    struct problems problems = {0};
    int n = engine_job_check(job, collect, &problems);

    assert_int_equal(n, problems.n);
    assert_int_equal(n, 1);
    assert_string_equal(problems.pointer[0], pointer);
    if (!strstr(problems.message[0], says))
        fail_msg("\"%s\" does not say \"%s\"", problems.message[0], says);
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
    for (int method = METHOD_SGD; method <= METHOD_M_ARWP; method++) {
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

static void augmentation_must_fit_the_images(void **state)
{
    struct engine_job job;

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_CIFAR100, METHOD_SGD);
    cifar_folder_make(&job.dataset, 100, 200);
    job.dataset.augment = (struct job_augment){.crop_padding = 31};
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
    struct problems problems = {0};

    (void)state;
    job.dataset.train_limit = 1300;
    job.batch_size = 2000;
    job.device = DEVICE_CPU;
    job.precision = PRECISION_FP64;
    job.model.blocks = (struct spec_int_list){6, {1, 1, 1, 1, 1, 1}};
    assert_int_equal(engine_job_check(&job, collect, &problems), 4);
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
        cmocka_unit_test(tables_are_consistent),
        cmocka_unit_test(kinds_are_at_their_enums_places),
        cmocka_unit_test(defaults_are_the_scripts),
        cmocka_unit_test(defaults_are_sound),
        cmocka_unit_test(a_mix_of_one_only_is_sound),
        cmocka_unit_test(models_too_deep_for_the_images_are_refused),
        cmocka_unit_test(models_tell_what_they_need),
        cmocka_unit_test(a_single_value_cannot_be_normalised),
        cmocka_unit_test(more_samples_than_there_are_are_refused),
        cmocka_unit_test(precisions_belong_to_devices),
        cmocka_unit_test(endless_and_giant_jobs_are_refused),
        cmocka_unit_test(datasets_must_be_readable),
        cmocka_unit_test(augmentation_must_fit_the_images),
        cmocka_unit_test(folders_of_images_are_checked),
        cmocka_unit_test(augmentation_by_default),
        cmocka_unit_test(all_problems_are_told_at_once),
        cmocka_unit_test(facts_of_the_demonstration),
        cmocka_unit_test(devices_of_this_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
