/* Who reads the values of a graph, and which of them depend on a direction. */
#ifndef ENGINE_GRAPH_USES_H
#define ENGINE_GRAPH_USES_H

#include "graph/graph.h"

struct value_use {
    int count; /* by nodes, as an output, as a parameter's gradient or product */
    int first; /* the first node that reads it; -1: none does */
};

/* Fills `use`, of each value. */
void graph_uses(const struct graph *graph, struct value_use *use);

/* The only reader of a value with this use, or NULL. */
const struct node *graph_only_reader(const struct graph *graph, const struct value_use *use);

/* Fills `directed`: of each value, whether it depends on a direction. */
void graph_directed(const struct graph *graph, bool *directed);

#endif
