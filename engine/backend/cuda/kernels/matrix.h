/* Products of tiles in shared memory by one warp. A warp's part of a result is 16 rows of any
 * number of eights of columns; of each sixteen by eight a lane holds four numbers, as tensor cores
 * have it: rows ROW and ROW + 8, columns COLUMN and COLUMN + 1, in acc[0..1] and acc[2..3].
 *
 * bf16 goes through tensor cores (mma.sync m16n8k16, operands by ldmatrix), and so does tf32
 * (m16n8k8; operands are rounded as they are read), both from sm_80 on; float is plain
 * multiplication and addition, each lane for itself. All add up in float. On the host, emulate.h
 * does what the instructions' description says. */
#ifndef ENGINE_BACKEND_CUDA_MATRIX_H
#define ENGINE_BACKEND_CUDA_MATRIX_H

#include "backend/cuda/kernels/device.h"

#define MATRIX_ROWS 16
#define LANE        (threadIdx.x % WARP)
#define ROW         (LANE / 4)
#define COLUMN      (LANE % 4 * 2)

/* A float in memory. */
struct tf32 {
    float x;
};

static __device__ inline float widen(tf32 x)
{
    return x.x;
}

static __device__ inline void narrow(float x, tf32 *to)
{
    to->x = x;
}

static __device__ inline void load_eight(const tf32 *from, float x[VECTOR])
{
    load_eight((const float *)from, x);
}

/* To nearest, ties away from zero. */
static __device__ inline uint32_t tf32_bits(tf32 x)
{
#ifdef KERNELS_EMULATED
    return x.x != x.x ? 0x7fffe000u : (bits_of(x.x) + 0x1000) & 0xffffe000u;
#else
    uint32_t bits;

    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x.x));
    return bits;
#endif
}

/* Elements from one row of a tile of `columns` to the next: rows stay at 16 bytes, and the words
 * that a warp asks for at once lie in different banks. */
template <class T> static constexpr int matrix_pitch(int columns)
{
    return columns + 16 / (int)sizeof(T);
}

/* Sixteen bytes on their way from memory to shared memory: there once this thread has waited, for
 * others after a barrier that follows. */
static __device__ inline void fetch(const void *from, void *to)
{
#ifdef KERNELS_EMULATED
    emulated_fetch(from, to);
#else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :
                 : "r"((uint32_t)__cvta_generic_to_shared(to)), "l"(__cvta_generic_to_global(from))
                 : "memory");
#endif
}

static __device__ inline void wait_for_fetched(void)
{
#ifdef KERNELS_EMULATED
    emulated_wait_for_fetched();
#else
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

/* Four matrices of 8 × 8; `row`: of row lane mod 8 of matrix ⌊lane/8⌋. A lane gets the two
 * neighbours at [ROW][COLUMN] of each; TURNED: that at [COLUMN][ROW] and the one a row below. */
template <bool TURNED> static __device__ inline void load_matrices(const bf16 *row, uint32_t to[4])
{
#ifdef KERNELS_EMULATED
    emulated_matrices(TURNED, row, to);
#else
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);

    if constexpr (TURNED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at)
                     : "memory");
#endif
}

