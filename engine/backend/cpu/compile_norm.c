/* Batch normalisation with what is fused to it (fusion.c says what). */
#include "backend/cpu/compile.h"

static size_t tile_bytes(const struct compiler *c, const struct activation *shape)
{
    return tile_count(shape) * shape->blocks * 2 * c->program->cpu->kernels->lanes * sizeof(float);
}

/* The coefficients of the normalisation that makes `y`: statistics of the batch, or given ones. */
void compile_norm(struct compiler *c, const struct node *node)
{
    int y = node->output[0], bias, x = compile_norm_source(c, node->input[0], &bias);
    struct command command = {.what = "norm",
                              .in_place = -1,
                              .shape = compile_activation(c, x),
                              .channels = (size_t)c->graph->values[x].shape.dim[1],
                              .eps = node->attr.eps};

    if (node->op == OP_BATCH_NORM) {
        command.run = cpu_run_norm_statistics;
        command.in[command.n_in++] = compile_read(c, x, FORM_BLOCKED);
        command.in[command.n_in++] = compile_read(c, node->input[1], FORM_DENSE);
        command.in[command.n_in++] = compile_read(c, node->input[2], FORM_DENSE);
        command.out[command.n_out++] = compile_write(c, y, FORM_COEF);
        command.out[command.n_out++] = compile_write(c, node->output[1], FORM_DENSE);
        command.out[command.n_out++] = compile_write(c, node->output[2], FORM_DENSE);
        command.out[command.n_out++] = compile_scratch(c, tile_bytes(c, &command.shape));
    } else {
        command.run = cpu_run_norm_eval;
        for (int i = 1; i < 5; i++)
            command.in[command.n_in++] = compile_read(c, node->input[i], FORM_DENSE);
        command.in[command.n_in++] = bias < 0 ? -1 : compile_read(c, bias, FORM_DENSE);
        command.out[command.n_out++] = compile_write(c, y, FORM_COEF);
    }
    compile_emit(c, &command);
    if (!compile_is_absorbed(c, y))
        compile_norm_apply(c, y, y, -1, false);
}

void compile_norm_apply(struct compiler *c, int y, int normalised, int other, bool relu)
{
    int bias, x = compile_norm_source(c, compile_maker(c, normalised)->input[0], &bias);
    struct command command = {.run = cpu_run_norm_apply,
                              .what = relu ? "norm+relu" : "norm",
                              .shape = compile_activation(c, x),
                              .relu = relu};

    command.in[command.n_in++] = compile_read(c, x, FORM_BLOCKED);
    command.in[command.n_in++] = compile_read(c, normalised, FORM_COEF);
    if (other >= 0 && compile_is_pending_norm(c, other)) {
        command.residual = RESIDUAL_NORM;
        command.what = "norm+norm+relu";
        x = compile_norm_source(c, compile_maker(c, other)->input[0], &bias);
        command.in[command.n_in++] = compile_read(c, x, FORM_BLOCKED);
        command.in[command.n_in++] = compile_read(c, other, FORM_COEF);
    } else if (other >= 0) {
        command.residual = RESIDUAL_PLAIN;
        command.what = "norm+add+relu";
        command.in[command.n_in++] = compile_read(c, other, FORM_BLOCKED);
    }
    command.out[command.n_out++] = compile_write(c, y, FORM_BLOCKED);
    compile_emit(c, &command);
}

const struct node *compile_forward_norm(const struct compiler *c, const struct node *node)
{
    const struct node *maker = compile_maker(c, node->input[3]);

    return maker->op == OP_BATCH_NORM && maker->input[0] == node->input[1] &&
                   maker->input[1] == node->input[2] && maker->output[1] == node->input[3] &&
                   maker->output[2] == node->input[4]
               ? maker
               : NULL;
}

/* The coefficients that belong to a batch_norm_grad: its forward's if that is in the graph, else
 * made from the inputs. */
