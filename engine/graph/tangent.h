/* Between the files of forward mode. */
#ifndef ENGINE_GRAPH_TANGENT_H
#define ENGINE_GRAPH_TANGENT_H

#include "graph/graph.h"

/* A walk under way. Arrays have one entry a value that was there before it. */
struct forward {
    struct graph *graph;
    int *tangent; /* id of the tangent; -1: none yet, or none because nothing moves */
    bool *moves;
    bool *needed; /* its tangent is asked for, or one that is asked for needs it */
};

/* What forward mode does with an operation. */
struct tangent_rule {
    unsigned follows; /* bit i: the tangent of input i goes into that of the results */
    /* Sets f->tangent of the node's results; at least one input that it follows moves. */
    void (*append)(struct forward *f, const struct node *node);
};

/* Of any operation; one that is not known follows everything and appends a mistake. */
const struct tangent_rule *tangent_rule_of(enum op op);

#endif
