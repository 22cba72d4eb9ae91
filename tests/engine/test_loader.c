/* Batches that are loaded ahead: the same whoever loads them and in whatever order they are asked
 * for; files that cannot be used; ends at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "data/loader.h"
#include "data_folder.h"
#include "record.h"

enum { BATCH = 4, TEST_BATCH = 3, IMAGE = 3 * PHOTOS_SIZE * PHOTOS_SIZE, PASS = 4 };

/* A loader with all that it needs. */
struct rig {
    struct dataset *dataset;
    struct sampler *sampler;
    struct loader *loader;
};

static void vary(struct job_dataset *job)
{
    job->augment = (struct job_augment){.crop = CROP_RANDOM_RESIZED,
                                        .crop_area_min = 0.3,
                                        .flip = true,
                                        .randaugment = 2,
                                        .randaugment_magnitude = 9,
                                        .cutout = 6,
                                        .cutout_probability = 0.5};
}

static void rig_open(struct rig *rig, const struct job_dataset *job, int threads)
{
    struct loader_options options = {.batch_size = BATCH,
                                     .test_batch_size = TEST_BATCH,
                                     .batches_an_update = 2,
                                     .threads = threads};
    struct err err;

    if (dataset_open(&rig->dataset, job, 3, &err))
        fail_msg("%s", err.message);
    assert_int_equal(
        sampler_open(&rig->sampler, 3, rig->dataset->split[SPLIT_TRAIN].n, BATCH, &err), 0);
    options.dataset = rig->dataset;
    options.sampler = rig->sampler;
    if (loader_open(&rig->loader, &options, &err))
        fail_msg("%s", err.message);
}

static void rig_close(struct rig *rig)
{
    loader_close(rig->loader);
    sampler_close(rig->sampler);
    dataset_close(rig->dataset);
}

static uint64_t batch_hash(struct rig *rig, enum split split, uint64_t b)
{
    float images[BATCH * IMAGE];
    int32_t labels[BATCH];
    struct err err;
    int64_t n = loader_take_f32(rig->loader, split, b, images, labels, &err);

    if (n < 0)
        fail_msg("%s", err.message);
    assert_true(n >= 1 && n <= BATCH);
    return hash_bytes(images, (size_t)n * IMAGE * sizeof(float)) ^
           hash_bytes(labels, (size_t)n * sizeof(int32_t)) << 1;
}

enum { BATCHES = 20, TEST_BATCHES = 2 };

struct hashes {
    uint64_t train[BATCHES], test[TEST_BATCHES];
};

static void take_all(struct hashes *out, const struct job_dataset *job, int threads)
{
    struct rig rig;

    rig_open(&rig, job, threads);
    for (uint64_t b = 0; b < BATCHES; b++) {
        if (b % 7 == 5) /* an evaluation between two updates */
            for (uint64_t t = 0; t < TEST_BATCHES; t++)
                out->test[t] = batch_hash(&rig, SPLIT_TEST, t);
        out->train[b] = batch_hash(&rig, SPLIT_TRAIN, b);
    }
    rig_close(&rig);
}

static void threads_do_not_show(void **state)
{
    struct hashes alone, together;
    struct job_dataset job;

    (void)state;
    photo_folder_make(&job);
    vary(&job);
    take_all(&alone, &job, 1);
    for (int threads = 2; threads <= 6; threads += 2) {
        take_all(&together, &job, threads);
        assert_memory_equal(&together, &alone, sizeof alone);
    }
    /* passes differ from each other */
    for (int b = 1; b < BATCHES; b++)
        assert_true(alone.train[b] != alone.train[b - 1]);
    data_folder_remove(job.path);
}

static void the_order_of_asking_does_not_show(void **state)
{
    static const uint64_t order[] = {0, 1, 2, 9, 10, 3, 3, 3, 19, 0, 7, 8, 9, 4};
    struct hashes straight;
    struct job_dataset job;
    struct rig rig;

    (void)state;
    photo_folder_make(&job);
    vary(&job);
    take_all(&straight, &job, 1);
    for (int threads = 1; threads <= 3; threads++) {
        rig_open(&rig, &job, threads);
        for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
            assert_int_equal(batch_hash(&rig, SPLIT_TRAIN, order[i]), straight.train[order[i]]);
            if (i % 3 == 0) /* an evaluation that is broken off */
                assert_int_equal(batch_hash(&rig, SPLIT_TEST, 0), straight.test[0]);
        }
        rig_close(&rig);
    }
    data_folder_remove(job.path);
}