static int read_coefficients(struct compiler *c, const struct node *node)
{
    const struct node *maker = compile_forward_norm(c, node);
    struct command command = {.run = cpu_run_norm_eval,
                              .what = "norm",
                              .in_place = -1,
                              .shape = compile_activation(c, node->input[1]),
                              .channels = (size_t)c->graph->values[node->input[1]].shape.dim[1],
                              .eps = node->attr.eps};
    int slot;

    if (maker)
        return compile_read(c, maker->output[0], FORM_COEF);
    command.in[command.n_in++] = compile_read(c, node->input[2], FORM_DENSE);
    command.in[command.n_in++] = -1;
    command.in[command.n_in++] = compile_read(c, node->input[3], FORM_DENSE);
    command.in[command.n_in++] = compile_read(c, node->input[4], FORM_DENSE);
    command.in[command.n_in++] = -1;
    slot = compile_scratch(c, command.shape.blocks * COEFS * c->program->cpu->kernels->lanes *
                                  sizeof(float));
    command.out[command.n_out++] = slot;
    compile_emit(c, &command);
    return slot;
}

/* Where dy comes from: the operands, by value, before and after fusion. */
struct incoming {
    int dy, more, y; /* -1: none */
    enum norm_mask mask;
    bool store; /* somebody else reads the masked sum */
};

/* Whether the ReLU that made `y` was applied to this normalisation alone, so that its sign can be
 * found again from x. */
static bool recomputable(const struct compiler *c, const struct node *node, int y)
{
    const struct node *relu = compile_maker(c, y);
    const struct node *norm = compile_maker(c, relu->input[0]);

    return relu->op == OP_RELU && norm->op == OP_BATCH_NORM &&
           compile_is_absorbed(c, norm->output[0]) && norm->input[0] == node->input[1] &&
           norm->input[1] == node->input[2] && norm->output[1] == node->input[3] &&
           norm->output[2] == node->input[4];
}

static struct incoming incoming_of(const struct compiler *c, const struct node *node)
{
    struct incoming in = {.dy = node->input[0], .more = -1, .y = -1};
    const struct node *relu = compile_maker(c, in.dy), *add;

    if (relu->op != OP_RELU_GRAD || !compile_is_absorbed(c, in.dy) ||
        c->use[in.dy].first != c->node)
        return in;
    in.store = c->use[in.dy].count > 1;
    in.mask = recomputable(c, node, relu->input[1]) ? MASK_X : MASK_Y;
    in.y = relu->input[1];
    in.dy = relu->input[0];
    add = compile_maker(c, in.dy);
    if (add->op == OP_ADD && compile_is_absorbed(c, in.dy)) {
        in.dy = add->input[0];
        in.more = add->input[1];
    }
    return in;
}

static int read_optional(struct compiler *c, int value)
{
    return value < 0 ? -1 : compile_read(c, value, FORM_BLOCKED);
}

/* What the derivative of batch_norm_grad `node` is added to by node `sum`. */
static int other_side(const struct compiler *c, const struct node *node, int sum)
{
    const struct node *add = &c->graph->nodes[sum];

    return add->input[add->input[0] == node->output[0] ? 1 : 0];
}

static void compile_plain_norm_grad(struct compiler *c, const struct node *node)
{
    int sum = c->sum_of[c->node];
    int dx = sum < 0 ? node->output[0] : c->graph->nodes[sum].output[0];
    struct incoming from = incoming_of(c, node);
    size_t lanes = c->program->cpu->kernels->lanes;
    struct activation shape = compile_activation(c, node->input[1]);
    int bias, source = compile_norm_source(c, node->input[1], &bias);
    int x = compile_read(c, source, FORM_BLOCKED), coef = read_coefficients(c, node);
    int dy = compile_read(c, from.dy, FORM_BLOCKED), more = read_optional(c, from.more);
    int y = from.mask == MASK_Y ? read_optional(c, from.y) : -1;
    int gamma = compile_read(c, node->input[2], FORM_DENSE);
    int mean = compile_read(c, node->input[3], FORM_DENSE);
    int var = compile_read(c, node->input[4], FORM_DENSE);
    int grad_coef = compile_scratch(c, shape.blocks * GRADS * lanes * sizeof(float));
    int dgamma = compile_write(c, node->output[1], FORM_DENSE);
    int dbeta = compile_write(c, node->output[2], FORM_DENSE);
    int store = from.store ? compile_write(c, node->input[0], FORM_BLOCKED) : -1;
    struct command command = {
        .run = cpu_run_norm_grad_sums,
        .what = "norm_grad",
        .n_in = 8,
        .in = {dy, more, y, coef, x, gamma, mean, var},
        .n_out = 5,
        .out = {dgamma, dbeta, grad_coef, compile_scratch(c, tile_bytes(c, &shape)), store},
        .in_place = 4,
        .shape = shape,
        .channels = (size_t)c->graph->values[node->input[1]].shape.dim[1],
        .eps = node->attr.eps,
        .mask = from.mask};

    compile_emit(c, &command);
    command.run = cpu_run_norm_grad_apply;
    command.n_in = 6;
    command.in[5] = grad_coef;
    if (from.store) {
        command.in[0] = store;
        command.in[1] = command.in[2] = -1;
        command.mask = MASK_NONE;
    }
    command.in[6] = sum < 0 ? -1 : compile_read(c, other_side(c, node, sum), FORM_BLOCKED);
    command.n_in = 7;
    command.n_out = 1;
    command.out[0] = compile_write(c, dx, FORM_BLOCKED);
    command.in_place = 0;
    compile_emit(c, &command);
}

