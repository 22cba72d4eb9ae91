/* Which operations are done together.
 *
 * Forward, a batch norm's second sweep is left to what follows it:
 *     batch_norm → relu            batch_norm → add → relu            batch_norm ↘
 *     batch_norm → add                                   batch_norm → add → relu
 *     batch_norm → relu → max_pool, where windows do not overlap
 * A bias of channels before batch norms is not added at all: it moves the mean and nothing else.
 * Backward, what comes before a batch norm's gradient is left to it:
 *     [add →] relu_grad → batch_norm_grad               max_pool_grad → relu_grad → batch_norm_grad
 * where the ReLU's derivative is written once, on the way, if others read it too. A sum that takes
 * in its result, as where the shortcut of a pre-activated block begins, is done with it:
 *     batch_norm_grad → add */
#include "backend/cpu/compile.h"

static bool norm_absorbed(const struct compiler *c, const struct node *node)
{
    const struct node *reader = compile_only_reader(c, node->output[0]);

    return reader && (reader->op == OP_RELU || reader->op == OP_ADD);
}

static bool adds_norm(const struct compiler *c, const struct node *add)
{
    for (int i = 0; i < 2; i++)
        if (compile_is_pending_norm(c, add->input[i]))
            return true;
    return false;
}

/* Whether batch_norm_grad is the first to read this ReLU's derivative, as its dy. */
static bool relu_grad_absorbed(const struct compiler *c, const struct node *node)
{
    int d = node->output[0], first = c->use[d].first;
    const struct node *reader = first < 0 ? NULL : &c->graph->nodes[first];

    return reader && reader->op == OP_BATCH_NORM_GRAD && reader->input[0] == d &&
           reader->input[1] != d;
}

static bool add_absorbed(const struct compiler *c, const struct node *node)
{
    const struct node *reader = compile_only_reader(c, node->output[0]);

    if (!reader || c->graph->values[node->output[0]].shape.rank != 4)
        return false;
    if (adds_norm(c, node))
        return reader->op == OP_RELU;
    return reader->op == OP_RELU_GRAD && reader->input[0] == node->output[0] &&
           relu_grad_absorbed(c, reader);
}

/* Whether node `number` reads the value for no more than the value's normalisation. */
static bool reads_as_norm(const struct node *node, int value)
{
    bool norm = compile_is_norm(node) && node->input[0] == value;

    return norm || ((node->op == OP_BATCH_NORM_GRAD || node->op == OP_BATCH_NORM_EVAL_GRAD) &&
                    node->input[1] == value && node->input[0] != value);
}

/* Whether only derivatives read the batch's mean of `norm`: it will lack the bias. */
static bool mean_is_private(const struct compiler *c, const struct node *norm)
{
    const struct graph *g = c->graph;
    int readers = 0, mean = norm->output[1];

    if (norm->op != OP_BATCH_NORM)
        return true;
    for (int i = 0; i < g->n_nodes; i++)
        readers += g->nodes[i].op == OP_BATCH_NORM_GRAD && g->nodes[i].input[3] == mean &&
                   compile_forward_norm(c, &g->nodes[i]) == norm;
    return readers == c->use[mean].count;
}

static bool bias_absorbed(const struct compiler *c, const struct node *node)
{
    int y = node->output[0], readers = 0;

    for (int i = 0; i < c->graph->n_nodes; i++) {
        const struct node *reader = &c->graph->nodes[i];

        if (!reads_as_norm(reader, y))
            continue;
        if (compile_is_norm(reader) && !mean_is_private(c, reader))
            return false;
        if (reader->op == OP_BATCH_NORM_GRAD && !compile_forward_norm(c, reader))
            return false;
        readers++;
    }
    return readers > 0 && readers == c->use[y].count;
}

static bool is_disjoint_pool(const struct node *node)
{
    return node->op == OP_MAX_POOL && node->attr.stride == node->attr.k && node->attr.pad == 0;
}

/* Whether this max_pool_grad goes through the derivative of `relu` to that of `norm`, and nowhere
 * else. */
