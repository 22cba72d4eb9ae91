/* CIFAR's files and folders of images: read as they are, refused with the reason where they are
 * not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "close.h"
#include "data/folder.h"
#include "data/picture.h"
#include "data_folder.h"
#include "dataset_refused.h"

enum { RECORDS = 6, RECORD = 3073 };

static void file_path(char out[JOB_PATH_MAX + 1], const struct job_dataset *job, const char *name)
{
    data_folder_join(out, job->path, name);
}

static void resize(const struct job_dataset *job, const char *name, off_t n)
{
    char path[JOB_PATH_MAX + 1];

    file_path(path, job, name);
    assert_int_equal(truncate(path, n), 0);
}

static void move(const struct job_dataset *job, const char *from, const char *to)
{
    char old[JOB_PATH_MAX + 1], new[JOB_PATH_MAX + 1];

    file_path(old, job, from);
    file_path(new, job, to);
    assert_int_equal(rename(old, new), 0);
}

static void patch(const struct job_dataset *job, const char *name, long at, int byte)
{
    char path[JOB_PATH_MAX + 1];
    FILE *file;

    file_path(path, job, name);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fclose(file), 0);
}

/* --- CIFAR ------------------------------------------------------------------------------------ */

static void check_cifar(int classes, int records, int train_files)
{
    struct dataset_info info;
    struct dataset *dataset;
    struct job_dataset job;
    struct err err;
    int n = records * train_files;

    cifar_folder_make(&job, classes, records);
    assert_int_equal(dataset_describe(&info, &job, NULL), 0);
    assert_int_equal(info.classes, classes);
    assert_int_equal(info.n[SPLIT_TRAIN], n);
    assert_int_equal(info.n[SPLIT_TEST], records);
    assert_int_equal(info.channels * info.height * info.width, 3072);
    if (dataset_open(&dataset, &job, 1, &err))
        fail_msg("%s", err.message);
    data_folder_remove(job.path);
    for (int i = 0; i < n; i++) {
        const uint8_t *pixels = dataset->split[SPLIT_TRAIN].pixels + i * 3072;
        int record = i % records, file = i / records;

        assert_int_equal(dataset->split[SPLIT_TRAIN].labels[i], (record + file) % classes);
        for (int p = 0; p < 1024; p++)
            for (int c = 0; c < 3; c++)
                assert_int_equal(pixels[p * 3 + c],
                                 (uint8_t)((c * 1024 + p) * 7 + record * 31 + file));
    }
    assert_int_equal(dataset->split[SPLIT_TEST].labels[1], (1 + train_files) % classes);
    assert_close(dataset->mean[2], .4465, 0);
    assert_close(dataset->deviation[0], .2023, 0);
    assert_close(dataset->scale, 1 / 255.0, 0);
    dataset_close(dataset);
}

static void cifar_files_are_read(void **state)
{
    (void)state;
    check_cifar(10, RECORDS, 5);
    check_cifar(10, 300, 5); /* more than are read at once */
    check_cifar(100, 260, 1);
}

static void limits_and_noise_work_on_cifar(void **state)
{
    struct dataset *whole, *part;
    struct job_dataset job;
    int64_t at = 0;
    int wrong = 0;

    (void)state;
    cifar_folder_make(&job, 10, RECORDS);
    assert_int_equal(dataset_open(&whole, &job, 5, NULL), 0);
    job.train_limit = 20;
    job.label_noise = 0.25;
    assert_int_equal(dataset_open(&part, &job, 5, NULL), 0);
    data_folder_remove(job.path);
    assert_int_equal(part->split[SPLIT_TRAIN].n, 20);
    for (int64_t i = 0; i < 20; i++, at++) { /* in the order of the files */
        while (memcmp(part->split[SPLIT_TRAIN].pixels + i * 3072,
                      whole->split[SPLIT_TRAIN].pixels + at * 3072, 3072))
            assert_true(++at < 30);
        wrong += part->split[SPLIT_TRAIN].labels[i] != whole->split[SPLIT_TRAIN].labels[at];
    }
    assert_int_equal(wrong, 5);
    dataset_close(whole);
    dataset_close(part);
}

