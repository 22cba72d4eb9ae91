/* Between the files that infer shapes. */
#ifndef ENGINE_GRAPH_INFER_PARTS_H
#define ENGINE_GRAPH_INFER_PARTS_H

#include "graph/infer.h"

/* What an inference function sees: the inputs' shapes, the node, and where the results go. */
struct inference {
    const char *name;
    const struct node *node;
    const struct shape *in[NODE_INPUTS_MAX];
    struct shape *out;
    struct err *err;
};

typedef int infer_function(struct inference *f);

/* infer.c. attr.shape must be the wanted shape of a result that inputs alone do not determine; a
 * rank of 0 is any. */
int infer_given_shape(struct inference *f, int rank);
int infer_expect_shape(struct inference *f, const char *what, const struct shape *got,
                       const struct shape *wanted);

/* infer_rows.c: operations on rows of features. */
infer_function infer_linear, infer_linear_grad_x, infer_linear_grad_w, infer_sum_rows,
    infer_layer_norm, infer_layer_norm_grad, infer_layer_norm_tangent,
    infer_layer_norm_grad_tangent;

/* infer_channels.c: operations on the channels of images. */
infer_function infer_batch_norm, infer_batch_norm_eval, infer_batch_norm_grad,
    infer_batch_norm_scale, infer_batch_norm_eval_grad, infer_batch_norm_dot,
    infer_batch_norm_tangent, infer_batch_norm_grad_tangent, infer_bias, infer_sum_channels;

/* infer_pool.c */
infer_function infer_max_pool, infer_max_pool_grad, infer_max_pool_tangent;

/* infer_tokens.c: operations on tokens and heads. */
infer_function infer_patches, infer_patches_grad, infer_prepend, infer_drop_first, infer_token,
    infer_token_grad, infer_add_each, infer_sum_each, infer_split_heads, infer_merge_heads,
    infer_matmul;

#endif
