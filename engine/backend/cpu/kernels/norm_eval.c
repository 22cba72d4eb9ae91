/* Batch normalisation in given statistics on its way back, and sums of normalised values: what the
 * tangents of networks are made of. One sweep does it, since nothing has to be known of the batch
 * before.
 *
 *   dx = d·gamma/σ, dgamma = Σ d·(x − mean)/σ, dbeta = Σ d,  σ = √(var + eps)
 *
 * and their tangents, which gain other·Rgamma/σ in dx and Σ other·Rx/σ in dgamma with other = d as
 * it was without the tangent. */
#include <math.h>

#include "backend/cpu/kernels/lanes.h"
#include "backend/cpu/kernels/tiles.h"

INLINE lanes_mask lanes_of_plane(const struct activation *a, size_t plane)
{
    return first_lanes(plane < (a->images - 1) * a->blocks ? LANES : a->tail);
}

INLINE struct affine term_at(const float *coef, size_t block)
{
    if (coef)
        return affine_at(coef, block);
    return (struct affine){.scale = splat(1)};
}

INLINE void sum_planes(const struct affine_sum *a, size_t begin, size_t end, int n,
                       enum norm_mask mask)
{
    size_t pixels = a->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        size_t at = plane * pixels * LANES, block = plane % a->shape.blocks;
        lanes_mask exists = lanes_of_plane(&a->shape, plane);
        struct affine term[AFFINE_TERMS], by = term_at(a->by_coef, block);

#pragma GCC unroll 4
        for (int i = 0; i < n; i++)
            term[i] = term_at(a->coef[i], block);
        for (size_t p = 0; p < pixels; p++, at += LANES) {
            lanes y = affine(&term[0], load(a->x[0] + at));

#pragma GCC unroll 4
            for (int i = 1; i < n; i++)
                y += affine(&term[i], load(a->x[i] + at));
            if (mask == MASK_Y)
                y = keep(y, load(a->by + at) > 0.0f);
            if (mask == MASK_X)
                y = keep(y, affine(&by, load(a->by + at)) > 0.0f);
            store(a->y + at, keep(y, exists));
        }
    }
}

INLINE void sum_masked(const struct affine_sum *a, size_t begin, size_t end, int n)
{
    if (a->mask == MASK_NONE)
        sum_planes(a, begin, end, n, MASK_NONE);
    else if (a->mask == MASK_Y)
        sum_planes(a, begin, end, n, MASK_Y);
    else
        sum_planes(a, begin, end, n, MASK_X);
}

void KERNEL(affine_sum)(const void *arguments, size_t begin, size_t end)
{
    const struct affine_sum *a = arguments;

    if (a->n == 1)
        sum_masked(a, begin, end, 1);
    else if (a->n == 2)
        sum_masked(a, begin, end, 2);
    else if (a->n == 3)
        sum_masked(a, begin, end, 3);
    else
        sum_masked(a, begin, end, 4);
}

struct coefficients {
    float mean, scale, other;
};

INLINE struct coefficients coefficients_of(const struct norm_scales *a, size_t c)
{
    double sigma;

    if (c >= a->channels)
        return (struct coefficients){0};
    sigma = sqrt((double)a->var[c] + a->eps);
    return (struct coefficients){
        .mean = (a->mean ? a->mean[c] : 0) - (a->bias ? a->bias[c] : 0),
        .scale = a->gamma ? (float)(a->gamma[c] / sigma) : 0,
        .other = a->other ? (float)(a->other[c] / sigma) : 0,
    };
}

void KERNEL(norm_scales)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_scales *a = arguments;

    for (size_t block = begin; block < end; block++) {
        float *coef = a->coef + block * COEFS * LANES;

        for (size_t i = 0; i < LANES; i++) {
            size_t c = a->shape.by_image ? block : block * LANES + i;
            struct coefficients own = coefficients_of(a, c);

            coef[COEF_MEAN * LANES + i] = own.mean;
            coef[COEF_SCALE * LANES + i] = own.scale;
            coef[COEF_SHIFT * LANES + i] = own.other;
        }
    }
}

