/* Calls of kernels for rows of features, tokens and losses. */
#include "kernel_arrays.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- rows ---------------------------------------------------------------------------------- */

static void sum_rows(const struct kernel_call *k, void *dy, int64_t rows, int64_t c, float *db)
{
    struct sum_rows s = {k->type, rows, c, dy, db, workspace(sum_rows_workspace(rows, c))};

    launched(launch_sum_rows(NULL, &s));
    floats_out(k, 0, db);
    free(dy);
    free(s.workspace);
}

void do_sum_channels(const struct kernel_call *k)
{
    const struct shape *s = k->o.in_shape[0];

    sum_rows(k, image_in(k, 0), rows_of(s), stored(k, s->dim[1]), floats_new(k, 0));
}

/* OP_SUM_ROWS and OP_SUM_EACH. */
void do_sum_rows(const struct kernel_call *k)
{
    int64_t c = out_elements(k, 0);

    sum_rows(k, plain_in(k, 0), in_elements(k, 0) / c, c, floats_new(k, 0));
}

void do_layer_norm(const struct kernel_call *k)
{
    int64_t d = features(k->o.in_shape[0]);
    void *x = plain_in(k, 0);
    float *gamma = floats_in(k, 1), *beta = floats_in(k, 2);
    struct layer_norm l = {.type = k->type,
                           .rows = in_elements(k, 0) / d,
                           .d = d,
                           .x = x,
                           .gamma = gamma,
                           .beta = beta,
                           .eps = (float)k->o.node->attr.eps,
                           .y = plain_new(k, 0),
                           .mean = floats_new(k, 1),
                           .var = floats_new(k, 2)};

    launched(launch_layer_norm(NULL, &l));
    plain_out(k, 0, l.y);
    floats_out(k, 1, l.mean);
    floats_out(k, 2, l.var);
    free(x);
    free(gamma);
    free(beta);
}

void do_layer_norm_grad(const struct kernel_call *k)
{
    int64_t d = features(k->o.in_shape[1]), rows = in_elements(k, 1) / d;
    void *dy = plain_in(k, 0), *x = plain_in(k, 1);
    float *gamma = floats_in(k, 2), *mean = floats_in(k, 3), *var = floats_in(k, 4);
    struct layer_norm_grad l = {.type = k->type,
                                .rows = rows,
                                .d = d,
                                .dy = dy,
                                .x = x,
                                .gamma = gamma,
                                .mean = mean,
                                .var = var,
                                .eps = (float)k->o.node->attr.eps,
                                .dx = dy,
                                .dgamma = floats_new(k, 1),
                                .dbeta = floats_new(k, 2),
                                .workspace = workspace(layer_norm_grad_workspace(rows, d))};

    launched(launch_layer_norm_grad(NULL, &l));
    plain_out(k, 0, dy);
    floats_out(k, 1, l.dgamma);
    floats_out(k, 2, l.dbeta);
    free(l.workspace);
    free(x);
    free(gamma);
    free(mean);
    free(var);
}

void do_softmax(const struct kernel_call *k)
{
    int64_t d = features(k->o.in_shape[0]);
    bool grad = k->o.node->op == OP_SOFTMAX_GRAD;
    void *x = plain_in(k, grad ? 1 : 0), *dy = grad ? plain_in(k, 0) : NULL;
    struct softmax s = {.type = k->type,
                        .rows = in_elements(k, 0) / d,
                        .d = d,
                        .x = x,
                        .dy = dy,
                        .y = plain_new(k, 0)};

    launched(grad ? launch_softmax_grad(NULL, &s) : launch_softmax(NULL, &s));
    plain_out(k, 0, s.y);
    free(x);
    free(dy);
}

/* ---- losses -------------------------------------------------------------------------------- */

