/* The short operations, and the table of all of them. Dimensions are named as in graph.h. */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"

static void relu(const struct operands *o)
{
    const double *x = o->in[0];
    int64_t n = shape_elements(o->out_shape[0]);

    for (int64_t i = 0; i < n; i++)
        o->out[0][i] = x[i] <= 0 ? 0 : x[i]; /* NaN stays NaN */
}

static void relu_grad(const struct operands *o)
{
    const double *dy = o->in[0], *y = o->in[1];
    int64_t n = shape_elements(o->out_shape[0]);

    for (int64_t i = 0; i < n; i++)
        o->out[0][i] = y[i] > 0 ? dy[i] : 0;
}

static void add(const struct operands *o)
{
    const double *a = o->in[0], *b = o->in[1];
    int64_t n = shape_elements(o->out_shape[0]);

    for (int64_t i = 0; i < n; i++)
        o->out[0][i] = a[i] + b[i];
}

static void global_avg_pool(const struct operands *o)
{
    const struct shape *x = o->in_shape[0];
    int64_t planes = x->dim[0] * x->dim[1], plane = x->dim[2] * x->dim[3];

    for (int64_t i = 0; i < planes; i++) {
        double sum = 0;
        for (int64_t j = 0; j < plane; j++)
            sum += o->in[0][i * plane + j];
        o->out[0][i] = sum / (double)plane;
    }
}

static void global_avg_pool_grad(const struct operands *o)
{
    const struct shape *x = o->out_shape[0];
    int64_t planes = x->dim[0] * x->dim[1], plane = x->dim[2] * x->dim[3];

    for (int64_t i = 0; i < planes; i++)
        for (int64_t j = 0; j < plane; j++)
            o->out[0][i * plane + j] = o->in[0][i] / (double)plane;
}

static void bias(const struct operands *o)
{
    const struct shape *x = o->in_shape[0];
    int64_t planes = x->dim[0] * x->dim[1], plane = x->dim[2] * x->dim[3];

    for (int64_t i = 0; i < planes; i++)
        for (int64_t j = 0; j < plane; j++)
            o->out[0][i * plane + j] = o->in[0][i * plane + j] + o->in[1][i % x->dim[1]];
}

static void sum_channels(const struct operands *o)
{
    const struct shape *dy = o->in_shape[0];
    int64_t planes = dy->dim[0] * dy->dim[1], plane = dy->dim[2] * dy->dim[3];

    memset(o->out[0], 0, (size_t)dy->dim[1] * sizeof *o->out[0]);
    for (int64_t i = 0; i < planes; i++)
        for (int64_t j = 0; j < plane; j++)
            o->out[0][i % dy->dim[1]] += o->in[0][i * plane + j];
}

static int64_t features(const struct shape *shape)
{
    return shape->dim[shape->rank - 1];
}

static int64_t rows_of(const struct shape *shape)
{
    return shape_elements(shape) / features(shape);
}

static void linear(const struct operands *o)
{
    const double *x = o->in[0], *w = o->in[1];
    const double *b = o->node->n_inputs > 2 ? o->in[2] : NULL;
    int64_t in = features(o->in_shape[0]), rows = rows_of(o->in_shape[0]);
    int64_t out = o->in_shape[1]->dim[0];

    for (int64_t n = 0; n < rows; n++)
        for (int64_t k = 0; k < out; k++) {
            double sum = b ? b[k] : 0;
            for (int64_t i = 0; i < in; i++)
                sum += x[n * in + i] * w[k * in + i];
            o->out[0][n * out + k] = sum;
        }
}

static void linear_grad_x(const struct operands *o)
{
    const double *dy = o->in[0], *w = o->in[1];
    int64_t rows = rows_of(o->in_shape[0]), out = o->in_shape[1]->dim[0];
    int64_t in = features(o->out_shape[0]);
    double *dx = o->out[0];

    memset(dx, 0, (size_t)(rows * in) * sizeof *dx);
    for (int64_t n = 0; n < rows; n++)
        for (int64_t k = 0; k < out; k++)
            for (int64_t i = 0; i < in; i++)
                dx[n * in + i] += dy[n * out + k] * w[k * in + i];
}

