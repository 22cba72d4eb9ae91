#include "graph/uses.h"

static void count_reader(const struct graph *graph, int number, struct value_use *use)
{
    const struct node *node = &graph->nodes[number];

    for (int k = 0; k < node->n_inputs; k++) {
        struct value_use *read = &use[node->input[k]];

        read->count++;
        if (read->first < 0)
            read->first = number;
    }
}

void graph_uses(const struct graph *graph, struct value_use *use)
{
    for (int i = 0; i < graph->n_values; i++)
        use[i] = (struct value_use){.first = -1};
    for (int i = 0; i < graph->n_nodes; i++)
        count_reader(graph, i, use);
    for (int i = 0; i < graph->n_outputs; i++)
        use[graph->outputs[i]].count++;
    for (int i = 0; i < graph->n_params; i++) {
        if (graph->params[i].gradient >= 0)
            use[graph->params[i].gradient].count++;
        if (graph->params[i].product >= 0)
            use[graph->params[i].product].count++;
    }
}

const struct node *graph_only_reader(const struct graph *graph, const struct value_use *use)
{
    return use->count == 1 && use->first >= 0 ? &graph->nodes[use->first] : NULL;
}

void graph_directed(const struct graph *graph, bool *directed)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i];
        bool depends = node->op == OP_DIRECTION;

        for (int k = 0; k < node->n_inputs; k++)
            depends = depends || directed[node->input[k]];
        for (int k = 0; k < node->n_outputs; k++)
            directed[node->output[k]] = depends;
    }
}
