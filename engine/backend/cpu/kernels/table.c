/* The kernels of one instruction set. */
#include "backend/cpu/kernels/lanes.h"

#define ENTER(name) .name = KERNEL(name),

extern const struct kernels KERNEL_PASTE(kernels, KERNEL_ISA);
const struct kernels KERNEL_PASTE(kernels, KERNEL_ISA) = {
    .isa = KERNEL_TEXT(KERNEL_ISA), .lanes = LANES, KERNEL_LIST(ENTER)};
