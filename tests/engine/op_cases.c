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
/* `r` tenths are the smoothing. */
static struct graph *build_with_labels(const struct op_case *o)
{
    struct node attr = {.attr = {.smoothing = o->size.r / 10.0}};
    struct graph *g = graph_new(true);
    int logits = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);
    int labels = graph_input(g, shape1(o->size.n), VALUE_INDEX);

    return finish(g, graph_node(g, o->op, (int[]){logits, labels}, 2, &attr));
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

/* n rows, c features in, k features out. */
static const struct op_sizes matrix_sizes[] = {
    {.n = 2, .c = 3, .k = 5},
    {.n = 1, .c = 7, .k = 1},
    {.n = 30, .c = 32, .k = 10},
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
    {OP_LINEAR, build_linear, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_LINEAR_GRAD_X, build_linear_grad_x, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_LINEAR_GRAD_W, build_linear_grad_w, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_SUM_ROWS, build_sum_rows, matrix_sizes, ARRAY_LENGTH(matrix_sizes)},
    {OP_CROSS_ENTROPY, build_with_labels, label_sizes, ARRAY_LENGTH(label_sizes)},
    {OP_CROSS_ENTROPY_GRAD, build_with_labels, label_sizes, ARRAY_LENGTH(label_sizes)},
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
