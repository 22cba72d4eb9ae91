/* Cases of what transformers are made of. */
#include "op_cases_parts.h"

/* From c to k features; with `r`, as a convolution of patches of r×r has them. */
static struct shape token_weights(const struct op_case *o)
{
    int pixels = o->size.r * o->size.r;

    return o->size.r ? shape4(o->size.k, o->size.c / pixels, o->size.r, o->size.r)
                     : shape2(o->size.k, o->size.c);
}

/* As in a transformer: n samples of h tokens of c features; w may have more than two dimensions,
 * and there is no bias. */
struct graph *build_token_linear(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_tokens(g, o), w = graph_param(g, token_weights(o), case_uniform, "w");

    return case_finish(g, graph_linear(g, x, w, -1));
}

struct graph *build_token_linear_grad_x(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = graph_input(g, shape3(o->size.n, o->size.h, o->size.k), VALUE_REAL);
    int w = graph_param(g, token_weights(o), case_uniform, "w");

    return case_finish(g, graph_node(g, OP_LINEAR_GRAD_X, (int[]){dy, w}, 2, NULL));
}

struct graph *build_token_linear_grad_w(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_tokens(g, o);
    int dy = graph_input(g, shape3(o->size.n, o->size.h, o->size.k), VALUE_REAL);

    return case_finish(g, case_node(g, OP_LINEAR_GRAD_W, (int[]){x, dy}, 2, o, token_weights(o)));
}

/* `r` is a patch's size, `k` = 1: channels last. */
struct graph *build_patches(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return case_finish(g, graph_patches(g, case_images(g, o), o->size.r, o->size.k == 1));
}

struct graph *build_patches_grad(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int r = o->size.r, n = o->size.h / r * (o->size.w / r);
    int dy = graph_input(g, shape3(o->size.n, n, r * r * o->size.c), VALUE_REAL);
    struct node attr = {.attr = {.k = r,
                                 .channels_last = o->size.k == 1,
                                 .shape = shape4(o->size.n, o->size.c, o->size.h, o->size.w)}};

    return case_finish(g, graph_node(g, OP_PATCHES_GRAD, &dy, 1, &attr));
}

struct graph *build_prepend(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_tokens(g, o),
        token = graph_param(g, shape3(1, 1, o->size.c), case_uniform, "token");

    return case_finish(g, graph_prepend(g, x, token));
}

struct graph *build_drop_first(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = graph_input(g, shape3(o->size.n, o->size.h + 1, o->size.c), VALUE_REAL);

    return case_finish(g, graph_node(g, OP_DROP_FIRST, &dy, 1, NULL));
}

/* The last token. */
struct graph *build_token(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return case_finish(g, graph_token(g, case_tokens(g, o), o->size.h - 1));
}

struct graph *build_token_grad(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = graph_input(g, shape2(o->size.n, o->size.c), VALUE_REAL);
    struct node attr = {
        .attr = {.index = o->size.h / 2, .shape = shape3(o->size.n, o->size.h, o->size.c)}};

    return case_finish(g, graph_node(g, OP_TOKEN_GRAD, &dy, 1, &attr));
}

struct graph *build_add_each(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_tokens(g, o),
        b = graph_param(g, shape3(1, o->size.h, o->size.c), case_uniform, "b");

    return case_finish(g, graph_add_each(g, x, b));
}

struct graph *build_sum_each(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int dy = case_tokens(g, o);

    return case_finish(g, case_node(g, OP_SUM_EACH, &dy, 1, o, shape3(1, o->size.h, o->size.c)));
}

struct graph *build_layer_norm(const struct op_case *o)
{
    struct graph *g = graph_new(true);

    return case_finish(g, graph_layer_norm(g, case_tokens(g, o), 1e-5, "norm"));
}

struct graph *build_layer_norm_grad(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_tokens(g, o), dy = case_tokens(g, o), y = graph_layer_norm(g, x, 1e-5, "norm");
    int inputs[] = {dy, x, g->params[0].value, y + 1, y + 2};

    return case_finish(g, case_node(g, OP_LAYER_NORM_GRAD, inputs, 5, o, (struct shape){0}));
}

/* GELU and softmax. */
struct graph *build_on_tokens(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x = case_tokens(g, o);

    return case_finish(g, graph_node(g, o->op, &x, 1, NULL));
}

struct graph *build_on_two_tokens(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int a = case_tokens(g, o), b = case_tokens(g, o);

    return case_finish(g, graph_node(g, o->op, (int[]){a, b}, 2, NULL));
}

/* `k` parts of `r` heads of `w` features. */
struct graph *build_split_heads(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int x =
        graph_input(g, shape3(o->size.n, o->size.h, o->size.k * o->size.r * o->size.w), VALUE_REAL);

    return case_finish(g, graph_split_heads(g, x, o->size.k, o->size.r));
}

struct graph *build_merge_heads(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    int part[3] = {-1, -1, -1};

    for (int i = 0; i < o->size.k; i++)
        part[i] = graph_input(g, shape4(o->size.n, o->size.r, o->size.h, o->size.w), VALUE_REAL);
    return case_finish(g, graph_node(g, OP_MERGE_HEADS, part, o->size.k, NULL));
}

/* n·c products of h×w and w×k; `r` = 1, 2, 3: the left side is transposed, the right one, both. */
struct graph *build_matmul(const struct op_case *o)
{
    struct graph *g = graph_new(true);
    struct op_sizes s = o->size;
    bool across_a = s.r & 1, across_b = s.r & 2;
    int a =
        graph_input(g, shape4(s.n, s.c, across_a ? s.w : s.h, across_a ? s.h : s.w), VALUE_REAL);
    int b =
        graph_input(g, shape4(s.n, s.c, across_b ? s.k : s.w, across_b ? s.w : s.k), VALUE_REAL);

    return case_finish(g, graph_matmul(g, a, b, (struct matmul){across_a, across_b, 0.3}));
}
