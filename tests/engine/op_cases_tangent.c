/* Cases of the operations that only tangents have. */
#include "op_cases_parts.h"

static int channels_of(struct graph *g, const struct op_case *o, const char *name)
{
    return graph_param(g, shape1(o->size.c), case_uniform, "%s", name);
}

static int statistic(struct graph *g, const struct op_case *o, const char *name)
{
    return graph_state(g, shape1(o->size.c), case_uniform, "%s", name);
}

struct graph *build_batch_norm_scale(const struct op_case *o)
{
    struct graph *g = graph_new(false);
    int inputs[] = {case_images(g, o), channels_of(g, o, "gamma"), statistic(g, o, "var")};

    return case_finish(g, case_node(g, o->op, inputs, 3, o, (struct shape){0}));
}

struct graph *build_batch_norm_eval_grad(const struct op_case *o)
{
    struct graph *g = graph_new(false);
    int dy = case_images(g, o), x = case_images(g, o);
    int inputs[] = {dy, x, statistic(g, o, "mean"), statistic(g, o, "var")};

    return case_finish(g, case_node(g, o->op, inputs, 4, o, (struct shape){0}));
}

struct graph *build_batch_norm_dot(const struct op_case *o)
{
    struct graph *g = graph_new(false);
    int dy = case_images(g, o), x = case_images(g, o);

    return case_finish(
        g, case_node(g, o->op, (int[]){dy, x, statistic(g, o, "var")}, 3, o, (struct shape){0}));
}

/* Batch norm's and layer norm's: x, and with it gamma, mean and variance, are a norm's. */
static struct graph *norm_tangent(struct graph *g, const struct op_case *o, int x, int rx, int y)
{
    int rgamma = channels_of(g, o, "Rgamma"), rbeta = channels_of(g, o, "Rbeta");
    int inputs[] = {x, rx, g->params[0].value, rgamma, rbeta, y + 1, y + 2};

    return case_finish(g, case_node(g, o->op, inputs, 7, o, (struct shape){0}));
}

static struct graph *norm_grad_tangent(struct graph *g, const struct op_case *o, const int *given,
                                       int y)
{
    int rgamma = channels_of(g, o, "Rgamma");
    int inputs[] = {given[0],           given[1], given[2], given[3],
                    g->params[0].value, rgamma,   y + 1,    y + 2};

    return case_finish(g, case_node(g, o->op, inputs, 8, o, (struct shape){0}));
}

struct graph *build_batch_norm_tangent(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_images(g, o), rx = case_images(g, o);

    return norm_tangent(g, o, x, rx, graph_batch_norm(g, x, "bn"));
}

struct graph *build_batch_norm_grad_tangent(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int given[] = {case_images(g, o), case_images(g, o), case_images(g, o), case_images(g, o)};

    return norm_grad_tangent(g, o, given, graph_batch_norm(g, given[2], "bn"));
}

struct graph *build_layer_norm_tangent(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_tokens(g, o), rx = case_tokens(g, o);

    return norm_tangent(g, o, x, rx, graph_layer_norm(g, x, 1e-5, "norm"));
}

struct graph *build_layer_norm_grad_tangent(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int given[] = {case_tokens(g, o), case_tokens(g, o), case_tokens(g, o), case_tokens(g, o)};

    return norm_grad_tangent(g, o, given, graph_layer_norm(g, given[2], 1e-5, "norm"));
}

struct graph *build_max_pool_tangent(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int rx = case_images(g, o), x = case_images(g, o);
    struct node attr = {.attr = {.k = o->size.r, .stride = o->size.stride, .pad = o->size.pad}};

    return case_finish(g, graph_node(g, OP_MAX_POOL_TANGENT, (int[]){rx, x}, 2, &attr));
}

struct graph *build_on_three_tokens(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int a = case_tokens(g, o), b = case_tokens(g, o), c = case_tokens(g, o);

    return case_finish(g, graph_node(g, o->op, (int[]){a, b, c}, 3, NULL));
}

struct graph *build_two_logits(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int logits = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);
    int moved = graph_input(g, shape2(o->size.n, o->size.k), VALUE_REAL);

    return case_finish(g, graph_node(g, o->op, (int[]){logits, moved}, 2, NULL));
}