static bool leads_back(const struct compiler *c, const struct node *node, const struct node *relu,
                       const struct node *norm)
{
    const struct node *relu_grad = compile_only_reader(c, node->output[0]), *norm_grad;

    if (!relu_grad || relu_grad->op != OP_RELU_GRAD || relu_grad->input[0] != node->output[0] ||
        relu_grad->input[1] != relu->output[0])
        return false;
    norm_grad = compile_only_reader(c, relu_grad->output[0]);
    return norm_grad && norm_grad->op == OP_BATCH_NORM_GRAD &&
           norm_grad->input[0] == relu_grad->output[0] &&
           compile_forward_norm(c, norm_grad) == norm;
}

/* Whether a ReLU may be left to the max_pool that reads it, and its derivative to the norm's. */
static bool relu_absorbed(const struct compiler *c, const struct node *relu)
{
    const struct node *norm = compile_maker(c, relu->input[0]);
    int y = relu->output[0], pools = 0, pool_grads = 0, relu_grads = 0;

    if (!compile_is_norm(norm) || norm->output[0] != relu->input[0] || !norm_absorbed(c, norm))
        return false;
    for (int i = 0; i < c->graph->n_nodes; i++) {
        const struct node *reader = &c->graph->nodes[i];

        if (is_disjoint_pool(reader) && reader->input[0] == y)
            pools++;
        else if (reader->op == OP_MAX_POOL_GRAD && reader->input[1] == y && reader->input[0] != y &&
                 leads_back(c, reader, relu, norm))
            pool_grads++;
        else if (reader->op == OP_RELU_GRAD && reader->input[1] == y && reader->input[0] != y)
            relu_grads++;
    }
    return pools == 1 && pool_grads <= 1 && relu_grads == pool_grads &&
           pools + pool_grads + relu_grads == c->use[y].count;
}

static bool pool_grad_absorbed(const struct compiler *c, const struct node *node)
{
    const struct node *relu = compile_maker(c, node->input[1]);

    return relu->op == OP_RELU && compile_is_absorbed(c, node->input[1]);
}

/* The batch_norm_grad that can do this sum with its own work, since the other side is there before
 * it; or -1. */
static int summing_norm_grad(const struct compiler *c, const struct node *add)
{
    const struct graph *g = c->graph;

    for (int side = 0; side < 2; side++) {
        int dx = add->input[side], other = add->input[1 - side], i = g->values[dx].node;
        const struct node *norm_grad = &g->nodes[i];

        if (norm_grad->op == OP_BATCH_NORM_GRAD && norm_grad->output[0] == dx &&
            compile_only_reader(c, dx) == add && g->values[other].node < i &&
            !compile_is_absorbed(c, other) && !compile_pool_grad_of(c, norm_grad))
            return i;
    }
    return -1;
}

static void leave_sum(struct compiler *c, int add)
{
    int norm_grad = c->absorbed[add] ? -1 : summing_norm_grad(c, &c->graph->nodes[add]);

    if (norm_grad < 0)
        return;
    c->sum_of[norm_grad] = add;
    c->early[add] = true;
}

void compile_fusions(struct compiler *c)
{
    graph_uses(c->graph, c->use);
    for (int i = 0; i < c->graph->n_nodes; i++) {
        const struct node *node = &c->graph->nodes[i];

        if (compile_is_norm(node))
            c->absorbed[i] = norm_absorbed(c, node);
        else if (node->op == OP_RELU)
            c->absorbed[i] = relu_absorbed(c, node);
        else if (node->op == OP_MAX_POOL_GRAD)
            c->absorbed[i] = pool_grad_absorbed(c, node);
        else if (node->op == OP_RELU_GRAD)
            c->absorbed[i] = relu_grad_absorbed(c, node);
        else if (node->op == OP_BIAS)
            c->absorbed[i] = bias_absorbed(c, node);
        else if (node->op == OP_SPLIT_HEADS || node->op == OP_MERGE_HEADS)
            c->absorbed[i] = compile_heads_absorbed(c, node);
        else if (node->op == OP_ADD)
            c->absorbed[i] = add_absorbed(c, node);
        if (node->op == OP_ADD)
            leave_sum(c, i);
        compile_tangent_fusions(c, i);
    }
}
