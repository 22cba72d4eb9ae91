/* Arithmetic that device and host share, so that tests hold it against float64 without a GPU.
 * Valid C and C++. Normal numbers are those of the CPU backend (kernels/normal.c) to the bit: the
 * same polynomials, each product and sum rounded by itself. Elsewhere a compiler may fuse. */
#ifndef ENGINE_BACKEND_CUDA_ARITHMETIC_H
#define ENGINE_BACKEND_CUDA_ARITHMETIC_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "random/philox.h"

#define HD RANDOM_INLINE

HD uint32_t bits_of(float x)
{
#ifdef __CUDA_ARCH__
    return __float_as_uint(x);
#else
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
#endif
}

HD float float_of(uint32_t bits)
{
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
#endif
}

/* ---- bfloat16: the upper half of a float's bits -------------------------------------------- */

HD float bf16_widen(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

/* To nearest, ties to even; every NaN becomes 0x7fff, as the device's instruction has it. */
HD uint16_t bf16_round(float x)
{
#ifdef __CUDA_ARCH__
    uint16_t out;

    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out) : "f"(x));
    return out;
#else
    uint32_t bits = bits_of(x);

    if (x != x)
        return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#endif
}

/* ---- normal numbers ------------------------------------------------------------------------ */

/* a·b + c in two roundings. */
HD float twice_rounded(float a, float b, float c)
{
#ifdef __CUDA_ARCH__
    return __fadd_rn(__fmul_rn(a, b), c);
#else
    return a * b + c;
#endif
}

