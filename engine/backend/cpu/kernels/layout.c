/* Changes of layout, and pools, which are one on the way. */
#include "backend/cpu/kernels/lanes.h"

INLINE struct dense_lanes dense_lanes_at(const struct rearrange *r, size_t plane)
{
    return dense_lanes_of(&r->shape, r->channels, plane);
}

void KERNEL(to_blocked)(const void *arguments, size_t begin, size_t end)
{
    const struct rearrange *r = arguments;
    size_t pixels = r->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        struct dense_lanes d = dense_lanes_at(r, plane);
        const float *from = r->from + d.at * pixels;
        float *to = r->to + plane * pixels * LANES;

        for (size_t i = 0; i < LANES; i++)
            for (size_t p = 0; p < pixels; p++)
                to[p * LANES + i] = i < d.n ? from[i * d.step * pixels + p] : 0;
    }
}

void KERNEL(to_dense)(const void *arguments, size_t begin, size_t end)
{
    const struct rearrange *r = arguments;
    size_t pixels = r->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        struct dense_lanes d = dense_lanes_at(r, plane);
        const float *from = r->from + plane * pixels * LANES;
        float *to = r->to + d.at * pixels;

        for (size_t i = 0; i < d.n; i++)
            for (size_t p = 0; p < pixels; p++)
                to[i * d.step * pixels + p] = from[p * LANES + i];
    }
}

void KERNEL(pool)(const void *arguments, size_t begin, size_t end)
{
    const struct rearrange *r = arguments;
    size_t pixels = r->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        struct dense_lanes d = dense_lanes_at(r, plane);
        const float *from = r->from + plane * pixels * LANES;
        wide sum = {0};

        for (size_t p = 0; p < pixels; p++)
            sum += widen(load(from + p * LANES));
        for (size_t i = 0; i < d.n; i++)
            r->to[d.at + i * d.step] = (float)(sum[i] / (double)pixels);
    }
}

void KERNEL(pool_grad)(const void *arguments, size_t begin, size_t end)
{
    const struct rearrange *r = arguments;
    size_t pixels = r->shape.pixels;

    for (size_t plane = begin; plane < end; plane++) {
        struct dense_lanes d = dense_lanes_at(r, plane);
        float *to = r->to + plane * pixels * LANES;
        lanes value = {0};

        for (size_t i = 0; i < d.n; i++)
            value[i] = r->from[d.at + i * d.step] / (float)pixels;
        for (size_t p = 0; p < pixels; p++)
            store(to + p * LANES, value);
    }
}
