/* Elementwise operations on flat arrays. */
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
