/* How much work a graph's products are. */
#ifndef TESTS_BENCH_MULTIPLY_ADDS_H
#define TESTS_BENCH_MULTIPLY_ADDS_H

#include "graph/graph.h"

/* Multiply-adds of one node, as the plain algorithm does them; 0 for what is no product. */
double multiply_adds(const struct graph *graph, const struct node *node);

#endif
