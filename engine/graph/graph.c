/* A graph's storage and its builders. What a node's result looks like is in infer.c, the
 * derivative in gradient.c.
 *
 * Invariants: a node's inputs have lower ids than its outputs; once `mistake` is set nothing is
 * added any more. */
#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "graph/infer.h"

#define BATCH_NORM_EPS 1e-5

struct graph *graph_new(bool training)
{
    struct graph *graph = calloc(1, sizeof *graph);

    if (graph)
        graph->training = training;
    return graph;
}

void graph_free(struct graph *graph)
{
    if (!graph)
        return;
    free(graph->nodes);
    free(graph->values);
    free(graph->params);
    free(graph->states);
    free(graph->moments);
    free(graph->inputs);
    free(graph->outputs);
    free(graph);
}

int graph_check(const struct graph *graph, struct err *err)
{
    if (graph->mistake.code && err)
        *err = graph->mistake;
    return graph->mistake.code;
}

/* array_grow; NULL with the mistake noted. */
static void *grow(struct graph *graph, void *items_at, int n, size_t item_bytes)
{
    void *item = array_grow(items_at, (size_t)n, item_bytes);

    if (!item)
        err_no_memory(&graph->mistake);
    return item;
}

/* The same items in memory of their own, with the capacity that array_grow expects. Clears *ok when
 * out of memory. */
static void *copy_items(const void *items, int n, size_t item_bytes, bool *ok)
{
    size_t capacity = 1;
    void *copy;

    if (n == 0)
        return NULL;
    while (capacity < (size_t)n)
        capacity *= 2;
    copy = malloc(capacity * item_bytes);
    if (!copy) {
        *ok = false;
        return NULL;
    }
    return memcpy(copy, items, (size_t)n * item_bytes);
}

struct graph *graph_copy(const struct graph *graph)
{
    struct graph *copy = malloc(sizeof *copy);
    bool ok = true;

    if (!copy)
        return NULL;
    *copy = *graph;
#define COPY(list, n) copy->list = copy_items(graph->list, graph->n, sizeof *graph->list, &ok)
    COPY(nodes, n_nodes);
    COPY(values, n_values);
    COPY(params, n_params);
    COPY(states, n_states);
    COPY(moments, n_moments);
    COPY(inputs, n_inputs);
    COPY(outputs, n_outputs);
#undef COPY
    if (ok)
        return copy;
    graph_free(copy);
    return NULL;
}

static int add_value(struct graph *graph, const struct shape *shape, int node, int slot)
{
    struct value *value = grow(graph, &graph->values, graph->n_values, sizeof *value);

    if (!value)
        return -1;
    value->shape = *shape;
    value->node = node;
    value->slot = slot;
    return graph->n_values++;
}

/* Appends a node whose outputs have the given shapes. Returns its first output. */
static int append(struct graph *graph, const struct node *made, const struct shape *shapes)
{
    struct node *node = grow(graph, &graph->nodes, graph->n_nodes, sizeof *node);

    if (!node)
        return -1;
    *node = *made;
    for (int i = 0; i < node->n_outputs; i++) {
        node->output[i] = add_value(graph, &shapes[i], graph->n_nodes, i);
        if (node->output[i] < 0)
            return -1;
    }
    graph->n_nodes++;
    return node->output[0];
}

int graph_node(struct graph *graph, enum op op, const int *inputs, int n_inputs,
               const struct node *attr)
{
    struct shape shapes[NODE_OUTPUTS_MAX];
    struct node node = {.op = op, .n_inputs = n_inputs};

    if (graph->mistake.code)
        return -1;
    if (attr)
        node.attr = attr->attr;
    if (n_inputs < 1 || n_inputs > NODE_INPUTS_MAX) {
        err_set(&graph->mistake, ERR_INVALID, "%s: %d inputs", op_name(op), n_inputs);
        return -1;
    }
    memcpy(node.input, inputs, (size_t)n_inputs * sizeof *inputs);
    if (graph_infer(graph, &node, shapes, &graph->mistake))
        return -1;
    return append(graph, &node, shapes);
}

