/* Numbers that a backend in bfloat16 and the reference can both be given. */
#ifndef TESTS_ENGINE_CUDA_DEVICE_NUMBERS_H
#define TESTS_ENGINE_CUDA_DEVICE_NUMBERS_H

#include "support.h"

/* trial_fill; for bfloat16 rounded to it, so that both see the same numbers and the same ties. */
void device_fill(struct trial *trial, enum compute compute, uint64_t seed);

#endif
