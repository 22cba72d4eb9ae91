/* What augmentation draws and does: against torchvision with the same random numbers, and how often
 * it does what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "close.h"
#include "data/normalise.h"
#include "data/randaugment.h"
#include "data/sample.h"
#include "data_folder.h"
#include "golden.h"

/* The image of make_images.py. */
static void formula(int height, int width, uint8_t *pixels)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                *pixels++ =
                    (uint8_t)(30 + (x * 7 + y * 13 * (c + 1) + x * y % 17 * 5 + c * 40) % 190);
}

static void operations_are_pils(void **state)
{
    enum { HEIGHT = 29, WIDTH = 37 };
    FILE *file = golden_open("images.txt");
    uint8_t pixels[HEIGHT * WIDTH * 3], scratch[HEIGHT * WIDTH * 3];
    struct image image = {HEIGHT, WIDTH, 3, pixels};
    int lines = 0, wrong = 0;
    char *line;

    (void)state;
    for (; (line = golden_next(file, "operation")); lines++) {
        int operation = (int)golden_integer(&line), magnitude = (int)golden_integer(&line);
        int negative = (int)golden_integer(&line);

        formula(HEIGHT, WIDTH, pixels);
        image_operate(&image, scratch, (enum image_operation)operation, magnitude, negative);
        if (hash_bytes(pixels, sizeof pixels) == golden_integer(&line))
            continue;
        print_error("operation %d, magnitude %d, negative %d\n", operation, magnitude, negative);
        wrong++;
    }
    assert_int_equal(lines, OPERATIONS * (JOB_RANDAUGMENT_MAX + 1) * 2);
    assert_int_equal(wrong, 0);
    fclose(file);
}

static struct dataset *formula_cifar(const struct job_augment *augment, uint64_t seed)
{
    static uint8_t pixels[32 * 32 * 3];
    static const int32_t labels[1] = {0};
    struct dataset *dataset;
    struct job_dataset job;

    cifar_folder_make(&job, 10, 1);
    assert_int_equal(dataset_open(&dataset, &job, seed, NULL), 0);
    data_folder_remove(job.path);
    formula(32, 32, pixels);
    dataset->job.augment = *augment;
    dataset->split[SPLIT_TRAIN] = (struct samples){.n = 1, .pixels = pixels, .labels = labels};
    return dataset;
}

static void cifar_is_varied_as_the_reference_does(void **state)
{
    FILE *file = golden_open("images.txt");
    struct job_augment augment = {
        .flip = true, .crop_padding = 4, .cutout = 16, .cutout_probability = 0.5};
    int lines = 0;
    char *line;

    (void)state;
    for (; (line = golden_next(file, "cifar")); lines++) {
        uint64_t seed = golden_integer(&line), pass = golden_integer(&line);
        int64_t sample = (int64_t)golden_integer(&line);
        uint8_t pixels[32 * 32 * 3];
        float image[3 * 32 * 32];
        struct normaliser normaliser;
        struct sample_maker *maker;
        struct dataset *dataset;
        struct window cutout;

        augment.randaugment = (int64_t)golden_integer(&line);
        augment.randaugment_magnitude = (int64_t)golden_integer(&line);
        dataset = formula_cifar(&augment, seed);
        normaliser_make(&normaliser, dataset);
        assert_int_equal(sample_maker_open(&maker, dataset, NULL), 0);
        assert_int_equal(sample_make(maker, SPLIT_TRAIN, 0, sample, pass, pixels, &cutout, NULL),
                         0);
        normalise_f32(&normaliser, pixels, &cutout, image);
        assert_int_equal(hash_bytes(image, sizeof image), golden_integer(&line));
        sample_maker_close(maker);
        dataset_close(dataset);
    }
    assert_true(lines > 0);
    fclose(file);
}

static void windows_are_torchvisions(void **state)
{
    FILE *file = golden_open("images.txt");
    int lines = 0;
    char *line;

    (void)state;
    for (; (line = golden_next(file, "resized")); lines++) {
        struct augment_key key = {.seed = golden_integer(&line), .pass = golden_integer(&line)};
        struct window window;
        double area_min;
        int height;

        key.sample = (int64_t)golden_integer(&line);
        area_min = golden_number(&line);
        height = (int)golden_integer(&line);
        window = augment_resized(&key, area_min, height, (int)golden_integer(&line));
        assert_int_equal(window.top, golden_integer(&line));
        assert_int_equal(window.left, golden_integer(&line));
        assert_int_equal(window.height, golden_integer(&line));
        assert_int_equal(window.width, golden_integer(&line));
    }
    assert_true(lines > 0);
    fclose(file);
}

/* --- how often ---------------------------------------------------------------------------------
 */

#define DRAWS 20000

/* Each of n outcomes is as frequent as the others, by χ² at five standard deviations. */
static void assert_uniform(const int *counts, int n)
{
    double expected = (double)DRAWS / n, chi = 0;

    for (int i = 0; i < n; i++)
        chi += (counts[i] - expected) * (counts[i] - expected) / expected;
    if (chi > n - 1 + 5 * sqrt(2.0 * (n - 1)))
        fail_msg("χ² of %d outcomes is %g", n, chi);
}

/* Draw i is sample i mod 200 of pass i / 200: neither of the two may show. */
static struct augment_key key_of(int i)
{
    return (struct augment_key){.seed = 11, .pass = (uint64_t)i / 200, .sample = i % 200};
}

