/* Shapes. One table row an operation: its name, what its inputs are called, how many dimensions
 * they have, and the function that checks their sizes and says the results'. */
#include "graph/infer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "graph/infer_parts.h"

#define ELEMENTS_MAX ((int64_t)1 << 40)

enum { RANK_ANY = 0, LABELS = -1 };

struct op_rule {
    const char *name;
    int n_outputs; /* split_heads: attr.parts */
    infer_function *infer;
    struct {
        const char *name;
        int rank; /* or RANK_ANY, LABELS */
    } input[NODE_INPUTS_MAX];
    int optional; /* so many of the last inputs may be missing */
};

struct shape shape_of(int rank, ...)
{
    struct shape shape = {.rank = rank};
    va_list dims;

    va_start(dims, rank);
    for (int i = 0; i < rank && i < TENSOR_RANK_MAX; i++)
        shape.dim[i] = va_arg(dims, int64_t);
    va_end(dims);
    return shape;
}

int64_t shape_elements(const struct shape *shape)
{
    int64_t n = 1;

    for (int i = 0; i < shape->rank; i++)
        n *= shape->dim[i];
    return n;
}

bool shape_equal(const struct shape *a, const struct shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0;
}

void shape_text(const struct shape *shape, char out[SHAPE_TEXT_BYTES])
{
    size_t used = 0;

    for (int i = 0; i < shape->rank && i < TENSOR_RANK_MAX; i++)
        used += (size_t)snprintf(out + used, SHAPE_TEXT_BYTES - used, "%s%lld", i ? "," : "[",
                                 (long long)shape->dim[i]);
    snprintf(out + used, SHAPE_TEXT_BYTES - used, "%s", used ? "]" : "[]");
}

int shape_check(const struct shape *shape, const char *what, struct err *err)
{
    int64_t n = 1;
    char text[SHAPE_TEXT_BYTES];

    if (shape->rank < 1 || shape->rank > TENSOR_RANK_MAX)
        return err_set(err, ERR_INVALID, "%s: %d dimensions; 1 to %d are possible", what,
                       shape->rank, TENSOR_RANK_MAX);
    shape_text(shape, text);
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] < 1)
            return err_set(err, ERR_INVALID, "%s: shape %s has an empty dimension", what, text);
        if (shape->dim[i] > ELEMENTS_MAX / n)
            return err_set(err, ERR_INVALID, "%s: shape %s is too large", what, text);
        n *= shape->dim[i];
    }
    return 0;
}

/* attr.shape must be the wanted shape of a result that inputs alone do not determine. */
int infer_given_shape(struct inference *f, int rank)
{
    const struct shape *shape = &f->node->attr.shape;

    if (shape_check(shape, f->name, f->err))
        return ERR_INVALID;
    if (rank != RANK_ANY && shape->rank != rank)
        return err_set(f->err, ERR_INVALID, "%s: the result has %d dimensions, not %d", f->name,
                       rank, shape->rank);
    f->out[0] = *shape;
    return 0;
}

int infer_expect_shape(struct inference *f, const char *what, const struct shape *got,
                       const struct shape *wanted)
{
    char got_text[SHAPE_TEXT_BYTES], wanted_text[SHAPE_TEXT_BYTES];

    if (shape_equal(got, wanted))
        return 0;
    shape_text(got, got_text);
    shape_text(wanted, wanted_text);
    return err_set(f->err, ERR_INVALID, "%s: %s is %s and should be %s", f->name, what, got_text,
                   wanted_text);
}

/* The output shape of a convolution of x with w. */
static int conv_shape(struct inference *f, const struct shape *x, const struct shape *w,
                      struct shape *y)
{
    int64_t stride = f->node->attr.stride, pad = f->node->attr.pad;

