/* The vectors' width is chosen at run time; the results are the same for each. */
#include "backend/cpu/cpu.h"
#include "random/philox.h"

void random_normal_f32(uint64_t seed, uint32_t stream, uint64_t step, uint64_t first_block,
                       float *out, uint64_t n)
{
    struct random_normal args = {
        .seed = seed, .step = step, .first_block = first_block, .stream = stream, .out = out};

    cpu_kernels()->random_normal(&args, 0, n);
}
