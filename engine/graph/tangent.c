/* Forward mode (Pearlmutter's R operator): how values change when some of them move along a
 * direction. Appends for each node whose results move, and whose motion is asked for, the nodes
 * that compute the tangents of its results from those of its inputs.
 *
 * Three walks over the nodes: forwards to see what moves, backwards from what is asked for to see
 * whose tangent that needs, forwards again to append. What one kind of node does is in
 * tangent_rules.c. */
#include "graph/tangent.h"

#include <stdlib.h>

static bool follows(const struct tangent_rule *rule, int input)
{
    return rule->follows >> input & 1;
}

/* Whether a node's results move: one of the inputs that they follow does. */
static bool node_moves(const struct forward *f, const struct node *node)
{
    const struct tangent_rule *rule = tangent_rule_of(node->op);

    for (int i = 0; i < node->n_inputs; i++)
        if (follows(rule, i) && f->moves[node->input[i]])
            return true;
    return false;
}

static bool node_needed(const struct forward *f, const struct node *node)
{
    for (int slot = 0; slot < node->n_outputs; slot++)
        if (f->needed[node->output[slot]])
            return true;
    return false;
}

/* What a rule does not follow (a mask, a statistic that moves with x) has no part in the tangent,
 * or one that the rule knows from x itself. */
static void mark(struct forward *f, const int *of, int n_of)
{
    const struct graph *graph = f->graph;

    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i];
        for (int slot = 0; node_moves(f, node) && slot < node->n_outputs; slot++)
            f->moves[node->output[slot]] = true;
    }
    for (int i = 0; i < n_of; i++)
        f->needed[of[i]] = f->moves[of[i]];
    for (int i = graph->n_nodes - 1; i >= 0; i--) {
        const struct node *node = &graph->nodes[i];
        for (int j = 0; node_needed(f, node) && j < node->n_inputs; j++)
            if (follows(tangent_rule_of(node->op), j) && f->moves[node->input[j]])
                f->needed[node->input[j]] = true;
    }
}

/* A rule that left a needed result without a tangent does not know it. */
static void check_known(struct forward *f, const struct node *node)
{
    for (int slot = 0; slot < node->n_outputs && !f->graph->mistake.code; slot++)
        if (f->needed[node->output[slot]] && f->tangent[node->output[slot]] < 0)
            err_set(&f->graph->mistake, ERR_UNSUPPORTED, "no tangent of %s's output %d is known",
                    op_name(node->op), slot);
}

static void forward_walk(struct forward *f)
{
    int n = f->graph->n_nodes;

    for (int i = 0; i < n && !f->graph->mistake.code; i++) {
        struct node node = f->graph->nodes[i]; /* a copy: appending moves the array */
        if (!node_moves(f, &node) || !node_needed(f, &node))
            continue;
        tangent_rule_of(node.op)->append(f, &node);
        check_known(f, &node);
    }
}

/* Values that exist, and tangents of their shapes. */
static int check(struct graph *graph, const struct graph_motion *moving, int n_moving,
                 const int *of, int n_of)
{
    int n = graph->n_values;

    for (int i = 0; i < n_of; i++)
        if (of[i] < 0 || of[i] >= n)
            return err_set(&graph->mistake, ERR_INVALID, "tangent: there is no value %d", of[i]);
    for (int i = 0; i < n_moving; i++) {
        int value = moving[i].value, tangent = moving[i].tangent;
        if (value < 0 || value >= n || tangent < 0 || tangent >= n)
            return err_set(&graph->mistake, ERR_INVALID, "tangent: there is no value %d",
                           value < 0 || value >= n ? value : tangent);
        if (!shape_equal(&graph->values[value].shape, &graph->values[tangent].shape))
            return err_set(&graph->mistake, ERR_INVALID,
                           "tangent: a tangent has the shape of its value");
    }
    return 0;
}

static int forward_open(struct forward *f, struct graph *graph)
{
    size_t n = (size_t)graph->n_values + 1;

    *f = (struct forward){.graph = graph};
    f->tangent = malloc(n * sizeof *f->tangent);
    f->moves = calloc(n, sizeof *f->moves);
    f->needed = calloc(n, sizeof *f->needed);
    if (!f->tangent || !f->moves || !f->needed)
        return err_no_memory(&graph->mistake);
    for (size_t i = 0; i < n; i++)
        f->tangent[i] = -1;
    return 0;
}

static void forward_close(struct forward *f)
{
    free(f->tangent);
    free(f->moves);
    free(f->needed);
}

int graph_tangent_from(struct graph *graph, const struct graph_motion *moving, int n_moving,
                       const int *of, int n_of, int *of_tangent)
{
    struct forward f = {0};

    if (graph->mistake.code || check(graph, moving, n_moving, of, n_of))
        return graph->mistake.code;
    if (forward_open(&f, graph))
        goto out;
    for (int i = 0; i < n_moving; i++) {
        f.tangent[moving[i].value] = moving[i].tangent;
        f.moves[moving[i].value] = true;
    }
    mark(&f, of, n_of);
    forward_walk(&f);
    for (int i = 0; i < n_of; i++)
        of_tangent[i] = f.tangent[of[i]];
out:
    forward_close(&f);
    return graph->mistake.code;
}

/* A direction for each parameter. */
static int move_parameters(struct graph *graph, struct graph_motion *moving, int *gradients)
{
    for (int i = 0; i < graph->n_params; i++) {
        if (graph->params[i].gradient < 0)
            return err_set(&graph->mistake, ERR_INVALID, "tangent: parameter %s has no gradient",
                           graph->params[i].name);
        gradients[i] = graph->params[i].gradient;
        moving[i].value = graph->params[i].value;
        moving[i].tangent = graph_direction(graph, i);
    }
    return graph->mistake.code;
}

int graph_tangent(struct graph *graph)
{
    size_t n = (size_t)graph->n_params + 1;
    struct graph_motion *moving = calloc(n, sizeof *moving);
    int *gradients = calloc(n, sizeof *gradients), *products = calloc(n, sizeof *products);

    if (!moving || !gradients || !products) {
        err_no_memory(&graph->mistake);
        goto out;
    }
    if (graph->mistake.code || move_parameters(graph, moving, gradients))
        goto out;
    if (graph_tangent_from(graph, moving, graph->n_params, gradients, graph->n_params, products))
        goto out;
    for (int i = 0; i < graph->n_params; i++)
        graph->params[i].product = products[i];
out:
    free(moving);
    free(gradients);
    free(products);
    return graph->mistake.code;
}
