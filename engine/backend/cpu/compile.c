/* From a graph's nodes to commands, in the nodes' order. */
#include "backend/cpu/compile.h"

#include <stdlib.h>

/* A command with slots of one form for inputs and result, and nothing else. */
static void simple(struct compiler *c, const struct node *node, command_run *run, enum form form,
                   struct command command)
{
    command.run = run;
    command.what = op_name(node->op);
    for (int i = 0; i < node->n_inputs; i++)
        command.in[command.n_in++] = compile_read(c, node->input[i], form);
    compile_result(c, &command, node->output[0], form);
    compile_emit(c, &command);
}

static void elementwise(struct compiler *c, const struct node *node, command_run *run)
{
    enum form form = compile_common_form(c, node->input, node->n_inputs);

    simple(c, node, run, form, (struct command){.in_place = 0});
}

static void compile_relu(struct compiler *c, const struct node *node)
{
    int x = node->input[0];
    const struct node *maker = compile_maker(c, x);

    if (compile_is_pending_norm(c, x)) {
        compile_norm_apply(c, node->output[0], x, -1, true);
    } else if (maker->op == OP_ADD && compile_is_absorbed(c, x)) {
        int first = compile_is_pending_norm(c, maker->input[0]) ? 0 : 1;
        compile_norm_apply(c, node->output[0], maker->input[first], maker->input[1 - first], true);
    } else {
        elementwise(c, node, cpu_run_relu);
    }
}

static void compile_add(struct compiler *c, const struct node *node)
{
    int a = node->input[0], b = node->input[1], terms[AFFINE_TERMS];

    if (compile_terms(c, node->output[0], terms) > 2)
        compile_affine_sum(c, node->output[0], node->output[0], -1);
    else if (compile_is_pending_norm(c, a))
        compile_norm_apply(c, node->output[0], a, b, false);
    else if (compile_is_pending_norm(c, b))
        compile_norm_apply(c, node->output[0], b, a, false);
    else
        elementwise(c, node, cpu_run_add);
}

/* Of a sum that is done at once, or of one value. */
static void compile_relu_grad(struct compiler *c, const struct node *node)
{
    int terms[AFFINE_TERMS], d = node->input[0];

    if (compile_terms(c, d, terms) > 1 || compile_is_pending_norm(c, d))
        compile_affine_sum(c, node->output[0], d, node->input[1]);
    else
        elementwise(c, node, cpu_run_relu_grad);
}

static void compile_pool(struct compiler *c, const struct node *node)
{
    bool forward = node->op == OP_GLOBAL_AVG_POOL;
    int image = forward ? node->input[0] : node->output[0];
    struct command command = {.run = forward ? cpu_run_pool : cpu_run_pool_grad,
                              .what = op_name(node->op),
                              .in_place = -1,
                              .shape = compile_activation(c, image),
                              .channels = (size_t)c->graph->values[image].shape.dim[1]};

    command.in[command.n_in++] =
        compile_read(c, node->input[0], forward ? FORM_BLOCKED : FORM_DENSE);
    command.out[command.n_out++] =
        compile_write(c, node->output[0], forward ? FORM_DENSE : FORM_BLOCKED);
    compile_emit(c, &command);
}

static size_t features(const struct shape *shape)
{
    return (size_t)shape->dim[shape->rank - 1];
}

static size_t rows(const struct shape *shape)
{
    return (size_t)shape_elements(shape) / features(shape);
}

/* rows n, columns out, inner in: x [n][in], dy [n][out], w [out][in]. */
static void compile_linear(struct compiler *c, const struct node *node)
{
    const struct shape *a = &c->graph->values[node->input[0]].shape;
    const struct shape *b = &c->graph->values[node->input[1]].shape;
    struct command command = {.in_place = -1, .rows = rows(a), .bias = node->n_inputs > 2};

    switch (node->op) {
    case OP_LINEAR:
        command.inner = features(a);
        command.columns = (size_t)b->dim[0];
        simple(c, node, cpu_run_linear, FORM_DENSE, command);
        break;
    case OP_LINEAR_GRAD_X:
        command.inner = features(&c->graph->values[node->output[0]].shape);
        command.columns = features(a);
        simple(c, node, cpu_run_linear_grad_x, FORM_DENSE, command);
        break;
    default:
        command.inner = features(a);
        command.columns = features(b);
        simple(c, node, cpu_run_linear_grad_w, FORM_DENSE, command);
    }
}

