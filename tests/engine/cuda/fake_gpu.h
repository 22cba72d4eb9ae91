/* What a test may ask of the module of fake_gpu.c, through fake_gpu_fault(). */
#ifndef TESTS_ENGINE_CUDA_FAKE_GPU_H
#define TESTS_ENGINE_CUDA_FAKE_GPU_H

#include <stdbool.h>

struct fake_gpu_fault {
    int device; /* on which no backend opens, but for this error; -1: none */
    int code;
    bool wrong; /* what is read back, from any */
};

#endif