static void linear_grad_w(const struct operands *o)
{
    const double *x = o->in[0], *dy = o->in[1];
    int64_t in = features(o->in_shape[0]), rows = rows_of(o->in_shape[0]);
    int64_t out = features(o->in_shape[1]);
    double *dw = o->out[0];

    memset(dw, 0, (size_t)(out * in) * sizeof *dw);
    for (int64_t n = 0; n < rows; n++)
        for (int64_t k = 0; k < out; k++)
            for (int64_t i = 0; i < in; i++)
                dw[k * in + i] += dy[n * out + k] * x[n * in + i];
}

static void sum_rows(const struct operands *o)
{
    int64_t rows = rows_of(o->in_shape[0]), out = features(o->in_shape[0]);

    memset(o->out[0], 0, (size_t)out * sizeof *o->out[0]);
    for (int64_t n = 0; n < rows; n++)
        for (int64_t k = 0; k < out; k++)
            o->out[0][k] += o->in[0][n * out + k];
}

/* The largest of a row, and Σ exp(logit − largest), which no logit makes overflow. */
static double sum_of_exponentials(const double *row, int64_t classes, double *largest)
{
    double sum = 0;

    *largest = row[0];
    for (int64_t k = 1; k < classes; k++)
        *largest = row[k] > *largest ? row[k] : *largest;
    for (int64_t k = 0; k < classes; k++)
        sum += exp(row[k] - *largest);
    return sum;
}

/* The loss is log Σ exp − Σ target·logit, since a target's shares add up to 1. */
static void cross_entropy(const struct operands *o)
{
    int64_t rows = o->in_shape[0]->dim[0], classes = o->in_shape[0]->dim[1];
    double spread = o->node->attr.smoothing / (double)classes, loss = 0;

    for (int64_t n = 0; n < rows; n++) {
        const double *row = o->in[0] + n * classes;
        double largest, sum = sum_of_exponentials(row, classes, &largest);
        loss += log(sum) + largest - (1 - o->node->attr.smoothing) * row[o->labels[n]];
        for (int64_t k = 0; k < classes && spread != 0; k++)
            loss -= spread * row[k];
    }
    o->out[0][0] = loss / (double)rows;
}

static void cross_entropy_grad(const struct operands *o)
{
    int64_t rows = o->in_shape[0]->dim[0], classes = o->in_shape[0]->dim[1];
    double spread = o->node->attr.smoothing / (double)classes;

    for (int64_t n = 0; n < rows; n++) {
        const double *row = o->in[0] + n * classes;
        double *to = o->out[0] + n * classes;
        double largest, sum = sum_of_exponentials(row, classes, &largest);
        for (int64_t k = 0; k < classes; k++)
            to[k] = (exp(row[k] - largest) / sum - spread) / (double)rows;
        to[o->labels[n]] -= (1 - o->node->attr.smoothing) / (double)rows;
    }
}

/* p·(R − ⟨p,R⟩)/N with p = softmax(logits): the target does not move. */
static void cross_entropy_curve(const struct operands *o)
{
    int64_t rows = o->in_shape[0]->dim[0], classes = o->in_shape[0]->dim[1];

    for (int64_t n = 0; n < rows; n++) {
        const double *row = o->in[0] + n * classes, *moved = o->in[1] + n * classes;
        double *to = o->out[0] + n * classes;
        double largest, sum = sum_of_exponentials(row, classes, &largest), mean = 0;
        for (int64_t k = 0; k < classes; k++) {
            to[k] = exp(row[k] - largest) / sum;
            mean += to[k] * moved[k];
        }
        for (int64_t k = 0; k < classes; k++)
            to[k] *= (moved[k] - mean) / (double)rows;
    }
}

/* A label's place is the number of classes before it; a NaN is before all, so that a model that
 * gives NaN is never right. */
static void correct(const struct operands *o)
{
    int64_t rows = o->in_shape[0]->dim[0], classes = o->in_shape[0]->dim[1];
    double count = 0;

    for (int64_t n = 0; n < rows; n++) {
        const double *row = o->in[0] + n * classes;
        int64_t label = o->labels[n], before = 0;
        for (int64_t k = 0; k < classes; k++)
            if (k != label && !(row[k] < row[label]) && !(k > label && row[k] == row[label]))
                before++;
        if (!isnan(row[label]) && before < o->node->attr.k)
            count++;
    }
    o->out[0][0] = count;
}

