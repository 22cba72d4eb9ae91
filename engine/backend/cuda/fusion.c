/* Which operations are done together.
 *
 * Forward, a batch norm's second sweep is left to what follows it:
 *     batch_norm → relu        batch_norm (+ batch_norm, or + what came before) → add [→ relu]
 * Backward, the ReLU's derivative is left to the batch norm's, which also writes it for others:
 *     relu_grad → batch_norm_grad
 *
 * Attention is attention.c's. */
#include "backend/cuda/compile.h"

const struct node *gpu_maker(const struct compiler *c, int value)
{
    return &c->graph->nodes[c->graph->values[value].node];
}

bool gpu_is_absorbed(const struct compiler *c, int value)
{
    return c->absorbed[c->graph->values[value].node];
}

static bool is_norm(const struct node *node)
{
    return node->op == OP_BATCH_NORM || node->op == OP_BATCH_NORM_EVAL;
}

bool gpu_is_pending_norm(const struct compiler *c, int value)
{
    const struct node *maker = gpu_maker(c, value);

    return is_norm(maker) && maker->output[0] == value && gpu_is_absorbed(c, value);
}

bool gpu_is_scores(const struct compiler *c, int value)
{
    const struct graph *g = c->graph;
    int readers = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        enum op op = g->nodes[i].op;

        if (op == OP_CROSS_ENTROPY_CURVE)
            readers += (g->nodes[i].input[0] == value) + (g->nodes[i].input[1] == value);
        else if ((op == OP_CROSS_ENTROPY || op == OP_CROSS_ENTROPY_GRAD || op == OP_CORRECT) &&
                 g->nodes[i].input[0] == value)
            readers++;
    }
    return readers > 0 && readers == c->use[value].count;
}

/* The only reader of a value, or NULL. */
static const struct node *only_reader(const struct compiler *c, int value)
{
    return graph_only_reader(c->graph, &c->use[value]);
}

static bool norm_absorbed(const struct compiler *c, const struct node *node)
{
    const struct node *reader = only_reader(c, node->output[0]);

    return reader && (reader->op == OP_RELU || reader->op == OP_ADD);
}

static bool add_absorbed(const struct compiler *c, const struct node *node)
{
    const struct node *reader = only_reader(c, node->output[0]);

    return reader && reader->op == OP_RELU &&
           (gpu_is_pending_norm(c, node->input[0]) || gpu_is_pending_norm(c, node->input[1]));
}

/* Whether a batch norm's derivative is the first to read this ReLU's, as its dy. */
static bool relu_grad_absorbed(const struct compiler *c, const struct node *node)
{
    int d = node->output[0], first = c->use[d].first;
    const struct node *reader = first < 0 ? NULL : &c->graph->nodes[first];

    return reader && reader->op == OP_BATCH_NORM_GRAD && reader->input[0] == d &&
           reader->input[1] != d;
}

const struct node *gpu_norm_before(const struct compiler *c, const struct node *norm_grad,
                                   const struct node *relu_grad)
{
    const struct node *relu = gpu_maker(c, relu_grad->input[1]), *norm;

    if (relu->op != OP_RELU)
        return NULL;
    norm = gpu_maker(c, relu->input[0]);
    return norm->op == OP_BATCH_NORM && norm->output[0] == relu->input[0] &&
                   norm->input[0] == norm_grad->input[1] && norm->input[1] == norm_grad->input[2] &&
                   norm->output[1] == norm_grad->input[3]
               ? norm
               : NULL;
}

bool gpu_wants_mask(const struct compiler *c, int y)
{
    const struct graph *g = c->graph;

    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *node = &g->nodes[i];

        if (node->op == OP_RELU_GRAD && node->input[1] == y && c->absorbed[i] &&
            !gpu_norm_before(c, &g->nodes[c->use[node->output[0]].first], node))
            return true;
    }
    return false;
}

void gpu_fusions(struct compiler *c)
{
    graph_uses(c->graph, c->use);
    for (int i = 0; i < c->graph->n_nodes; i++) {
        const struct node *node = &c->graph->nodes[i];

        if (is_norm(node))
            c->absorbed[i] = norm_absorbed(c, node);
        else if (node->op == OP_ADD)
            c->absorbed[i] = add_absorbed(c, node);
        else if (node->op == OP_RELU_GRAD)
            c->absorbed[i] = relu_grad_absorbed(c, node);
    }
    gpu_attention_fusions(c);
}