HD float product(float a, float b)
{
#ifdef __CUDA_ARCH__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

/* √(−2 ln u) for u = (bits + 1)/2²⁴. ln(2^e·(1 + f)) = e·ln 2 + f − f²/2 + f³·P(f), with 1 + f
 * from √½ to √2. */
HD float normal_radius(uint32_t bits)
{
    uint32_t shifted = bits_of(product((float)(bits + 1), 0x1p-24f)) - 0x3f3504f3u; /* √½ */
    float e = (float)((int32_t)shifted >> 23);
    float f = float_of((shifted & 0x7fffff) + 0x3f3504f3u) - 1.0f, square = product(f, f);
    float p = twice_rounded(f, -0x1.41f444p-4f, 0x1.07cfa8p-3f);

    p = twice_rounded(p, f, -0x1.0cdea6p-3f);
    p = twice_rounded(p, f, 0x1.226e68p-3f);
    p = twice_rounded(p, f, -0x1.5478c4p-3f);
    p = twice_rounded(p, f, 0x1.99a596p-3f);
    p = twice_rounded(p, f, -0x1.00021ep-2f);
    p = twice_rounded(p, f, 0x1.55554ap-2f);
    p = twice_rounded(product(square, f), p, product(e, -0x1.bd0106p-13f));
    p = twice_rounded(square, -0.5f, p); /* halving is exact, and so as good as p − f²·½ */
    p = twice_rounded(e, 0x1.63p-1f, p + f);
    return sqrtf(product(p, -2.0f));
}

/* cos and sin of 2π·bits/2²⁴: a quarter turn and the rest f in [−½, ½] quarters. */
HD void normal_turn(uint32_t bits, float *cosine, float *sine)
{
    uint32_t quarter = (bits + (1u << 21)) >> 22;
    float f = product((float)((int32_t)bits - (int32_t)(quarter << 22)), 0x1p-22f);
    float z = product(f, f);
    float s = twice_rounded(z, -0x1.2cf5d4p-8f, 0x1.465a3ep-4f);
    float c = twice_rounded(z, 0x1.d9c364p-11f, -0x1.55c57cp-6f);
    float even, odd;

    s = twice_rounded(s, z, -0x1.4abba8p-1f);
    s = product(twice_rounded(s, z, 0x1.921fb4p+0f), f);
    c = twice_rounded(c, z, 0x1.03c1dcp-2f);
    c = twice_rounded(c, z, -0x1.3bd3ccp+0f);
    c = twice_rounded(c, z, 1.0f);
    even = quarter & 1 ? s : c;
    odd = quarter & 1 ? c : s;
    *cosine = float_of(bits_of(even) ^ ((quarter + 1) << 30 & 0x80000000u));
    *sine = float_of(bits_of(odd) ^ (quarter << 30 & 0x80000000u));
}

/* Those of elements 4·block … 4·block + 3 of a stream (random/philox.h). */
HD void normal_four(uint64_t seed, uint32_t block, uint32_t stream, uint64_t step, float out[4])
{
    struct philox draw = philox(seed, block, stream, step);

    for (int pair = 0; pair < 2; pair++) {
        float r = normal_radius(draw.word[2 * pair] >> 8), cosine, sine;

        normal_turn(draw.word[2 * pair + 1] >> 8, &cosine, &sine);
        out[2 * pair] = product(cosine, r);
        out[2 * pair + 1] = product(sine, r);
    }
}

/* Whether dropout keeps an element; `threshold` is dropout_threshold(rate): the same as
 * random_keeps, without doubles. */
HD bool dropout_keeps(uint32_t word, uint32_t threshold)
{
    return word >> 8 >= threshold;
}

HD uint32_t dropout_threshold(double rate)
{
    return (uint32_t)ceil(rate * 0x1p24);
}

/* ---- activations --------------------------------------------------------------------------- */

HD float relu(float x)
{
    return x <= 0 ? 0 : x; /* NaN stays NaN */
}

/* The normal distribution: how much of it lies below x. */
HD float normal_below(float x)
{
    return 0.5f * erfcf(-0.70710678118654752f * x);
}

HD float gelu(float x)
{
    return x * normal_below(x);
}

HD float gelu_slope(float x)
{
    return normal_below(x) + x * (0.39894228040143268f * expf(-0.5f * x * x));
}

/* gelu'' = φ(x)·(2 − x²), φ the normal density */
HD float gelu_curve(float x)
{
    return 0.39894228040143268f * expf(-0.5f * x * x) * (2 - x * x);
}

/* ---- normalisation ------------------------------------------------------------------------- */

HD float inverse_deviation(float var, float eps)
{
    return 1.0f / sqrtf(var + eps);
}

/* One rounding order everywhere, so that a ReLU's mask can be computed again. */
HD float normalise(float x, float mean, float scale, float beta)
{
    return fmaf(x - mean, scale, beta);
}

/* Derivative by x of batch norm. `sum` = Σdz, `sum_x` = Σdz·x̂ over `count` values. */
HD float normalise_slope(float dz, float x_hat, float scale, float mean_dz, float mean_dz_x)
{
    return scale * (dz - mean_dz - x_hat * mean_dz_x);
}

/* ---- changing the weights ------------------------------------------------------------------ */

struct rule_numbers {
    bool nesterov, decoupled;
    float lr, momentum, weight_decay;
    float kept, rate, scale, beta1, rest1, beta2, rest2, eps;
};

/* d: the mixed gradient. */
HD void rule_sgd(const struct rule_numbers *r, float d, float *w, float *m)
{
    float by;

    d += *w * r->weight_decay;
    by = *m = d + *m * r->momentum;
    if (r->nesterov)
        by = d + by * r->momentum;
    *w -= by * r->lr;
}

HD void rule_adam(const struct rule_numbers *r, float d, float *w, float *m, float *v)
{
    float kept = *w * r->kept;

    if (!r->decoupled)
        d += kept * r->weight_decay;
    *m = *m * r->beta1 + d * r->rest1;
    *v = *v * r->beta2 + d * d * r->rest2;
    *w = kept - r->rate * *m / (sqrtf(*v) * r->scale + r->eps);
}

/* The factor of the noise: z is multiplied by it. `extra`: 1e-16 for tensors of one dimension.
 * Rounded in one way wherever it is computed. */
HD float noise_scale(float sigma, float squares, float extra, float eta, float fisher)
{
    return product(sigma, sqrtf(squares) + extra) / sqrtf(twice_rounded(eta, fisher, 1));
}

#endif
