/* Datasets and the order of samples: golden draws from the numpy twin, files that are broken in
 * every way that an IDX file can be. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "close.h"
#include "data/loader.h"
#include "data/order.h"
#include "data/sampler.h"
#include "dataset_refused.h"
#include "golden.h"
#include "idx_folder.h"

static struct dataset *open_dataset(const struct job_dataset *job, uint64_t seed)
{
    struct dataset *dataset;
    struct err err = {0};

    if (dataset_open(&dataset, job, seed, &err))
        fail_msg("%s", err.message);
    return dataset;
}

/* --- digits ----------------------------------------------------------------------------------- */

static void digits_is_what_its_readme_says(void **state)
{
    struct job_dataset job = {.kind = DATASET_DIGITS};
    struct dataset *dataset = open_dataset(&job, 1);
    const struct samples *train = &dataset->split[SPLIT_TRAIN];
    double sum = 0, squares = 0;
    int64_t n = train->n * 64;

    (void)state;
    assert_int_equal(train->n, 1297);
    assert_int_equal(dataset->split[SPLIT_TEST].n, 500);
    assert_int_equal(dataset->classes, 10);
    assert_int_equal(dataset->channels * dataset->height * dataset->width, 64);
    for (int i = 0; i < 10; i++)
        assert_int_equal(train->labels[i], i);
    for (int64_t i = 0; i < n; i++) {
        double value = train->pixels[i] * dataset->scale;

        sum += value;
        squares += value * value;
    }
    assert_close(sum / (double)n, 0.30589, 5e-6);
    assert_close(sqrt(squares / (double)n - pow(sum / (double)n, 2)), 0.37554, 5e-6);
    dataset_close(dataset);
}

static struct loader *open_loader(const struct dataset *dataset, struct sampler *sampler)
{
    struct loader_options options = {.dataset = dataset,
                                     .sampler = sampler,
                                     .batch_size = 100,
                                     .test_batch_size = 100,
                                     .batches_an_update = 1,
                                     .threads = 1};
    struct loader *loader;
    struct err err;

    assert_int_equal(loader_open(&loader, &options, &err), 0);
    return loader;
}

