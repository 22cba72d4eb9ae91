/* A graph on the CPU backend against the same graph on the reference backend. */
#ifndef TESTS_ENGINE_CPU_COMPARE_H
#define TESTS_ENGINE_CPU_COMPARE_H

#include "support.h"

/* Runs one pass on each with the same random numbers and compares outputs, gradients and states.
 * `tolerance` is relative to the largest number of each array. */
void compare_backends(const char *what, const struct graph *graph,
                      const struct support_options *options, uint64_t seed, double tolerance);

/* Appends derivatives by all inputs so far of output 0, with dy as one more input; they become
 * outputs. Parameters get their gradients too. */
void add_derivatives(struct graph *graph);

#endif
