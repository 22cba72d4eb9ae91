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

void KERNEL(norm_grad_coefficients)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_grad_coefficients *a = arguments;
    size_t tiles = tile_count(&a->shape), step = a->shape.blocks * 2 * LANES;
    double n = (double)(a->shape.images * a->shape.pixels);

    for (size_t block = begin; block < end; block++) {
        const float *first = a->partial + block * 2 * LANES;
        float *coef = a->coef + block * GRADS * LANES;
        wide sum = {0}, product = {0};

        for (size_t t = 0; t < tiles; t++) {
            sum += widen(load(first + t * step));
            product += widen(load(first + t * step + LANES));
        }
        for (size_t i = 0; i < LANES; i++) {
            size_t c = block * LANES + i;
            bool real = c < a->channels;
            double over_sigma = real ? 1 / sqrt((double)a->var[c] + a->eps) : 0;
            double scale = real ? a->gamma[c] * over_sigma : 0;

            coef[GRAD_MEAN * LANES + i] = real ? a->mean[c] : 0;
            coef[GRAD_SCALE * LANES + i] = (float)scale;
            coef[GRAD_C1 * LANES + i] = (float)(scale * sum[i] / n);
            coef[GRAD_C2 * LANES + i] = (float)(scale * over_sigma * over_sigma * product[i] / n);
            if (real) {
                a->dbeta[c] = (float)sum[i];
                a->dgamma[c] = (float)(product[i] * over_sigma);
            }
        }
    }
}

INLINE void apply_planes(const struct norm_grad_apply *a, size_t begin, size_t end,
                         struct variant v)
{
    size_t pixels = a->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        size_t at = plane * pixels * LANES, block = plane % a->shape.blocks;
        const float *c = a->grad_coef + block * GRADS * LANES;
        struct affine forward = affine_at(a->d.coef, block);
        lanes mean = load(c + GRAD_MEAN * LANES), scale = load(c + GRAD_SCALE * LANES);
        lanes c1 = load(c + GRAD_C1 * LANES), c2 = load(c + GRAD_C2 * LANES);

        for (size_t p = 0; p < pixels; p++, at += LANES) {
            lanes x = load(a->x + at);
            lanes d = derivative(&a->d, v, &forward, at, x);
            store(a->dx + at, d * scale - c1 - (x - mean) * c2);
        }
    }
}

INLINE void apply_masked(const struct norm_grad_apply *a, size_t begin, size_t end, bool more)
{
    if (a->d.mask == MASK_NONE)
        apply_planes(a, begin, end, (struct variant){more, false, MASK_NONE});
    else if (a->d.mask == MASK_Y)
        apply_planes(a, begin, end, (struct variant){more, false, MASK_Y});
    else
        apply_planes(a, begin, end, (struct variant){more, false, MASK_X});
}

void KERNEL(norm_grad_apply)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_grad_apply *a = arguments;

    if (a->d.more)
        apply_masked(a, begin, end, true);
    else
        apply_masked(a, begin, end, false);
}