static void loaded_pixels_are_normalised(void **state)
{
    struct job_dataset job = {.kind = DATASET_DIGITS};
    struct dataset *dataset = open_dataset(&job, 1);
    struct loader *loader = open_loader(dataset, NULL);
    float f32[100 * 64];
    double f64[100 * 64];
    int32_t labels[100];

    (void)state;
    assert_int_equal(loader_take_f64(loader, SPLIT_TEST, 4, f64, labels, NULL), 100);
    assert_int_equal(loader_take_f32(loader, SPLIT_TEST, 4, f32, labels, NULL), 100);
    for (int i = 0; i < 100 * 64; i++) {
        int pixel = dataset->split[SPLIT_TEST].pixels[400 * 64 + i];

        assert_close(f64[i], (pixel / 16.0 - 0.3053) / 0.3760, 1e-14);
        assert_true(f32[i] == (float)f64[i]);
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(labels[i], dataset->split[SPLIT_TEST].labels[400 + i]);
    loader_close(loader);
    dataset_close(dataset);
}

/* --- label noise, orders ---------------------------------------------------------------------- */

static void subsets_are_the_twins(void **state)
{
    FILE *file = golden_open("draws.txt");
    struct job_dataset job = {.kind = DATASET_DIGITS};
    struct dataset *whole = open_dataset(&job, 1);
    const struct samples *all = &whole->split[SPLIT_TRAIN];
    int lines = 0;
    char *line;

    (void)state;
    for (; (line = golden_next(file, "subset")); lines++) {
        uint64_t seed = golden_integer(&line);
        struct dataset *dataset;

        job.train_limit = (int64_t)golden_integer(&line);
        dataset = open_dataset(&job, seed);
        assert_int_equal(dataset->split[SPLIT_TRAIN].n, job.train_limit);
        for (int64_t i = 0; i < job.train_limit; i++) {
            int64_t sample = (int64_t)golden_integer(&line);

            assert_int_equal(dataset->split[SPLIT_TRAIN].labels[i], all->labels[sample]);
            assert_memory_equal(dataset->split[SPLIT_TRAIN].pixels + i * 64,
                                all->pixels + sample * 64, 64);
        }
        dataset_close(dataset);
    }
    assert_true(lines > 0);
    dataset_close(whole);
    fclose(file);
}

static void labels_are_the_twins(void **state)
{
    FILE *file = golden_open("draws.txt");
    int lines = 0;
    char *line;

    (void)state;
    for (; (line = golden_next(file, "labels")); lines++) {
        uint64_t seed = golden_integer(&line);
        struct job_dataset job = {.kind = DATASET_DIGITS};
        struct dataset *dataset;

        job.label_noise = golden_number(&line);
        job.train_limit = (int64_t)golden_integer(&line);
        dataset = open_dataset(&job, seed);
        assert_int_equal(dataset->split[SPLIT_TRAIN].n, job.train_limit);
        for (int64_t i = 0; i < job.train_limit; i++)
            assert_int_equal(dataset->split[SPLIT_TRAIN].labels[i], golden_integer(&line));
        dataset_close(dataset);
    }
    assert_true(lines > 0);
    fclose(file);
}

static int64_t wrong_labels(int64_t limit, double share, uint64_t seed)
{
    struct job_dataset job = {.kind = DATASET_DIGITS, .train_limit = limit};
    struct dataset *clean = open_dataset(&job, seed), *noisy;
    int64_t wrong = 0;

    job.label_noise = share;
    noisy = open_dataset(&job, seed);
    for (int64_t i = 0; i < clean->split[SPLIT_TRAIN].n; i++) {
        assert_in_range(noisy->split[SPLIT_TRAIN].labels[i], 0, 9);
        wrong += clean->split[SPLIT_TRAIN].labels[i] != noisy->split[SPLIT_TRAIN].labels[i];
    }
    assert_memory_equal(clean->split[SPLIT_TEST].labels, noisy->split[SPLIT_TEST].labels,
                        500 * sizeof(int32_t));
    dataset_close(clean);
    dataset_close(noisy);
    return wrong;
}

static void exactly_the_share_is_wrong(void **state)
{
    (void)state;
    assert_int_equal(wrong_labels(300, 0.2, 1), 60);
    assert_int_equal(wrong_labels(0, 0.2, 7), 259); /* 259.4 */
    assert_int_equal(wrong_labels(0, 1, 7), 1297);
    assert_int_equal(wrong_labels(30, 0, 7), 0);
    assert_int_equal(wrong_labels(30, 0.05, 7), 2); /* 1.5 goes up */
}

static void orders_are_the_twins(void **state)
{
    FILE *file = golden_open("draws.txt");
    int lines = 0;
    char *line;

    (void)state;
    for (; (line = golden_next(file, "order")); lines++) {
        uint64_t seed = golden_integer(&line), pass = golden_integer(&line);
        int64_t n = (int64_t)golden_integer(&line);
        cleanup_free struct order_item *items = calloc((size_t)n, sizeof *items);
        cleanup_free struct order_item *scratch = calloc((size_t)n, sizeof *scratch);

        order_draw(items, scratch, n, seed, RANDOM_SHUFFLE, pass);
        for (int64_t i = 0; i < n; i++)
            assert_int_equal(items[i].index, golden_integer(&line));
    }
    assert_true(lines > 0);
    fclose(file);
}

static void each_pass_has_each_sample_once(void **state)
{
    enum { SAMPLES = 103, BATCH = 10, BATCHES = 11 };
    struct sampler *sampler;
    struct err err;

    (void)state;
    assert_int_equal(sampler_open(&sampler, 5, SAMPLES, BATCH, &err), 0);
    assert_int_equal(sampler_batches(sampler), BATCHES);
    for (uint64_t pass = 0; pass < 4; pass++) {
        int seen[SAMPLES] = {0};

        for (uint64_t b = pass * BATCHES; b < (pass + 1) * BATCHES; b++) {
            const int64_t *index = sampler_batch(sampler, b);

            assert_int_equal(sampler_batch_size(sampler, b), b % BATCHES == 10 ? 3 : BATCH);
            for (int64_t i = 0; i < sampler_batch_size(sampler, b); i++)
                seen[index[i]]++;
        }
        for (int i = 0; i < SAMPLES; i++)
            assert_int_equal(seen[i], 1);
    }
    sampler_close(sampler);
}

static void a_batch_does_not_depend_on_what_was_read_before(void **state)
{
    struct sampler *forward, *direct;
    int64_t wanted[7];
    struct err err;

    (void)state;
    assert_int_equal(sampler_open(&forward, 5, 49, 7, &err), 0);
    assert_int_equal(sampler_open(&direct, 5, 49, 7, &err), 0);
    for (uint64_t b = 0; b < 20; b++)
        memcpy(wanted, sampler_batch(forward, b), sizeof wanted);
    assert_memory_equal(sampler_batch(direct, 19), wanted, sizeof wanted);
    sampler_batch(direct, 2);
    assert_memory_equal(sampler_batch(direct, 19), wanted, sizeof wanted);
    sampler_close(forward);
    sampler_close(direct);
}

/* --- IDX -------------------------------------------------------------------------------------- */

static void idx_files_are_read(void **state)
{
    struct job_dataset job;
    struct dataset *dataset;
    double sum = 0, squares = 0;
    int n = IDX_TRAIN * IDX_HEIGHT * IDX_WIDTH;

    (void)state;
    idx_folder_make(&job);
    idx_folder_rename(&job, "t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte");
    dataset = open_dataset(&job, 1);
    idx_folder_remove(&job);
    assert_int_equal(dataset->split[SPLIT_TRAIN].n, IDX_TRAIN);
    assert_int_equal(dataset->split[SPLIT_TEST].n, IDX_TEST);
    assert_int_equal(dataset->classes, IDX_CLASSES);
    assert_int_equal(dataset->height, IDX_HEIGHT);
    assert_int_equal(dataset->width, IDX_WIDTH);
    assert_int_equal(dataset->split[SPLIT_TRAIN].pixels[1], 48);
    assert_int_equal(dataset->split[SPLIT_TRAIN].labels[2], 2);
    for (int i = 0; i < n; i++)
        sum += (uint8_t)(i * 37 + 11) / 255.0;
    for (int i = 0; i < n; i++)
        squares += pow((uint8_t)(i * 37 + 11) / 255.0 - sum / n, 2);
    assert_close(dataset->mean[0], sum / n, 1e-12);
    assert_close(dataset->deviation[0], sqrt(squares / n), 1e-12);
    assert_close(dataset->scale, 1 / 255.0, 0);
    dataset_close(dataset);
}

/* How to break a file, and what the message must then say beside the file's name. */
struct breakage {
    const char *name; /* of the file; what it is renamed to, unless NULL: */
    const char *renamed;
    size_t patch_at, patch_bytes; /* none: 0 */
    const char *patch;
    size_t resize; /* 0: not */
    int code;
    const char *says, *names;
};

#define TRAIN_IMAGES "train-images-idx3-ubyte"
#define TRAIN_LABELS "train-labels-idx1-ubyte"
#define TEST_IMAGES  "t10k-images-idx3-ubyte"
#define TEST_LABELS  "t10k-labels-idx1-ubyte"
#define IMAGES_BYTES (16 + IDX_TRAIN * IDX_HEIGHT * IDX_WIDTH)

static const struct breakage breakages[] = {
    {TRAIN_IMAGES, "elsewhere", .code = ERR_NOT_FOUND, .says = "holds neither"},
    {TRAIN_LABELS, TRAIN_LABELS ".gz", .code = ERR_NOT_FOUND, .says = "gunzip",
     .names = TRAIN_LABELS ".gz"},
    {TEST_IMAGES, "t10k-images.idx3-ubyte.gz", .code = ERR_NOT_FOUND, .says = "gunzip"},
    {TRAIN_IMAGES, .patch = "\x1f\x8b", .patch_bytes = 2, .code = ERR_CORRUPT, .says = "gunzip"},
    {TRAIN_IMAGES, .patch = "\x89PNG", .patch_bytes = 4, .code = ERR_CORRUPT,
     .says = "no IDX file (it begins with 89504e47"},
    {TRAIN_IMAGES, .patch = "\x0d", .patch_at = 2, .patch_bytes = 1, .code = ERR_CORRUPT,
     .says = "IDX type 0x0d"},
    {TRAIN_IMAGES, .patch = "\x04", .patch_at = 3, .patch_bytes = 1, .code = ERR_CORRUPT,
     .says = "has 4 dimensions in place of 3"},
    {TRAIN_LABELS, .patch = "\x03", .patch_at = 3, .patch_bytes = 1, .code = ERR_CORRUPT,
     .says = "has 3 dimensions in place of 1"},
    {TRAIN_IMAGES, .patch = "\0\0\0\0", .patch_at = 4, .patch_bytes = 4, .code = ERR_CORRUPT,
     .says = "no samples"},
    {TRAIN_IMAGES, .patch = "\0\0\0\0", .patch_at = 12, .patch_bytes = 4, .code = ERR_CORRUPT,
     .says = "without pixels"},
    {TRAIN_IMAGES, .patch = "\xff\xff\xff\xff", .patch_at = 4, .patch_bytes = 4,
     .code = ERR_CORRUPT, .says = "4294967295 samples"},
    {TRAIN_IMAGES, .patch = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", .patch_at = 4,
     .patch_bytes = 12, .code = ERR_CORRUPT, .says = "4294967295"},
    {TRAIN_IMAGES, .patch = "\x15", .patch_at = 7, .patch_bytes = 1, .code = ERR_CORRUPT,
     .says = "truncated"},
    {TRAIN_IMAGES, .patch = "\x13", .patch_at = 7, .patch_bytes = 1, .code = ERR_CORRUPT,
     .says = "trailing bytes"},
    {TRAIN_IMAGES, .resize = IMAGES_BYTES - 1, .code = ERR_CORRUPT, .says = "truncated"},
    {TRAIN_IMAGES, .resize = IMAGES_BYTES + 1, .code = ERR_CORRUPT, .says = "trailing bytes"},
    {TRAIN_IMAGES, .resize = 15, .code = ERR_CORRUPT, .says = "too short"},
    {TRAIN_LABELS, .resize = 7, .code = ERR_CORRUPT, .says = "too short"},
    {TRAIN_LABELS, .resize = 8 + IDX_TRAIN + 4, .code = ERR_CORRUPT, .says = "trailing bytes"},
    {TEST_LABELS, .patch = "\x06", .patch_at = 7, .patch_bytes = 1, .resize = 8 + 6,
     .code = ERR_CORRUPT, .says = "6 labels for the 7 images"},
    {TEST_LABELS, .patch = "\xc8", .patch_at = 8, .patch_bytes = 1, .code = ERR_CORRUPT,
     .says = "sample 0 has label 200; the training labels have 4 classes"},
    {TEST_LABELS, .patch = "\x04", .patch_at = 8 + 6, .patch_bytes = 1, .code = ERR_CORRUPT,
     .says = "sample 6 has label 4; the training labels have 4 classes"},
    {TEST_IMAGES, .patch = "\0\0\0\x05\0\0\0\x06", .patch_at = 8, .patch_bytes = 8,
     .code = ERR_CORRUPT, .says = "training has 6×5"},
};

static void break_file(const struct job_dataset *job, const struct breakage *b)
{
    if (b->patch)
        idx_folder_patch(job, b->name, b->patch_at, b->patch, b->patch_bytes);
    if (b->resize)
        idx_folder_resize(job, b->name, b->resize);
    if (b->renamed)
        idx_folder_rename(job, b->name, b->renamed);
}

static void broken_files_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(breakages); i++) {
        const struct breakage *b = &breakages[i];
        struct job_dataset job;

        idx_folder_make(&job);
        break_file(&job, b);
        assert_dataset_refused(&job, b->code,
                               b->names     ? b->names
                               : b->renamed ? ""
                                            : b->name,
                               b->says);
        if (b->renamed)
            idx_folder_rename(&job, b->renamed, b->name);
        idx_folder_remove(&job);
    }
}

