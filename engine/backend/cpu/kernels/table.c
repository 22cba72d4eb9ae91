/* The kernels of one instruction set. */
#include "backend/cpu/kernels/lanes.h"

#define ENTER(name) .name = KERNEL(name),

#if defined(__AVX2__)
#define BLOCKED true
#else
#define BLOCKED false
#endif

extern const struct kernels KERNEL_PASTE(kernels, KERNEL_ISA);
const struct kernels KERNEL_PASTE(kernels, KERNEL_ISA) = {
    .isa = KERNEL_TEXT(KERNEL_ISA), .lanes = LANES, .blocked = BLOCKED, KERNEL_LIST(ENTER)};