/* Operations on a matrix [rows][columns]. */
static void compile_rows(struct compiler *c, const struct node *node, command_run *run)
{
    const struct shape *x = &c->graph->values[node->input[0]].shape;

    simple(c, node, run, FORM_DENSE,
           (struct command){.in_place = -1,
                            .rows = rows(x),
                            .columns = features(x),
                            .k = (size_t)node->attr.k,
                            .smoothing = node->attr.smoothing});
}

static void compile_node(struct compiler *c, const struct node *node)
{
    switch (node->op) {
    case OP_CONV:
    case OP_CONV_GRAD_X:
    case OP_CONV_GRAD_W:
        compile_conv(c, node);
        break;
    case OP_BATCH_NORM:
    case OP_BATCH_NORM_EVAL:
        compile_norm(c, node);
        break;
    case OP_BATCH_NORM_GRAD:
        compile_norm_grad(c, node);
        break;
    case OP_RELU:
        compile_relu(c, node);
        break;
    case OP_ADD:
        compile_add(c, node);
        break;
    case OP_RELU_GRAD:
        compile_relu_grad(c, node);
        break;
    case OP_BATCH_NORM_SCALE:
        compile_norm_scale(c, node);
        break;
    case OP_GLOBAL_AVG_POOL:
    case OP_GLOBAL_AVG_POOL_GRAD:
        compile_pool(c, node);
        break;
    case OP_BIAS:
        compile_bias(c, node);
        break;
    case OP_SUM_CHANNELS:
        compile_sum_channels(c, node);
        break;
    case OP_MAX_POOL:
    case OP_MAX_POOL_GRAD:
        compile_max_pool(c, node);
        break;
    case OP_DROPOUT:
        compile_dropout(c, node);
        break;
    case OP_LINEAR:
    case OP_LINEAR_GRAD_X:
    case OP_LINEAR_GRAD_W:
        compile_linear(c, node);
        break;
    case OP_SUM_ROWS:
        compile_rows(c, node, cpu_run_sum_rows);
        break;
    case OP_CROSS_ENTROPY:
        compile_rows(c, node, cpu_run_cross_entropy);
        break;
    case OP_CROSS_ENTROPY_GRAD:
        compile_rows(c, node, cpu_run_cross_entropy_grad);
        break;
    case OP_CROSS_ENTROPY_CURVE:
        compile_rows(c, node, cpu_run_cross_entropy_curve);
        break;
    case OP_CORRECT:
        compile_rows(c, node, cpu_run_correct);
        break;
    default:
        if (compile_tokens(c, node) || compile_tangent(c, node))
            break;
        c->code = err_set(c->err, ERR_UNSUPPORTED, "the CPU backend has no operation %s",
                          op_name(node->op));
    }
}

/* Sources need no command. A batch norm's statistics are never left to others. */
static void compile_nodes(struct compiler *c)
{
    for (c->node = 0; c->node < c->graph->n_nodes && !c->code; c->node++) {
        const struct node *node = &c->graph->nodes[c->node];
        bool norm = compile_is_norm(node) || node->op == OP_BATCH_NORM_SCALE;

        if (node->n_inputs > 0 && !c->early[c->node] && (norm || !c->absorbed[c->node]))
            compile_node(c, node);
    }
    c->node = c->graph->n_nodes - 1;
}

/* Copies a value to parameter i's part of what the pass gives, unless it lies there by itself: it
 * is a source, or two parameters', or tangents read it. */
static void copy_to(struct compiler *c, int value, enum place place, int i)
{
    int from = value < 0 ? -1 : compile_read(c, value, FORM_DENSE), to;

    if (value < 0 || c->code ||
        (c->program->slots[from].place == place && c->program->slots[from].index == i))
        return;
    to = compile_scratch(c, c->program->slots[from].bytes);
    if (c->code)
        return;
    c->program->slots[to].place = place;
    c->program->slots[to].index = i;
    compile_emit(c, &(struct command){.run = cpu_run_copy,
                                      .what = "copy",
                                      .n_in = 1,
                                      .in = {from},
                                      .n_out = 1,
                                      .out = {to},
                                      .in_place = -1,
                                      .columns = c->program->slots[from].bytes / sizeof(float)});
}

