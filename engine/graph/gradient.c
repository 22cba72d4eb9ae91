/* Reverse mode. Walks the nodes backwards from a value whose derivative is known and appends, for
 * each, the nodes that compute the derivatives by its inputs. A value that is used several times
 * gets the sum of its uses' derivatives, made by OP_ADD.
 *
 * Only values that a wanted derivative depends on get one: a model's images do not. */
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "graph/infer.h"

struct reverse {
    struct graph *graph;
    int *derivative; /* of each value; -1: none yet */
    bool *wanted;    /* whether a wanted value is this one or goes into it */
};

/* Appends a node that takes attributes from the forward node, with the shape of value `like`. */
static int append(struct reverse *r, enum op op, const struct node *forward, int like,
                  const int *inputs, int n)
{
    struct node attr = {.attr = forward->attr};

    if (like >= 0)
        attr.attr.shape = r->graph->values[like].shape;
    return graph_node(r->graph, op, inputs, n, &attr);
}

static void accumulate(struct reverse *r, int value, int derivative)
{
    int *sum = &r->derivative[value];

    if (r->wanted[value])
        *sum = *sum < 0 ? derivative : graph_add(r->graph, *sum, derivative);
}

static void reverse_conv(struct reverse *r, const struct node *node, int dy)
{
    int x = node->input[0], w = node->input[1];

    if (r->wanted[w])
        accumulate(r, w, append(r, OP_CONV_GRAD_W, node, w, (int[]){x, dy}, 2));
    if (r->wanted[x])
        accumulate(r, x, append(r, OP_CONV_GRAD_X, node, x, (int[]){dy, w}, 2));
}

static void reverse_batch_norm(struct reverse *r, const struct node *node, int dy)
{
    int x = node->input[0], gamma = node->input[1], beta = node->input[2];
    int inputs[] = {dy, x, gamma, node->output[1], node->output[2]};
    int dx = append(r, OP_BATCH_NORM_GRAD, node, -1, inputs, 5);

    if (dx < 0)
        return;
    accumulate(r, gamma, dx + 1); /* a node's outputs are consecutive values */
    accumulate(r, beta, dx + 2);
    accumulate(r, x, dx);
}

/* Statistics are given: they do not depend on x. */
static void reverse_batch_norm_eval(struct reverse *r, const struct node *node, int dy)
{
    int x = node->input[0], gamma = node->input[1], beta = node->input[2];
    int mean = node->input[3], var = node->input[4];
    int inputs[] = {dy, x, mean, var}, dgamma;

    if (r->wanted[gamma] || r->wanted[beta]) {
        dgamma = append(r, OP_BATCH_NORM_EVAL_GRAD, node, -1, inputs, 4);
        if (dgamma < 0)
            return;
        accumulate(r, gamma, dgamma);
        accumulate(r, beta, dgamma + 1);
    }
    if (r->wanted[x])
        accumulate(r, x, append(r, OP_BATCH_NORM_SCALE, node, -1, (int[]){dy, gamma, var}, 3));
}

static void reverse_linear(struct reverse *r, const struct node *node, int dy)
{
    int x = node->input[0], w = node->input[1], b = node->n_inputs > 2 ? node->input[2] : -1;

    if (b >= 0 && r->wanted[b])
        accumulate(r, b, append(r, OP_SUM_ROWS, node, -1, &dy, 1));
    if (r->wanted[w])
        accumulate(r, w, append(r, OP_LINEAR_GRAD_W, node, w, (int[]){x, dy}, 2));
    if (r->wanted[x])
        accumulate(r, x, append(r, OP_LINEAR_GRAD_X, node, -1, (int[]){dy, w}, 2));
}

static void reverse_bias(struct reverse *r, const struct node *node, int dy)
{
    int b = node->input[1];

    if (r->wanted[b])
        accumulate(r, b, append(r, OP_SUM_CHANNELS, node, -1, &dy, 1));
    accumulate(r, node->input[0], dy);
}

