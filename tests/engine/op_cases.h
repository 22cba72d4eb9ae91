/* One small graph an operation and set of sizes, for tests that go through all operations: a
 * backend against another, derivatives against finite differences. */
#ifndef TESTS_ENGINE_OP_CASES_H
#define TESTS_ENGINE_OP_CASES_H

#include "graph/graph.h"

struct op_sizes {
    int n, c, h, w;        /* the images */
    int k, r, stride, pad; /* filters (or features, or classes), kernel size (or best of) */
};

struct op_case {
    enum op op;
    struct op_sizes size;
    struct graph *(*build)(const struct op_case *);
};

/* Case `number`, from 0; false past the last. Every operation is among them. */
bool op_case_at(int number, struct op_case *out);

/* Whether its node has a derivative by each of its inputs. (Heads have one where all parts are
 * used, cross-entropy one by the logits: no case of theirs is such a graph.) */
bool op_case_differentiable(const struct op_case *op_case);

/* A graph whose outputs are the results of one node with the operation `op`. Activations and
 * derivatives are inputs, weights are parameters. The caller frees it. */
struct graph *op_case_graph(const struct op_case *op_case);

/* "conv n=2 c=3 h=5 w=7 k=4 r=3 stride=2 pad=1" */
const char *op_case_name(const struct op_case *op_case, char out[100]);

#endif