static void copy_gradients(struct compiler *c)
{
    for (int i = 0; i < c->graph->n_params && !c->code; i++) {
        copy_to(c, c->graph->params[i].gradient, PLACE_GRADIENT, i);
        copy_to(c, c->graph->params[i].product, PLACE_PRODUCT, i);
    }
}

static void read_results(struct compiler *c)
{
    const struct graph *g = c->graph;
    struct program *p = c->program;

    for (int i = 0; i < g->n_outputs; i++)
        p->outputs[i] = compile_read(c, g->outputs[i], FORM_DENSE);
    for (int i = 0; i < g->n_moments; i++) {
        const struct graph_moments *m = &g->moments[i];
        const struct layout_tensor *mean = &p->states->tensor[m->running_mean];
        int bias;

        compile_norm_source(c, compile_maker(c, m->mean)->input[0], &bias);
        p->moments[i] = (struct moments){.mean = compile_read(c, m->mean, FORM_DENSE),
                                         .var = compile_read(c, m->var, FORM_DENSE),
                                         .bias = bias < 0 ? -1 : compile_read(c, bias, FORM_DENSE),
                                         .running_mean = mean->offset,
                                         .running_var = p->states->tensor[m->running_var].offset,
                                         .channels = mean->size,
                                         .unbiased = (double)m->count / (double)(m->count - 1)};
    }
}

static int open_tables(struct compiler *c)
{
    const struct graph *g = c->graph;
    struct program *p = c->program;
    size_t values = (size_t)g->n_values + 1;

    c->use = calloc(values, sizeof *c->use);
    c->gradient_of = malloc(values * sizeof *c->gradient_of);
    c->product_of = malloc(values * sizeof *c->product_of);
    c->varies = calloc(values, sizeof *c->varies);
    c->absorbed = calloc((size_t)g->n_nodes + 1, sizeof *c->absorbed);
    c->early = calloc((size_t)g->n_nodes + 1, sizeof *c->early);
    c->sum_of = malloc(((size_t)g->n_nodes + 1) * sizeof *c->sum_of);
    c->onto = malloc(((size_t)g->n_nodes + 1) * sizeof *c->onto);
    c->sweep = calloc((size_t)g->n_nodes + 1, sizeof *c->sweep);
    p->moments = calloc((size_t)g->n_moments + 1, sizeof *p->moments);
    p->outputs = calloc((size_t)g->n_outputs + 1, sizeof *p->outputs);
    if (!c->use || !c->gradient_of || !c->product_of || !c->varies || !c->absorbed || !c->early ||
        !c->sum_of || !c->onto || !c->sweep || !p->moments || !p->outputs)
        return err_no_memory(c->err);
    for (int i = 0; i < g->n_nodes; i++)
        c->sum_of[i] = c->onto[i] = -1;
    for (int i = 0; i < g->n_values; i++)
        c->gradient_of[i] = c->product_of[i] = -1;
    for (int i = g->n_params - 1; i >= 0; i--) {
        if (g->params[i].gradient >= 0)
            c->gradient_of[g->params[i].gradient] = i;
        if (g->params[i].product >= 0)
            c->product_of[g->params[i].product] = i;
    }
    return 0;
}

/* A gradient that a tangent reads has to outlive its pass: it is copied to where the pass wants
 * it. */
static void copy_what_tangents_read(struct compiler *c)
{
    const struct graph *g = c->graph;

    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *node = &g->nodes[i];

        for (int k = 0; k < node->n_inputs; k++)
            if (c->varies[node->output[0]] && !c->varies[node->input[k]])
                c->gradient_of[node->input[k]] = -1;
    }
}

int cpu_compile(struct program *program, struct err *err)
{
    struct compiler c = {.program = program, .graph = program->graph, .err = err};

    c.code = open_tables(&c);
    if (!c.code) {
        graph_directed(c.graph, c.varies);
        copy_what_tangents_read(&c);
        compile_fusions(&c);
        compile_nodes(&c);
        copy_gradients(&c);
        read_results(&c);
    }
    free(c.use);
    free(c.gradient_of);
    free(c.product_of);
    free(c.varies);
    free(c.absorbed);
    free(c.early);
    free(c.sum_of);
    free(c.onto);
    free(c.sweep);
    return c.code;
}