static void reverse_prepend(struct reverse *r, const struct node *node, int dy)
{
    int x = node->input[0], token = node->input[1];
    struct node first = {.attr = {.index = 0}};

    if (r->wanted[token]) {
        int d = append(r, OP_TOKEN, &first, -1, &dy, 1);
        accumulate(r, token, append(r, OP_SUM_EACH, node, token, &d, 1));
    }
    if (r->wanted[x])
        accumulate(r, x, append(r, OP_DROP_FIRST, node, -1, &dy, 1));
}

static void reverse_add_each(struct reverse *r, const struct node *node, int dy)
{
    int b = node->input[1];

    if (r->wanted[b])
        accumulate(r, b, append(r, OP_SUM_EACH, node, b, &dy, 1));
    accumulate(r, node->input[0], dy);
}

static void reverse_layer_norm(struct reverse *r, const struct node *node, int dy)
{
    int x = node->input[0], gamma = node->input[1], beta = node->input[2];
    int inputs[] = {dy, x, gamma, node->output[1], node->output[2]};
    int dx = append(r, OP_LAYER_NORM_GRAD, node, -1, inputs, 5);

    if (dx < 0)
        return;
    accumulate(r, gamma, dx + 1);
    accumulate(r, beta, dx + 2);
    accumulate(r, x, dx);
}

/* All parts have a derivative: `derivative_of_parts`. */
static void reverse_split_heads(struct reverse *r, const struct node *node)
{
    int dy[NODE_OUTPUTS_MAX];

    for (int i = 0; i < node->n_outputs; i++)
        dy[i] = r->derivative[node->output[i]];
    accumulate(r, node->input[0], append(r, OP_MERGE_HEADS, node, -1, dy, node->n_outputs));
}

static void reverse_merge_heads(struct reverse *r, const struct node *node, int dy)
{
    struct node attr = {
        .attr = {.parts = node->n_inputs, .k = (int)r->graph->values[node->input[0]].shape.dim[1]}};
    int first = append(r, OP_SPLIT_HEADS, &attr, -1, &dy, 1);

    for (int i = 0; i < node->n_inputs && first >= 0; i++)
        accumulate(r, node->input[i], first + i);
}

static int append_matmul(struct reverse *r, const struct node *forward, const int *inputs,
                         bool transpose_a, bool transpose_b)
{
    struct node attr = {.attr = {.scale = forward->attr.scale,
                                 .transpose_a = transpose_a,
                                 .transpose_b = transpose_b}};

    return append(r, OP_MATMUL, &attr, -1, inputs, 2);
}

/* With A and B as they are after transposing, dA = dy·Bᵀ and dB = Aᵀ·dy; what was transposed on its
 * way in wants the transpose of that. */
static void reverse_matmul(struct reverse *r, const struct node *node, int dy)
{
    int a = node->input[0], b = node->input[1];
    bool across_a = node->attr.transpose_a, across_b = node->attr.transpose_b;

    if (r->wanted[a])
        accumulate(r, a,
                   across_a ? append_matmul(r, node, (int[]){b, dy}, across_b, true)
                            : append_matmul(r, node, (int[]){dy, b}, false, !across_b));
    if (r->wanted[b])
        accumulate(r, b,
                   across_b ? append_matmul(r, node, (int[]){dy, a}, true, across_a)
                            : append_matmul(r, node, (int[]){a, dy}, !across_a, false));
}

