/* Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC'11), and how this
 * engine draws everything random from it: by purpose and position, never by order of calls.
 *
 *   key     = the job's seed, low and high word
 *   counter = { element/4, purpose << 24 | term << 16 | tensor, step low, step high }
 *
 * One call gives four words, for elements 4b … 4b+3. Uniform numbers keep 24 bits of a word, which
 * float and double both hold exactly, so both precisions see the same draws. Plain C for the CPU,
 * CUDA and tests alike; no branch and no table, so that a compiler can make vectors of it.
 */
#ifndef ENGINE_RANDOM_PHILOX_H
#define ENGINE_RANDOM_PHILOX_H

#include <stdint.h>

#ifdef __CUDACC__
#define RANDOM_INLINE static __host__ __device__ inline
#else
#define RANDOM_INLINE static inline
#endif

enum random_purpose {
    RANDOM_INIT = 1,        /* tensor: number of the parameter; step 0 */
    RANDOM_SHUFFLE = 2,     /* element: sample; step: pass over the data, from 0 */
    RANDOM_LABEL_PICK = 3,  /* element: sample */
    RANDOM_LABEL_VALUE = 4, /* element: sample */
    RANDOM_SUBSET = 6,      /* element: sample */
    RANDOM_NOISE = 5,       /* tensor: number of the parameter; term; step: update, from 0 */
    RANDOM_AUGMENT = 16,    /* element: sample; term: what is drawn; tensor: which of them;
                               step: pass over the data, from 0 */
    RANDOM_DROPOUT = 32,    /* tensor: number of the mask in the graph; term; step: update */
    RANDOM_PROBE = 33,      /* tensor: number of the parameter; term and step: what is drawn and
                               which of them (probe/vectors.h); the samples: element: sample */
};

struct philox {
    uint32_t word[4];
};

RANDOM_INLINE struct philox philox(uint64_t seed, uint32_t block, uint32_t stream, uint64_t step)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = block, c1 = stream, c2 = (uint32_t)step, c3 = (uint32_t)(step >> 32);
    struct philox out;

    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0;
        uint64_t b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out.word[0] = c0;
    out.word[1] = c1;
    out.word[2] = c2;
    out.word[3] = c3;
    return out;
}

RANDOM_INLINE uint32_t random_stream(enum random_purpose purpose, uint32_t term, uint32_t tensor)
{
    return (uint32_t)purpose << 24 | term << 16 | tensor;
}

/* A word as a number in (0, 1]: ((word >> 8) + 1)·2⁻²⁴. Its logarithm is finite. */
RANDOM_INLINE double random_unit(uint32_t word)
{
    return (double)((word >> 8) + 1) * 0x1p-24;
}

/* A word as a number in (−1, 1), symmetric: (2·(word >> 8) + 1)·2⁻²⁴ − 1. */
RANDOM_INLINE double random_symmetric(uint32_t word)
{
    return (double)(2 * (word >> 8) + 1) * 0x1p-24 - 1.0;
}

/* Whether dropout keeps the element that this word was drawn for: (word >> 8)·2⁻²⁴ ≥ rate. */
RANDOM_INLINE int random_keeps(uint32_t word, double rate)
{
    return (double)(word >> 8) >= rate * 0x1p24;
}

/* Four standard normal numbers, by Box and Muller from words (0, 1) and (2, 3):
 *   r = √(−2 ln unit(word 0)), angle = 2π·(word 1 >> 8)·2⁻²⁴ → r·cos, r·sin. */
void random_normal4_f64(struct philox draw, double out[4]);

#endif
