/* The memory of the host's device, of which each byte is known to have been written or not; and
 * host memory that a device reads. What is used beyond its end, after it was closed or unwritten
 * fails the running test. host_device.h has what tests may ask of it. */
#ifndef TESTS_ENGINE_CUDA_HOST_MEMORY_H
#define TESTS_ENGINE_CUDA_HOST_MEMORY_H

#include "backend/cuda/runtime.h"

/* Members of `struct runtime`. What is opened is NaN, and counts as not written; `memory_close`
 * returns how long it was. */
int memory_open(void **out, size_t bytes, struct err *err);
size_t memory_close(void *at);
int memory_left(size_t *out, struct err *err);

/* Likewise for host memory. Nothing that was given to a stream may still read what is closed. */
int memory_host_open(void **out, size_t bytes, struct err *err);
void memory_host_close(void *memory);

/* A device writes; a device reads for use `number` of `what`. */
void memory_mark_written(const void *at, size_t bytes);
void memory_check_written(const char *what, int number, const void *at, size_t bytes);

#endif