static void reverse_node(struct reverse *r, const struct node *node, int dy)
{
    int x = node->input[0];

    switch (node->op) {
    case OP_CONV:
        reverse_conv(r, node, dy);
        break;
    case OP_BATCH_NORM:
        reverse_batch_norm(r, node, dy);
        break;
    case OP_BATCH_NORM_EVAL:
        reverse_batch_norm_eval(r, node, dy);
        break;
    case OP_RELU:
        accumulate(r, x, append(r, OP_RELU_GRAD, node, -1, (int[]){dy, node->output[0]}, 2));
        break;
    case OP_ADD:
        accumulate(r, x, dy);
        accumulate(r, node->input[1], dy);
        break;
    case OP_GLOBAL_AVG_POOL:
        accumulate(r, x, append(r, OP_GLOBAL_AVG_POOL_GRAD, node, x, &dy, 1));
        break;
    case OP_BIAS:
        reverse_bias(r, node, dy);
        break;
    case OP_MAX_POOL:
        accumulate(r, x, append(r, OP_MAX_POOL_GRAD, node, -1, (int[]){dy, x}, 2));
        break;
    case OP_DROPOUT:
        accumulate(r, x, append(r, OP_DROPOUT, node, -1, &dy, 1));
        break;
    case OP_LINEAR:
        reverse_linear(r, node, dy);
        break;
    case OP_PATCHES:
        accumulate(r, x, append(r, OP_PATCHES_GRAD, node, x, &dy, 1));
        break;
    case OP_PREPEND:
        reverse_prepend(r, node, dy);
        break;
    case OP_TOKEN:
        accumulate(r, x, append(r, OP_TOKEN_GRAD, node, x, &dy, 1));
        break;
    case OP_ADD_EACH:
        reverse_add_each(r, node, dy);
        break;
    case OP_LAYER_NORM:
        reverse_layer_norm(r, node, dy);
        break;
    case OP_GELU:
        accumulate(r, x, append(r, OP_GELU_GRAD, node, -1, (int[]){dy, x}, 2));
        break;
    case OP_SOFTMAX:
        accumulate(r, x, append(r, OP_SOFTMAX_GRAD, node, -1, (int[]){dy, node->output[0]}, 2));
        break;
    case OP_SPLIT_HEADS:
        reverse_split_heads(r, node);
        break;
    case OP_MERGE_HEADS:
        reverse_merge_heads(r, node, dy);
        break;
    case OP_MATMUL:
        reverse_matmul(r, node, dy);
        break;
    default:
        err_set(&r->graph->mistake, ERR_UNSUPPORTED, "no derivative of %s is known",
                op_name(node->op));
    }
}

/* Whether a wanted value goes into this node. */
static bool leads_to_wanted(const struct reverse *r, const struct node *node)
{
    for (int i = 0; i < node->n_inputs; i++)
        if (r->wanted[node->input[i]])
            return true;
    return false;
}

static void mark_wanted(struct reverse *r, const int *wrt, int n_wrt)
{
    const struct graph *graph = r->graph;

    for (int i = 0; i < graph->n_params; i++)
        r->wanted[graph->params[i].value] = true;
    for (int i = 0; i < n_wrt; i++)
        r->wanted[wrt[i]] = true;
    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i];
        if (leads_to_wanted(r, node))
            for (int slot = 0; slot < node->n_outputs; slot++)
                r->wanted[node->output[slot]] = true;
    }
}

static int reverse_open(struct reverse *r, struct graph *graph, const int *wrt, int n_wrt)
{
    size_t n = (size_t)graph->n_values;

    *r = (struct reverse){.graph = graph};
    for (int i = 0; i < n_wrt; i++)
        if (wrt[i] < 0 || wrt[i] >= graph->n_values)
            return err_set(&graph->mistake, ERR_INVALID, "gradient: there is no value %d", wrt[i]);
    r->derivative = malloc((n ? n : 1) * sizeof *r->derivative);
    r->wanted = calloc(n ? n : 1, sizeof *r->wanted);
    if (!r->derivative || !r->wanted)
        return err_no_memory(&graph->mistake);
    for (size_t i = 0; i < n; i++)
        r->derivative[i] = -1;
    mark_wanted(r, wrt, n_wrt);
    return 0;
}

static void reverse_close(struct reverse *r)
{
    free(r->derivative);
    free(r->wanted);
}

