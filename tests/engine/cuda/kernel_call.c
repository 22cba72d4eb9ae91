/* Calls of kernels for images and element by element, and which call an operation is. */
#include "kernel_arrays.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/kernels/update.h"

/* ---- elementwise --------------------------------------------------------------------------- */

static void do_elementwise(const struct kernel_call *k,
                           int (*launch)(struct CUstream_st *, const struct elementwise *))
{
    struct elementwise e = {.type = k->type,
                            .n = out_elements(k, 0),
                            .a = plain_in(k, 0),
                            .b = k->o.node->n_inputs > 1 ? plain_in(k, 1) : NULL,
                            .y = plain_new(k, 0)};

    launched(launch(NULL, &e));
    plain_out(k, 0, e.y);
    free((void *)(uintptr_t)e.a);
    free((void *)(uintptr_t)e.b);
}

static void do_bias(const struct kernel_call *k)
{
    const struct shape *s = k->o.in_shape[0];
    void *x = image_in(k, 0);
    float *b = floats_in(k, 1);

    launched(launch_add_row(NULL, &(struct add_row){.type = k->type,
                                                    .rows = rows_of(s),
                                                    .c = stored(k, s->dim[1]),
                                                    .x = x,
                                                    .b = b,
                                                    .y = x}));
    image_out(k, 0, x);
    free(b);
}

static void do_add_each(const struct kernel_call *k)
{
    void *x = plain_in(k, 0), *y = plain_new(k, 0);
    float *b = device_floats(k->o.in[1], in_elements(k, 1));

    launched(launch_add_row(NULL, &(struct add_row){.type = k->type,
                                                    .rows = k->o.in_shape[0]->dim[0],
                                                    .c = in_elements(k, 1),
                                                    .x = x,
                                                    .b = b,
                                                    .y = y}));
    plain_out(k, 0, y);
    free(x);
    free(b);
}

static void do_dropout(const struct kernel_call *k)
{
    const struct shape *s = k->o.in_shape[0];
    bool image = s->rank == 4 || (s->rank == 2 && k->multiple > 1);
    struct turn turn = {.update = k->o.draws->update};
    struct dropout d = {.type = k->type,
                        .n = image ? s->dim[0] : shape_elements(s) / features(s),
                        .plane = image ? plane_of(s) : 1,
                        .channels = image ? s->dim[1] : features(s),
                        .c = image ? stored(k, s->dim[1]) : features(s),
                        .rate = k->o.node->attr.rate,
                        .seed = k->o.draws->seed,
                        .term = k->o.draws->term,
                        .index = (uint32_t)k->o.node->attr.index,
                        .turn = &turn,
                        .x = image ? image_in(k, 0) : plain_in(k, 0),
                        .y = image ? image_new(k, 0) : plain_new(k, 0)};

    launched(launch_dropout(NULL, &d));
    if (image)
        image_out(k, 0, d.y);
    else
        plain_out(k, 0, d.y);
    free((void *)(uintptr_t)d.x);
}

/* ---- batch norm ---------------------------------------------------------------------------- */

static void apply(const struct kernel_call *k, void *x, const float *gamma, const float *beta,
                  const float *mean, const float *var)
{
    const struct shape *s = k->o.in_shape[0];
    struct batch_norm_apply b = {
        .type = k->type,
        .rows = rows_of(s),
        .c = stored(k, s->dim[1]),
        .first = {x, mean, var, gamma, beta, (float)k->o.node->attr.eps},
        .y = image_new(k, 0),
    };

    launched(launch_batch_norm_apply(NULL, &b));
    image_out(k, 0, b.y);
}

