#include "op_cases.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "op_cases_parts.h"

int case_images(struct graph *g, const struct op_case *o)
{
    return graph_input(g, shape4(o->size.n, o->size.c, o->size.h, o->size.w), VALUE_REAL);
}

int case_tokens(struct graph *g, const struct op_case *o)
{
    return graph_input(g, shape3(o->size.n, o->size.h, o->size.c), VALUE_REAL);
}

int case_node(struct graph *g, enum op op, const int *inputs, int n, const struct op_case *o,
              struct shape shape)
{
    struct node attr = {
        .attr = {.stride = o->size.stride, .pad = o->size.pad, .eps = 1e-5, .shape = shape}};

    return graph_node(g, op, inputs, n, &attr);
}

struct graph *case_finish(struct graph *g, int value)
{
    int first = value < 0 ? 0 : g->values[value].node;

    for (int i = 0; value >= 0 && i < g->nodes[first].n_outputs; i++)
        graph_output(g, g->nodes[first].output[i]);
    return g;
}

static struct shape filters(const struct op_case *o)
{
    return shape4(o->size.k, o->size.c, o->size.r, o->size.r);
}

static int conv_dy(struct graph *g, const struct op_case *o)
{
    int p = (o->size.h + 2 * o->size.pad - o->size.r) / o->size.stride + 1;
    int q = (o->size.w + 2 * o->size.pad - o->size.r) / o->size.stride + 1;

    return graph_input(g, shape4(o->size.n, o->size.k, p, q), VALUE_REAL);
}

static struct graph *build_conv(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_images(g, o), w = graph_param(g, filters(o), case_uniform, "w");

    return case_finish(g, graph_conv(g, x, w, o->size.stride, o->size.pad));
}

static struct graph *build_conv_grad_x(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = conv_dy(g, o), w = graph_param(g, filters(o), case_uniform, "w");

    return case_finish(g, case_node(g, OP_CONV_GRAD_X, (int[]){dy, w}, 2, o,
                                    shape4(o->size.n, o->size.c, o->size.h, o->size.w)));
}

static struct graph *build_conv_grad_w(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_images(g, o), dy = conv_dy(g, o);

    return case_finish(g, case_node(g, OP_CONV_GRAD_W, (int[]){x, dy}, 2, o, filters(o)));
}

static struct graph *build_batch_norm(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return case_finish(g, graph_batch_norm(g, case_images(g, o), "bn"));
}

static struct graph *build_batch_norm_eval(const struct op_case *o)
{
    struct graph *g = graph_new(false);

    return case_finish(g, graph_batch_norm(g, case_images(g, o), "bn"));
}

static struct graph *build_batch_norm_grad(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_images(g, o), dy = case_images(g, o), y = graph_batch_norm(g, x, "bn");
    int inputs[] = {dy, x, g->params[0].value, y + 1, y + 2};

    return case_finish(g, case_node(g, OP_BATCH_NORM_GRAD, inputs, 5, o, (struct shape){0}));
}

static struct graph *build_relu(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return case_finish(g, graph_relu(g, case_images(g, o)));
}

static struct graph *build_two_images(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int a = case_images(g, o), b = case_images(g, o);

    return case_finish(g, graph_node(g, o->op, (int[]){a, b}, 2, NULL));
}

static struct graph *build_pool(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return case_finish(g, graph_global_avg_pool(g, case_images(g, o)));
}

static struct graph *build_pool_grad(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = graph_input(g, shape2(o->size.n, o->size.c), VALUE_REAL);

    return case_finish(g, case_node(g, OP_GLOBAL_AVG_POOL_GRAD, &dy, 1, o,
                                    shape4(o->size.n, o->size.c, o->size.h, o->size.w)));
}

static struct graph *build_bias(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_images(g, o), b = graph_param(g, shape1(o->size.c), case_uniform, "b");

    return case_finish(g, graph_bias(g, x, b));
}

static struct graph *build_sum_channels(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = case_images(g, o);

    return case_finish(g, graph_node(g, OP_SUM_CHANNELS, &dy, 1, NULL));
}

/* `r` is the window's size. */
static struct graph *build_max_pool(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return case_finish(
        g, graph_max_pool(g, case_images(g, o), o->size.r, o->size.stride, o->size.pad));
}

static struct graph *build_max_pool_grad(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int p = (o->size.h + 2 * o->size.pad - o->size.r) / o->size.stride + 1;
    int q = (o->size.w + 2 * o->size.pad - o->size.r) / o->size.stride + 1;
    int dy = graph_input(g, shape4(o->size.n, o->size.c, p, q), VALUE_REAL), x = case_images(g, o);
    struct node attr = {.attr = {.k = o->size.r, .stride = o->size.stride, .pad = o->size.pad}};

    return case_finish(g, graph_node(g, OP_MAX_POOL_GRAD, (int[]){dy, x}, 2, &attr));
}

