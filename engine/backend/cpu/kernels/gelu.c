/* GELU with the normal distribution itself, not the usual approximation.
 *
 * Below 0 the distribution is e^(−x²/2)/2·erfcx(|x|/√2), above 0 what that leaves of 1. erfcx is
 * u·P(2u − 1) with u = 1/(1 + 0.36·|x|/√2), P fitted for the smallest largest relative error,
 * 4e-8. */
#include "backend/cpu/kernels/exponential.h"

#define DENSITY_AT_0 0x1.988454p-2f /* 1/√(2π) */

/* Φ(x), and e^(−x²/2). */
INLINE lanes below(lanes x, lanes *bell)
{
    lanes_mask negative = x < 0.0f;
    lanes size = choose(negative, -x, x), u = 1.0f / (size * 0x1.04aaf8p-2f + 1.0f);
    lanes v = u + u - 1.0f, p = v * 0x1.348768p-14f + 0x1.c2bee2p-14f, tail;

    p = p * v - 0x1.5e2b22p-11f;
    p = p * v - 0x1.ffe8e6p-10f;
    p = p * v + 0x1.38eafp-9f;
    p = p * v + 0x1.bef888p-6f;
    p = p * v + 0x1.703a56p-4f;
    p = p * v + 0x1.89c8bp-3f;
    p = p * v + 0x1.3a1d94p-2f;
    p = p * v + 0x1.890dacp-2f;
    *bell = exponential(x * x * -0.5f);
    tail = *bell * (p * u) * 0.5f;
    return choose(negative, tail, 1.0f - tail);
}

INLINE lanes gelu(lanes x)
{
    lanes bell;

    return x * below(x, &bell);
}

/* Φ(x) + x·φ(x) */
INLINE lanes slope(lanes x)
{
    lanes bell, phi = below(x, &bell);

    return phi + x * bell * DENSITY_AT_0;
}

void KERNEL(gelu)(const void *arguments, size_t begin, size_t end)
{
    const struct elementwise *e = arguments;
    size_t i = begin;

    for (; i + LANES <= end; i += LANES)
        store_loose(e->y + i, gelu(load_loose(e->a + i)));
    if (i < end)
        store_some(e->y + i, gelu(load_some(e->a + i, end - i, 0)), end - i);
}

/* a: dy, b: x. */
void KERNEL(gelu_grad)(const void *arguments, size_t begin, size_t end)
{
    const struct elementwise *e = arguments;
    size_t i = begin;

    for (; i + LANES <= end; i += LANES)
        store_loose(e->y + i, load_loose(e->a + i) * slope(load_loose(e->b + i)));
    if (i < end)
        store_some(e->y + i,
                   load_some(e->a + i, end - i, 0) * slope(load_some(e->b + i, end - i, 0)),
                   end - i);
}

/* φ(x)·(2 − x²) with the normal density φ */
INLINE lanes curve(lanes x)
{
    lanes square = x * x;

    return exponential(square * -0.5f) * DENSITY_AT_0 * (2.0f - square);
}

/* a: dy, b: x, c: Rx. */
void KERNEL(gelu_curve)(const void *arguments, size_t begin, size_t end)
{
    const struct elementwise *e = arguments;
    size_t i = begin;

    for (; i + LANES <= end; i += LANES)
        store_loose(e->y + i,
                    load_loose(e->a + i) * load_loose(e->c + i) * curve(load_loose(e->b + i)));
    if (i < end)
        store_some(e->y + i,
                   load_some(e->a + i, end - i, 0) * load_some(e->c + i, end - i, 0) *
                       curve(load_some(e->b + i, end - i, 0)),
                   end - i);
}
