#include "normals.h"

#include "backend/cpu/cpu.h"

void cpu_normals(uint64_t seed, uint32_t stream, uint64_t step, uint64_t first_block, float *out,
                 uint64_t n)
{
    struct random_normal args = {
        .seed = seed, .step = step, .first_block = first_block, .stream = stream, .out = out};

    cpu_kernels()->random_normal(&args, 0, n);
}
