/* From a graph's nodes to commands, in the nodes' order. */
#include "backend/cuda/compile.h"

#include <stdlib.h>

struct command gpu_command(const struct node *node, command_run *run)
{
    return (struct command){.run = run, .what = op_name(node->op), .in_place = -1, .moments = -1};
}

/* How an operation that is done element by element, and in no other way, is run; else NULL. */
static command_run *elementwise_run(enum op op)
{
    switch (op) {
    case OP_RELU_GRAD:
        return cuda_run_relu_grad;
    case OP_GELU:
        return cuda_run_gelu;
    case OP_GELU_CURVE:
        return cuda_run_gelu_curve;
    case OP_GELU_GRAD:
        return cuda_run_gelu_grad;
    default:
        return NULL;
    }
}

/* The same of those that compare scores of classes with labels. */
static command_run *scores_run(enum op op)
{
    switch (op) {
    case OP_CROSS_ENTROPY:
        return cuda_run_cross_entropy;
    case OP_CROSS_ENTROPY_GRAD:
        return cuda_run_cross_entropy_grad;
    case OP_CORRECT:
        return cuda_run_correct;
    default:
        return NULL;
    }
}

/* False: it is none of the operations here. */
static bool gpu_plain(struct compiler *c, const struct node *node)
{
    switch (node->op) {
    case OP_BATCH_NORM:
    case OP_BATCH_NORM_EVAL:
        gpu_norm(c, node);
        break;
    case OP_BATCH_NORM_GRAD:
        gpu_norm_grad(c, node);
        break;
    case OP_RELU:
        gpu_relu(c, node);
        break;
    case OP_ADD:
        gpu_add(c, node);
        break;
    case OP_BIAS:
        gpu_bias(c, node);
        break;
    case OP_DROPOUT:
        gpu_dropout(c, node);
        break;
    case OP_GLOBAL_AVG_POOL:
    case OP_GLOBAL_AVG_POOL_GRAD:
        gpu_global_pool(c, node);
        break;
    case OP_MAX_POOL:
    case OP_MAX_POOL_GRAD:
    case OP_MAX_POOL_TANGENT:
        gpu_max_pool(c, node);
        break;
    case OP_LINEAR:
        gpu_linear(c, node);
        break;
    case OP_LINEAR_GRAD_X:
    case OP_LINEAR_GRAD_W:
        gpu_linear_grad(c, node);
        break;
    case OP_SUM_CHANNELS:
    case OP_SUM_ROWS:
    case OP_SUM_EACH:
        gpu_sum(c, node);
        break;
    default:
        return false;
    }
    return true;
}

static void gpu_node(struct compiler *c, const struct node *node)
{
    command_run *elementwise = elementwise_run(node->op), *scores = scores_run(node->op);
    enum conv_direction direction;

    if (cuda_conv_direction(node->op, &direction))
        gpu_conv(c, node, direction);
    else if (elementwise)
        gpu_elementwise(c, node, elementwise);
    else if (scores)
        gpu_scores(c, node, scores);
    else if (!gpu_plain(c, node) && !gpu_tokens(c, node) && !gpu_tangents(c, node))
        c->code = err_set(c->err, ERR_UNSUPPORTED, "the CUDA backend has no operation %s",
                          op_name(node->op));
}

/* Sources need no command. A batch norm's statistics are never left to others. */
static void gpu_nodes(struct compiler *c)
{
    for (int i = 0; i < c->graph->n_nodes && !c->code; i++) {
        const struct node *node = &c->graph->nodes[i];
        bool norm = node->op == OP_BATCH_NORM || node->op == OP_BATCH_NORM_EVAL;

        if (node->n_inputs > 0 && (norm || !c->absorbed[i]))
            gpu_node(c, node);
    }
}

