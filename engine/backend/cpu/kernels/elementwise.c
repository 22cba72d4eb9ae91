/* Elementwise operations on flat arrays, changes of layout, and pools. */
#include "backend/cpu/kernels/lanes.h"

void KERNEL(relu)(const void *arguments, size_t begin, size_t end)
{
    const struct elementwise *e = arguments;
    size_t i = begin;

    for (; i + LANES <= end; i += LANES)
        store_loose(e->y + i, rectify(load_loose(e->a + i)));
    for (; i < end; i++)
        e->y[i] = e->a[i] <= 0 ? 0 : e->a[i];
}

/* a: dy, b: the ReLU's result. */
void KERNEL(relu_grad)(const void *arguments, size_t begin, size_t end)
{
    const struct elementwise *e = arguments;
    size_t i = begin;

    for (; i + LANES <= end; i += LANES)
        store_loose(e->y + i, keep(load_loose(e->a + i), load_loose(e->b + i) > 0.0f));
    for (; i < end; i++)
        e->y[i] = e->b[i] > 0 ? e->a[i] : 0;
}

void KERNEL(add)(const void *arguments, size_t begin, size_t end)
{
    const struct elementwise *e = arguments;
    size_t i = begin;

    for (; i + LANES <= end; i += LANES)
        store_loose(e->y + i, load_loose(e->a + i) + load_loose(e->b + i));
    for (; i < end; i++)
        e->y[i] = e->a[i] + e->b[i];
}

/* How many of a plane's lanes are channels. */
INLINE size_t real_lanes(const struct rearrange *r, size_t block)
{
    size_t left = r->channels - block * LANES;

    return left < LANES ? left : LANES;
}

void KERNEL(to_blocked)(const void *arguments, size_t begin, size_t end)
{
    const struct rearrange *r = arguments;
    size_t pixels = r->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        size_t image = plane / r->shape.blocks, block = plane % r->shape.blocks;
        const float *from = r->from + (image * r->channels + block * LANES) * pixels;
        float *to = r->to + plane * pixels * LANES;
        size_t n = real_lanes(r, block);

        for (size_t p = 0; p < pixels; p++)
            for (size_t i = 0; i < LANES; i++)
                to[p * LANES + i] = i < n ? from[i * pixels + p] : 0;
    }
}

void KERNEL(to_dense)(const void *arguments, size_t begin, size_t end)
{
    const struct rearrange *r = arguments;
    size_t pixels = r->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        size_t image = plane / r->shape.blocks, block = plane % r->shape.blocks;
        const float *from = r->from + plane * pixels * LANES;
        float *to = r->to + (image * r->channels + block * LANES) * pixels;
        size_t n = real_lanes(r, block);

        for (size_t i = 0; i < n; i++)
            for (size_t p = 0; p < pixels; p++)
                to[i * pixels + p] = from[p * LANES + i];
    }
}

void KERNEL(pool)(const void *arguments, size_t begin, size_t end)
{
    const struct rearrange *r = arguments;
    size_t pixels = r->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        size_t image = plane / r->shape.blocks, block = plane % r->shape.blocks;
        const float *from = r->from + plane * pixels * LANES;
        float *to = r->to + image * r->channels + block * LANES;
        wide sum = {0};

        for (size_t p = 0; p < pixels; p++)
            sum += widen(load(from + p * LANES));
        for (size_t i = 0; i < real_lanes(r, block); i++)
            to[i] = (float)(sum[i] / (double)pixels);
    }
}

void KERNEL(pool_grad)(const void *arguments, size_t begin, size_t end)
{
    const struct rearrange *r = arguments;
    size_t pixels = r->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        size_t image = plane / r->shape.blocks, block = plane % r->shape.blocks;
        const float *from = r->from + image * r->channels + block * LANES;
        float *to = r->to + plane * pixels * LANES;
        lanes value = {0};

        for (size_t i = 0; i < real_lanes(r, block); i++)
            value[i] = from[i] / (float)pixels;
        for (size_t p = 0; p < pixels; p++)
            store(to + p * LANES, value);
    }
}
