/* e^x of vectors, for what is at most 0. */
#ifndef ENGINE_BACKEND_CPU_KERNELS_EXPONENTIAL_H
#define ENGINE_BACKEND_CPU_KERNELS_EXPONENTIAL_H

#include "backend/cpu/kernels/lanes.h"

/* e^x = 2^n·e^r with r within ±ln 2/2, e^r = 1 + r + r²·P(r), P fitted for the smallest largest
 * error, 3e-9. Below −87.3 it stays at 1e-38; NaN stays NaN. */
INLINE lanes exponential(lanes x)
{
    lanes n, r, p, scale;

    x = choose(x < -87.3f, splat(-87.3f), x);
    n = (x * 0x1.715476p+0f + 0x1.8p+23f) - 0x1.8p+23f;
    r = x - n * 0x1.62ep-1f - n * 0x1.0bfbe8p-15f;
    p = r * 0x1.6a2444p-10f + 0x1.1239d4p-7f;
    p = p * r + 0x1.5558f2p-5f;
    p = p * r + 0x1.555492p-3f;
    p = p * r + 0x1.fffffcp-2f;
    scale = (lanes)((__builtin_convertvector(n, lanes_mask) + 127) << 23);
    return (p * (r * r) + r + 1.0f) * scale;
}

/* The first n numbers at `from`, then `rest`. */
INLINE lanes load_some(const float *from, size_t n, float rest)
{
    lanes x = splat(rest);

    for (size_t i = 0; i < n; i++)
        x[i] = from[i];
    return x;
}

INLINE void store_some(float *to, lanes x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = x[i];
}

#endif