static void each_sample_comes_once_a_pass_with_its_label(void **state)
{
    struct job_dataset job;
    struct rig rig;

    (void)state;
    photo_folder_make(&job);
    job.augment.crop = CROP_CENTER;
    rig_open(&rig, &job, 2);
    for (uint64_t pass = 0; pass < 2; pass++) {
        int counts[2] = {0};

        for (uint64_t b = 0; b < PASS; b++) {
            float images[BATCH * IMAGE];
            int32_t labels[BATCH];
            int64_t n =
                loader_take_f32(rig.loader, SPLIT_TRAIN, pass * PASS + b, images, labels, NULL);

            assert_int_equal(n, b == PASS - 1 ? 3 : 4);
            for (int64_t i = 0; i < n; i++)
                counts[labels[i]]++;
        }
        assert_int_equal(counts[0], 8);
        assert_int_equal(counts[1], 7);
    }
    rig_close(&rig);
    data_folder_remove(job.path);
}

/* Closed before, while and after threads are at work. */
static void a_loader_may_end_at_any_moment(void **state)
{
    struct job_dataset job;

    (void)state;
    photo_folder_make(&job);
    vary(&job);
    for (int i = 0; i < 30; i++) {
        struct rig rig;

        rig_open(&rig, &job, 1 + i % 4);
        for (uint64_t b = 0; b < (uint64_t)i % 5; b++)
            batch_hash(&rig, SPLIT_TRAIN, b);
        if (i % 3 == 1)
            batch_hash(&rig, SPLIT_TEST, 0);
        rig_close(&rig);
    }
    data_folder_remove(job.path);
}

/* --- files that cannot be used -----------------------------------------------------------------
 */

struct messages {
    int n;
    char text[40][600];
};

static void keep(void *context, const char *text)
{
    struct messages *messages = context;

    assert_true(messages->n < 40);
    snprintf(messages->text[messages->n++], 600, "%s", text);
}

static void break_file(const struct job_dataset *job, const char *name)
{
    data_folder_put(job->path, name, "\xff\xd8\xff, but no JPEG", 16);
}

static int said(const struct messages *messages, const char *what)
{
    int n = 0;

    for (int i = 0; i < messages->n; i++)
        n += strstr(messages->text[i], what) != NULL;
    return n;
}

static void the_next_image_takes_a_broken_ones_place(void **state)
{
    static struct messages messages;
    struct job_dataset job;
    struct rig rig;

    (void)state;
    photo_folder_make(&job);
    job.augment.crop = CROP_CENTER;
    break_file(&job, "val/ant/01-palette.png");
    break_file(&job, "val/bee/01-full.jpg"); /* the last one: the first follows */
    for (int threads = 1; threads <= 2; threads++) {
        float images[2][TEST_BATCH * IMAGE];
        int32_t labels[2][TEST_BATCH];

        messages.n = 0;
        rig_open(&rig, &job, threads);
        for (int again = 0; again < 3; again++) {
            assert_int_equal(loader_take_f32(rig.loader, SPLIT_TEST, 0, images[0], labels[0], NULL),
                             3);
            assert_int_equal(loader_take_f32(rig.loader, SPLIT_TEST, 1, images[1], labels[1], NULL),
                             2);
            loader_report(rig.loader, again == 2, keep, &messages);
        }
        assert_memory_equal(images[0] + IMAGE, images[0] + 2 * IMAGE, IMAGE * sizeof(float));
        assert_memory_equal(images[1] + IMAGE, images[0], IMAGE * sizeof(float));
        assert_int_equal(labels[1][0], 1);
        assert_int_equal(labels[1][1], 0); /* with its own label */
        assert_int_equal(messages.n, 2);   /* each of them once */
        assert_int_equal(said(&messages, "val/ant/01-palette.png"), 1);
        assert_int_equal(said(&messages, "val/bee/01-full.jpg"), 1);
        assert_int_equal(said(&messages, "the next image takes its place"), 2);
        rig_close(&rig);
    }
    data_folder_remove(job.path);
}

