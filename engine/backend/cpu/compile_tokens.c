/* What transformers are made of. All of it works on row-major arrays.
 *
 * Attention's heads are not taken apart or put together where products of matrices read or write
 * them: those find their matrices in [N,T,P·H·D] as it lies. */
#include "backend/cpu/compile.h"

static const struct shape *shape_of_value(const struct compiler *c, int value)
{
    return &c->graph->values[value].shape;
}

static struct command begin(const struct node *node, command_run *run)
{
    return (struct command){.run = run, .what = op_name(node->op), .in_place = -1};
}

static void read(struct compiler *c, struct command *command, int value)
{
    command->in[command->n_in++] = compile_read(c, value, FORM_DENSE);
}

static void write(struct compiler *c, struct command *command, int value)
{
    command->out[command->n_out++] = compile_write(c, value, FORM_DENSE);
}

/* Reads all inputs and writes all results. */
static void finish(struct compiler *c, const struct node *node, struct command command)
{
    for (int i = 0; i < node->n_inputs; i++)
        read(c, &command, node->input[i]);
    for (int i = 0; i < node->n_outputs; i++)
        write(c, &command, node->output[i]);
    compile_emit(c, &command);
}

static void compile_patches(struct compiler *c, const struct node *node)
{
    bool back = node->op == OP_PATCHES_GRAD;
    const struct shape *x = shape_of_value(c, back ? node->output[0] : node->input[0]);
    struct command command = begin(node, cpu_run_patches);

    command.patches = (struct patches){.channels = (size_t)x->dim[1],
                                       .height = (size_t)x->dim[2],
                                       .width = (size_t)x->dim[3],
                                       .size = (size_t)node->attr.k,
                                       .channels_last = node->attr.channels_last,
                                       .back = back};
    command.rows = (size_t)(x->dim[0] * x->dim[2] / node->attr.k);
    finish(c, node, command);
}

/* Tokens that are put before, left out, taken out, or put back. */
static void compile_place(struct compiler *c, const struct node *node)
{
    const struct shape *x = shape_of_value(c, node->input[0]);
    const struct shape *y = shape_of_value(c, node->output[0]);
    size_t samples = (size_t)x->dim[0], d = (size_t)x->dim[x->rank - 1];
    struct command command = begin(node, cpu_run_place);
    struct place_rows place = {.from_step = (size_t)shape_elements(x) / samples,
                               .to_step = (size_t)shape_elements(y) / samples};

    place.size = place.from_step < place.to_step ? place.from_step : place.to_step;
    if (node->op == OP_PREPEND)
        place.to_at = d;
    else if (node->op == OP_DROP_FIRST)
        place.from_at = d;
    else if (node->op == OP_TOKEN)
        place.from_at = (size_t)node->attr.index * d;
    else
        place.to_at = (size_t)node->attr.index * d;
    command.place = place;
    command.rows = samples;
    finish(c, node, command);
}

static void compile_add_each(struct compiler *c, const struct node *node)
{
    struct command command = begin(node, cpu_run_add_each);

    command.rows = (size_t)shape_of_value(c, node->input[0])->dim[0];
    command.columns = (size_t)shape_elements(shape_of_value(c, node->input[1]));
    command.in_place = 0;
    finish(c, node, command);
}

static void compile_sum_each(struct compiler *c, const struct node *node)
{
    struct command command = begin(node, cpu_run_sum_rows);

    command.rows = (size_t)shape_of_value(c, node->input[0])->dim[0];
    command.columns = (size_t)shape_elements(shape_of_value(c, node->output[0]));
    finish(c, node, command);
}

static void compile_layer_norm(struct compiler *c, const struct node *node)
{
    bool back = node->op == OP_LAYER_NORM_GRAD;
    const struct shape *x = shape_of_value(c, node->input[back ? 1 : 0]);
    struct command command = begin(node, back ? cpu_run_layer_norm_grad : cpu_run_layer_norm);
    size_t columns = (size_t)x->dim[x->rank - 1], rows = (size_t)shape_elements(x) / columns;

    command.columns = columns;
    command.rows = rows;
    command.eps = node->attr.eps;
    for (int i = 0; i < node->n_inputs; i++)
        read(c, &command, node->input[i]);
    for (int i = 0; i < node->n_outputs; i++)
        write(c, &command, node->output[i]);
    if (back) {
        size_t chunks = (rows + LAYER_NORM_ROWS - 1) / LAYER_NORM_ROWS;

        command.out[command.n_out++] = compile_scratch(c, chunks * 2 * columns * sizeof(float));
    }
    compile_emit(c, &command);
}