/* Floats from one slot to a new one elsewhere. */
static void copy_to(struct compiler *c, int from, enum place place, int index)
{
    struct program *p = c->program;
    struct command command = {.run = cuda_run_copy,
                              .what = "copy",
                              .n_in = 1,
                              .in = {from},
                              .n_out = 1,
                              .in_place = -1,
                              .moments = -1};

    if (c->code)
        return;
    command.out[0] = gpu_bytes(c, p->slots[from].bytes);
    if (c->code)
        return;
    p->slots[command.out[0]].place = place;
    p->slots[command.out[0]].index = index;
    gpu_emit(c, &command);
}

/* A gradient that does not lie where it belongs by itself: it is a source, or two parameters'. */
static void place_gradients(struct compiler *c)
{
    for (int i = 0; i < c->graph->n_params && !c->code; i++) {
        int value = c->graph->params[i].gradient, slot;
        bool filter = value >= 0 && gpu_maker(c, value)->op == OP_CONV_GRAD_W;

        if (value < 0)
            continue;
        slot = filter ? gpu_read(c, value, ORDER_FILTER, c->program->type) : gpu_floats(c, value);
        if (!c->code &&
            (c->program->slots[slot].place != PLACE_GRADIENT || c->program->slots[slot].index != i))
            copy_to(c, slot, PLACE_GRADIENT, i);
    }
}

/* In the pass's vector, which has each tensor dense. */
static void place_products(struct compiler *c)
{
    for (int i = 0; i < c->graph->n_params && !c->code; i++) {
        int value = c->graph->params[i].product, slot;

        if (value < 0)
            continue;
        slot = gpu_floats(c, value);
        copy_to(c, slot, PLACE_PRODUCT, i);
        if (!c->code)
            c->program->slots[c->program->n_slots - 1].bytes =
                c->program->params->tensor[i].size * sizeof(float);
    }
}

static void place_outputs(struct compiler *c)
{
    for (int i = 0; i < c->graph->n_outputs && !c->code; i++) {
        int slot = gpu_floats(c, c->graph->outputs[i]);

        if (!c->code &&
            (c->program->slots[slot].place != PLACE_OUTPUT || c->program->slots[slot].index != i))
            copy_to(c, slot, PLACE_OUTPUT, i);
    }
}

static int open_tables(struct compiler *c)
{
    const struct graph *g = c->graph;
    size_t values = (size_t)g->n_values + 1;

    c->use = calloc(values, sizeof *c->use);
    c->gradient_of = malloc(values * sizeof *c->gradient_of);
    c->output_of = malloc(values * sizeof *c->output_of);
    c->absorbed = calloc((size_t)g->n_nodes + 1, sizeof *c->absorbed);
    c->attention = malloc(((size_t)g->n_nodes + 1) * sizeof *c->attention);
    if (!c->use || !c->gradient_of || !c->output_of || !c->absorbed || !c->attention)
        return err_no_memory(c->err);
    for (int i = 0; i < g->n_nodes; i++)
        c->attention[i] = (struct attention_of){-1, -1};
    for (int i = 0; i < g->n_values; i++)
        c->gradient_of[i] = c->output_of[i] = -1;
    for (int i = g->n_params - 1; i >= 0; i--)
        if (g->params[i].gradient >= 0)
            c->gradient_of[g->params[i].gradient] = i;
    for (int i = g->n_outputs - 1; i >= 0; i--)
        c->output_of[g->outputs[i]] = i;
    return 0;
}

int cuda_compile(struct program *program, struct err *err)
{
    struct compiler c = {.program = program, .graph = program->graph, .err = err};

    c.code = open_tables(&c);
    if (!c.code)
        c.code = gpu_params(&c);
    if (!c.code) {
        gpu_fusions(&c);
        gpu_nodes(&c);
        place_gradients(&c);
        place_products(&c);
        place_outputs(&c);
    }
    free(c.use);
    free(c.gradient_of);
    free(c.output_of);
    free(c.absorbed);
    free(c.attention);
    return c.code;
}