/* Parts of heads have a derivative each, or none of them has. */
static int derivative_of_parts(struct reverse *r, const struct node *node)
{
    int n = 0;

    for (int slot = 0; slot < node->n_outputs; slot++)
        n += r->derivative[node->output[slot]] >= 0;
    if (n > 0 && n < node->n_outputs) {
        err_set(&r->graph->mistake, ERR_UNSUPPORTED,
                "no derivative of %s is known where only some of its parts are used",
                op_name(node->op));
        return -1;
    }
    return r->derivative[node->output[0]];
}

/* The derivative that leaves the node backwards, or -1. */
static int derivative_of_node(struct reverse *r, const struct node *node)
{
    if (node->op == OP_SPLIT_HEADS)
        return derivative_of_parts(r, node);
    for (int slot = 1; slot < node->n_outputs; slot++)
        if (r->derivative[node->output[slot]] >= 0)
            err_set(&r->graph->mistake, ERR_UNSUPPORTED, "no derivative of %s's output %d is known",
                    op_name(node->op), slot);
    return r->derivative[node->output[0]];
}

/* From node `last` down to the first. */
static void reverse_walk(struct reverse *r, int last)
{
    for (int i = last; i >= 0 && !r->graph->mistake.code; i--) {
        struct node node = r->graph->nodes[i]; /* a copy: appending moves the array */
        int dy = derivative_of_node(r, &node);
        if (dy >= 0 && leads_to_wanted(r, &node))
            reverse_node(r, &node, dy);
    }
    for (int i = 0; i < r->graph->n_params; i++)
        r->graph->params[i].gradient = r->derivative[r->graph->params[i].value];
}

int graph_gradient_from(struct graph *graph, int value, int derivative, const int *wrt, int n_wrt,
                        int *wrt_gradient)
{
    struct reverse r = {0};

    if (graph->mistake.code)
        return graph->mistake.code;
    if (value < 0 || value >= graph->n_values || derivative < 0 || derivative >= graph->n_values)
        return err_set(&graph->mistake, ERR_INVALID, "gradient: there is no value %d",
                       value < 0 || value >= graph->n_values ? value : derivative);
    if (!shape_equal(&graph->values[value].shape, &graph->values[derivative].shape))
        return err_set(&graph->mistake, ERR_INVALID,
                       "gradient: a derivative has the shape of its value");
    if (reverse_open(&r, graph, wrt, n_wrt))
        goto out;
    r.derivative[value] = derivative;
    reverse_walk(&r, graph->values[value].node);
    for (int i = 0; i < n_wrt; i++)
        wrt_gradient[i] = r.derivative[wrt[i]];
out:
    reverse_close(&r);
    return graph->mistake.code;
}

/* A parameter that the loss does not depend on is a mistake of the model. */
static int check_all_used(struct graph *graph)
{
    for (int i = 0; i < graph->n_params; i++)
        if (!graph->mistake.code && graph->params[i].gradient < 0)
            err_set(&graph->mistake, ERR_INVALID, "the loss does not depend on parameter %s",
                    graph->params[i].name);
    return graph->mistake.code;
}

int graph_gradient(struct graph *graph, int loss)
{
    const struct node *node;
    struct node attr;
    int logits, labels, derivative;

    if (graph->mistake.code)
        return graph->mistake.code;
    if (loss < 0 || loss >= graph->n_values ||
        graph->nodes[graph->values[loss].node].op != OP_CROSS_ENTROPY)
        return err_set(&graph->mistake, ERR_INVALID, "gradient: value %d is no cross-entropy",
                       loss);
    node = &graph->nodes[graph->values[loss].node];
    logits = node->input[0];
    labels = node->input[1];
    attr = (struct node){.attr = {.smoothing = node->attr.smoothing}};
    derivative = graph_node(graph, OP_CROSS_ENTROPY_GRAD, (int[]){logits, labels}, 2, &attr);
    if (derivative < 0)
        return graph->mistake.code;
    if (graph_gradient_from(graph, logits, derivative, NULL, 0, NULL))
        return graph->mistake.code;
    return check_all_used(graph);
}
