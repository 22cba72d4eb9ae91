/* Runs CUDA kernels on the host, block after block, so that their indices and sums can be tested
 * without a GPU. Stands for the few words of the language that the kernels use.
 *
 * The threads of a block are fibers: one runs until it waits at a barrier or an exchange within its
 * warp, then another one does. Shared memory is static, since one block runs at a time; rows
 * of a size given at launch begin as NaN. Whoever waits for ever is told of, and the program ends.
 * What this cannot show: races between barriers (threads run in one order), and how the device
 * rounds what is not exact (expf, logf, erfcf). */
#ifndef TESTS_ENGINE_CUDA_EMULATE_H
#define TESTS_ENGINE_CUDA_EMULATE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <functional>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)

struct emulated_index {
    unsigned x, y, z;
};
extern struct emulated_index threadIdx, blockIdx, blockDim, gridDim;

/* Memory of the block, of the size that it was launched with. */
extern char *emulated_row;
#define SHARED_ROW(name) float *name = (float *)(void *)emulated_row

void __syncthreads(void);
void __syncwarp(void);

/* What lane `lane ^ mask` gave. All lanes of the warp take part. */
double emulated_exchange(double x, unsigned mask);

static inline float __shfl_xor_sync(unsigned, float x, unsigned mask)
{
    return (float)emulated_exchange((double)x, mask);
}

static inline double __shfl_xor_sync(unsigned, double x, unsigned mask)
{
    return emulated_exchange(x, mask);
}

/* `cp.async` of 16 bytes, and waiting for those of this thread; before that the bytes are NaN. */
void emulated_fetch(const void *from, void *to);
void emulated_wait_for_fetched(void);

/* What the PTX manual says of `ldmatrix` (four matrices of 8 × 8 numbers of 16 bits, whose rows are
 * at `row` of the lanes; `turned`: .trans) and of `mma` m16n8k16 (acc += a·b, bfloat16). All lanes
 * of the warp take part. A row that is not at 16 bytes ends the program. */
void emulated_matrices(bool turned, const void *row, uint32_t to[4]);
/* Likewise m16n8k8 of TF32. */
void emulated_multiply_add_tf32(float acc[4], const uint32_t a[4], const uint32_t b[2]);
void emulated_multiply_add(float acc[4], const uint32_t a[4], const uint32_t b[2]);

/* The value is the launch's error: a kernel that CUDA would not launch either. */
int emulate(unsigned blocks, unsigned threads, size_t shared_bytes,
            const std::function<void()> &thread);

#define LAUNCH(kernel, blocks, threads, shared_bytes, stream, ...)                                 \
    ((void)(stream), emulate((blocks), (threads), (shared_bytes), [&] { kernel(__VA_ARGS__); }))

#endif
