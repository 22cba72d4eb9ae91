/* Which of the compiled kernels this processor runs. oneDNN's own answer decides, so that both
 * agree on the width of a block of channels. */
#include "backend/cpu/cpu.h"

extern const struct kernels kernels_base;
#ifdef __x86_64__
extern const struct kernels kernels_avx2, kernels_avx512;
#endif

const struct kernels *cpu_kernels(void)
{
#ifdef __x86_64__
    switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_all:
    case dnnl_cpu_isa_sse41:
    case dnnl_cpu_isa_avx:
        return &kernels_base;
    case dnnl_cpu_isa_avx2:
    case dnnl_cpu_isa_avx2_vnni:
    case dnnl_cpu_isa_avx512_mic:
    case dnnl_cpu_isa_avx512_mic_4ops:
        return __builtin_cpu_supports("fma") ? &kernels_avx2 : &kernels_base;
    default: /* everything newer has AVX-512 */
        return &kernels_avx512;
    }
#else
    return &kernels_base;
#endif
}

int cpu_kernel_sets(const struct kernels *const **out)
{
    static const struct kernels *const all[] = {
        &kernels_base,
#ifdef __x86_64__
        &kernels_avx2,
        &kernels_avx512,
#endif
    };
    const struct kernels *best = cpu_kernels();
    int n = 1;

    while (all[n - 1] != best)
        n++;
    *out = all;
    return n;
}