static void each_single_header_bit_matters(void **state)
{
    struct job_dataset job;
    struct dataset_info info;
    uint8_t header[16] = {0, 0, 8, 3, 0, 0, 0, IDX_TRAIN, 0, 0, 0, IDX_HEIGHT, 0, 0, 0, IDX_WIDTH};

    (void)state;
    idx_folder_make(&job);
    for (size_t bit = 0; bit < 8 * sizeof header; bit++) {
        uint8_t flipped = header[bit / 8] ^ (uint8_t)(1 << bit % 8);

        idx_folder_patch(&job, TRAIN_IMAGES, bit / 8, &flipped, 1);
        assert_int_equal(dataset_describe(&info, &job, NULL), ERR_CORRUPT);
        idx_folder_patch(&job, TRAIN_IMAGES, bit / 8, &header[bit / 8], 1);
    }
    assert_int_equal(dataset_describe(&info, &job, NULL), 0);
    idx_folder_remove(&job);
}

static void labels_and_pixels_must_differ(void **state)
{
    uint8_t same[16 + IDX_TRAIN * IDX_HEIGHT * IDX_WIDTH] = {
        0, 0, 8, 3, 0, 0, 0, IDX_TRAIN, 0, 0, 0, IDX_HEIGHT, 0, 0, 0, IDX_WIDTH};
    const uint8_t zeros[IDX_TRAIN] = {0};
    struct dataset *dataset;
    struct job_dataset job;
    struct err err;

    (void)state;
    idx_folder_make(&job);
    idx_folder_write(&job, TRAIN_IMAGES, same, sizeof same);
    assert_int_equal(dataset_open(&dataset, &job, 1, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "all pixels are the same"));
    idx_folder_patch(&job, TRAIN_LABELS, 8, zeros, IDX_TRAIN);
    idx_folder_patch(&job, TEST_LABELS, 8, zeros, IDX_TEST);
    assert_dataset_refused(&job, ERR_CORRUPT, TRAIN_LABELS, "one class only");
    idx_folder_remove(&job);
}