    if (stride < 1 || pad < 0)
        return err_set(f->err, ERR_INVALID, "%s: stride %lld, pad %lld", f->name, (long long)stride,
                       (long long)pad);
    if (x->dim[1] != w->dim[1])
        return err_set(f->err, ERR_INVALID, "%s: x has %lld channels, w wants %lld", f->name,
                       (long long)x->dim[1], (long long)w->dim[1]);
    for (int i = 2; i < 4; i++)
        if (x->dim[i] + 2 * pad < w->dim[i])
            return err_set(f->err, ERR_INVALID, "%s: a %lldx%lld kernel on a %lldx%lld image",
                           f->name, (long long)w->dim[2], (long long)w->dim[3],
                           (long long)x->dim[2], (long long)x->dim[3]);
    *y = shape_of(4, x->dim[0], w->dim[0], (x->dim[2] + 2 * pad - w->dim[2]) / stride + 1,
                  (x->dim[3] + 2 * pad - w->dim[3]) / stride + 1);
    return 0;
}

static int infer_conv(struct inference *f)
{
    return conv_shape(f, f->in[0], f->in[1], &f->out[0]);
}

static int infer_conv_grad_x(struct inference *f)
{
    struct shape y;

    if (infer_given_shape(f, 4) || conv_shape(f, &f->out[0], f->in[1], &y))
        return ERR_INVALID;
    return infer_expect_shape(f, "dy", f->in[0], &y);
}

static int infer_conv_grad_w(struct inference *f)
{
    struct shape y;

    if (infer_given_shape(f, 4) || conv_shape(f, f->in[0], &f->out[0], &y))
        return ERR_INVALID;
    return infer_expect_shape(f, "dy", f->in[1], &y);
}

static int infer_relu(struct inference *f)
{
    f->out[0] = *f->in[0];
    return 0;
}

static const struct op_rule rules[OP_COUNT];

/* Two inputs of one shape, which is also the result's. */
static int infer_alike(struct inference *f)
{
    f->out[0] = *f->in[0];
    return infer_expect_shape(f, rules[f->node->op].input[1].name, f->in[1], f->in[0]);
}

static int infer_three_alike(struct inference *f)
{
    if (infer_alike(f))
        return ERR_INVALID;
    return infer_expect_shape(f, rules[f->node->op].input[2].name, f->in[2], f->in[0]);
}

static int infer_global_avg_pool(struct inference *f)
{
    f->out[0] = shape_of(2, f->in[0]->dim[0], f->in[0]->dim[1]);
    return 0;
}

static int infer_global_avg_pool_grad(struct inference *f)
{
    struct shape y;

    if (infer_given_shape(f, 4))
        return ERR_INVALID;
    y = shape_of(2, f->out[0].dim[0], f->out[0].dim[1]);
    return infer_expect_shape(f, "dy", f->in[0], &y);
}

static int infer_dropout(struct inference *f)
{
    double rate = f->node->attr.rate;

    f->out[0] = *f->in[0];
    if (!(rate >= 0 && rate < 1))
        return err_set(f->err, ERR_INVALID, "%s: the rate is %g", f->name, rate);
    return 0;
}

static int expect_labels(struct inference *f)
{
    struct shape labels = shape_of(1, f->in[0]->dim[0]);

    return infer_expect_shape(f, "labels", f->in[1], &labels);
}

static int infer_cross_entropy(struct inference *f)
{
    f->out[0] = shape_of(1, (int64_t)1);
    return expect_labels(f);
}

static int infer_correct(struct inference *f)
{
    if (f->node->attr.k < 1)
        return err_set(f->err, ERR_INVALID, "%s: k is %d", f->name, f->node->attr.k);
    return infer_cross_entropy(f);
}

static int infer_cross_entropy_grad(struct inference *f)
{
    f->out[0] = *f->in[0];
    return expect_labels(f);
}