/* Logits are padded like images. */
void do_scores(const struct kernel_call *k)
{
    const struct shape *s = k->o.in_shape[0];
    void *logits = image_in(k, 0);
    float *result = device_new(sizeof *result);
    struct class_scores c = {.type = k->type,
                             .rows = s->dim[0],
                             .classes = s->dim[1],
                             .pitch = stored(k, s->dim[1]),
                             .logits = logits,
                             .labels = k->o.labels,
                             .smoothing = (float)k->o.node->attr.smoothing,
                             .k = k->o.node->attr.k,
                             .workspace = workspace((size_t)s->dim[0])};

    if (k->o.node->op == OP_CROSS_ENTROPY_GRAD) {
        launched(launch_cross_entropy_grad(NULL, &c, logits));
        image_out(k, 0, logits);
        free(result);
    } else {
        launched(k->o.node->op == OP_CORRECT ? launch_correct(NULL, &c, result)
                                             : launch_cross_entropy(NULL, &c, result));
        take_array(ELEMENT_F32, result, k->o.out[0], 1);
        free(logits);
    }
    free(c.workspace);
}

/* ---- tokens -------------------------------------------------------------------------------- */

void do_patches(const struct kernel_call *k)
{
    bool grad = k->o.node->op == OP_PATCHES_GRAD;
    const struct shape *x = grad ? k->o.out_shape[0] : k->o.in_shape[0];
    struct patches p = {.type = k->type,
                        .n = x->dim[0],
                        .h = x->dim[2],
                        .w = x->dim[3],
                        .c = stored(k, x->dim[1]),
                        .channels = x->dim[1],
                        .size = k->o.node->attr.k,
                        .channels_last = k->o.node->attr.channels_last,
                        .from = grad ? plain_in(k, 0) : image_in(k, 0),
                        .to = grad ? image_new(k, 0) : plain_new(k, 0)};

    launched(grad ? launch_patches_grad(NULL, &p) : launch_patches(NULL, &p));
    if (grad)
        image_out(k, 0, p.to);
    else
        plain_out(k, 0, p.to);
    free((void *)(uintptr_t)p.from);
}

void do_token(const struct kernel_call *k)
{
    enum op op = k->o.node->op;
    bool larger_out = op == OP_PREPEND || op == OP_TOKEN_GRAD;
    const struct shape *large = larger_out ? k->o.out_shape[0] : k->o.in_shape[0];
    float *token = op == OP_PREPEND ? device_floats(k->o.in[1], in_elements(k, 1)) : NULL;
    struct token_move m = {.type = k->type,
                           .n = large->dim[0],
                           .t = large->dim[1],
                           .d = large->dim[2],
                           .number = k->o.node->attr.index,
                           .token = token,
                           .from = plain_in(k, 0),
                           .to = plain_new(k, 0)};

    launched(op == OP_PREPEND      ? launch_prepend(NULL, &m)
             : op == OP_DROP_FIRST ? launch_drop_first(NULL, &m)
             : op == OP_TOKEN      ? launch_token(NULL, &m)
                                   : launch_token_grad(NULL, &m));
    plain_out(k, 0, m.to);
    free((void *)(uintptr_t)m.from);
    free(token);
}

void do_heads(const struct kernel_call *k)
{
    bool split = k->o.node->op == OP_SPLIT_HEADS;
    const struct shape *part = split ? k->o.out_shape[0] : k->o.in_shape[0];
    struct heads h = {.type = k->type,
                      .n = part->dim[0],
                      .heads = part->dim[1],
                      .t = part->dim[2],
                      .d = part->dim[3],
                      .parts = split ? k->o.node->n_outputs : k->o.node->n_inputs,
                      .merged = split ? plain_in(k, 0) : plain_new(k, 0)};

    for (int i = 0; i < h.parts; i++)
        h.part[i] = split ? plain_new(k, i) : plain_in(k, i);
    launched(split ? launch_split_heads(NULL, &h) : launch_merge_heads(NULL, &h));
    for (int i = 0; i < h.parts; i++)
        if (split)
            plain_out(k, i, h.part[i]);
        else
            free(h.part[i]);
    if (split)
        free(h.merged);
    else
        plain_out(k, 0, h.merged);
}
