/* a·b + c for convolutions: how it rounds is the instruction set's affair there, as in oneDNN's. */
#ifndef ENGINE_BACKEND_CPU_KERNELS_FUSED_H
#define ENGINE_BACKEND_CPU_KERNELS_FUSED_H

#include "backend/cpu/kernels/lanes.h"

#if defined(__FMA__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

INLINE lanes fused(lanes a, lanes b, lanes c)
{
#if defined(__AVX512F__)
    return (lanes)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (lanes)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

#endif