/* Sources have no row function: graph_input and its kin make them. */
static const struct op_rule rules[OP_COUNT] = {
    [OP_INPUT] = {"input"},
    [OP_PARAM] = {"param"},
    [OP_STATE] = {"state"},
    [OP_DIRECTION] = {"direction"},
    [OP_CONV] = {"conv", 1, infer_conv, {{"x", 4}, {"w", 4}}},
    [OP_BATCH_NORM] = {"batch_norm", 3, infer_batch_norm, {{"x", 4}, {"gamma", 1}, {"beta", 1}}},
    [OP_BATCH_NORM_EVAL] = {"batch_norm_eval",
                            1,
                            infer_batch_norm_eval,
                            {{"x", 4}, {"gamma", 1}, {"beta", 1}, {"mean", 1}, {"var", 1}}},
    [OP_RELU] = {"relu", 1, infer_relu, {{"x", RANK_ANY}}},
    [OP_ADD] = {"add", 1, infer_alike, {{"a", RANK_ANY}, {"b", RANK_ANY}}},
    [OP_GLOBAL_AVG_POOL] = {"global_avg_pool", 1, infer_global_avg_pool, {{"x", 4}}},
    [OP_BIAS] = {"bias", 1, infer_bias, {{"x", 4}, {"b", 1}}},
    [OP_MAX_POOL] = {"max_pool", 1, infer_max_pool, {{"x", 4}}},
    [OP_DROPOUT] = {"dropout", 1, infer_dropout, {{"x", RANK_ANY}}},
    [OP_LINEAR] =
        {"linear", 1, infer_linear, {{"x", RANK_ANY}, {"w", RANK_ANY}, {"b", 1}}, .optional = 1},
    [OP_PATCHES] = {"patches", 1, infer_patches, {{"x", 4}}},
    [OP_PREPEND] = {"prepend", 1, infer_prepend, {{"x", 3}, {"token", 3}}},
    [OP_TOKEN] = {"token", 1, infer_token, {{"x", 3}}},
    [OP_ADD_EACH] = {"add_each", 1, infer_add_each, {{"x", RANK_ANY}, {"b", RANK_ANY}}},
    [OP_LAYER_NORM] = {"layer_norm",
                       3,
                       infer_layer_norm,
                       {{"x", RANK_ANY}, {"gamma", 1}, {"beta", 1}}},
    [OP_GELU] = {"gelu", 1, infer_relu, {{"x", RANK_ANY}}},
    [OP_SOFTMAX] = {"softmax", 1, infer_relu, {{"x", RANK_ANY}}},
    [OP_SPLIT_HEADS] = {"split_heads", 0, infer_split_heads, {{"x", 3}}},
    [OP_MERGE_HEADS] =
        {"merge_heads", 1, infer_merge_heads, {{"a", 4}, {"b", 4}, {"c", 4}}, .optional = 2},
    [OP_MATMUL] = {"matmul", 1, infer_matmul, {{"a", RANK_ANY}, {"b", RANK_ANY}}},
    [OP_CROSS_ENTROPY] = {"cross_entropy",
                          1,
                          infer_cross_entropy,
                          {{"logits", 2}, {"labels", LABELS}}},
    [OP_CORRECT] = {"correct", 1, infer_correct, {{"logits", 2}, {"labels", LABELS}}},
    [OP_CONV_GRAD_X] = {"conv_grad_x", 1, infer_conv_grad_x, {{"dy", 4}, {"w", 4}}},
    [OP_CONV_GRAD_W] = {"conv_grad_w", 1, infer_conv_grad_w, {{"x", 4}, {"dy", 4}}},
    [OP_BATCH_NORM_GRAD] = {"batch_norm_grad",
                            3,
                            infer_batch_norm_grad,
                            {{"dy", 4}, {"x", 4}, {"gamma", 1}, {"mean", 1}, {"var", 1}}},
    [OP_RELU_GRAD] = {"relu_grad", 1, infer_alike, {{"dy", RANK_ANY}, {"y", RANK_ANY}}},
    [OP_GLOBAL_AVG_POOL_GRAD] = {"global_avg_pool_grad",
                                 1,
                                 infer_global_avg_pool_grad,
                                 {{"dy", 2}}},
    [OP_SUM_CHANNELS] = {"sum_channels", 1, infer_sum_channels, {{"dy", 4}}},
    [OP_MAX_POOL_GRAD] = {"max_pool_grad", 1, infer_max_pool_grad, {{"dy", 4}, {"x", 4}}},
    [OP_LINEAR_GRAD_X] = {"linear_grad_x",
                          1,
                          infer_linear_grad_x,
                          {{"dy", RANK_ANY}, {"w", RANK_ANY}}},
    [OP_LINEAR_GRAD_W] = {"linear_grad_w",
                          1,
                          infer_linear_grad_w,
                          {{"x", RANK_ANY}, {"dy", RANK_ANY}}},
    [OP_SUM_ROWS] = {"sum_rows", 1, infer_sum_rows, {{"dy", RANK_ANY}}},
    [OP_PATCHES_GRAD] = {"patches_grad", 1, infer_patches_grad, {{"dy", 3}}},
    [OP_DROP_FIRST] = {"drop_first", 1, infer_drop_first, {{"dy", 3}}},
    [OP_TOKEN_GRAD] = {"token_grad", 1, infer_token_grad, {{"dy", 2}}},
    [OP_SUM_EACH] = {"sum_each", 1, infer_sum_each, {{"dy", RANK_ANY}}},
    [OP_LAYER_NORM_GRAD] =
        {"layer_norm_grad",
         3,
         infer_layer_norm_grad,
         {{"dy", RANK_ANY}, {"x", RANK_ANY}, {"gamma", 1}, {"mean", RANK_ANY}, {"var", RANK_ANY}}},
    [OP_GELU_GRAD] = {"gelu_grad", 1, infer_alike, {{"dy", RANK_ANY}, {"x", RANK_ANY}}},
    [OP_SOFTMAX_GRAD] = {"softmax_grad", 1, infer_alike, {{"dy", RANK_ANY}, {"y", RANK_ANY}}},
    [OP_CROSS_ENTROPY_GRAD] = {"cross_entropy_grad",
                               1,
                               infer_cross_entropy_grad,
                               {{"logits", 2}, {"labels", LABELS}}},
    [OP_BATCH_NORM_SCALE] = {"batch_norm_scale",
                             1,
                             infer_batch_norm_scale,
                             {{"x", 4}, {"gamma", 1}, {"var", 1}}},
    [OP_BATCH_NORM_EVAL_GRAD] = {"batch_norm_eval_grad",
                                 2,
                                 infer_batch_norm_eval_grad,
                                 {{"dy", 4}, {"x", 4}, {"mean", 1}, {"var", 1}}},
    [OP_BATCH_NORM_DOT] = {"batch_norm_dot",
                           1,
                           infer_batch_norm_dot,
                           {{"dy", 4}, {"x", 4}, {"var", 1}}},
    [OP_BATCH_NORM_TANGENT] =
        {"batch_norm_tangent",
         1,
         infer_batch_norm_tangent,
         {{"x", 4}, {"Rx", 4}, {"gamma", 1}, {"Rgamma", 1}, {"Rbeta", 1}, {"mean", 1}, {"var", 1}}},
    [OP_BATCH_NORM_GRAD_TANGENT] = {"batch_norm_grad_tangent",
                                    3,
                                    infer_batch_norm_grad_tangent,
                                    {{"dy", 4},
                                     {"Rdy", 4},
                                     {"x", 4},
                                     {"Rx", 4},
                                     {"gamma", 1},
                                     {"Rgamma", 1},
                                     {"mean", 1},
                                     {"var", 1}}},
    [OP_LAYER_NORM_TANGENT] = {"layer_norm_tangent",
                               1,
                               infer_layer_norm_tangent,
                               {{"x", RANK_ANY},
                                {"Rx", RANK_ANY},
                                {"gamma", 1},
                                {"Rgamma", 1},
                                {"Rbeta", 1},
                                {"mean", RANK_ANY},
                                {"var", RANK_ANY}}},
    [OP_LAYER_NORM_GRAD_TANGENT] = {"layer_norm_grad_tangent",
                                    3,
                                    infer_layer_norm_grad_tangent,
                                    {{"dy", RANK_ANY},
                                     {"Rdy", RANK_ANY},
                                     {"x", RANK_ANY},
                                     {"Rx", RANK_ANY},
                                     {"gamma", 1},
                                     {"Rgamma", 1},
                                     {"mean", RANK_ANY},
                                     {"var", RANK_ANY}}},
    [OP_MAX_POOL_TANGENT] = {"max_pool_tangent", 1, infer_max_pool_tangent, {{"Rx", 4}, {"x", 4}}},
    [OP_GELU_CURVE] = {"gelu_curve",
                       1,
                       infer_three_alike,
                       {{"dy", RANK_ANY}, {"x", RANK_ANY}, {"Rx", RANK_ANY}}},
    [OP_SOFTMAX_CURVE] = {"softmax_curve",
                          1,
                          infer_three_alike,
                          {{"dy", RANK_ANY}, {"y", RANK_ANY}, {"Ry", RANK_ANY}}},
    [OP_CROSS_ENTROPY_CURVE] = {"cross_entropy_curve",
                                1,
                                infer_alike,
                                {{"logits", 2}, {"Rlogits", 2}}},
};