/* Appends a node without inputs: the number `index` of its kind. */
static int append_source(struct graph *graph, enum op op, const struct shape *shape, int index)
{
    struct node node = {.op = op, .n_outputs = 1};

    if (shape_check(shape, op_name(op), &graph->mistake))
        return -1;
    node.attr.index = index;
    node.attr.shape = *shape;
    return append(graph, &node, shape);
}

int graph_input(struct graph *graph, struct shape shape, enum value_type type)
{
    int *place, value;

    if (graph->mistake.code)
        return -1;
    value = append_source(graph, OP_INPUT, &shape, graph->n_inputs);
    if (value < 0)
        return -1;
    graph->values[value].type = type;
    place = grow(graph, &graph->inputs, graph->n_inputs, sizeof *place);
    if (!place)
        return -1;
    *place = value;
    graph->n_inputs++;
    return value;
}

static bool name_taken(const struct graph_tensor *tensors, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(tensors[i].name, name) == 0)
            return true;
    return false;
}

/* Adds a parameter or a state to the list *tensors of *n. */
static int add_tensor(struct graph *graph, enum op op, struct graph_tensor **tensors, int *n,
                      const struct graph_tensor *made)
{
    struct graph_tensor *tensor;
    int value;

    if (name_taken(*tensors, *n, made->name)) {
        err_set(&graph->mistake, ERR_INVALID, "two tensors are named %s", made->name);
        return -1;
    }
    value = append_source(graph, op, &made->shape, *n);
    if (value < 0)
        return -1;
    tensor = grow(graph, tensors, *n, sizeof *tensor);
    if (!tensor)
        return -1;
    *tensor = *made;
    tensor->value = value;
    tensor->gradient = tensor->direction = tensor->product = -1;
    ++*n;
    return value;
}

/* False when there is a mistake, of now or before. */
static bool set_name(struct graph *graph, struct graph_tensor *tensor, const char *format,
                     va_list arguments)
{
    int length = 0;

    if (!graph->mistake.code)
        length = vsnprintf(tensor->name, sizeof tensor->name, format, arguments);
    if (length < 0 || (size_t)length >= sizeof tensor->name)
        err_set(&graph->mistake, ERR_INVALID, "name too long: %s", tensor->name);
    return !graph->mistake.code;
}

int graph_param(struct graph *graph, struct shape shape, struct init init, const char *name, ...)
{
    struct graph_tensor tensor = {.shape = shape, .init = init};
    va_list arguments;
    bool named;

    va_start(arguments, name);
    named = set_name(graph, &tensor, name, arguments);
    va_end(arguments);
    return named ? add_tensor(graph, OP_PARAM, &graph->params, &graph->n_params, &tensor) : -1;
}

int graph_state(struct graph *graph, struct shape shape, struct init init, const char *name, ...)
{
    struct graph_tensor tensor = {.shape = shape, .init = init};
    va_list arguments;
    bool named;

    va_start(arguments, name);
    named = set_name(graph, &tensor, name, arguments);
    va_end(arguments);
    return named ? add_tensor(graph, OP_STATE, &graph->states, &graph->n_states, &tensor) : -1;
}

int graph_direction(struct graph *graph, int param)
{
    int *direction;

    if (graph->mistake.code)
        return -1;
    if (param < 0 || param >= graph->n_params) {
        err_set(&graph->mistake, ERR_INVALID, "direction: there is no parameter %d", param);
        return -1;
    }
    direction = &graph->params[param].direction;
    if (*direction < 0)
        *direction = append_source(graph, OP_DIRECTION, &graph->params[param].shape, param);
    return *direction;
}

int graph_conv(struct graph *graph, int x, int w, int stride, int pad)
{
    struct node attr = {.attr = {.stride = stride, .pad = pad}};

    return graph_node(graph, OP_CONV, (int[]){x, w}, 2, &attr);
}