/* `k` is the rate in tenths; images come out of a ReLU, so that each backend has them as it likes
 * best; without a height it is a matrix. */
static struct graph *build_dropout(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = o->size.h ? graph_relu(g, case_images(g, o))
                      : graph_input(g, shape2(o->size.n, o->size.c), VALUE_REAL);

    graph_dropout(g, x, 0.9); /* the second mask of two is looked at */
    return case_finish(g, graph_dropout(g, x, o->size.k / 10.0));
}

static struct graph *build_linear(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape2(o->size.n, o->size.c), VALUE_REAL);
    int w = graph_param(g, shape2(o->size.k, o->size.c), case_uniform, "w");
    int b = graph_param(g, shape1(o->size.k), case_uniform, "b");

    return case_finish(g, graph_linear(g, x, w, b));
}

static struct graph *build_linear_grad_x(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);
    int w = graph_param(g, shape2(o->size.k, o->size.c), case_uniform, "w");

    return case_finish(g, graph_node(g, OP_LINEAR_GRAD_X, (int[]){dy, w}, 2, NULL));
}

static struct graph *build_linear_grad_w(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape2(o->size.n, o->size.c), VALUE_REAL);
    int dy = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);

    return case_finish(g, graph_node(g, OP_LINEAR_GRAD_W, (int[]){x, dy}, 2, NULL));
}

static struct graph *build_sum_rows(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);

    return case_finish(g, graph_node(g, OP_SUM_ROWS, &dy, 1, NULL));
}

/* OP_CROSS_ENTROPY and its gradient. */
/* `r` tenths are the smoothing. */
static struct graph *build_with_labels(const struct op_case *o)
{
    struct node attr = {.attr = {.smoothing = o->size.r / 10.0}};
    struct graph *g = graph_new(true);
    int logits = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);
    int labels = graph_input(g, shape1(o->size.n), VALUE_INDEX);

    return case_finish(g, graph_node(g, o->op, (int[]){logits, labels}, 2, &attr));
}

/* `r` is the k of "among the best k". */
static struct graph *build_correct(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int logits = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);
    int labels = graph_input(g, shape1(o->size.n), VALUE_INDEX);

    return case_finish(g, graph_correct(g, logits, labels, o->size.r));
}

/* n, c, h, w, k, r, stride, pad: odd ones, and those that nets have. */
static const struct op_sizes conv_sizes[] = {
    {2, 3, 5, 7, 4, 3, 1, 1},  {2, 3, 5, 7, 4, 3, 2, 1},   {1, 2, 6, 5, 3, 3, 1, 0},
    {3, 2, 6, 5, 3, 3, 2, 0},  {2, 5, 5, 5, 3, 1, 1, 0},   {2, 5, 7, 6, 3, 1, 2, 0},
    {2, 1, 3, 4, 2, 1, 1, 1},  {1, 3, 8, 8, 5, 5, 3, 2},   {2, 2, 1, 1, 3, 3, 1, 1},
    {5, 8, 8, 8, 16, 3, 1, 1}, {5, 8, 8, 8, 16, 3, 2, 1},  {5, 16, 4, 4, 16, 1, 2, 0},
    {3, 1, 8, 8, 8, 3, 1, 1},  {5, 8, 16, 16, 4, 3, 1, 1},
};

static const struct op_sizes image_sizes[] = {
    {.n = 2, .c = 3, .h = 5, .w = 7},
    {.n = 4, .c = 5, .h = 1, .w = 1},
    {.n = 1, .c = 1, .h = 3, .w = 2},
    {.n = 5, .c = 16, .h = 8, .w = 8},
};

/* Windows that nets have, windows that overlap, leave pixels out, or reach over the edge. */
static const struct op_sizes pool_sizes[] = {
    {2, 3, 8, 8, .r = 2, .stride = 2},           {2, 3, 9, 7, .r = 2, .stride = 2},
    {3, 5, 9, 7, .r = 3, .stride = 2, .pad = 1}, {1, 17, 16, 16, .r = 3, .stride = 2, .pad = 1},
    {2, 2, 5, 6, .r = 3, .stride = 1, .pad = 1}, {2, 1, 7, 5, .r = 2, .stride = 3, .pad = 1},
    {5, 20, 1, 1, .r = 1, .stride = 1},          {17, 3, 2, 2, .r = 2, .stride = 2},
};

static const struct op_sizes dropout_sizes[] = {
    {.n = 2, .c = 3, .h = 5, .w = 7, .k = 3},
    {.n = 3, .c = 20, .h = 4, .w = 4, .k = 5},
    {.n = 18, .c = 2, .h = 1, .w = 2, .k = 1},
    {.n = 3, .c = 37, .k = 5},
    {.n = 30, .c = 512, .k = 2},
    {.n = 1, .c = 1, .k = 9},
};