static void compile_on_rows(struct compiler *c, const struct node *node, command_run *run)
{
    const struct shape *x = shape_of_value(c, node->input[0]);
    struct command command = begin(node, run);

    command.columns = (size_t)x->dim[x->rank - 1];
    command.rows = (size_t)shape_elements(x) / command.columns;
    command.in_place = 0;
    finish(c, node, command);
}

static void compile_heads(struct compiler *c, const struct node *node)
{
    bool merge = node->op == OP_MERGE_HEADS;
    const struct shape *part = shape_of_value(c, merge ? node->input[0] : node->output[0]);
    struct command command = begin(node, merge ? cpu_run_merge_heads : cpu_run_split_heads);

    command.heads = (struct heads){.tokens = (size_t)part->dim[2],
                                   .parts = (size_t)(merge ? node->n_inputs : node->n_outputs),
                                   .heads = (size_t)part->dim[1],
                                   .size = (size_t)part->dim[3],
                                   .merge = merge};
    command.rows = (size_t)(part->dim[0] * part->dim[2]);
    finish(c, node, command);
}

/* Where the matrices of a value lie that is stored as it is. */
static struct matrix_place whole(const struct shape *shape)
{
    size_t columns = (size_t)shape->dim[shape->rank - 1];
    size_t size = columns * (size_t)shape->dim[shape->rank - 2];
    size_t inner = shape->rank > 2 ? (size_t)shape->dim[shape->rank - 3] : 1;

    return (struct matrix_place){.outer_step = inner * size, .inner_step = size, .row = columns};
}

/* Where the heads [N,H,T,D] of part `part` lie in [N,T,parts·H·D]. */
static struct matrix_place within(const struct shape *heads, int parts, int part)
{
    size_t size = (size_t)heads->dim[3], all = (size_t)heads->dim[1] * size;
    size_t row = (size_t)parts * all;

    return (struct matrix_place){.at = (size_t)part * all,
                                 .outer_step = (size_t)heads->dim[2] * row,
                                 .inner_step = size,
                                 .row = row};
}

static struct matrix_place read_matrices(struct compiler *c, struct command *command, int value)
{
    const struct node *maker = compile_maker(c, value);

    if (maker->op != OP_SPLIT_HEADS || !compile_is_absorbed(c, value)) {
        read(c, command, value);
        return whole(shape_of_value(c, value));
    }
    read(c, command, maker->input[0]);
    return within(shape_of_value(c, value), maker->n_outputs, c->graph->values[value].slot);
}

static int part_of(const struct node *merge, int value)
{
    int part = 0;

    while (merge->input[part] != value)
        part++;
    return part;
}

/* A sum of two products that is made where the first one lies, or the value itself. */
static int sum_of(const struct compiler *c, int value)
{
    const struct node *add = compile_only_reader(c, value);

    return add && add->op == OP_ADD && c->early[c->use[value].first] ? add->output[0] : value;
}

static struct matrix_place write_matrices(struct compiler *c, struct command *command, int value)
{
    int sum = sum_of(c, value), reader = c->use[sum].first, slot;
    const struct node *merge = reader < 0 ? NULL : &c->graph->nodes[reader];

    if (!merge || merge->op != OP_MERGE_HEADS || !c->absorbed[reader]) {
        compile_result(c, command, value, FORM_DENSE);
        return whole(shape_of_value(c, value));
    }
    slot = compile_find(c, merge->output[0], FORM_DENSE);
    if (slot < 0)
        write(c, command, merge->output[0]);
    else
        command->out[command->n_out++] = slot;
    command->onto = c->onto[c->node] >= 0;
    if (command->onto)
        command->in[command->n_in++] = slot;
    return within(shape_of_value(c, sum), merge->n_inputs, part_of(merge, sum));
}

