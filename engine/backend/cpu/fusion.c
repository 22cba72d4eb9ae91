/* Which operations are done together.
 *
 * Forward, a batch norm's second sweep is left to what follows it:
 *     batch_norm → relu            batch_norm → add → relu            batch_norm ↘
 *     batch_norm → add                                   batch_norm → add → relu
 * A bias of channels before batch norms is not added at all: it moves the mean and nothing else.
 * Backward, what comes before a batch norm's gradient is left to it:
 *     [add →] relu_grad → batch_norm_grad
 * where the ReLU's derivative is written once, on the way, if others read it too. */
#include "backend/cpu/compile.h"

static void count_uses(struct compiler *c)
{
    const struct graph *g = c->graph;

    for (int i = 0; i < g->n_values; i++)
        c->use[i] = (struct use){.first = -1};
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_inputs; k++) {
            struct use *use = &c->use[g->nodes[i].input[k]];
            use->count++;
            if (use->first < 0)
                use->first = i;
        }
    for (int i = 0; i < g->n_outputs; i++)
        c->use[g->outputs[i]].count++;
    for (int i = 0; i < g->n_params; i++)
        if (g->params[i].gradient >= 0)
            c->use[g->params[i].gradient].count++;
}

/* The only reader of a value, or NULL. */
static const struct node *only_reader(const struct compiler *c, int value)
{
    const struct use *use = &c->use[value];

    return use->count == 1 && use->first >= 0 ? &c->graph->nodes[use->first] : NULL;
}

static bool is_norm(const struct node *node)
{
    return node->op == OP_BATCH_NORM || node->op == OP_BATCH_NORM_EVAL;
}

static bool norm_absorbed(const struct compiler *c, const struct node *node)
{
    const struct node *reader = only_reader(c, node->output[0]);

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
    const struct node *reader = only_reader(c, node->output[0]);

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
    bool norm = is_norm(node) && node->input[0] == value;

    return norm ||
           (node->op == OP_BATCH_NORM_GRAD && node->input[1] == value && node->input[0] != value);
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
        if (is_norm(reader) ? !mean_is_private(c, reader) : !compile_forward_norm(c, reader))
            return false;
        readers++;
    }
    return readers > 0 && readers == c->use[y].count;
}

void compile_fusions(struct compiler *c)
{
    count_uses(c);
    for (int i = 0; i < c->graph->n_nodes; i++) {
        const struct node *node = &c->graph->nodes[i];

        if (is_norm(node))
            c->absorbed[i] = norm_absorbed(c, node);
        else if (node->op == OP_RELU_GRAD)
            c->absorbed[i] = relu_grad_absorbed(c, node);
        else if (node->op == OP_BIAS)
            c->absorbed[i] = bias_absorbed(c, node);
        else if (node->op == OP_ADD)
            c->absorbed[i] = add_absorbed(c, node);
    }
}