INLINE lanes incoming(const struct norm_eval_grad *a, enum norm_mask mask,
                      const struct affine *forward, size_t at, lanes x)
{
    lanes d = load(a->dy[0] + at);

    for (int i = 1; i < a->n; i++)
        d += load(a->dy[i] + at);
    if (mask == MASK_Y)
        d = keep(d, load(a->y + at) > 0.0f);
    if (mask == MASK_X)
        d = keep(d, affine(forward, x) > 0.0f);
    return d;
}

/* Σ d and Σ d·(x − mean) [+ other·rx] of a tile; dx and d on the way. */
INLINE void walk_tile(const struct norm_eval_grad *a, const struct tile *t, enum norm_mask mask,
                      bool other, lanes *sum, lanes *product)
{
    const float *c = a->coef + t->block * COEFS * LANES;
    lanes mean = load(c + COEF_MEAN * LANES), scale = load(c + COEF_SCALE * LANES);
    lanes others = load(c + COEF_SHIFT * LANES);
    struct affine forward = term_at(a->forward, t->block);

    for (size_t image = 0; image < t->images; image++) {
        size_t at = t->at + image * t->image_step;

        for (size_t p = 0; p < t->pixels; p++, at += LANES) {
            lanes x = load(a->x + at), d = incoming(a, mask, &forward, at, x), dx = d * scale;

            if (a->store)
                store(a->store + at, d);
            sum[p & 1] += d;
            product[p & 1] += d * (x - mean);
            if (other) {
                lanes o = load(a->other + at);

                dx += o * others;
                if (a->rx)
                    product[p & 1] += o * load(a->rx + at);
            }
            if (a->plus)
                dx += load(a->plus + at);
            if (a->dx)
                store(a->dx + at, dx);
        }
    }
}

INLINE void walk(const struct norm_eval_grad *a, size_t begin, size_t end, enum norm_mask mask,
                 bool other)
{
    for (size_t work = begin; work < end; work++) {
        struct tile t = tile_at(&a->shape, a->x, work);
        lanes sum[2] = {0}, product[2] = {0};

        walk_tile(a, &t, mask, other, sum, product);
        store(a->partial + work * 2 * LANES, sum[0] + sum[1]);
        store(a->partial + (work * 2 + 1) * LANES, product[0] + product[1]);
    }
}

INLINE void walk_masked(const struct norm_eval_grad *a, size_t begin, size_t end, bool other)
{
    if (a->mask == MASK_NONE)
        walk(a, begin, end, MASK_NONE, other);
    else if (a->mask == MASK_Y)
        walk(a, begin, end, MASK_Y, other);
    else
        walk(a, begin, end, MASK_X, other);
}

void KERNEL(norm_eval_grad)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_eval_grad *a = arguments;

    if (a->other)
        walk_masked(a, begin, end, true);
    else
        walk_masked(a, begin, end, false);
}

INLINE void finish(const struct norm_eval_sums *a, size_t c, double sum, double product)
{
    if (c >= a->channels)
        return;
    a->dgamma[c] = (float)(product / sqrt((double)a->var[c] + a->eps));
    if (a->dbeta)
        a->dbeta[c] = (float)sum;
}

/* Derivatives of lanes past the last image are zeros, so all lanes are summed. */
void KERNEL(norm_eval_sums)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_eval_sums *a = arguments;
    size_t tiles = tile_count(&a->shape), step = a->shape.blocks * 2 * LANES;

    for (size_t block = begin; block < end; block++) {
        const float *first = a->partial + block * 2 * LANES;
        wide sum = {0}, product = {0};
        double all = 0, all_product = 0;

        for (size_t t = 0; t < tiles; t++) {
            sum += widen(load(first + t * step));
            product += widen(load(first + t * step + LANES));
        }
        for (size_t i = 0; i < LANES; i++) {
            all += sum[i];
            all_product += product[i];
            if (!a->shape.by_image)
                finish(a, block * LANES + i, sum[i], product[i]);
        }
        if (a->shape.by_image)
            finish(a, block, all, all_product);
    }
}