static void compile_matmul(struct compiler *c, const struct node *node)
{
    const struct shape *a = shape_of_value(c, node->input[0]);
    const struct shape *y = shape_of_value(c, node->output[0]);
    size_t count = (size_t)(shape_elements(y) / (y->dim[y->rank - 1] * y->dim[y->rank - 2]));
    struct command command = begin(node, cpu_run_matmul);
    struct matrices *m = &command.matrices;

    *m = (struct matrices){.inner = y->rank > 2 ? (size_t)y->dim[y->rank - 3] : 1,
                           .rows = (size_t)y->dim[y->rank - 2],
                           .columns = (size_t)y->dim[y->rank - 1],
                           .depth = (size_t)a->dim[a->rank - (node->attr.transpose_a ? 2 : 1)],
                           .a_turned = node->attr.transpose_a,
                           .b_turned = node->attr.transpose_b,
                           .scale = (float)node->attr.scale};
    m->outer = count / m->inner;
    m->a = read_matrices(c, &command, node->input[0]);
    m->b = read_matrices(c, &command, node->input[1]);
    m->result = write_matrices(c, &command, node->output[0]);
    compile_emit(c, &command);
}

/* Whether only products of matrices read the parts, which then find them where they are. */
static bool split_absorbed(const struct compiler *c, const struct node *node)
{
    int readers = 0, uses = 0;

    for (int i = 0; i < c->graph->n_nodes; i++)
        for (int k = 0; k < c->graph->nodes[i].n_inputs; k++)
            for (int part = 0; part < node->n_outputs; part++)
                readers += c->graph->nodes[i].op == OP_MATMUL &&
                           c->graph->nodes[i].input[k] == node->output[part];
    for (int part = 0; part < node->n_outputs; part++)
        uses += c->use[node->output[part]].count;
    return readers == uses;
}

/* Whether a product of matrices makes the value, or two that are summed where they lie. */
static bool is_product(const struct compiler *c, int value)
{
    const struct node *maker = compile_maker(c, value);
    bool summed = maker->op == OP_ADD && c->early[c->graph->values[value].node];

    return (summed ? compile_maker(c, maker->input[0]) : maker)->op == OP_MATMUL;
}

/* Whether products of matrices make all parts, for this node alone. */
static bool merge_absorbed(const struct compiler *c, const struct node *node)
{
    for (int i = 0; i < node->n_inputs; i++)
        if (c->use[node->input[i]].count != 1 || !is_product(c, node->input[i]))
            return false;
    return true;
}

bool compile_heads_absorbed(const struct compiler *c, const struct node *node)
{
    return node->op == OP_SPLIT_HEADS ? split_absorbed(c, node) : merge_absorbed(c, node);
}

bool compile_tokens(struct compiler *c, const struct node *node)
{
    switch (node->op) {
    case OP_PATCHES:
    case OP_PATCHES_GRAD:
        compile_patches(c, node);
        return true;
    case OP_PREPEND:
    case OP_DROP_FIRST:
    case OP_TOKEN:
    case OP_TOKEN_GRAD:
        compile_place(c, node);
        return true;
    case OP_ADD_EACH:
        compile_add_each(c, node);
        return true;
    case OP_SUM_EACH:
        compile_sum_each(c, node);
        return true;
    case OP_LAYER_NORM:
    case OP_LAYER_NORM_GRAD:
        compile_layer_norm(c, node);
        return true;
    case OP_GELU:
        compile_on_rows(c, node, cpu_run_gelu);
        return true;
    case OP_GELU_GRAD:
        compile_on_rows(c, node, cpu_run_gelu_grad);
        return true;
    case OP_SOFTMAX:
        compile_on_rows(c, node, cpu_run_softmax);
        return true;
    case OP_SOFTMAX_GRAD:
        compile_on_rows(c, node, cpu_run_softmax_grad);
        return true;
    case OP_SPLIT_HEADS:
    case OP_MERGE_HEADS:
        compile_heads(c, node);
        return true;
    case OP_MATMUL:
        compile_matmul(c, node);
        return true;
    default:
        return false;
    }
}