/* max_pool(relu(norm(x))) */
void compile_norm_pool(struct compiler *c, const struct node *pool)
{
    int normalised = compile_maker(c, pool->input[0])->input[0], bias;
    int x = compile_norm_source(c, compile_maker(c, normalised)->input[0], &bias);
    struct command command = {.run = cpu_run_norm_pool,
                              .what = "norm+relu+max_pool",
                              .in_place = -1,
                              .shape = compile_activation(c, x),
                              .max_pool = compile_windows(c, pool)};

    command.in[command.n_in++] = compile_read(c, x, FORM_BLOCKED);
    command.in[command.n_in++] = compile_read(c, normalised, FORM_COEF);
    command.out[command.n_out++] = compile_write(c, pool->output[0], FORM_BLOCKED);
    compile_emit(c, &command);
}

const struct node *compile_pool_grad_of(const struct compiler *c, const struct node *node)
{
    const struct node *relu = compile_maker(c, node->input[0]), *pool;

    if (relu->op != OP_RELU_GRAD || !compile_is_absorbed(c, node->input[0]))
        return NULL;
    pool = compile_maker(c, relu->input[0]);
    return pool->op == OP_MAX_POOL_GRAD && compile_is_absorbed(c, relu->input[0]) ? pool : NULL;
}

static void compile_norm_pool_grad(struct compiler *c, const struct node *node,
                                   const struct node *pool)
{
    int bias, source = compile_norm_source(c, node->input[1], &bias);
    struct activation shape = compile_activation(c, source);
    size_t lane_bytes = c->program->cpu->kernels->lanes * sizeof(float);
    struct command command = {.run = cpu_run_norm_pool_sums,
                              .what = "norm_pool_grad",
                              .in_place = -1,
                              .shape = shape,
                              .channels = (size_t)c->graph->values[source].shape.dim[1],
                              .eps = node->attr.eps,
                              .max_pool = compile_windows(c, pool)};

    command.in[command.n_in++] = compile_read(c, pool->input[0], FORM_BLOCKED);
    command.in[command.n_in++] = compile_read(c, source, FORM_BLOCKED);
    command.in[command.n_in++] = read_coefficients(c, node);
    for (int i = 2; i < 5; i++)
        command.in[command.n_in++] = compile_read(c, node->input[i], FORM_DENSE);
    command.out[command.n_out++] = compile_write(c, node->output[1], FORM_DENSE);
    command.out[command.n_out++] = compile_write(c, node->output[2], FORM_DENSE);
    command.out[command.n_out++] = compile_scratch(c, shape.blocks * GRADS * lane_bytes);
    command.out[command.n_out++] = compile_scratch(c, shape.images * shape.blocks * 2 * lane_bytes);
    compile_emit(c, &command);
    command.run = cpu_run_norm_pool_grad;
    command.n_in = 4;
    command.in[3] = command.out[2];
    command.n_out = 1;
    command.out[0] = compile_write(c, node->output[0], FORM_BLOCKED);
    command.in_place = 0;
    compile_emit(c, &command);
}

void compile_norm_grad(struct compiler *c, const struct node *node)
{
    const struct node *pool = compile_pool_grad_of(c, node);

    if (pool)
        compile_norm_pool_grad(c, node, pool);
    else
        compile_plain_norm_grad(c, node);
}
