/* Numbers that a backend in bfloat16 and the reference can both be given, and how far apart they
 * end up. */
#ifndef TESTS_ENGINE_CUDA_DEVICE_NUMBERS_H
#define TESTS_ENGINE_CUDA_DEVICE_NUMBERS_H

#include "support.h"

/* trial_fill; for bfloat16 rounded to it, so that both see the same numbers and the same ties. */
void device_fill(struct trial *trial, enum compute compute, uint64_t seed);

/* Appends derivatives by all inputs so far of output 0, with dy as one more input; they become
 * outputs. */
void device_add_derivatives(struct graph *graph);

/* ‖got − want‖/‖want‖ over all gradients. */
double device_gradient_error(const struct trial *got, const struct trial *want);

#endif
