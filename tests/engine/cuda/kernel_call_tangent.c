/* Calls of kernels for the operations that only tangents have. */
#include "kernel_arrays.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void do_batch_norm_scale(const struct kernel_call *k)
{
    const struct shape *s = k->o.in_shape[0];
    void *x = image_in(k, 0);
    float *gamma = floats_in(k, 1), *var = floats_in(k, 2);
    struct batch_norm_apply b = {
        .type = k->type,
        .rows = rows_of(s),
        .c = stored(k, s->dim[1]),
        .first = {x, NULL, var, gamma, NULL, (float)k->o.node->attr.eps},
        .y = x,
    };

    launched(launch_batch_norm_apply(NULL, &b));
    image_out(k, 0, x);
    free(gamma);
    free(var);
}

/* OP_BATCH_NORM_EVAL_GRAD and OP_BATCH_NORM_DOT. */
void do_batch_norm_sums(const struct kernel_call *k)
{
    const struct shape *s = k->o.in_shape[1];
    bool dot = k->o.node->op == OP_BATCH_NORM_DOT;
    int64_t rows = rows_of(s), c = stored(k, s->dim[1]);
    void *dy = image_in(k, 0), *x = image_in(k, 1);
    float *mean = dot ? NULL : floats_in(k, 2), *var = floats_in(k, dot ? 2 : 3);
    struct batch_norm_grad b = {.type = k->type,
                                .rows = rows,
                                .c = c,
                                .dy = dy,
                                .x = x,
                                .mean = mean,
                                .var = var,
                                .eps = (float)k->o.node->attr.eps,
                                .dgamma = floats_new(k, 0),
                                .dbeta = dot ? NULL : floats_new(k, 1),
                                .workspace = workspace(batch_norm_workspace(rows, c))};

    launched(launch_batch_norm_grad(NULL, &b));
    floats_out(k, 0, b.dgamma);
    if (!dot)
        floats_out(k, 1, b.dbeta);
    free(b.workspace);
    free(mean);
    free(var);
    free(dy);
    free(x);
}

/* The four tangents of normalisations. Inputs are x, Rx, gamma, Rgamma, Rbeta, mean, var, or dy,
 * Rdy, x, Rx, gamma, Rgamma, mean, var. */
void do_norm_tangent(const struct kernel_call *k)
{
    enum op op = k->o.node->op;
    bool image = op == OP_BATCH_NORM_TANGENT || op == OP_BATCH_NORM_GRAD_TANGENT;
    bool grad = op == OP_BATCH_NORM_GRAD_TANGENT || op == OP_LAYER_NORM_GRAD_TANGENT;
    int x = grad ? 2 : 0, mean = grad ? 6 : 5;
    const struct shape *s = k->o.in_shape[x];
    struct norm_tangent t = {.type = k->type,
                             .c = image ? stored(k, s->dim[1]) : features(s),
                             .eps = (float)k->o.node->attr.eps};
    void *activation[4] = {NULL};
    float *parameter[5] = {NULL};

    t.rows = image ? rows_of(s) : shape_elements(s) / features(s);
    for (int i = 0; i < x + 2; i++)
        activation[i] = image ? image_in(k, i) : plain_in(k, i);
    for (int i = 0; x + 2 + i < k->o.node->n_inputs; i++)
        parameter[i] = floats_in(k, x + 2 + i);
    t.x = activation[x];
    t.rx = activation[x + 1];
    t.dy = grad ? activation[0] : NULL;
    t.rdy = grad ? activation[1] : NULL;
    t.gamma = parameter[0];
    t.rgamma = parameter[1];
    t.rbeta = grad ? NULL : parameter[2];
    t.mean = parameter[mean - x - 2];
    t.var = parameter[mean - x - 1];
    t.ry = activation[x + 1];
    t.rdgamma = grad ? floats_new(k, 1) : NULL;
    t.rdbeta = grad ? floats_new(k, 2) : NULL;
    t.workspace = workspace(image ? batch_norm_tangent_workspace(t.rows, t.c)
                                  : layer_norm_tangent_workspace(t.rows, t.c));
    launched(image ? (grad ? launch_batch_norm_grad_tangent(NULL, &t)
                           : launch_batch_norm_tangent(NULL, &t))
                   : (grad ? launch_layer_norm_grad_tangent(NULL, &t)
                           : launch_layer_norm_tangent(NULL, &t)));
    if (image)
        image_out(k, 0, t.ry);
    else
        plain_out(k, 0, t.ry);
    if (grad) {
        floats_out(k, 1, t.rdgamma);
        floats_out(k, 2, t.rdbeta);
    }
    activation[x + 1] = NULL;
    for (int i = 0; i < 4; i++)
        free(activation[i]);
    for (int i = 0; i < 5; i++)
        free(parameter[i]);
    free(t.workspace);
}

void do_max_pool_tangent(const struct kernel_call *k)
{
    const struct shape *x = k->o.in_shape[1], *y = k->o.out_shape[0];
    void *from = image_in(k, 1), *rx = image_in(k, 0);
    struct max_pool m = max_pool_of(k, x, y);

    m.x = from;
    launched(launch_max_pool(NULL, &m));
    m.x = rx;
    m.y = image_new(k, 0);
    launched(launch_max_pool_tangent(NULL, &m));
    image_out(k, 0, m.y);
    free(m.place);
    free(from);
    free(rx);
}

/* OP_GELU_CURVE and OP_SOFTMAX_CURVE. */
void do_curve(const struct kernel_call *k)
{
    void *in[3], *y = plain_new(k, 0);
    int64_t n = out_elements(k, 0), d = features(k->o.out_shape[0]);

    for (int i = 0; i < 3; i++)
        in[i] = plain_in(k, i);
    if (k->o.node->op == OP_GELU_CURVE)
        launched(launch_gelu_curve(
            NULL, &(struct elementwise){
                      .type = k->type, .n = n, .a = in[0], .b = in[1], .c = in[2], .y = y}));
    else
        launched(launch_softmax_curve(NULL, &(struct softmax){.type = k->type,
                                                              .rows = n / d,
                                                              .d = d,
                                                              .x = in[1],
                                                              .dy = in[0],
                                                              .ry = in[2],
                                                              .y = y}));
    plain_out(k, 0, y);
    for (int i = 0; i < 3; i++)
        free(in[i]);
}

void do_scores_curve(const struct kernel_call *k)
{
    const struct shape *s = k->o.in_shape[0];
    void *logits = image_in(k, 0), *rlogits = image_in(k, 1);
    struct class_scores c = {.type = k->type,
                             .rows = s->dim[0],
                             .classes = s->dim[1],
                             .pitch = stored(k, s->dim[1]),
                             .logits = logits};

    launched(launch_cross_entropy_curve(NULL, &c, rlogits, rlogits));
    image_out(k, 0, rlogits);
    free(logits);
}
