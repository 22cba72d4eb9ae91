/* What the kernels' files share: numbers in memory, eight at a time or one, sums over a warp and a
 * block, launching.
 *
 * The same sources are compiled for the host by tests, which loop over blocks and threads: there
 * KERNELS_EMULATED is set, and "emulate.h" stands for the language. */
#ifndef ENGINE_BACKEND_CUDA_DEVICE_H
#define ENGINE_BACKEND_CUDA_DEVICE_H

#ifdef KERNELS_EMULATED
#include "emulate.h"
#else
#include <cuda_runtime.h>
#define SHARED_ROW(name) extern __shared__ float name[]
/* Enqueues a kernel; the value is the launch's error. */
#define LAUNCH(kernel, blocks, threads, shared_bytes, stream, ...)                                 \
    (kernel<<<(blocks), (threads), (shared_bytes), (stream)>>>(__VA_ARGS__),                       \
     (int)cudaGetLastError())
#endif

#include "backend/cuda/kernels/arithmetic.h"
#include "backend/cuda/kernels/kernels.h"

#define VECTOR        8   /* elements that travel together */
#define BLOCK         256 /* threads */
#define WARP          32
#define BLOCK_LARGEST 1024

struct bf16 {
    uint16_t bits;
};

struct alignas(16) sixteen_bytes {
    uint32_t word[4];
};

static __device__ inline float widen(float x)
{
    return x;
}

static __device__ inline float widen(bf16 x)
{
    return bf16_widen(x.bits);
}

static __device__ inline void narrow(float x, float *to)
{
    *to = x;
}

static __device__ inline void narrow(float x, bf16 *to)
{
    to->bits = bf16_round(x);
}

/* Eight elements at a 16-byte boundary. */
static __device__ inline void load_eight(const float *from, float x[VECTOR])
{
    for (int half = 0; half < 2; half++) {
        sixteen_bytes four = ((const sixteen_bytes *)from)[half];

        for (int i = 0; i < 4; i++)
            x[4 * half + i] = float_of(four.word[i]);
    }
}

static __device__ inline void load_eight(const bf16 *from, float x[VECTOR])
{
    sixteen_bytes eight = *(const sixteen_bytes *)from;

    for (int i = 0; i < 4; i++) {
        x[2 * i] = float_of(eight.word[i] << 16);
        x[2 * i + 1] = float_of(eight.word[i] & 0xffff0000u);
    }
}

static __device__ inline void store_eight(const float x[VECTOR], float *to)
{
    for (int half = 0; half < 2; half++) {
        sixteen_bytes four;

        for (int i = 0; i < 4; i++)
            four.word[i] = bits_of(x[4 * half + i]);
        ((sixteen_bytes *)to)[half] = four;
    }
}

static __device__ inline void store_eight(const float x[VECTOR], bf16 *to)
{
    sixteen_bytes eight;

    for (int i = 0; i < 4; i++)
        eight.word[i] = bf16_round(x[2 * i]) | (uint32_t)bf16_round(x[2 * i + 1]) << 16;
    *(sixteen_bytes *)to = eight;
}

/* V elements, V being VECTOR (at a 16-byte boundary) or 1. */
template <int V, class T> static __device__ inline void load(const T *from, float x[V])
{
    if constexpr (V == VECTOR)
        load_eight(from, x);
    else
        x[0] = widen(*from);
}

template <int V, class T> static __device__ inline void store(const float x[V], T *to)
{
    if constexpr (V == VECTOR)
        store_eight(x, to);
    else
        narrow(x[0], to);
}

/* V floats, as above; parameters, whose boundaries are those of their vector. */
template <int V> static __device__ inline void load_floats(const float *from, float x[V])
{
    load<V, float>(from, x);
}

/* The same; NULL stands for an array of `otherwise`. */
template <int V>
static __device__ inline void load_floats_or(const float *from, int64_t at, float otherwise,
                                             float x[V])
{
    if (from)
        load_floats<V>(from + at, x);
    else
        for (int i = 0; i < V; i++)
            x[i] = otherwise;
}

/* The first `count` of eight elements; the others are 0. */
template <class T>
static __device__ inline void load_some(const T *from, int count, float x[VECTOR])
{
    if (count >= VECTOR) {
        load_eight(from, x);
        return;
    }
    for (int i = 0; i < VECTOR; i++)
        x[i] = i < count ? widen(from[i]) : 0;
}

template <class T> static __device__ inline void store_some(const float x[VECTOR], int count, T *to)
{
    if (count >= VECTOR) {
        store_eight(x, to);
        return;
    }
    for (int i = 0; i < VECTOR; i++)
        if (i < count)
            narrow(x[i], to + i);
}

/* The same sum in all lanes of a warp; all of them take part. */
static __device__ inline float warp_sum(float x)
{
    for (int apart = WARP / 2; apart > 0; apart /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, apart);
    return x;
}

static __device__ inline float warp_largest(float x)
{
    for (int apart = WARP / 2; apart > 0; apart /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, apart));
    return x;
}

/* The same sum in all threads of a block, of whole warps; all of them take part. T is float or
 * double. What was written to shared memory before is seen after. */
template <class T> static __device__ inline T block_sum(T x)
{
    __shared__ T sums[BLOCK_LARGEST / WARP];
    T sum = 0;

    for (int apart = WARP / 2; apart > 0; apart /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, apart);
    if (threadIdx.x % WARP == 0)
        sums[threadIdx.x / WARP] = x;
    __syncthreads();
    for (unsigned i = 0; i < blockDim.x / WARP; i++)
        sum += sums[i];
    __syncthreads(); /* before somebody's next sum */
    return sum;
}

/* The thread's number in the grid. Arrays have less than 2³² elements, and division of 64 bits is a
 * call: what is taken apart is 32 bits wide, what becomes an address 64. */
static __device__ inline uint32_t thread_number(void)
{
    return blockIdx.x * BLOCK + threadIdx.x;
}

static inline int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Calls the launcher template f<T>(stream, args) for an element type. */
#define BY_TYPE(type, f, ...) ((type) == ELEMENT_F32 ? f<float>(__VA_ARGS__) : f<bf16>(__VA_ARGS__))

#endif
