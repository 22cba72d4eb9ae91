/* The CPU backend's normal numbers by themselves. */
#ifndef TEST_NORMALS_H
#define TEST_NORMALS_H

#include <stdint.h>

/* random_normal4_f64 to fp32 accuracy for `n` consecutive elements of one stream, from the first of
 * `first_block` on, with the kernels of the instruction set that was chosen. */
void cpu_normals(uint64_t seed, uint32_t stream, uint64_t step, uint64_t first_block, float *out,
                 uint64_t n);

#endif
