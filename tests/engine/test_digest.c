/* What tells one dataset from another, and that a run does not go on with another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/digest.h"
#include "data/picture.h"
#include "data_folder.h"
#include "idx_folder.h"
#include "record.h"
#include "support.h"

enum { RECORDS = 6, RECORD = 3073 };

static struct dataset_digest digest_of(const struct job_dataset *job)
{
    struct dataset *dataset;
    struct dataset_digest digest;

    assert_ok(dataset_open(&dataset, job, 1, err));
    assert_ok(dataset_digest(dataset, &digest, err));
    dataset_close(dataset);
    return digest;
}

static int compare(const struct dataset_digest *before, const struct dataset_digest *now,
                   struct err *err)
{
    struct tensor tensor = {.name = DATASET_DIGEST_NAME,
                            .role = TENSOR_PROGRESS,
                            .type = TENSOR_I64,
                            .rank = 1,
                            .dim = {DATASET_DIGEST_NUMBERS},
                            .data = before};
    struct checkpoint checkpoint = {.n_tensors = 1, .tensors = &tensor};

    return dataset_digest_check(now, &checkpoint, err);
}

static void assert_changed(const struct dataset_digest *before, const struct job_dataset *job,
                           const char *says)
{
    struct dataset_digest now = digest_of(job);

    assert_refused(compare(before, &now, err), ERR_CONFLICT,
                   "the dataset has changed since the job began: ");
    assert_refused(compare(before, &now, err), ERR_CONFLICT, says);
}

static void assert_same(const struct dataset_digest *before, const struct job_dataset *job)
{
    struct dataset_digest now = digest_of(job);

    assert_ok(compare(before, &now, err));
    assert_memory_equal(before, &now, sizeof now);
}

static void move(const char *folder, const char *from, const char *to)
{
    char old[JOB_PATH_MAX + 1], new[JOB_PATH_MAX + 1];

    data_folder_join(old, folder, from);
    data_folder_join(new, folder, to);
    assert_int_equal(rename(old, new), 0);
}

static void swap(const char *folder, const char *a, const char *b)
{
    move(folder, a, "aside");
    move(folder, b, a);
    move(folder, "aside", b);
}

static void each_byte_of_idx_files_counts(void **state)
{
    static const char *const files[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    static const size_t first[] = {16, 8, 16, 8};
    struct dataset_digest before;
    struct job_dataset job;

    (void)state;
    idx_folder_make(&job);
    before = digest_of(&job);
    assert_int_equal(before.n[SPLIT_TRAIN], IDX_TRAIN);
    assert_int_equal(before.n[SPLIT_TEST], IDX_TEST);
    assert_int_equal(before.classes, IDX_CLASSES);
    for (size_t f = 0; f < 4; f++)
        for (size_t at = first[f]; at < first[f] + 7; at++) {
            uint8_t was = f % 2 ? (uint8_t)((at - first[f]) % 4)
                                : (uint8_t)((at - first[f]) * 37 + 11),
                    other = (was + 1) % 4;

            idx_folder_patch(&job, files[f], at, &other, 1);
            assert_changed(&before, &job,
                           f < 2 ? "its content (training samples or labels)"
                                 : "its content (test samples or labels)");
            idx_folder_patch(&job, files[f], at, &was, 1);
        }
    assert_same(&before, &job);
    job.train_limit = IDX_TRAIN - 1;
    assert_changed(&before, &job, "it has 19 training samples, not 20");
    idx_folder_remove(&job);
}

static void digits_are_always_the_same(void **state)
{
    struct job_dataset job = {.kind = DATASET_DIGITS};
    struct dataset_digest digest = digest_of(&job);

    (void)state;
    assert_same(&digest, &job);
    job.label_noise = 0.1;
    assert_changed(&digest, &job, "training samples or labels");
}

static void shift_labels(const struct job_dataset *job, const char *name)
{
    char path[JOB_PATH_MAX + 1];
    FILE *file;

    data_folder_join(path, job->path, name);
    file = fopen(path, "r+b");
    assert_non_null(file);
    for (long r = 0; r < RECORDS; r++) {
        int label;

        assert_int_equal(fseek(file, r * RECORD, SEEK_SET), 0);
        label = fgetc(file);
        assert_int_equal(fseek(file, r * RECORD, SEEK_SET), 0);
        fputc((label + 1) % 10, file);
    }
    assert_int_equal(fclose(file), 0);
}

static void labels_of_cifar_that_have_moved_show(void **state)
{
    struct dataset_digest before;
    struct job_dataset job, copy;

    (void)state;
    cifar_folder_make(&job, 10, RECORDS);
    cifar_folder_make(&copy, 10, RECORDS);
    before = digest_of(&job);
    assert_same(&before, &copy); /* wherever it lies */
    shift_labels(&copy, "data_batch_4.bin");
    assert_changed(&before, &copy, "its content (training samples or labels)");
    swap(job.path, "data_batch_1.bin", "data_batch_2.bin");
    assert_changed(&before, &job, "its content");
    data_folder_remove(job.path);
    data_folder_remove(copy.path);
}

