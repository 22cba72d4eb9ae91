/* Batch normalisation, backward, with the ReLU and the sum of derivatives before it.
 *
 *   dbeta = Σ d, dgamma = Σ d·(x − mean)/σ,
 *   dx = gamma/σ·(d − dbeta/n − (x − mean)/σ·dgamma/n),  σ = √(var + eps) */
#include <math.h>

#include "backend/cpu/kernels/lanes.h"
#include "backend/cpu/kernels/tiles.h"

/* What a kernel is specialised by. */
struct variant {
    bool more, store;
    enum norm_mask mask;
};

INLINE lanes derivative(const struct norm_derivative *d, struct variant v,
                        const struct affine *forward, size_t at, lanes x)
{
    lanes value = load(d->dy + at);

    if (v.more)
        value += load(d->more + at);
    if (v.mask == MASK_Y)
        value = keep(value, load(d->y + at) > 0.0f);
    if (v.mask == MASK_X)
        value = keep(value, affine(forward, x) > 0.0f);
    return value;
}

INLINE void sums(const struct norm_grad_sums *a, size_t begin, size_t end, struct variant v)
{
    for (size_t work = begin; work < end; work++) {
        struct tile t = tile_at(&a->shape, a->x, work);
        struct affine forward = affine_at(a->d.coef, t.block);
        lanes sum[2] = {0}, product[2] = {0};

        for (size_t image = 0; image < t.images; image++) {
            size_t at = t.at + image * t.image_step;
            for (size_t p = 0; p < t.pixels; p++, at += LANES) {
                lanes x = load(a->x + at);
                lanes d = derivative(&a->d, v, &forward, at, x);
                if (v.store)
                    store(a->store + at, d);
                sum[p & 1] += d;
                product[p & 1] += d * (x - forward.mean);
            }
        }
        store(a->partial + work * 2 * LANES, sum[0] + sum[1]);
        store(a->partial + (work * 2 + 1) * LANES, product[0] + product[1]);
    }
}

INLINE void sums_masked(const struct norm_grad_sums *a, size_t begin, size_t end, bool more,
                        bool store)
{
    if (a->d.mask == MASK_NONE)
        sums(a, begin, end, (struct variant){more, store, MASK_NONE});
    else if (a->d.mask == MASK_Y)
        sums(a, begin, end, (struct variant){more, store, MASK_Y});
    else
        sums(a, begin, end, (struct variant){more, store, MASK_X});
}

void KERNEL(norm_grad_sums)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_grad_sums *a = arguments;

    if (a->d.more && a->store)
        sums_masked(a, begin, end, true, true);
    else if (a->d.more)
        sums_masked(a, begin, end, true, false);
    else if (a->store)
        sums_masked(a, begin, end, false, true);
    else
        sums_masked(a, begin, end, false, false);
}

struct totals {
    double sum, product; /* Σ d, Σ d·(x − mean) of one channel */
};

struct coefficients {
    float mean, scale, c1, c2;
};

/* Of channel c; also writes its dgamma and dbeta. */
INLINE struct coefficients finish(const struct norm_grad_coefficients *a, size_t c, struct totals t)
{
    double n = activation_count(&a->shape), over_sigma, scale;

    if (c >= a->channels)
        return (struct coefficients){0};
    over_sigma = 1 / sqrt((double)a->var[c] + a->eps);
    scale = a->gamma[c] * over_sigma;
    a->dbeta[c] = (float)t.sum;
    a->dgamma[c] = (float)(t.product * over_sigma);
    return (struct coefficients){.mean = a->mean[c],
                                 .scale = (float)scale,
                                 .c1 = (float)(scale * t.sum / n),
                                 .c2 = (float)(scale * over_sigma * over_sigma * t.product / n)};
}

