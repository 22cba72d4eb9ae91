#include "op_cases.h"

#include <stdio.h>

#include "base/cleanup.h"

static const struct init uniform = {INIT_UNIFORM, 1};

static struct shape shape4(int a, int b, int c, int d)
{
    return shape_of(4, (int64_t)a, (int64_t)b, (int64_t)c, (int64_t)d);
}

static struct shape shape2(int a, int b)
{
    return shape_of(2, (int64_t)a, (int64_t)b);
}

static struct shape shape1(int a)
{
    return shape_of(1, (int64_t)a);
}

static int images(struct graph *g, const struct op_case *o)
{
    return graph_input(g, shape4(o->size.n, o->size.c, o->size.h, o->size.w), VALUE_REAL);
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

static int node(struct graph *g, enum op op, const int *inputs, int n, const struct op_case *o,
                struct shape shape)
{
    struct node attr = {
        .attr = {.stride = o->size.stride, .pad = o->size.pad, .eps = 1e-5, .shape = shape}};

    return graph_node(g, op, inputs, n, &attr);
}

/* Gives back all results of the node that made `value`. */
static struct graph *finish(struct graph *g, int value)
{
    int first = value < 0 ? 0 : g->values[value].node;

    for (int i = 0; value >= 0 && i < g->nodes[first].n_outputs; i++)
        graph_output(g, g->nodes[first].output[i]);
    return g;
}

static struct graph *build_conv(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = images(g, o), w = graph_param(g, filters(o), uniform, "w");

    return finish(g, graph_conv(g, x, w, o->size.stride, o->size.pad));
}

static struct graph *build_conv_grad_x(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = conv_dy(g, o), w = graph_param(g, filters(o), uniform, "w");

    return finish(g, node(g, OP_CONV_GRAD_X, (int[]){dy, w}, 2, o,
                          shape4(o->size.n, o->size.c, o->size.h, o->size.w)));
}

static struct graph *build_conv_grad_w(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = images(g, o), dy = conv_dy(g, o);

    return finish(g, node(g, OP_CONV_GRAD_W, (int[]){x, dy}, 2, o, filters(o)));
}

static struct graph *build_batch_norm(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return finish(g, graph_batch_norm(g, images(g, o), "bn"));
}

static struct graph *build_batch_norm_eval(const struct op_case *o)
{
    struct graph *g = graph_new(false);

    return finish(g, graph_batch_norm(g, images(g, o), "bn"));
}

static struct graph *build_batch_norm_grad(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = images(g, o), dy = images(g, o), y = graph_batch_norm(g, x, "bn");
    int inputs[] = {dy, x, g->params[0].value, y + 1, y + 2};

    return finish(g, node(g, OP_BATCH_NORM_GRAD, inputs, 5, o, (struct shape){0}));
}

static struct graph *build_relu(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return finish(g, graph_relu(g, images(g, o)));
}

static struct graph *build_two_images(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int a = images(g, o), b = images(g, o);

    return finish(g, graph_node(g, o->op, (int[]){a, b}, 2, NULL));
}

static struct graph *build_pool(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return finish(g, graph_global_avg_pool(g, images(g, o)));
}

static struct graph *build_pool_grad(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = graph_input(g, shape2(o->size.n, o->size.c), VALUE_REAL);

    return finish(g, node(g, OP_GLOBAL_AVG_POOL_GRAD, &dy, 1, o,
                          shape4(o->size.n, o->size.c, o->size.h, o->size.w)));
}

static struct graph *build_bias(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = images(g, o), b = graph_param(g, shape1(o->size.c), uniform, "b");

    return finish(g, graph_bias(g, x, b));
}

static struct graph *build_sum_channels(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = images(g, o);

    return finish(g, graph_node(g, OP_SUM_CHANNELS, &dy, 1, NULL));
}

/* `r` is the window's size. */
static struct graph *build_max_pool(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return finish(g, graph_max_pool(g, images(g, o), o->size.r, o->size.stride, o->size.pad));
}

static struct graph *build_max_pool_grad(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int p = (o->size.h + 2 * o->size.pad - o->size.r) / o->size.stride + 1;
    int q = (o->size.w + 2 * o->size.pad - o->size.r) / o->size.stride + 1;
    int dy = graph_input(g, shape4(o->size.n, o->size.c, p, q), VALUE_REAL), x = images(g, o);
    struct node attr = {.attr = {.k = o->size.r, .stride = o->size.stride, .pad = o->size.pad}};

    return finish(g, graph_node(g, OP_MAX_POOL_GRAD, (int[]){dy, x}, 2, &attr));
}

/* `k` is the rate in tenths; images come out of a ReLU, so that each backend has them as it likes
 * best; without a height it is a matrix. */
static struct graph *build_dropout(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = o->size.h ? graph_relu(g, images(g, o))
                      : graph_input(g, shape2(o->size.n, o->size.c), VALUE_REAL);

    graph_dropout(g, x, 0.9); /* the second mask of two is looked at */
    return finish(g, graph_dropout(g, x, o->size.k / 10.0));
}

static struct graph *build_linear(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape2(o->size.n, o->size.c), VALUE_REAL);
    int w = graph_param(g, shape2(o->size.k, o->size.c), uniform, "w");
    int b = graph_param(g, shape1(o->size.k), uniform, "b");

    return finish(g, graph_linear(g, x, w, b));
}

static struct graph *build_linear_grad_x(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);
    int w = graph_param(g, shape2(o->size.k, o->size.c), uniform, "w");

    return finish(g, graph_node(g, OP_LINEAR_GRAD_X, (int[]){dy, w}, 2, NULL));
}

static struct graph *build_linear_grad_w(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape2(o->size.n, o->size.c), VALUE_REAL);
    int dy = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);

    return finish(g, graph_node(g, OP_LINEAR_GRAD_W, (int[]){x, dy}, 2, NULL));
}

static struct graph *build_sum_rows(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);

    return finish(g, graph_node(g, OP_SUM_ROWS, &dy, 1, NULL));
}

/* OP_CROSS_ENTROPY and its gradient. */
static struct graph *build_with_labels(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int logits = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);
    int labels = graph_input(g, shape1(o->size.n), VALUE_INDEX);

    return finish(g, graph_node(g, o->op, (int[]){logits, labels}, 2, NULL));
}

/* `r` is the k of "among the best k". */
static struct graph *build_correct(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int logits = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);
    int labels = graph_input(g, shape1(o->size.n), VALUE_INDEX);

    return finish(g, graph_correct(g, logits, labels, o->size.r));
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
    {OP_SUM_ROWS, build_sum_rows, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_CROSS_ENTROPY, build_with_labels, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_CROSS_ENTROPY_GRAD, build_with_labels, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_CORRECT, build_correct, correct_sizes, ARRAY_LENGTH(correct_sizes)},
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