static void names_and_sizes_of_a_folder_count(void **state)
{
    struct dataset_digest before;
    struct job_dataset job;
    char path[JOB_PATH_MAX + 1];

    (void)state;
    if (!picture_codecs[0])
        skip();
    photo_folder_make(&job);
    before = digest_of(&job);
    assert_same(&before, &job);
    swap(job.path, "train/ant", "train/bee");
    assert_changed(&before, &job, "its content (training files: names or sizes)");
    swap(job.path, "train/ant", "train/bee");
    data_folder_put(job.path, "val/bee/00-plain.jpg", "x", 1); /* replaced */
    assert_changed(&before, &job, "test");
    data_folder_picture(job.path, "val/bee/00-plain.jpg", "plain.jpg");
    move(job.path, "train/ant/00-plain.jpg", "train/ant/00-again.jpg");
    assert_changed(&before, &job, "training files");
    move(job.path, "train/ant/00-again.jpg", "train/ant/00-plain.jpg");
    move(job.path, "train/ant", "train/ape");
    move(job.path, "val/ant", "val/ape");
    assert_changed(&before, &job, "its classes have other names");
    move(job.path, "train/ape", "train/ant");
    move(job.path, "val/ape", "val/ant");
    data_folder_join(path, job.path, "train/ant/00-plain.jpg");
    assert_int_equal(remove(path), 0);
    assert_changed(&before, &job, "it has 14 training samples, not 15");
    data_folder_picture(job.path, "train/cat/1.jpg", "plain.jpg");
    assert_changed(&before, &job, "it has 3 classes, not 2");
    data_folder_remove(job.path);
}

/* Two classes whose files have the same names. */
static void classes_of_the_same_names_are_told_by_sizes(void **state)
{
    static const char *const files[] = {"train/ant/1.jpg", "train/bee/1.jpg", "val/ant/1.jpg"};
    struct job_dataset job = {
        .kind = DATASET_IMAGE_FOLDER, .size = PHOTOS_SIZE, .resize = PHOTOS_SIZE};
    struct dataset_digest before;

    (void)state;
    if (!picture_codecs[0])
        skip();
    data_folder_make(job.path);
    for (size_t i = 0; i < 3; i++)
        data_folder_put(job.path, files[i], "some bytes", 3 + i);
    before = digest_of(&job);
    swap(job.path, "train/ant", "train/bee");
    assert_changed(&before, &job, "training files");
    data_folder_remove(job.path);
}

static void a_run_does_not_go_on_with_other_data(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct record *record = record_new();
    struct engine_sink sink = record_sink(record);
    struct engine_run *run;

    (void)state;
    cifar_folder_make(&job.dataset, 10, RECORDS);
    record->ask_at = 2;
    record->ask = ENGINE_STOP;
    assert_int_equal(record_run_well(record, &job, NULL), ENGINE_STOPPED);
    shift_labels(&job.dataset, "data_batch_2.bin");
    assert_ok(engine_run_open(&run, &job, 1, &sink, err));
    assert_refused(engine_run_restore(run, &record->checkpoint, err), ERR_CONFLICT, "its content");
    engine_run_close(run);
    record_free(record);
    data_folder_remove(job.dataset.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_of_idx_files_counts),
        cmocka_unit_test(digits_are_always_the_same),
        cmocka_unit_test(labels_of_cifar_that_have_moved_show),
        cmocka_unit_test(names_and_sizes_of_a_folder_count),
        cmocka_unit_test(classes_of_the_same_names_are_told_by_sizes),
        cmocka_unit_test(a_run_does_not_go_on_with_other_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
