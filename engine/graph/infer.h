/* What a node's results look like, from its inputs: the checks behind the builders. */
#ifndef ENGINE_GRAPH_INFER_H
#define ENGINE_GRAPH_INFER_H

#include "graph/graph.h"

/* Checks the op, the inputs and the attributes of a node that is about to be added; sets its
 * n_outputs and their shapes. All of them are VALUE_REAL. ERR_INVALID, naming op and input. */
int graph_infer(const struct graph *graph, struct node *node, struct shape shapes[NODE_OUTPUTS_MAX],
                struct err *err);

/* 1 … TENSOR_RANK_MAX dimensions, each at least 1, and a sensible number of elements. */
int shape_check(const struct shape *shape, const char *what, struct err *err);

/* 0 if value `id` exists, is real and has this rank; else notes the mistake. */
int graph_expect_rank(struct graph *graph, const char *op, const char *input, int id, int rank);

#define SHAPE_TEXT_BYTES 96
/* "[30,8,8,8]" */
void shape_text(const struct shape *shape, char out[SHAPE_TEXT_BYTES]);

#endif