/* n rows, c features in, k features out. */
static const struct op_sizes matrix_sizes[] = {
    {.n = 2, .c = 3, .k = 5},
    {.n = 1, .c = 7, .k = 1},
    {.n = 30, .c = 32, .k = 10},
    {.n = 65, .c = 513, .k = 130},
};

/* n samples, h tokens, c features, k features out, r×r of a convolution's weights. */
static const struct op_sizes token_sizes[] = {
    {.n = 2, .h = 5, .c = 7, .k = 3},    {.n = 3, .h = 4, .c = 12, .k = 5, .r = 2},
    {.n = 1, .h = 1, .c = 1, .k = 1},    {.n = 3, .h = 17, .c = 64, .k = 33},
    {.n = 2, .h = 65, .c = 19, .k = 48},
};

static const struct op_sizes patch_sizes[] = {
    {.n = 2, .c = 3, .h = 8, .w = 12, .r = 4, .k = 1},
    {.n = 2, .c = 3, .h = 8, .w = 12, .r = 4},
    {.n = 1, .c = 1, .h = 3, .w = 3, .r = 3},
    {.n = 3, .c = 5, .h = 2, .w = 3, .r = 1, .k = 1},
};

/* n samples of h tokens: k parts of r heads of w features. */
static const struct op_sizes head_sizes[] = {
    {.n = 2, .h = 5, .k = 3, .r = 2, .w = 7},
    {.n = 1, .h = 17, .k = 1, .r = 3, .w = 16},
    {.n = 3, .h = 1, .k = 2, .r = 1, .w = 5},
    {.n = 2, .h = 9, .k = 3, .r = 4, .w = 32},
};

/* n·c products of h×w and w×k; r: what is transposed. */
static const struct op_sizes product_sizes[] = {
    {.n = 2, .c = 3, .h = 5, .w = 7, .k = 4},
    {.n = 2, .c = 3, .h = 5, .w = 7, .k = 4, .r = 1},
    {.n = 2, .c = 3, .h = 5, .w = 7, .k = 4, .r = 2},
    {.n = 2, .c = 3, .h = 5, .w = 7, .k = 4, .r = 3},
    {.n = 1, .c = 1, .h = 1, .w = 1, .k = 1},
    {.n = 3, .c = 2, .h = 17, .w = 64, .k = 17, .r = 2},
    {.n = 3, .c = 2, .h = 17, .w = 17, .k = 64},
    {.n = 1, .c = 9, .h = 33, .w = 20, .k = 1, .r = 1},
};

static const struct op_sizes label_sizes[] = {
    {.n = 2, .k = 5},           {.n = 1, .k = 1},         {.n = 30, .k = 10},
    {.n = 30, .k = 10, .r = 1}, {.n = 7, .k = 3, .r = 9},
};

static const struct op_sizes correct_sizes[] = {
    {.n = 30, .k = 10, .r = 1},
    {.n = 30, .k = 10, .r = 5},
    {.n = 7, .k = 3, .r = 5},
};

