/* One node of a graph, done by the CUDA backend's kernels as they run on the host (emulate.h). */
#ifndef TESTS_ENGINE_CUDA_KERNEL_CALL_H
#define TESTS_ENGINE_CUDA_KERNEL_CALL_H

#include "backend/cuda/kernels/batch.h"
#include "backend/cuda/kernels/kernels.h"
#include "backend/reference/reference.h"

/* Arrays as the reference backend has them; `out` is filled. */
struct kernel_call {
    struct operands o;
    enum element type;
    int64_t multiple; /* images are stored with channels rounded up to a multiple of this */
};

/* False where the node is for a library (convolutions, products of matrices). */
bool kernel_call(const struct kernel_call *call);
bool kernel_call_has(enum op op);

#endif