static void many_broken_files_are_counted(void **state)
{
    enum { BROKEN = 45 };
    static struct messages messages;
    struct job_dataset job;
    struct rig rig;

    (void)state;
    photo_folder_make(&job);
    for (int i = 0; i < BROKEN; i++) {
        char name[64];

        snprintf(name, sizeof name, "train/bee/broken-%02d.jpg", i);
        break_file(&job, name);
    }
    rig_open(&rig, &job, 2);
    messages.n = 0;
    for (uint64_t b = 0; b < 15; b++) { /* 15 + 45 of 4 each */
        batch_hash(&rig, SPLIT_TRAIN, b);
        loader_report(rig.loader, false, keep, &messages);
    }
    assert_int_equal(said(&messages, "broken-"), 16); /* the first ones by name */
    loader_report(rig.loader, true, keep, &messages);
    loader_report(rig.loader, true, keep, &messages);
    assert_int_equal(said(&messages, "45 images could not be used"), 1);
    rig_close(&rig);
    data_folder_remove(job.path);
}

/* It is back another time, maybe, and no other one takes its place. */
static void a_missing_file_ends_loading(void **state)
{
    static struct messages messages;
    float images[BATCH * IMAGE];
    int32_t labels[BATCH];
    struct job_dataset job;

    (void)state;
    photo_folder_make(&job);
    for (int threads = 1; threads <= 3; threads++)
        for (int split = 0; split < SPLITS; split++) {
            char from[JOB_PATH_MAX + 1], to[JOB_PATH_MAX + 1];
            struct err err = {0};
            struct rig rig;
            int64_t n = 0;

            data_folder_join(from, job.path, split == SPLIT_TRAIN ? "train/bee" : "val/bee");
            data_folder_join(to, job.path, "away");
            rig_open(&rig, &job, threads);
            assert_int_equal(rename(from, to), 0);
            for (uint64_t b = 0; b < PASS && n >= 0; b++)
                n = loader_take_f32(rig.loader, (enum split)split, b, images, labels, &err);
            assert_int_equal(n, ERR_IO);
            assert_non_null(strstr(err.message, "/bee/"));
            assert_non_null(strstr(err.message, "No such file"));
            messages.n = 0;
            loader_report(rig.loader, true, keep, &messages);
            assert_int_equal(messages.n, 0);
            rig_close(&rig);
            assert_int_equal(rename(to, from), 0);
        }
    data_folder_remove(job.path);
}

static void a_folder_of_nothing_but_broken_files_is_an_error(void **state)
{
    float images[BATCH * IMAGE];
    int32_t labels[BATCH];
    struct job_dataset job = {
        .kind = DATASET_IMAGE_FOLDER, .size = PHOTOS_SIZE, .resize = PHOTOS_SIZE};

    (void)state;
    data_folder_make(job.path);
    break_file(&job, "train/ant/1.jpg");
    break_file(&job, "train/ant/2.jpg");
    break_file(&job, "train/bee/1.jpg");
    break_file(&job, "train/bee/2.jpg");
    data_folder_picture(job.path, "val/bee/1.jpg", "plain.jpg");
    for (int threads = 1; threads <= 3; threads++) {
        struct err err = {0};
        struct rig rig;

        rig_open(&rig, &job, threads);
        assert_int_equal(loader_take_f32(rig.loader, SPLIT_TRAIN, 0, images, labels, &err),
                         ERR_CORRUPT);
        assert_non_null(strstr(err.message, ".jpg"));
        assert_non_null(strstr(err.message, "4 images in a row cannot be decoded; the last is "));
        assert_int_equal(loader_take_f32(rig.loader, SPLIT_TEST, 0, images, labels, &err),
                         ERR_CORRUPT);
        rig_close(&rig);
    }
    data_folder_remove(job.path);
}

/* --- whole runs --------------------------------------------------------------------------------
 */

static struct engine_job photo_job(const struct job_dataset *dataset, int method)
{
    struct engine_job job = tiny_job(method, DEVICE_REFERENCE);

    job.dataset = *dataset;
    job.batch_size = BATCH;
    job.epochs = 2;
    return job;
}

/* Trains with a number of threads; `from` or NULL. */
static enum engine_outcome train(const struct engine_job *job, int threads, struct record *record,
                                 const struct checkpoint *from)
{
    struct engine_sink sink = record_sink(record);
    enum engine_outcome outcome;
    struct engine_run *run;
    struct err err = {0};

    if (engine_run_open(&run, job, threads, &sink, &err))
        fail_msg("%s", err.message);
    if (from && engine_run_restore(run, from, &err))
        fail_msg("%s", err.message);
    if (engine_run_train(run, &record->request, &outcome, &err))
        fail_msg("%s", err.message);
    engine_run_close(run);
    return outcome;
}