static void do_batch_norm(const struct kernel_call *k)
{
    const struct shape *s = k->o.in_shape[0];
    int64_t rows = rows_of(s), c = stored(k, s->dim[1]);
    float *gamma = floats_in(k, 1), *beta = floats_in(k, 2);
    struct batch_norm_statistics b = {.type = k->type,
                                      .rows = rows,
                                      .c = c,
                                      .x = image_in(k, 0),
                                      .mean = floats_new(k, 1),
                                      .var = floats_new(k, 2),
                                      .workspace = workspace(batch_norm_workspace(rows, c))};

    launched(launch_batch_norm_statistics(NULL, &b));
    apply(k, (void *)(uintptr_t)b.x, gamma, beta, b.mean, b.var);
    floats_out(k, 1, b.mean);
    floats_out(k, 2, b.var);
    free((void *)(uintptr_t)b.x);
    free(b.workspace);
    free(gamma);
    free(beta);
}

static void do_batch_norm_eval(const struct kernel_call *k)
{
    void *x = image_in(k, 0);
    float *parameter[4];

    for (int i = 0; i < 4; i++)
        parameter[i] = floats_in(k, i + 1);
    apply(k, x, parameter[0], parameter[1], parameter[2], parameter[3]);
    for (int i = 0; i < 4; i++)
        free(parameter[i]);
    free(x);
}

static void do_batch_norm_grad(const struct kernel_call *k)
{
    const struct shape *s = k->o.in_shape[1];
    int64_t rows = rows_of(s), c = stored(k, s->dim[1]);
    float *gamma = floats_in(k, 2), *mean = floats_in(k, 3), *var = floats_in(k, 4);
    void *dy = image_in(k, 0), *x = image_in(k, 1);
    struct batch_norm_grad b = {.type = k->type,
                                .rows = rows,
                                .c = c,
                                .dy = dy,
                                .x = x,
                                .gamma = gamma,
                                .mean = mean,
                                .var = var,
                                .eps = (float)k->o.node->attr.eps,
                                .dx = dy,
                                .dgamma = floats_new(k, 1),
                                .dbeta = floats_new(k, 2),
                                .workspace = workspace(batch_norm_workspace(rows, c))};

    launched(launch_batch_norm_grad(NULL, &b));
    image_out(k, 0, dy);
    floats_out(k, 1, b.dgamma);
    floats_out(k, 2, b.dbeta);
    free(b.workspace);
    free(gamma);
    free(mean);
    free(var);
    free(x);
}

/* ---- pooling ------------------------------------------------------------------------------- */

static void do_global_pool(const struct kernel_call *k)
{
    bool grad = k->o.node->op == OP_GLOBAL_AVG_POOL_GRAD;
    const struct shape *x = grad ? k->o.out_shape[0] : k->o.in_shape[0];
    struct global_pool p = {.type = k->type,
                            .n = x->dim[0],
                            .plane = plane_of(x),
                            .c = stored(k, x->dim[1]),
                            .from = image_in(k, 0),
                            .to = image_new(k, 0)};

    launched(grad ? launch_global_avg_pool_grad(NULL, &p) : launch_global_avg_pool(NULL, &p));
    image_out(k, 0, p.to);
    free((void *)(uintptr_t)p.from);
}

struct max_pool max_pool_of(const struct kernel_call *k, const struct shape *x,
                            const struct shape *y)
{
    return (struct max_pool){.type = k->type,
                             .n = x->dim[0],
                             .h = x->dim[2],
                             .w = x->dim[3],
                             .c = stored(k, x->dim[1]),
                             .p = y->dim[2],
                             .q = y->dim[3],
                             .size = k->o.node->attr.k,
                             .stride = k->o.node->attr.stride,
                             .pad = k->o.node->attr.pad,
                             .place = device_new((size_t)(rows_of(y) * stored(k, y->dim[1])))};
}

