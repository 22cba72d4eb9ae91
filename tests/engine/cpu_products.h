/* Hessian-vector products of the CPU backend against the reference backend's. */
#ifndef TESTS_ENGINE_CPU_PRODUCTS_H
#define TESTS_ENGINE_CPU_PRODUCTS_H

#include "cpu_compare.h"

/* The way's options with exact convolutions, as products are to have them. */
struct support_options exact_options(const struct cpu_way *way, bool keep_primal);

/* Random numbers, but weights as small as a net's start has them: with ±1 a net is sure of all it
 * says, and its loss flat. */
void fill_mildly(struct trial *trial, uint64_t seed);

/* Loss (output 0), gradient and product in all ways of cpu_ways: each parameter's part to 1e-4 of
 * its largest number, or of a hundredth of the largest of all. */
void compare_products(const char *name, const struct graph *graph, bool keep_primal);

#endif