INLINE void finish_channels(const struct norm_grad_coefficients *a, size_t block, wide sum,
                            wide product)
{
    float *coef = a->coef + block * GRADS * LANES;

    for (size_t i = 0; i < LANES; i++) {
        struct coefficients own = finish(a, block * LANES + i, (struct totals){sum[i], product[i]});
        coef[GRAD_MEAN * LANES + i] = own.mean;
        coef[GRAD_SCALE * LANES + i] = own.scale;
        coef[GRAD_C1 * LANES + i] = own.c1;
        coef[GRAD_C2 * LANES + i] = own.c2;
    }
}

/* Derivatives of lanes past the last image are zeros, so all lanes are summed. */
INLINE void finish_images(const struct norm_grad_coefficients *a, size_t channel, wide sum,
                          wide product)
{
    float *coef = a->coef + channel * GRADS * LANES;
    struct totals t = {0};
    struct coefficients own;

    for (size_t i = 0; i < LANES; i++) {
        t.sum += sum[i];
        t.product += product[i];
    }
    own = finish(a, channel, t);
    store(coef + GRAD_MEAN * LANES, splat(own.mean));
    store(coef + GRAD_SCALE * LANES, splat(own.scale));
    store(coef + GRAD_C1 * LANES, splat(own.c1));
    store(coef + GRAD_C2 * LANES, splat(own.c2));
}

void KERNEL(norm_grad_coefficients)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_grad_coefficients *a = arguments;
    size_t tiles = a->tiles ? a->tiles : tile_count(&a->shape);
    size_t step = a->shape.blocks * 2 * LANES;

    for (size_t block = begin; block < end; block++) {
        const float *first = a->partial + block * 2 * LANES;
        wide sum = {0}, product = {0};

        for (size_t t = 0; t < tiles; t++) {
            sum += widen(load(first + t * step));
            product += widen(load(first + t * step + LANES));
        }
        if (a->shape.by_image)
            finish_images(a, block, sum, product);
        else
            finish_channels(a, block, sum, product);
    }
}

INLINE void apply_planes(const struct norm_grad_apply *a, size_t begin, size_t end,
                         struct variant v, bool plus)
{
    size_t pixels = a->shape.pixels, last_row = (a->shape.images - 1) * a->shape.blocks;

    for (size_t plane = begin; plane < end; plane++) {
        size_t at = plane * pixels * LANES, block = plane % a->shape.blocks;
        const float *c = a->grad_coef + block * GRADS * LANES;
        struct affine forward = affine_at(a->d.coef, block);
        lanes mean = load(c + GRAD_MEAN * LANES), scale = load(c + GRAD_SCALE * LANES);
        lanes c1 = load(c + GRAD_C1 * LANES), c2 = load(c + GRAD_C2 * LANES);
        lanes_mask mask = first_lanes(plane < last_row ? LANES : a->shape.tail);

        for (size_t p = 0; p < pixels; p++, at += LANES) {
            lanes x = load(a->x + at);
            lanes d = derivative(&a->d, v, &forward, at, x);
            lanes dx = keep(d * scale - c1 - (x - mean) * c2, mask);
            if (plus)
                dx += load(a->plus + at);
            store(a->dx + at, dx);
        }
    }
}

INLINE void apply_masked(const struct norm_grad_apply *a, size_t begin, size_t end, bool more,
                         bool plus)
{
    if (a->d.mask == MASK_NONE)
        apply_planes(a, begin, end, (struct variant){more, false, MASK_NONE}, plus);
    else if (a->d.mask == MASK_Y)
        apply_planes(a, begin, end, (struct variant){more, false, MASK_Y}, plus);
    else
        apply_planes(a, begin, end, (struct variant){more, false, MASK_X}, plus);
}

void KERNEL(norm_grad_apply)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_grad_apply *a = arguments;

    if (a->d.more && a->plus)
        apply_masked(a, begin, end, true, true);
    else if (a->d.more)
        apply_masked(a, begin, end, true, false);
    else if (a->plus)
        apply_masked(a, begin, end, false, true);
    else
        apply_masked(a, begin, end, false, false);
}
