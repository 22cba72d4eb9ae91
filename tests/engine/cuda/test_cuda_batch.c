/* Batches of a dataset in device memory against what the host makes of the same samples: every
 * variation, in every combination, to the last bit of a float. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/kernels/arithmetic.h"
#include "base/cleanup.h"
#include "data/normalise.h"
#include "data/sample.h"
#include "kernel_arrays.h"
#include "random/philox.h"
#include "support.h"

#define SAMPLES 40
#define BATCH   23
#define PASS    0x100000003u
#define FIRST   11

struct batch_trial {
    int channels, height, width;
    int64_t c;
    struct job_augment augment;
    bool training;
};

static const struct batch_trial trials[] = {
    {3, 9, 7, 8, {.flip = true, .crop_padding = 2, .cutout = 4, .cutout_probability = 0.6}, true},
    {3, 8, 8, 8, {.flip = true}, true},
    {3, 8, 8, 3, {.crop_padding = 4}, true},
    {1, 28, 28, 8, {.cutout = 5, .cutout_probability = 1}, true},
    {1, 5, 6, 1, {.flip = true, .crop_padding = 1, .cutout = 16, .cutout_probability = 0.5}, true},
    {3, 9, 7, 16, {.flip = true, .crop_padding = 2, .cutout = 4, .cutout_probability = 1}, false},
};

static void open_dataset(struct dataset *d, const struct batch_trial *t)
{
    size_t bytes = (size_t)(SAMPLES * t->channels * t->height * t->width);
    uint8_t *pixels = malloc(bytes);
    int32_t *labels = malloc(SAMPLES * sizeof *labels);

    *d = (struct dataset){.channels = t->channels,
                          .height = t->height,
                          .width = t->width,
                          .scale = 1.0 / 255,
                          .mean = {0.5, 0.4, 0.3},
                          .deviation = {0.25, 0.2, 0.15},
                          .seed = 0xabcdef0123456789};
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)philox(3, (uint32_t)i, 0, 0).word[0];
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = i * 7 % 10;
    d->split[SPLIT_TRAIN] = d->split[SPLIT_TEST] = (struct samples){SAMPLES, pixels, NULL, labels};
    d->job.augment = t->augment;
    d->own_pixels[0] = pixels;
    d->own_labels[0] = labels;
}

/* The images of samples order[FIRST + begin …], [n,C,H,W], by the host. */
static void by_host(const struct dataset *d, bool training, const int32_t *order, int n,
                    float *images)
{
    size_t size = (size_t)dataset_image_bytes(d);
    uint8_t *pixels = malloc(size);
    struct sample_maker *maker;
    struct normaliser normaliser;

    normaliser_make(&normaliser, d);
    assert_ok(sample_maker_open(&maker, d, err));
    for (int i = 0; i < n; i++) {
        struct window cutout;

        assert_ok(sample_make(maker, training ? SPLIT_TRAIN : SPLIT_TEST, order[i], order[i], PASS,
                              pixels, &cutout, err));
        normalise_f32(&normaliser, pixels, &cutout, images + (size_t)i * size);
    }
    sample_maker_close(maker);
    free(pixels);
}

static float *levels(const struct dataset *d)
{
    struct normaliser normaliser;
    float *level = device_new((size_t)d->channels * 256 * sizeof *level);

    normaliser_make(&normaliser, d);
    memcpy(level, normaliser.f32, (size_t)d->channels * 256 * sizeof *level);
    return level;
}

static void compare(const struct batch_trial *t, const struct device_batch *b, const float *want)
{
    int64_t plane = b->h * b->w;

    for (int64_t i = 0; i < b->n; i++)
        for (int64_t pixel = 0; pixel < plane; pixel++)
            for (int64_t c = 0; c < b->c; c++) {
                float one = c < t->channels ? want[(i * t->channels + c) * plane + pixel] : 0;
                int64_t at = (i * plane + pixel) * b->c + c;

                if (b->type == ELEMENT_F32)
                    assert_true(((float *)b->images)[at] == one);
                else
                    assert_int_equal(((uint16_t *)b->images)[at], bf16_round(one));
            }
}

static void compare_batch(const struct batch_trial *t, enum element type, int64_t begin)
{
    struct dataset d;
    int32_t order[SAMPLES];
    struct turn turn = {.batch = {{0, 0}, {FIRST, PASS}}};
    struct device_batch b;
    float *want;

    open_dataset(&d, t);
    for (int i = 0; i < SAMPLES; i++)
        order[i] = (i * 13 + 5) % SAMPLES;
    b = (struct device_batch){.pixels = d.own_pixels[0],
                              .all_labels = d.own_labels[0],
                              .order = order,
                              .turn = &turn,
                              .number = 1,
                              .begin = begin,
                              .n = BATCH - begin,
                              .h = t->height,
                              .w = t->width,
                              .channels = t->channels,
                              .c = t->c,
                              .level = levels(&d),
                              .seed = d.seed,
                              .vary = t->training,
                              .flip = t->augment.flip,
                              .crop_padding = (int)t->augment.crop_padding,
                              .cutout = (int)t->augment.cutout,
                              .cutout_probability = t->augment.cutout_probability,
                              .type = type};
    b.images = device_new((size_t)(b.n * b.h * b.w * b.c) * element_bytes(type));
    b.labels = device_new((size_t)b.n * sizeof *b.labels);
    want = malloc((size_t)(BATCH * dataset_image_bytes(&d)) * sizeof *want);
    by_host(&d, t->training, order + FIRST + begin, (int)b.n, want);
    launched(launch_batch(NULL, &b));
    compare(t, &b, want);
    for (int64_t i = 0; i < b.n; i++)
        assert_int_equal(b.labels[i], d.own_labels[0][order[FIRST + begin + i]]);
    free((void *)(uintptr_t)b.level);
    free(b.images);
    free(b.labels);
    free(want);
    free(d.own_pixels[0]);
    free(d.own_labels[0]);
}

static void batches_are_the_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(trials); i++) {
        compare_batch(&trials[i], ELEMENT_F32, 0);
        compare_batch(&trials[i], ELEMENT_BF16, 9);
    }
}

/* Test images: in their own order, from the beginning. */
static void in_order(void **state)
{
    struct dataset d;
    int32_t labels[SAMPLES];
    float *level, *images;
    struct device_batch b;

    (void)state;
    open_dataset(&d, &trials[1]);
    level = levels(&d);
    images = device_new((size_t)(SAMPLES * 8 * 8 * 8) * sizeof *images);
    b = (struct device_batch){.pixels = d.own_pixels[0],
                              .all_labels = d.own_labels[0],
                              .begin = 5,
                              .n = SAMPLES - 5,
                              .h = 8,
                              .w = 8,
                              .channels = 3,
                              .c = 8,
                              .level = level,
                              .images = images,
                              .labels = labels};
    launched(launch_batch(NULL, &b));
    for (int i = 0; i < SAMPLES - 5; i++) {
        assert_int_equal(labels[i], d.own_labels[0][i + 5]);
        assert_true(images[i * 8 * 8 * 8] == level[d.own_pixels[0][(i + 5) * 8 * 8 * 3]]);
    }
    free(level);
    free(images);
    free(d.own_pixels[0]);
    free(d.own_labels[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_the_hosts),
        cmocka_unit_test(in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
