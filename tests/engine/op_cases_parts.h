/* Between the files of op_cases.h: what their builders build of, and the builders themselves. */
#ifndef TESTS_ENGINE_OP_CASES_PARTS_H
#define TESTS_ENGINE_OP_CASES_PARTS_H

#include "op_cases.h"

static const struct init case_uniform = {INIT_UNIFORM, 1};

static inline struct shape shape4(int a, int b, int c, int d)
{
    return shape_of(4, (int64_t)a, (int64_t)b, (int64_t)c, (int64_t)d);
}

static inline struct shape shape3(int a, int b, int c)
{
    return shape_of(3, (int64_t)a, (int64_t)b, (int64_t)c);
}

static inline struct shape shape2(int a, int b)
{
    return shape_of(2, (int64_t)a, (int64_t)b);
}

static inline struct shape shape1(int a)
{
    return shape_of(1, (int64_t)a);
}

/* op_cases.c. Inputs of n images, and of n samples of h tokens of c features. */
int case_images(struct graph *g, const struct op_case *o);
int case_tokens(struct graph *g, const struct op_case *o);

/* A node with the case's stride and padding, and eps 1e-5. */
int case_node(struct graph *g, enum op op, const int *inputs, int n, const struct op_case *o,
              struct shape shape);

/* Gives back all results of the node that made `value`. */
struct graph *case_finish(struct graph *g, int value);

typedef struct graph *case_builder(const struct op_case *o);

/* op_cases_tokens.c: what transformers are made of. */
case_builder build_token_linear, build_token_linear_grad_x, build_token_linear_grad_w,
    build_patches, build_patches_grad, build_prepend, build_drop_first, build_token,
    build_token_grad, build_add_each, build_sum_each, build_layer_norm, build_layer_norm_grad,
    build_on_tokens, build_on_two_tokens, build_split_heads, build_merge_heads, build_matmul;

/* op_cases_tangent.c */
case_builder build_batch_norm_scale, build_batch_norm_eval_grad, build_batch_norm_dot,
    build_batch_norm_tangent, build_batch_norm_grad_tangent, build_layer_norm_tangent,
    build_layer_norm_grad_tangent, build_max_pool_tangent, build_on_three_tokens, build_two_logits;

#endif