static void runs_are_the_same_in_pieces_and_with_any_threads(void **state)
{
    struct job_dataset dataset;

    (void)state;
    photo_folder_make(&dataset);
    vary(&dataset);
    dataset.label_noise = 0.2;
    dataset.train_limit = 14;
    break_file(&dataset, "train/ant/03-grey.jpg");
    for (int method = METHOD_SGD; method <= METHOD_M_RWP; method += METHOD_M_RWP - METHOD_SGD) {
        struct engine_job job = photo_job(&dataset, method);
        struct record *whole = record_new(), *piece = record_new();

        assert_int_equal(train(&job, 1, whole, NULL), ENGINE_FINISHED);
        assert_int_equal(whole->n_messages, 2); /* the run's own and the broken image */
        for (uint64_t stop = 1; stop <= 7; stop += 2) {
            struct checkpoint from;

            record_rewind(piece);
            piece->ask_at = stop;
            piece->ask = ENGINE_STOP;
            assert_int_equal(train(&job, 3, piece, NULL), ENGINE_STOPPED);
            checkpoint_copy(&from, &piece->checkpoint);
            record_rewind(piece);
            assert_int_equal(train(&job, 2, piece, &from), ENGINE_FINISHED);
            assert_checkpoints_equal(&whole->checkpoint, &piece->checkpoint);
            checkpoint_clear(&from);
        }
        record_rewind(piece);
        piece->ask_at = 3;
        piece->ask = ENGINE_ABANDON; /* in the middle of what is loaded ahead */
        assert_int_equal(train(&job, 3, piece, NULL), ENGINE_ABANDONED);
        record_free(whole);
        record_free(piece);
    }
    data_folder_remove(dataset.path);
}

/* Classes are known by their names, so that the others keep their numbers. */
static void a_class_that_is_not_tested_is_told_of(void **state)
{
    static struct messages messages;
    const struct engine_sink sink = {.context = &messages, .message = keep};
    atomic_int request = ENGINE_STOP;
    enum engine_outcome outcome;
    struct engine_run *run;
    struct job_dataset dataset;
    struct engine_job job;
    char path[JOB_PATH_MAX + 1];

    (void)state;
    photo_folder_make(&dataset);
    job = photo_job(&dataset, METHOD_SGD);
    for (int lacking = 0; lacking < 2; lacking++) {
        messages.n = 0;
        assert_int_equal(engine_run_open(&run, &job, 1, &sink, NULL), 0);
        assert_int_equal(engine_run_train(run, &request, &outcome, NULL), 0);
        engine_run_close(run);
        assert_int_equal(messages.n, 1 + lacking); /* beside the run's own */
        assert_int_equal(said(&messages, "val has no images of 1 of the 2 classes: ant"), lacking);
        data_folder_join(path, dataset.path, "val/ant");
        if (!lacking)
            data_folder_remove(path);
    }
    data_folder_remove(dataset.path);
}

static void a_folder_that_vanishes_ends_the_run_with_the_reason(void **state)
{
    struct record *record = record_new();
    struct engine_sink sink = record_sink(record);
    struct job_dataset dataset;
    enum engine_outcome outcome;
    struct engine_run *run;
    struct engine_job job;
    struct err err = {0};

    (void)state;
    photo_folder_make(&dataset);
    job = photo_job(&dataset, METHOD_SGD);
    assert_int_equal(engine_run_open(&run, &job, 2, &sink, &err), 0);
    data_folder_remove(dataset.path);
    assert_int_equal(engine_run_train(run, &record->request, &outcome, &err), ERR_IO);
    assert_non_null(strstr(err.message, "No such file"));
    engine_run_close(run);
    record_free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(the_order_of_asking_does_not_show),
        cmocka_unit_test(each_sample_comes_once_a_pass_with_its_label),
        cmocka_unit_test(a_loader_may_end_at_any_moment),
        cmocka_unit_test(the_next_image_takes_a_broken_ones_place),
        cmocka_unit_test(many_broken_files_are_counted),
        cmocka_unit_test(a_missing_file_ends_loading),
        cmocka_unit_test(a_folder_of_nothing_but_broken_files_is_an_error),
        cmocka_unit_test(runs_are_the_same_in_pieces_and_with_any_threads),
        cmocka_unit_test(a_class_that_is_not_tested_is_told_of),
        cmocka_unit_test(a_folder_that_vanishes_ends_the_run_with_the_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
