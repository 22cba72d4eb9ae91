/* Philox's counters, several at a time. */
#ifndef ENGINE_BACKEND_CPU_KERNELS_DRAWS_H
#define ENGINE_BACKEND_CPU_KERNELS_DRAWS_H

#include "backend/cpu/kernels/lanes.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

typedef uint64_t words __attribute__((vector_size(64))); /* a 32-bit number in each low half */
typedef uint32_t half_words __attribute__((vector_size(64)));
typedef int32_t ints __attribute__((vector_size(64)));

/* The products of the low halves. */
INLINE words multiply(words a, uint32_t factor)
{
#if defined(__AVX512F__)
    return (words)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(factor));
#elif defined(__AVX2__)
    union {
        words whole;
        __m256i part[2];
    } u = {a};
    for (int i = 0; i < 2; i++)
        u.part[i] = _mm256_mul_epu32(u.part[i], _mm256_set1_epi64x(factor));
    return u.whole;
#elif defined(__SSE2__)
    union {
        words whole;
        __m128i part[4];
    } u = {a};
    for (int i = 0; i < 4; i++)
        u.part[i] = _mm_mul_epu32(u.part[i], _mm_set1_epi64x(factor));
    return u.whole;
#else
    return (a & 0xffffffffu) * factor;
#endif
}

struct counters {
    words word[4];
};

/* `philox` for eight consecutive blocks. Upper halves of the lanes hold rubbish. */
INLINE struct counters draw(uint64_t seed, uint32_t block, uint32_t stream, uint64_t step)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    words c0 = {0}, c1, c2, c3, none = {0};

    for (uint32_t i = 0; i < 8; i++)
        c0[i] = (uint32_t)(block + i);
    c1 = none + stream;
    c2 = none + (uint32_t)step;
    c3 = none + (uint32_t)(step >> 32);
    for (int round = 0; round < 10; round++) {
        words a = multiply(c0, 0xD2511F53u), b = multiply(c2, 0xCD9E8D57u);
        c0 = (b >> 32) ^ c1 ^ k0;
        c1 = b;
        c2 = (a >> 32) ^ c3 ^ k1;
        c3 = a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (struct counters){{c0, c1, c2, c3}};
}

/* The low halves of two vectors, as one. */
INLINE ints low_halves(words a, words b)
{
    return (ints)__builtin_shufflevector((half_words)a, (half_words)b, 0, 2, 4, 6, 8, 10, 12, 14,
                                         16, 18, 20, 22, 24, 26, 28, 30);
}

#endif
