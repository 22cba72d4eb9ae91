/* A graph on the CUDA backend, with the host in the place of the device, against the reference. */
#ifndef TESTS_ENGINE_CUDA_DEVICE_COMPARE_H
#define TESTS_ENGINE_CUDA_DEVICE_COMPARE_H

#include "compare.h"
#include "device_numbers.h"
#include "host_device.h"

/* One pass of each: outputs, gradients, products and states, relative to the largest number of
 * each. */
void device_compare(const char *what, const struct graph *graph, enum compute compute,
                    uint64_t seed, double tolerance);

#endif
