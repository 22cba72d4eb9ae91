/* A graph on the CPU backend against the same graph on the reference backend. */
#ifndef TESTS_ENGINE_CPU_COMPARE_H
#define TESTS_ENGINE_CPU_COMPARE_H

#include "backend/cpu/cpu.h"
#include "compare.h"

/* Ways to run a graph that must all agree: each layout of activations, exact algorithms or the
 * fastest ones, one thread or two. Ends with one without a name. */
struct cpu_way {
    const char *name;
    const struct backend_class *class;
    struct support_options options;
};
extern const struct cpu_way cpu_ways[];

/* Runs one pass on each backend with the same random numbers and compares outputs, gradients,
 * products and states. Tolerances are relative to the largest number of each array; `exact` is for
 * the exact algorithms. */
void compare_backends(const char *what, const struct graph *graph, const struct cpu_way *way,
                      uint64_t seed, double tolerance);
/* In all ways. */
void compare_all_ways(const char *what, const struct graph *graph, uint64_t seed, double exact,
                      double fastest);
#endif