static const struct family {
    enum op op;
    struct graph *(*build)(const struct op_case *);
    const struct op_sizes *sizes;
    int n_sizes;
} families[] = {
    {OP_CONV, build_conv, conv_sizes, ARRAY_LENGTH(conv_sizes)},
    {OP_CONV_GRAD_X, build_conv_grad_x, conv_sizes, ARRAY_LENGTH(conv_sizes)},
    {OP_CONV_GRAD_W, build_conv_grad_w, conv_sizes, ARRAY_LENGTH(conv_sizes)},
    {OP_BATCH_NORM, build_batch_norm, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_BATCH_NORM_EVAL, build_batch_norm_eval, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_BATCH_NORM_GRAD, build_batch_norm_grad, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_RELU, build_relu, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_RELU_GRAD, build_two_images, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_ADD, build_two_images, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_GLOBAL_AVG_POOL, build_pool, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_GLOBAL_AVG_POOL_GRAD, build_pool_grad, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_BIAS, build_bias, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_SUM_CHANNELS, build_sum_channels, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_MAX_POOL, build_max_pool, pool_sizes, ARRAY_LENGTH(pool_sizes)},
    {OP_MAX_POOL_GRAD, build_max_pool_grad, pool_sizes, ARRAY_LENGTH(pool_sizes)},
    {OP_DROPOUT, build_dropout, dropout_sizes, ARRAY_LENGTH(dropout_sizes)},
    {OP_LINEAR, build_linear, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_LINEAR_GRAD_X, build_linear_grad_x, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_LINEAR_GRAD_W, build_linear_grad_w, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_LINEAR, build_token_linear, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_LINEAR_GRAD_X, build_token_linear_grad_x, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_LINEAR_GRAD_W, build_token_linear_grad_w, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_PATCHES, build_patches, patch_sizes, ARRAY_LENGTH(patch_sizes)},
    {OP_PATCHES_GRAD, build_patches_grad, patch_sizes, ARRAY_LENGTH(patch_sizes)},
    {OP_PREPEND, build_prepend, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_DROP_FIRST, build_drop_first, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_TOKEN, build_token, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_TOKEN_GRAD, build_token_grad, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_ADD_EACH, build_add_each, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_SUM_EACH, build_sum_each, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_LAYER_NORM, build_layer_norm, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_LAYER_NORM_GRAD, build_layer_norm_grad, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_GELU, build_on_tokens, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_GELU_GRAD, build_on_two_tokens, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_SOFTMAX, build_on_tokens, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_SOFTMAX_GRAD, build_on_two_tokens, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_SPLIT_HEADS, build_split_heads, head_sizes, ARRAY_LENGTH(head_sizes)},
    {OP_MERGE_HEADS, build_merge_heads, head_sizes, ARRAY_LENGTH(head_sizes)},
    {OP_MATMUL, build_matmul, product_sizes, ARRAY_LENGTH(product_sizes)},
    {OP_SUM_ROWS, build_sum_rows, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_CROSS_ENTROPY, build_with_labels, label_sizes, ARRAY_LENGTH(label_sizes)},
    {OP_CROSS_ENTROPY_GRAD, build_with_labels, label_sizes, ARRAY_LENGTH(label_sizes)},
    {OP_CORRECT, build_correct, correct_sizes, ARRAY_LENGTH(correct_sizes)},
    {OP_BATCH_NORM_SCALE, build_batch_norm_scale, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_BATCH_NORM_EVAL_GRAD, build_batch_norm_eval_grad, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_BATCH_NORM_DOT, build_batch_norm_dot, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_BATCH_NORM_TANGENT, build_batch_norm_tangent, image_sizes, ARRAY_LENGTH(image_sizes)},
    {OP_BATCH_NORM_GRAD_TANGENT, build_batch_norm_grad_tangent, image_sizes,
     ARRAY_LENGTH(image_sizes)},
    {OP_LAYER_NORM_TANGENT, build_layer_norm_tangent, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_LAYER_NORM_GRAD_TANGENT, build_layer_norm_grad_tangent, token_sizes,
     ARRAY_LENGTH(token_sizes)},
    {OP_MAX_POOL_TANGENT, build_max_pool_tangent, pool_sizes, ARRAY_LENGTH(pool_sizes)},
    {OP_GELU_CURVE, build_on_three_tokens, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_SOFTMAX_CURVE, build_on_three_tokens, token_sizes, ARRAY_LENGTH(token_sizes)},
    {OP_CROSS_ENTROPY_CURVE, build_two_logits, label_sizes, ARRAY_LENGTH(label_sizes)},
};

bool op_case_at(int number, struct op_case *out)
{
    for (size_t i = 0; i < ARRAY_LENGTH(families); i++) {
        const struct family *family = &families[i];
        if (number < family->n_sizes) {
            *out = (struct op_case){family->op, family->sizes[number], family->build};
            return true;
        }
        number -= family->n_sizes;
    }
    return false;
}

bool op_case_differentiable(const struct op_case *op_case)
{
    static const bool differentiable[OP_COUNT] = {
        [OP_CONV] = true,    [OP_BATCH_NORM] = true, [OP_BATCH_NORM_EVAL] = true,
        [OP_RELU] = true,    [OP_ADD] = true,        [OP_GLOBAL_AVG_POOL] = true,
        [OP_LINEAR] = true,  [OP_BIAS] = true,       [OP_MAX_POOL] = true,
        [OP_DROPOUT] = true, [OP_PATCHES] = true,    [OP_PREPEND] = true,
        [OP_TOKEN] = true,   [OP_ADD_EACH] = true,   [OP_LAYER_NORM] = true,
        [OP_GELU] = true,    [OP_SOFTMAX] = true,    [OP_MERGE_HEADS] = true,
        [OP_MATMUL] = true,
    };

    return differentiable[op_case->op];
}

struct graph *op_case_graph(const struct op_case *op_case)
{
    return op_case->build(op_case);
}

const char *op_case_name(const struct op_case *o, char out[100])
{
    snprintf(out, 100, "%s n=%d c=%d h=%d w=%d k=%d r=%d stride=%d pad=%d", op_name(o->op),
             o->size.n, o->size.c, o->size.h, o->size.w, o->size.k, o->size.r, o->size.stride,
             o->size.pad);
    return out;
}