static void half_of_the_images_are_mirrored(void **state)
{
    int counts[2] = {0}, again = 0;

    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        struct augment_key key = key_of(i), next = key;

        next.pass++;
        counts[augment_flip(&key)]++;
        again += augment_flip(&key) == augment_flip(&next);
    }
    assert_uniform(counts, 2);
    assert_close(again, DRAWS / 2.0, 5 * sqrt(DRAWS) / 2); /* passes are independent */
}

static void crops_are_anywhere(void **state)
{
    int corners[81] = {0};

    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        struct augment_key key = key_of(i);
        int top, left;

        augment_corner(&key, 9, 9, &top, &left);
        assert_in_range(top, 0, 8);
        assert_in_range(left, 0, 8);
        corners[top * 9 + left]++;
    }
    assert_uniform(corners, 81);
}

static void half_of_the_images_are_cut_out_of_anywhere(void **state)
{
    struct job_augment job = {.cutout = 16, .cutout_probability = 0.5};
    int bottoms[32] = {0}, rights[32] = {0}, none = 0;

    (void)state;
    for (int i = 0; none + DRAWS > i; i++) { /* until so many were cut out of */
        struct augment_key key = key_of(i);
        struct window cut = augment_cutout(&key, &job, 32, 32);

        if (cut.height == 0) {
            none++;
            continue;
        }
        /* Corners −8 … 23, clipped: the far edge at 8 … 31, the rest at 32. */
        assert_true(cut.top + cut.height <= 32 && cut.left + cut.width <= 32);
        assert_true(cut.height >= 8 && cut.height <= 16 && cut.width >= 8 && cut.width <= 16);
        assert_true(cut.height == 16 || cut.top == 0 || cut.top + cut.height == 32);
        bottoms[cut.top == 0 ? cut.height - 8 : cut.top + 8]++;
        rights[cut.left == 0 ? cut.width - 8 : cut.left + 8]++;
    }
    assert_close(none, DRAWS, 5 * sqrt(2 * DRAWS));
    assert_uniform(bottoms, 32);
    assert_uniform(rights, 32);
}

static void resized_crops_have_all_areas_and_shapes(void **state)
{
    enum { SIDE = 1000, BINS = 10 };
    int areas[BINS] = {0}, shapes[BINS] = {0};

    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        struct augment_key key = key_of(i);
        struct window w = augment_resized(&key, 0.1, SIDE, SIDE);
        double area = (double)w.height * w.width / (SIDE * SIDE);
        double shape = log((double)w.width / w.height) / log(4.0 / 3) / 2 + 0.5;

        assert_true(w.top >= 0 && w.left >= 0);
        assert_true(w.top + w.height <= SIDE && w.left + w.width <= SIDE);
        assert_true(area >= 0.099 && area <= 1);
        assert_true(shape >= -0.01 && shape <= 1.01);
        if (area >= 0.7) /* beyond, the longest shapes do not fit in and are drawn again */
            continue;
        areas[(int)(fmax(area - 0.1, 0) / 0.6 * BINS)]++;
        shapes[(int)fmin(fmax(shape, 0) * BINS, BINS - 1)]++;
    }
    /* A window does not fit in if its area is above 3/4 and its shape too long, once in
     * p = (¼ − 0.0342/ln 4/3)/0.9 = 0.146 draws; the areas below have 1/(1 − p) of what they would.
     */
    for (int i = 0; i < BINS; i++) {
        assert_close(areas[i], DRAWS * 0.06 / 0.9 / (1 - 0.1457), 200);
        assert_close(shapes[i], DRAWS * 0.06 / 0.9 / (1 - 0.1457), 200);
    }
}

static void operations_are_equally_frequent(void **state)
{
    int counts[OPERATIONS * 2] = {0}, pairs[OPERATIONS * OPERATIONS] = {0};

    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        struct augment_key key = key_of(i);
        struct augment_operation first = augment_operation(&key, 0, OPERATIONS);
        struct augment_operation second = augment_operation(&key, 1, OPERATIONS);

        counts[first.operation * 2 + first.negative]++;
        pairs[first.operation * OPERATIONS + second.operation]++;
    }
    assert_uniform(counts, OPERATIONS * 2);
    assert_uniform(pairs, OPERATIONS * OPERATIONS);
}

static void another_seed_or_sample_is_another_draw(void **state)
{
    int same_seed = 0, same_sample = 0;

    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        struct augment_key key = key_of(i), seed = key, sample = key;

        seed.seed++;
        sample.sample += 1000;
        same_seed += augment_flip(&key) == augment_flip(&seed);
        same_sample += augment_flip(&key) == augment_flip(&sample);
    }
    assert_close(same_seed, DRAWS / 2.0, 5 * sqrt(DRAWS) / 2);
    assert_close(same_sample, DRAWS / 2.0, 5 * sqrt(DRAWS) / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_are_pils),
        cmocka_unit_test(cifar_is_varied_as_the_reference_does),
        cmocka_unit_test(windows_are_torchvisions),
        cmocka_unit_test(half_of_the_images_are_mirrored),
        cmocka_unit_test(crops_are_anywhere),
        cmocka_unit_test(half_of_the_images_are_cut_out_of_anywhere),
        cmocka_unit_test(resized_crops_have_all_areas_and_shapes),
        cmocka_unit_test(operations_are_equally_frequent),
        cmocka_unit_test(another_seed_or_sample_is_another_draw),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