/* acc += a·b: 16 × 16 times 16 × 8. */
static __device__ inline void multiply_add(float acc[4], const uint32_t a[4], const uint32_t b[2])
{
#ifdef KERNELS_EMULATED
    emulated_multiply_add(acc, a, b);
#else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* The same of tf32: 16 × 8 times 8 × 8. */
static __device__ inline void multiply_add_tf32(float acc[4], const uint32_t a[4],
                                                const uint32_t b[2])
{
#ifdef KERNELS_EMULATED
    emulated_multiply_add_tf32(acc, a, b);
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* acc[16,COLUMNS] += a[16,DEPTH]·b: element (k, n) of b is b[n·b_pitch + k], or of one that is
 * TURNED b[k·b_pitch + n]. All lanes take part. */
template <int COLUMNS, int DEPTH, bool TURNED>
static __device__ inline void multiply(const bf16 *a, int a_pitch, const bf16 *b, int b_pitch,
                                       float acc[COLUMNS / 8][4])
{
    unsigned lane = LANE;
    const bf16 *a_row = a + lane % 16 * a_pitch + lane / 16 * 8;
    const bf16 *b_row = TURNED ? b + lane % 16 * b_pitch + lane / 16 * 8
                               : b + (lane % 8 + lane / 16 * 8) * b_pitch + lane / 8 % 2 * 8;

    static_assert(DEPTH % 16 == 0 && COLUMNS % 16 == 0, "what tensor cores take");
#pragma unroll 4
    for (int k = 0; k < DEPTH; k += 16) {
        uint32_t left[4];

        load_matrices<false>(a_row + k, left);
#pragma unroll
        for (int j = 0; j < COLUMNS; j += 16) {
            uint32_t right[4]; /* upper and lower half of eight columns, then of the next eight */

            load_matrices<TURNED>(b_row + (TURNED ? k * b_pitch + j : j * b_pitch + k), right);
            multiply_add(acc[j / 8], left, right);
            multiply_add(acc[j / 8 + 1], left, right + 2);
        }
    }
}

template <int COLUMNS, int DEPTH, bool TURNED>
static __device__ inline void multiply(const tf32 *a, int a_pitch, const tf32 *b, int b_pitch,
                                       float acc[COLUMNS / 8][4])
{
    int down = TURNED ? b_pitch : 1, across = TURNED ? 1 : b_pitch;

    static_assert(DEPTH % 8 == 0 && COLUMNS % 8 == 0, "what tensor cores take");
    a += (int)ROW * a_pitch + (int)(LANE % 4);
    b += (int)ROW * across + (int)(LANE % 4) * down;
#pragma unroll 4
    for (int k = 0; k < DEPTH; k += 8) {
        uint32_t left[4];

        for (int i = 0; i < 4; i++) /* lower rows, then later columns */
            left[i] = tf32_bits(a[i % 2 * 8 * a_pitch + k + i / 2 * 4]);
#pragma unroll
        for (int j = 0; j < COLUMNS; j += 8) {
            const tf32 *corner = b + k * down + j * across;
            uint32_t right[2] = {tf32_bits(corner[0]), tf32_bits(corner[4 * down])};

            multiply_add_tf32(acc[j / 8], left, right);
        }
    }
}

template <int COLUMNS, int DEPTH, bool TURNED>
static __device__ inline void multiply(const float *a, int a_pitch, const float *b, int b_pitch,
                                       float acc[COLUMNS / 8][4])
{
    int down = TURNED ? b_pitch : 1, across = TURNED ? 1 : b_pitch;

    a += (int)ROW * a_pitch;
    b += (int)COLUMN * across;
#pragma unroll 4
    for (int k = 0; k < DEPTH; k++) {
        float upper = a[k], lower = a[8 * a_pitch + k];

#pragma unroll
        for (int j = 0; j < COLUMNS / 8; j++) {
            const float *right = b + k * down + 8 * j * across;

            acc[j][0] += upper * right[0];
            acc[j][1] += upper * right[across];
            acc[j][2] += lower * right[0];
            acc[j][3] += lower * right[across];
        }
    }
}

/* The warp's part into rows of `pitch` elements. */
template <class T, int COLUMNS>
static __device__ inline void put_matrix(const float acc[COLUMNS / 8][4], T *to, int pitch)
{
    to += (int)ROW * pitch + (int)COLUMN;
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; j++)
        for (int i = 0; i < 4; i++)
            narrow(acc[j][i], to + i / 2 * 8 * pitch + 8 * j + i % 2);
}

/* Over the columns, which are with four lanes. */
static __device__ inline float row_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

static __device__ inline float row_largest(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

#endif