static bool known(enum op op)
{
    return (unsigned)op < OP_COUNT;
}

const char *op_name(enum op op)
{
    return known(op) ? rules[op].name : "unknown operation";
}

static int expect_input(const struct graph *graph, const char *op, const char *input, int id,
                        int rank, struct err *err)
{
    const struct value *value;
    char text[SHAPE_TEXT_BYTES];

    if (id < 0 || id >= graph->n_values)
        return err_set(err, ERR_INVALID, "%s: %s is value %d, which does not exist", op, input, id);
    value = &graph->values[id];
    if ((value->type == VALUE_INDEX) != (rank == LABELS))
        return err_set(err, ERR_INVALID, "%s: %s must be %s", op, input,
                       rank == LABELS ? "class numbers" : "real numbers");
    if (rank == LABELS)
        rank = 1;
    if (rank == RANK_ANY || value->shape.rank == rank)
        return 0;
    shape_text(&value->shape, text);
    return err_set(err, ERR_INVALID, "%s: %s has %d dimensions, %s; it needs %d", op, input,
                   value->shape.rank, text, rank);
}

int graph_expect_rank(struct graph *graph, const char *op, const char *input, int id, int rank)
{
    if (graph->mistake.code)
        return graph->mistake.code;
    return expect_input(graph, op, input, id, rank, &graph->mistake);
}

int graph_infer(const struct graph *graph, struct node *node, struct shape shapes[NODE_OUTPUTS_MAX],
                struct err *err)
{
    struct inference f = {.name = op_name(node->op), .node = node, .out = shapes, .err = err};
    const struct op_rule *rule;
    int wanted = 0;

    if (!known(node->op) || !rules[node->op].infer)
        return err_set(err, ERR_INVALID, "%s is no operation with inputs", f.name);
    rule = &rules[node->op];
    while (wanted < NODE_INPUTS_MAX && rule->input[wanted].name)
        wanted++;
    if (node->n_inputs > wanted || node->n_inputs < wanted - rule->optional)
        return err_set(err, ERR_INVALID, "%s: %d inputs given, %d wanted", f.name, node->n_inputs,
                       wanted);
    for (int i = 0; i < node->n_inputs; i++) {
        if (expect_input(graph, f.name, rule->input[i].name, node->input[i], rule->input[i].rank,
                         err))
            return ERR_INVALID;
        f.in[i] = &graph->values[node->input[i]].shape;
    }
    node->n_outputs = rule->n_outputs ? rule->n_outputs : node->attr.parts;
    return rule->infer(&f);
}
