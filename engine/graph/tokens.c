/* Builders of what transformers are made of. */
#include "graph/graph.h"
#include "graph/infer.h"

int graph_patches(struct graph *graph, int x, int size, bool channels_last)
{
    struct node attr = {.attr = {.k = size, .channels_last = channels_last}};

    return graph_node(graph, OP_PATCHES, &x, 1, &attr);
}

int graph_prepend(struct graph *graph, int x, int token)
{
    return graph_node(graph, OP_PREPEND, (int[]){x, token}, 2, NULL);
}

int graph_token(struct graph *graph, int x, int number)
{
    struct node attr = {.attr = {.index = number}};

    return graph_node(graph, OP_TOKEN, &x, 1, &attr);
}

int graph_add_each(struct graph *graph, int x, int b)
{
    return graph_node(graph, OP_ADD_EACH, (int[]){x, b}, 2, NULL);
}

int graph_layer_norm(struct graph *graph, int x, double eps, const char *name)
{
    struct node attr = {.attr = {.eps = eps}};
    const struct shape *shape;
    struct shape features;
    int gamma, beta;

    if (graph_expect_rank(graph, "layer_norm", "x", x, 0))
        return -1;
    shape = &graph->values[x].shape;
    features = shape_of(1, shape->dim[shape->rank - 1]);
    gamma = graph_param(graph, features, (struct init){.kind = INIT_ONE}, "%s.weight", name);
    beta = graph_param(graph, features, (struct init){.kind = INIT_ZERO}, "%s.bias", name);
    return graph_node(graph, OP_LAYER_NORM, (int[]){x, gamma, beta}, 3, &attr);
}

int graph_gelu(struct graph *graph, int x)
{
    return graph_node(graph, OP_GELU, &x, 1, NULL);
}

int graph_softmax(struct graph *graph, int x)
{
    return graph_node(graph, OP_SOFTMAX, &x, 1, NULL);
}

int graph_split_heads(struct graph *graph, int x, int parts, int heads)
{
    struct node attr = {.attr = {.parts = parts, .k = heads}};

    return graph_node(graph, OP_SPLIT_HEADS, &x, 1, &attr);
}

int graph_merge_heads(struct graph *graph, int x)
{
    return graph_node(graph, OP_MERGE_HEADS, &x, 1, NULL);
}

int graph_matmul(struct graph *graph, int a, int b, struct matmul how)
{
    struct node attr = {.attr = {.transpose_a = how.transpose_a,
                                 .transpose_b = how.transpose_b,
                                 .scale = how.scale}};

    return graph_node(graph, OP_MATMUL, (int[]){a, b}, 2, &attr);
}