static void do_max_pool(const struct kernel_call *k)
{
    bool grad = k->o.node->op == OP_MAX_POOL_GRAD;
    const struct shape *x = k->o.in_shape[grad ? 1 : 0];
    const struct shape *y = grad ? k->o.in_shape[0] : k->o.out_shape[0];
    void *from = image_in(k, grad ? 1 : 0), *dy = grad ? image_in(k, 0) : NULL;
    struct max_pool m = max_pool_of(k, x, y);

    m.x = from;
    m.y = grad ? NULL : image_new(k, 0);
    launched(launch_max_pool(NULL, &m));
    if (grad) {
        m.x = dy;
        m.y = image_new(k, 0);
        launched(launch_max_pool_grad(NULL, &m));
    }
    image_out(k, 0, m.y);
    free(m.place);
    free(from);
    free(dy);
}

/* ---- all ----------------------------------------------------------------------------------- */

static void (*const calls[OP_COUNT])(const struct kernel_call *) = {
    [OP_BATCH_NORM] = do_batch_norm,
    [OP_BATCH_NORM_EVAL] = do_batch_norm_eval,
    [OP_BATCH_NORM_GRAD] = do_batch_norm_grad,
    [OP_GLOBAL_AVG_POOL] = do_global_pool,
    [OP_GLOBAL_AVG_POOL_GRAD] = do_global_pool,
    [OP_BIAS] = do_bias,
    [OP_SUM_CHANNELS] = do_sum_channels,
    [OP_MAX_POOL] = do_max_pool,
    [OP_MAX_POOL_GRAD] = do_max_pool,
    [OP_DROPOUT] = do_dropout,
    [OP_PATCHES] = do_patches,
    [OP_PATCHES_GRAD] = do_patches,
    [OP_PREPEND] = do_token,
    [OP_DROP_FIRST] = do_token,
    [OP_TOKEN] = do_token,
    [OP_TOKEN_GRAD] = do_token,
    [OP_ADD_EACH] = do_add_each,
    [OP_SUM_EACH] = do_sum_rows,
    [OP_SUM_ROWS] = do_sum_rows,
    [OP_LAYER_NORM] = do_layer_norm,
    [OP_LAYER_NORM_GRAD] = do_layer_norm_grad,
    [OP_SOFTMAX] = do_softmax,
    [OP_SOFTMAX_GRAD] = do_softmax,
    [OP_SPLIT_HEADS] = do_heads,
    [OP_MERGE_HEADS] = do_heads,
    [OP_CROSS_ENTROPY] = do_scores,
    [OP_CROSS_ENTROPY_GRAD] = do_scores,
    [OP_CORRECT] = do_scores,
    [OP_BATCH_NORM_SCALE] = do_batch_norm_scale,
    [OP_BATCH_NORM_EVAL_GRAD] = do_batch_norm_sums,
    [OP_BATCH_NORM_DOT] = do_batch_norm_sums,
    [OP_BATCH_NORM_TANGENT] = do_norm_tangent,
    [OP_BATCH_NORM_GRAD_TANGENT] = do_norm_tangent,
    [OP_LAYER_NORM_TANGENT] = do_norm_tangent,
    [OP_LAYER_NORM_GRAD_TANGENT] = do_norm_tangent,
    [OP_MAX_POOL_TANGENT] = do_max_pool_tangent,
    [OP_GELU_CURVE] = do_curve,
    [OP_SOFTMAX_CURVE] = do_curve,
    [OP_CROSS_ENTROPY_CURVE] = do_scores_curve,
};
static int (*const elementwise[OP_COUNT])(struct CUstream_st *, const struct elementwise *) = {
    [OP_RELU] = launch_relu, [OP_RELU_GRAD] = launch_relu_grad, [OP_ADD] = launch_add,
    [OP_GELU] = launch_gelu, [OP_GELU_GRAD] = launch_gelu_grad,
};

bool kernel_call_has(enum op op)
{
    return elementwise[op] || calls[op];
}

bool kernel_call(const struct kernel_call *k)
{
    enum op op = k->o.node->op;

    if (elementwise[op])
        do_elementwise(k, elementwise[op]);
    else if (calls[op])
        calls[op](k);
    return kernel_call_has(op);
}