/* A class that only the test set has is a class too. */
static void classes_are_those_of_training(void **state)
{
    struct job_dataset job;
    struct dataset_info info;

    (void)state;
    idx_folder_make(&job);
    idx_folder_patch(&job, TRAIN_LABELS, 8, "\xff", 1);
    assert_int_equal(dataset_describe(&info, &job, NULL), 0);
    assert_int_equal(info.classes, 256);
    idx_folder_remove(&job);
}

static void what_is_no_folder_of_files_is_refused(void **state)
{
    struct job_dataset job, nowhere = {.kind = DATASET_IDX, .path = "/nonexistent/mnist"};
    struct job_dataset file = {.kind = DATASET_IDX};
    char path[JOB_PATH_MAX + 100];

    (void)state;
    assert_dataset_refused(&nowhere, ERR_NOT_FOUND, "/nonexistent/mnist", "No such file");
    idx_folder_make(&job);
    strcpy(file.path, job.path);
    strcat(file.path, "/" TRAIN_IMAGES);
    assert_dataset_refused(&file, ERR_INVALID, TRAIN_IMAGES, "not a folder");
    snprintf(path, sizeof path, "%s/%s", job.path, TRAIN_IMAGES);
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* opening it must not wait */
    assert_dataset_refused(&job, ERR_INVALID, TRAIN_IMAGES, "not a regular file");
    idx_folder_remove(&job);
}

static void more_than_there_is_cannot_be_asked_for(void **state)
{
    struct job_dataset job = {.kind = DATASET_DIGITS, .train_limit = 1298};
    struct dataset *dataset;
    struct err err;

    (void)state;
    assert_int_equal(dataset_open(&dataset, &job, 1, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "1297"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_is_what_its_readme_says),
        cmocka_unit_test(loaded_pixels_are_normalised),
        cmocka_unit_test(subsets_are_the_twins),
        cmocka_unit_test(labels_are_the_twins),
        cmocka_unit_test(exactly_the_share_is_wrong),
        cmocka_unit_test(orders_are_the_twins),
        cmocka_unit_test(each_pass_has_each_sample_once),
        cmocka_unit_test(a_batch_does_not_depend_on_what_was_read_before),
        cmocka_unit_test(idx_files_are_read),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(each_single_header_bit_matters),
        cmocka_unit_test(labels_and_pixels_must_differ),
        cmocka_unit_test(classes_are_those_of_training),
        cmocka_unit_test(what_is_no_folder_of_files_is_refused),
        cmocka_unit_test(more_than_there_is_cannot_be_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