/* Remembers the batch statistics that `y`, made by OP_BATCH_NORM, came with. */
static int add_moments(struct graph *graph, int y, int running_mean, int running_var)
{
    const struct node *node = &graph->nodes[graph->values[y].node];
    const struct shape *x = &graph->values[node->input[0]].shape;
    struct graph_moments *moments;

    moments = grow(graph, &graph->moments, graph->n_moments, sizeof *moments);
    if (!moments)
        return -1;
    moments->mean = node->output[1];
    moments->var = node->output[2];
    moments->running_mean = running_mean;
    moments->running_var = running_var;
    moments->count = shape_elements(x) / x->dim[1];
    graph->n_moments++;
    return y;
}

int graph_batch_norm(struct graph *graph, int x, const char *name)
{
    const struct init zero = {.kind = INIT_ZERO}, one = {.kind = INIT_ONE};
    struct node attr = {.attr = {.eps = BATCH_NORM_EPS}};
    struct shape channels;
    int gamma, beta, mean, var, y;

    if (graph_expect_rank(graph, "batch_norm", "x", x, 4))
        return -1;
    channels = shape_of(1, graph->values[x].shape.dim[1]);
    gamma = graph_param(graph, channels, one, "%s.weight", name);
    beta = graph_param(graph, channels, zero, "%s.bias", name);
    mean = graph_state(graph, channels, zero, "%s.running_mean", name);
    var = graph_state(graph, channels, one, "%s.running_var", name);
    if (!graph->training)
        return graph_node(graph, OP_BATCH_NORM_EVAL, (int[]){x, gamma, beta, mean, var}, 5, &attr);
    y = graph_node(graph, OP_BATCH_NORM, (int[]){x, gamma, beta}, 3, &attr);
    if (y < 0)
        return -1;
    return add_moments(graph, y, graph->n_states - 2, graph->n_states - 1);
}

int graph_relu(struct graph *graph, int x)
{
    return graph_node(graph, OP_RELU, &x, 1, NULL);
}

int graph_add(struct graph *graph, int a, int b)
{
    return graph_node(graph, OP_ADD, (int[]){a, b}, 2, NULL);
}

int graph_global_avg_pool(struct graph *graph, int x)
{
    return graph_node(graph, OP_GLOBAL_AVG_POOL, &x, 1, NULL);
}

int graph_bias(struct graph *graph, int x, int b)
{
    return graph_node(graph, OP_BIAS, (int[]){x, b}, 2, NULL);
}

int graph_max_pool(struct graph *graph, int x, int size, int stride, int pad)
{
    struct node attr = {.attr = {.k = size, .stride = stride, .pad = pad}};

    return graph_node(graph, OP_MAX_POOL, &x, 1, &attr);
}

int graph_dropout(struct graph *graph, int x, double rate)
{
    struct node attr = {.attr = {.rate = rate, .index = graph->n_dropouts}};

    if (rate == 0 || !graph->training)
        return x;
    x = graph_node(graph, OP_DROPOUT, &x, 1, &attr);
    graph->n_dropouts += x >= 0;
    return x;
}

int graph_linear(struct graph *graph, int x, int w, int b)
{
    return graph_node(graph, OP_LINEAR, (int[]){x, w, b}, b < 0 ? 2 : 3, NULL);
}

int graph_cross_entropy(struct graph *graph, int logits, int labels)
{
    return graph_smoothed_cross_entropy(graph, logits, labels, 0);
}

int graph_smoothed_cross_entropy(struct graph *graph, int logits, int labels, double smoothing)
{
    struct node attr = {.attr = {.smoothing = smoothing}};

    return graph_node(graph, OP_CROSS_ENTROPY, (int[]){logits, labels}, 2, &attr);
}

int graph_correct(struct graph *graph, int logits, int labels, int k)
{
    struct node attr = {.attr = {.k = k}};

    return graph_node(graph, OP_CORRECT, (int[]){logits, labels}, 2, &attr);
}

int graph_output(struct graph *graph, int value)
{
    int *place;

    if (graph->mistake.code)
        return -1;
    if (value < 0 || value >= graph->n_values) {
        err_set(&graph->mistake, ERR_INVALID, "output: there is no value %d", value);
        return -1;
    }
    place = grow(graph, &graph->outputs, graph->n_outputs, sizeof *place);
    if (!place)
        return -1;
    *place = value;
    return graph->n_outputs++;
}
