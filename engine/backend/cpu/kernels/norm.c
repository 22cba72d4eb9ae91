/* Batch normalisation, forward. Two sweeps over x: statistics, then the result with whatever
 * follows it (a residual, a ReLU).
 *
 * The statistics are exact to fp32 however far the mean is from zero: each tile is read twice
 * while it is in the cache, once for its mean and once for the squares around it, and the tiles
 * are merged in double (Chan, Golub, LeVeque: Updating formulae … for computing sample variances).
 */
#include <math.h>

#include "backend/cpu/kernels/lanes.h"
#include "backend/cpu/kernels/tiles.h"

INLINE lanes tile_sum(const struct tile *t)
{
    lanes sum[4] = {0};

    for (size_t image = 0; image < t->images; image++) {
        size_t row = t->at + image * t->image_step, p = 0;
        const float *x = t->x + row;
        for (; p + 4 <= t->pixels; p += 4)
            for (size_t i = 0; i < 4; i++)
                sum[i] += load(x + (p + i) * LANES);
        for (; p < t->pixels; p++)
            sum[0] += load(x + p * LANES);
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

INLINE lanes tile_squares(const struct tile *t, lanes mean)
{
    lanes sum[4] = {0};

    for (size_t image = 0; image < t->images; image++) {
        const float *x = t->x + t->at + image * t->image_step;
        size_t p = 0;
        for (; p + 4 <= t->pixels; p += 4)
            for (size_t i = 0; i < 4; i++) {
                lanes d = load(x + (p + i) * LANES) - mean;
                sum[i] += d * d;
            }
        for (; p < t->pixels; p++) {
            lanes d = load(x + p * LANES) - mean;
            sum[0] += d * d;
        }
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

void KERNEL(norm_statistics)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_statistics *a = arguments;

    for (size_t work = begin; work < end; work++) {
        struct tile t = tile_at(&a->shape, a->x, work);
        lanes mean = tile_sum(&t) / (float)(t.images * t.pixels);
        store(a->partial + work * 2 * LANES, mean);
        store(a->partial + (work * 2 + 1) * LANES, tile_squares(&t, mean));
    }
}

INLINE double wide_sum(wide x)
{
    double sum = 0;

    for (size_t i = 0; i < LANES; i++)
        sum += x[i];
    return sum;
}

/* By channel: mean and biased variance of one block of channels from its tiles', lane by lane. */
static void merge_channels(const struct norm_coefficients *a, size_t block)
{
    size_t tiles = tile_count(&a->shape), step = a->shape.blocks * 2 * LANES;
    const float *first = a->partial + block * 2 * LANES;
    double n = activation_count(&a->shape);
    wide mean = {0}, squares = {0};

    for (size_t t = 0; t < tiles; t++)
        mean += widen(load(first + t * step)) * (double)tile_elements(&a->shape, t);
    mean /= n;
    for (size_t t = 0; t < tiles; t++) {
        wide d = widen(load(first + t * step)) - mean;
        squares += d * d * (double)tile_elements(&a->shape, t);
        squares += widen(load(first + t * step + LANES));
    }
    squares /= n;
    for (size_t i = 0; i < LANES; i++) {
        a->mean[block * LANES + i] = (float)mean[i];
        a->var[block * LANES + i] = (float)squares[i];
    }
}

/* By image: of one channel, from its tiles' and their lanes that are images. */
static void merge_images(const struct norm_coefficients *a, size_t channel)
{
    size_t tiles = tile_count(&a->shape), step = a->shape.blocks * 2 * LANES;
    size_t whole = tiles - tile_columns(&a->shape); /* tiles before the last row of images */
    const float *first = a->partial + channel * 2 * LANES;
    double n = activation_count(&a->shape), mean;
    lanes_mask last = first_lanes(a->shape.tail), all = first_lanes(LANES);
    wide sum = {0}, squares = {0};

    for (size_t t = 0; t < tiles; t++)
        sum += widen(keep(load(first + t * step), t < whole ? all : last)) *
               (double)tile_elements(&a->shape, t);
    mean = wide_sum(sum) / n;
    for (size_t t = 0; t < tiles; t++) {
        lanes_mask mask = t < whole ? all : last;
        wide d = widen(load(first + t * step)) - mean;
        wide own = d * d * (double)tile_elements(&a->shape, t);

        own += widen(load(first + t * step + LANES));
        squares += keep_wide(own, mask);
    }
    a->mean[channel] = (float)mean;
    a->var[channel] = (float)(wide_sum(squares) / n);
}

struct coefficients {
    float mean, scale, shift;
};

INLINE struct coefficients coefficients_of(const struct norm_coefficients *a, size_t c)
{
    if (c >= a->channels)
        return (struct coefficients){0};
    return (struct coefficients){.mean = a->bias ? a->mean[c] - a->bias[c] : a->mean[c],
                                 .scale = (float)(a->gamma[c] / sqrt((double)a->var[c] + a->eps)),
                                 .shift = a->beta ? a->beta[c] : 0};
}

INLINE void set_channels(const struct norm_coefficients *a, size_t block)
{
    float *coef = a->coef + block * COEFS * LANES;

    for (size_t i = 0; i < LANES; i++) {
        struct coefficients own = coefficients_of(a, block * LANES + i);
        coef[COEF_MEAN * LANES + i] = own.mean;
        coef[COEF_SCALE * LANES + i] = own.scale;
        coef[COEF_SHIFT * LANES + i] = own.shift;
    }
}

INLINE void set_images(const struct norm_coefficients *a, size_t channel)
{
    float *coef = a->coef + channel * COEFS * LANES;
    struct coefficients own = coefficients_of(a, channel);

    store(coef + COEF_MEAN * LANES, splat(own.mean));
    store(coef + COEF_SCALE * LANES, splat(own.scale));
    store(coef + COEF_SHIFT * LANES, splat(own.shift));
}

void KERNEL(norm_coefficients)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_coefficients *a = arguments;

    for (size_t block = begin; block < end; block++)
        if (a->shape.by_image) {
            if (a->partial)
                merge_images(a, block);
            set_images(a, block);
        } else {
            if (a->partial)
                merge_channels(a, block);
            set_channels(a, block);
        }
}

INLINE void apply_planes(const struct norm_apply *a, size_t begin, size_t end,
                         enum norm_residual residual, bool relu)
{
    size_t pixels = a->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        size_t at = plane * pixels * LANES, block = plane % a->shape.blocks;
        struct affine own = affine_at(a->coef, block);
        struct affine theirs = own;
        if (residual == RESIDUAL_NORM)
            theirs = affine_at(a->other_coef, block);
        for (size_t p = 0; p < pixels; p++, at += LANES) {
            lanes y = affine(&own, load(a->x + at));
            if (residual == RESIDUAL_PLAIN)
                y += load(a->other + at);
            if (residual == RESIDUAL_NORM)
                y += affine(&theirs, load(a->other + at));
            store(a->y + at, relu ? rectify(y) : y);
        }
    }
}

void KERNEL(norm_apply)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_apply *a = arguments;

    if (a->residual == RESIDUAL_NONE && a->relu)
        apply_planes(a, begin, end, RESIDUAL_NONE, true);
    else if (a->residual == RESIDUAL_NONE)
        apply_planes(a, begin, end, RESIDUAL_NONE, false);
    else if (a->residual == RESIDUAL_PLAIN && a->relu)
        apply_planes(a, begin, end, RESIDUAL_PLAIN, true);
    else if (a->residual == RESIDUAL_PLAIN)
        apply_planes(a, begin, end, RESIDUAL_PLAIN, false);
    else if (a->relu)
        apply_planes(a, begin, end, RESIDUAL_NORM, true);
    else
        apply_planes(a, begin, end, RESIDUAL_NORM, false);
}
