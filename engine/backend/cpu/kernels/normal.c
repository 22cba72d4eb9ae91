/* Normal numbers from Philox, sixteen counters at a time.
 *
 * Plain IEEE operations in one order whatever the vectors' width, no fused multiply-add, so the
 * same bits everywhere. The logarithm and the sines are polynomials, fitted to be as good as
 * possible over their ranges in the largest error: 6e-9, 1e-9 and 5e-11 before rounding. */
#include "random/philox.h"

#include "backend/cpu/kernels/draws.h"

#define WIDTH 16 /* counters at a time; two vectors of eight 64-bit lanes */

typedef float floats __attribute__((vector_size(64)));
typedef float loose_floats __attribute__((vector_size(64), may_alias, aligned(4)));

INLINE floats root(floats x)
{
#if defined(__AVX512F__)
    return (floats)_mm512_sqrt_ps((__m512)x);
#elif defined(__SSE2__)
    union {
        floats whole;
        __m128 part[4];
    } u = {x};
    for (int i = 0; i < 4; i++)
        u.part[i] = _mm_sqrt_ps(u.part[i]);
    return u.whole;
#else
    for (int i = 0; i < WIDTH; i++)
        x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}

/* √(−2 ln u) for u = (24 bits + 1)/2²⁴. ln(2^e·(1 + f)) = e·ln 2 + f − f²/2 + f³·P(f), with
 * 1 + f from √½ to √2. */
INLINE floats radius(ints bits)
{
    floats u = __builtin_convertvector(bits + 1, floats) * 0x1p-24f;
    ints shifted = (ints)u - 0x3f3504f3; /* √½ */
    floats e = __builtin_convertvector(shifted >> 23, floats);
    floats f = (floats)((shifted & 0x7fffff) + 0x3f3504f3) - 1.0f;
    floats p = f * -0x1.41f444p-4f + 0x1.07cfa8p-3f;

    p = p * f - 0x1.0cdea6p-3f;
    p = p * f + 0x1.226e68p-3f;
    p = p * f - 0x1.5478c4p-3f;
    p = p * f + 0x1.99a596p-3f;
    p = p * f - 0x1.00021ep-2f;
    p = p * f + 0x1.55554ap-2f;
    p = f * f * f * p + e * -0x1.bd0106p-13f; /* ln 2 less its leading bits below */
    p = p - f * f * 0.5f;
    return root((p + f + e * 0x1.63p-1f) * -2.0f);
}

/* cos and sin of 2π·bits/2²⁴: a quarter turn and the rest f in [−½, ½] quarters. */
INLINE void turn(ints bits, floats *cosine, floats *sine)
{
    ints quarter = (bits + (1 << 21)) >> 22, odd = -(quarter & 1);
    floats f = __builtin_convertvector(bits - (quarter << 22), floats) * 0x1p-22f, z = f * f;
    floats s = z * -0x1.2cf5d4p-8f + 0x1.465a3ep-4f, c = z * 0x1.d9c364p-11f - 0x1.55c57cp-6f;
    ints flip_cosine = (quarter + 1) << 30 & INT32_MIN, flip_sine = quarter << 30 & INT32_MIN;

    s = (s * z - 0x1.4abba8p-1f) * z + 0x1.921fb4p+0f;
    s = s * f;
    c = (c * z + 0x1.03c1dcp-2f) * z - 0x1.3bd3ccp+0f;
    c = c * z + 1.0f;
    *cosine = (floats)((((ints)c & ~odd) | ((ints)s & odd)) ^ flip_cosine);
    *sine = (floats)((((ints)s & ~odd) | ((ints)c & odd)) ^ flip_sine);
}

/* The lower or upper halves of two vectors, by turns: of single numbers, and of pairs. */
#define SINGLES_LOW(a, b)                                                                          \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define SINGLES_HIGH(a, b)                                                                         \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define PAIRS_LOW(a, b)                                                                            \
    __builtin_shufflevector(a, b, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23)
#define PAIRS_HIGH(a, b)                                                                           \
    __builtin_shufflevector(a, b, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31)

/* 64 normal numbers in the order of their elements. */
INLINE void normals(uint64_t seed, uint32_t block, uint32_t stream, uint64_t step, float *out)
{
    struct counters a = draw(seed, block, stream, step), b = draw(seed, block + 8, stream, step);
    floats pairs[2][2];

    for (int i = 0; i < 2; i++) {
        half_words w0 = (half_words)low_halves(a.word[2 * i], b.word[2 * i]);
        half_words w1 = (half_words)low_halves(a.word[2 * i + 1], b.word[2 * i + 1]);
        floats r = radius((ints)(w0 >> 8)), cosine, sine;

        turn((ints)(w1 >> 8), &cosine, &sine);
        cosine *= r;
        sine *= r;
        pairs[i][0] = SINGLES_LOW(cosine, sine);
        pairs[i][1] = SINGLES_HIGH(cosine, sine);
    }
    for (int i = 0; i < 2; i++) {
        *(loose_floats *)(out + 32 * i) = PAIRS_LOW(pairs[0][i], pairs[1][i]);
        *(loose_floats *)(out + 32 * i + 16) = PAIRS_HIGH(pairs[0][i], pairs[1][i]);
    }
}

void KERNEL(random_normal)(const void *arguments, size_t begin, size_t end)
{
    const struct random_normal *r = arguments;
    size_t i = begin;

    for (; i + 4 * WIDTH <= end; i += 4 * WIDTH)
        normals(r->seed, (uint32_t)(r->first_block + i / 4), r->stream, r->step, r->out + i);
    if (i < end) {
        float rest[4 * WIDTH];

        normals(r->seed, (uint32_t)(r->first_block + i / 4), r->stream, r->step, rest);
        for (size_t j = 0; i < end; i++, j++)
            r->out[i] = rest[j];
    }
}