static void broken_cifar_files_are_named(void **state)
{
    struct job_dataset job;

    (void)state;
    cifar_folder_make(&job, 10, RECORDS);
    resize(&job, "data_batch_3.bin", RECORDS * RECORD - 1);
    assert_dataset_refused(&job, ERR_CORRUPT, "data_batch_3.bin",
                           "18437 bytes are no whole number of records of 3073; CIFAR-10 has 10000 "
                           "records here, 30730000 bytes");
    resize(&job, "data_batch_3.bin", (RECORDS - 1) * RECORD); /* cut where a record ends */
    assert_dataset_refused(&job, ERR_CORRUPT, "data_batch_3.bin",
                           "has 5 records, data_batch_1.bin has 6");
    resize(&job, "data_batch_3.bin", 0);
    assert_dataset_refused(&job, ERR_CORRUPT, "data_batch_3.bin", "is empty");
    resize(&job, "data_batch_3.bin", RECORDS * RECORD);
    patch(&job, "test_batch.bin", 2 * RECORD, 10);
    assert_dataset_refused(&job, ERR_CORRUPT, "test_batch.bin", "record 2 has label 10");
    resize(&job, "test_batch.bin", (off_t)2000000 * RECORD);
    assert_dataset_refused(&job, ERR_CORRUPT, "test_batch.bin", "2000000 records");
    move(&job, "data_batch_5.bin", "elsewhere");
    assert_dataset_refused(&job, ERR_NOT_FOUND, "data_batch_5.bin", "cifar-10-binary.tar.gz");
    data_folder_put(job.path, "data_batch_5.bin/x", "x", 1);
    assert_dataset_refused(&job, ERR_INVALID, "data_batch_5.bin", "not a regular file");
    data_folder_remove(job.path);
    assert_dataset_refused(&job, ERR_NOT_FOUND, job.path, "No such file");
}

static void cifar_is_told_from_its_kin(void **state)
{
    struct job_dataset job;

    (void)state;
    cifar_folder_make(&job, 100, RECORDS);
    job.kind = DATASET_CIFAR10;
    assert_dataset_refused(&job, ERR_NOT_FOUND, "data_batch_1.bin",
                           "holds train.bin: it is not CIFAR-10");
    move(&job, "train.bin", "data_batch_1");
    assert_dataset_refused(&job, ERR_NOT_FOUND, "data_batch_1.bin", "version for Python");
    move(&job, "data_batch_1", "train.bin");
    job.kind = DATASET_CIFAR100;
    patch(&job, "train.bin", 3074, 20);
    assert_dataset_refused(&job, ERR_CORRUPT, "train.bin", "record 1 has superclass 20");
    patch(&job, "train.bin", 3074, 19);
    patch(&job, "train.bin", 3075, 100);
    assert_dataset_refused(&job, ERR_CORRUPT, "train.bin", "record 1 has label 100");
    data_folder_remove(job.path);
}

/* --- folders ---------------------------------------------------------------------------------- */

static void classes_and_files_are_in_order(void **state)
{
    static const char *const wanted[] = {"train/Zebra/b.PNG", "train/ant/10.jpeg",
                                         "train/ant/2.jpg", "train/bee/x.JPE"};
    char path[PATH_MAX], link[JOB_PATH_MAX + 1];
    struct image_folder *folder;
    struct dataset_info info;
    struct job_dataset job = {.kind = DATASET_IMAGE_FOLDER, .size = 32};

    (void)state;
    data_folder_make(job.path);
    for (size_t i = 0; i < ARRAY_LENGTH(wanted); i++)
        data_folder_put(job.path, wanted[i], "x", 1);
    data_folder_put(job.path, "train/ant/notes.txt", "x", 1);
    data_folder_put(job.path, "train/ant/.hidden.jpg", "x", 1);
    data_folder_put(job.path, "train/ant/within.jpg/x", "x", 1);
    data_folder_put(job.path, "train/readme.jpg", "x", 1);
    data_folder_put(job.path, "val/bee/1.png", "x", 1); /* val lacks ant */
    data_folder_put(job.path, "real/1.png", "x", 1);
    file_path(link, &job, "val/Zebra");
    assert_int_equal(symlink("../real", link), 0); /* a link is what it leads to */
    assert_int_equal(image_folder_open(&folder, job.path, NULL), 0);
    assert_int_equal(image_folder_classes(folder), 3);
    assert_int_equal(image_folder_files(folder, SPLIT_TRAIN), ARRAY_LENGTH(wanted));
    for (size_t i = 0; i < ARRAY_LENGTH(wanted); i++) {
        assert_true(image_folder_path(folder, SPLIT_TRAIN, (int64_t)i, path));
        assert_string_equal(path + strlen(job.path) + 1, wanted[i]);
        assert_int_equal(image_folder_class(folder, SPLIT_TRAIN, (int64_t)i),
                         i == 0 ? 0 : 1 + i / 3);
    }
    assert_int_equal(image_folder_files(folder, SPLIT_TEST), 2);
    assert_int_equal(image_folder_class(folder, SPLIT_TEST, 0), 0);
    assert_int_equal(image_folder_class(folder, SPLIT_TEST, 1), 2);
    image_folder_close(folder);
    assert_int_equal(dataset_describe(&info, &job, NULL), picture_codecs[0] ? 0 : ERR_UNSUPPORTED);
    data_folder_remove(job.path);
}

static void assert_no_folder(const struct job_dataset *job, int code, const char *names,
                             const char *says)
{
    struct image_folder *folder = NULL;
    struct err err = {0};

    assert_int_equal(image_folder_open(&folder, job->path, &err), code);
    assert_null(folder);
    if (!strstr(err.message, says) || !strstr(err.message, names))
        fail_msg("\"%s\" does not say \"%s\" of %s", err.message, says, names);
}