reference_op reference_op_of(enum op op)
{
    static const reference_op ops[OP_COUNT] = {
        [OP_CONV] = reference_conv,
        [OP_BATCH_NORM] = reference_batch_norm,
        [OP_BATCH_NORM_EVAL] = reference_batch_norm_eval,
        [OP_RELU] = relu,
        [OP_ADD] = add,
        [OP_GLOBAL_AVG_POOL] = global_avg_pool,
        [OP_BIAS] = bias,
        [OP_MAX_POOL] = reference_max_pool,
        [OP_DROPOUT] = reference_dropout,
        [OP_LINEAR] = linear,
        [OP_CROSS_ENTROPY] = cross_entropy,
        [OP_CORRECT] = correct,
        [OP_CONV_GRAD_X] = reference_conv_grad_x,
        [OP_CONV_GRAD_W] = reference_conv_grad_w,
        [OP_BATCH_NORM_GRAD] = reference_batch_norm_grad,
        [OP_RELU_GRAD] = relu_grad,
        [OP_GLOBAL_AVG_POOL_GRAD] = global_avg_pool_grad,
        [OP_SUM_CHANNELS] = sum_channels,
        [OP_MAX_POOL_GRAD] = reference_max_pool_grad,
        [OP_LINEAR_GRAD_X] = linear_grad_x,
        [OP_LINEAR_GRAD_W] = linear_grad_w,
        [OP_SUM_ROWS] = sum_rows,
        [OP_CROSS_ENTROPY_GRAD] = cross_entropy_grad,
        [OP_PATCHES] = reference_patches,
        [OP_PREPEND] = reference_prepend,
        [OP_TOKEN] = reference_token,
        [OP_ADD_EACH] = reference_add_each,
        [OP_LAYER_NORM] = reference_layer_norm,
        [OP_GELU] = reference_gelu,
        [OP_SOFTMAX] = reference_softmax,
        [OP_SPLIT_HEADS] = reference_split_heads,
        [OP_MERGE_HEADS] = reference_merge_heads,
        [OP_MATMUL] = reference_matmul,
        [OP_PATCHES_GRAD] = reference_patches_grad,
        [OP_DROP_FIRST] = reference_drop_first,
        [OP_TOKEN_GRAD] = reference_token_grad,
        [OP_SUM_EACH] = reference_sum_each,
        [OP_LAYER_NORM_GRAD] = reference_layer_norm_grad,
        [OP_GELU_GRAD] = reference_gelu_grad,
        [OP_SOFTMAX_GRAD] = reference_softmax_grad,
        [OP_BATCH_NORM_SCALE] = reference_batch_norm_scale,
        [OP_BATCH_NORM_EVAL_GRAD] = reference_batch_norm_eval_grad,
        [OP_BATCH_NORM_DOT] = reference_batch_norm_dot,
        [OP_BATCH_NORM_TANGENT] = reference_batch_norm_tangent,
        [OP_BATCH_NORM_GRAD_TANGENT] = reference_batch_norm_grad_tangent,
        [OP_LAYER_NORM_TANGENT] = reference_layer_norm_tangent,
        [OP_LAYER_NORM_GRAD_TANGENT] = reference_layer_norm_grad_tangent,
        [OP_MAX_POOL_TANGENT] = reference_max_pool_tangent,
        [OP_GELU_CURVE] = reference_gelu_curve,
        [OP_SOFTMAX_CURVE] = reference_softmax_curve,
        [OP_CROSS_ENTROPY_CURVE] = cross_entropy_curve,
    };

    return (unsigned)op < OP_COUNT ? ops[op] : NULL;
}

size_t reference_scratch(const struct graph *graph, const struct node *node)
{
    const struct shape *out = &graph->values[node->output[0]].shape;
    const struct shape *a, *b;

    if (node->op != OP_CONV && node->op != OP_CONV_GRAD_X && node->op != OP_CONV_GRAD_W)
        return 0;
    a = &graph->values[node->input[0]].shape;
    b = &graph->values[node->input[1]].shape;
    if (node->op == OP_CONV)
        return reference_conv_scratch(node, a, b, out);
    if (node->op == OP_CONV_GRAD_X)
        return reference_conv_scratch(node, out, b, a);
    return reference_conv_scratch(node, a, out, b);
}