static void folders_that_cannot_be_used_are_named(void **state)
{
    struct job_dataset job = {.kind = DATASET_IMAGE_FOLDER};
    char path[JOB_PATH_MAX + 1];

    (void)state;
    data_folder_make(job.path);
    assert_no_folder(&job, ERR_NOT_FOUND, "/train", "No such file");
    data_folder_put(job.path, "train/ant/1.jpg", "x", 1);
    assert_no_folder(&job, ERR_INVALID, "/train", "one class only");
    data_folder_put(job.path, "train/bee/1.txt", "x", 1);
    assert_no_folder(&job, ERR_INVALID, "/train/bee", "without images");
    data_folder_put(job.path, "train/bee/1.jpg", "x", 1);
    assert_no_folder(&job, ERR_NOT_FOUND, "/val", "No such file");
    data_folder_put(job.path, "val/readme", "x", 1);
    assert_no_folder(&job, ERR_INVALID, "/val", "no folders of classes");
    data_folder_put(job.path, "val/wasp/1.jpg", "x", 1);
    assert_no_folder(&job, ERR_INVALID, "/val/wasp", "no such class in train");
    move(&job, "val/wasp", "val/bee");
    assert_int_equal(image_folder_open(&(struct image_folder *){NULL}, "/dev/null", NULL),
                     ERR_INVALID);
    file_path(path, &job, "train/ant");
    if (geteuid()) { /* root may look into everything */
        assert_int_equal(chmod(path, 0), 0);
        assert_no_folder(&job, ERR_IO, "/train/ant", "Permission denied");
        assert_int_equal(chmod(path, 0700), 0);
    }
    file_path(path, &job, "train/loop");
    assert_int_equal(symlink("loop", path), 0); /* leads nowhere: no folder */
    data_folder_remove(job.path);
}

static void a_thread_looks_at_a_folder_once(void **state)
{
    struct dataset_info first, again;
    struct job_dataset job;

    (void)state;
    cifar_folder_make(&job, 10, RECORDS);
    assert_int_equal(dataset_describe(&first, &job, NULL), 0);
    engine_look_begin();
    assert_int_equal(dataset_describe(&first, &job, NULL), 0);
    resize(&job, "test_batch.bin", (RECORDS - 1) * RECORD);
    job.train_limit = 3; /* says nothing of the files */
    assert_int_equal(dataset_describe(&again, &job, NULL), 0);
    assert_int_equal(again.n[SPLIT_TEST], RECORDS);
    assert_int_equal(again.n[SPLIT_TRAIN], first.n[SPLIT_TRAIN]);
    job.kind = DATASET_DIGITS; /* another one is looked at, and then the first one anew */
    assert_int_equal(dataset_describe(&again, &job, NULL), 0);
    assert_int_equal(again.channels, 1);
    job.kind = DATASET_CIFAR10;
    assert_int_equal(dataset_describe(&again, &job, NULL), 0);
    assert_int_equal(again.n[SPLIT_TEST], RECORDS - 1);
    engine_look_end();
    resize(&job, "test_batch.bin", (RECORDS - 2) * RECORD);
    assert_int_equal(dataset_describe(&again, &job, NULL), 0);
    assert_int_equal(again.n[SPLIT_TEST], RECORDS - 2);
    data_folder_remove(job.path);
}

static void all_letters_of_a_listing_count(void **state)
{
    enum { MANY = 1000 };
    struct job_dataset job = {.kind = DATASET_IMAGE_FOLDER};
    struct image_folder *folder;
    char name[300], path[PATH_MAX];

    (void)state;
    data_folder_make(job.path);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "train/%s/%0*d.jpg", i % 2 ? "odd" : "even", 10 + i % 200, i);
        data_folder_put(job.path, name, "", 0);
    }
    data_folder_put(job.path, "val/odd/1.jpg", "", 0);
    assert_int_equal(image_folder_open(&folder, job.path, NULL), 0);
    assert_int_equal(image_folder_files(folder, SPLIT_TRAIN), MANY);
    for (int64_t i = 0; i < MANY; i++) {
        assert_true(image_folder_path(folder, SPLIT_TRAIN, i, path));
        assert_int_equal(access(path, F_OK), 0);
        assert_int_equal(image_folder_class(folder, SPLIT_TRAIN, i), i >= MANY / 2);
    }
    image_folder_close(folder);
    data_folder_remove(job.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cifar_files_are_read),
        cmocka_unit_test(limits_and_noise_work_on_cifar),
        cmocka_unit_test(broken_cifar_files_are_named),
        cmocka_unit_test(cifar_is_told_from_its_kin),
        cmocka_unit_test(classes_and_files_are_in_order),
        cmocka_unit_test(folders_that_cannot_be_used_are_named),
        cmocka_unit_test(a_thread_looks_at_a_folder_once),
        cmocka_unit_test(all_letters_of_a_listing_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
