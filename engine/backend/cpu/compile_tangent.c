/* Normalisations in given statistics on their way back, and tangents (fusion_tangent.c says what is
 * done together). */
#include "backend/cpu/compile.h"

static const struct node *node_at(const struct compiler *c, int number)
{
    return &c->graph->nodes[number];
}

static int read_dense(struct compiler *c, int value)
{
    return value < 0 ? -1 : compile_read(c, value, FORM_DENSE);
}

static int read_blocked(struct compiler *c, int value)
{
    return value < 0 ? -1 : compile_read(c, value, FORM_BLOCKED);
}

static struct command begin(const struct compiler *c, const struct node *node, command_run *run,
                            int image)
{
    return (struct command){.run = run,
                            .what = op_name(node->op),
                            .in_place = -1,
                            .eps = node->attr.eps,
                            .shape = compile_activation(c, image),
                            .channels = (size_t)c->graph->values[image].shape.dim[1]};
}

static size_t coefficient_bytes(const struct compiler *c, const struct activation *shape)
{
    return shape->blocks * COEFS * c->program->cpu->kernels->lanes * sizeof(float);
}

static size_t partial_bytes(const struct compiler *c, const struct activation *shape, size_t sums)
{
    return tile_count(shape) * shape->blocks * sums * c->program->cpu->kernels->lanes *
           sizeof(float);
}

/* What a normalisation's coefficients are made of: values, or -1. */
struct scales {
    int mean, bias, gamma, other, var;
};

static void emit_scales(struct compiler *c, const struct node *node, int image,
                        const struct scales *from, int slot)
{
    struct command command = begin(c, node, cpu_run_norm_scales, image);
    int values[] = {from->mean, from->bias, from->gamma, from->other, from->var};

    for (int i = 0; i < 5; i++)
        command.in[command.n_in++] = read_dense(c, values[i]);
    command.out[command.n_out++] = slot;
    compile_emit(c, &command);
}

void compile_norm_scale(struct compiler *c, const struct node *node)
{
    struct scales from = {-1, -1, node->input[1], -1, node->input[2]};
    int y = node->output[0];

    emit_scales(c, node, node->input[0], &from, compile_write(c, y, FORM_COEF));
    if (!compile_is_absorbed(c, y))
        compile_norm_apply(c, y, y, -1, false);
}

/* What a ReLU's derivative looks at to know where the ReLU let through. */
struct masking {
    enum norm_mask mask;
    int by, coef; /* slots; coef of MASK_X only */
};

/* From y = relu(norm(x)) itself, or from x where `x` (a slot) is read anyway. */
static struct masking mask_by(struct compiler *c, int y, const int *x, int n)
{
    const struct node *relu = compile_maker(c, y);
    int from = relu->op == OP_RELU ? relu->input[0] : -1, bias, source;

    if (from >= 0 && compile_is_norm(compile_maker(c, from)) && compile_is_absorbed(c, from)) {
        source = compile_norm_source(c, compile_maker(c, from)->input[0], &bias);
        source = compile_find(c, source, FORM_BLOCKED);
        for (int i = 0; i < n; i++)
            if (source >= 0 && x[i] == source)
                return (struct masking){MASK_X, source, compile_read(c, from, FORM_COEF)};
    }
    return (struct masking){MASK_Y, read_blocked(c, y), -1};
}

static void read_term(struct compiler *c, int value, int *x, int *coef)
{
    const struct node *maker = compile_maker(c, value);
    int bias;

    *coef = -1;
    if (compile_is_pending_norm(c, value)) {
        *coef = compile_read(c, value, FORM_COEF);
        value = compile_norm_source(c, maker->input[0], &bias);
    }
    *x = read_blocked(c, value);
}

static void emit_sum(struct compiler *c, struct command *command, const int *x, const int *coef,
                     int y)
{
    command->run = cpu_run_affine_sum;
    for (int i = 0; i < command->terms; i++) {
        command->in[command->n_in++] = x[i];
        command->in[command->n_in++] = coef[i];
    }
    command->out[command->n_out++] = compile_write(c, y, FORM_BLOCKED);
    command->in_place = 0;
    compile_emit(c, command);
}

void compile_affine_sum(struct compiler *c, int y, int value, int mask_of)
{
    struct command command = {.what = mask_of < 0 ? "sum" : "sum+relu_grad",
                              .shape = compile_activation(c, y),
                              .n_in = 2};
    int term[AFFINE_TERMS], x[AFFINE_TERMS], coef[AFFINE_TERMS];
    struct masking masking = {MASK_NONE, -1, -1};

    command.terms = compile_terms(c, value, term);
    for (int i = 0; i < command.terms; i++)
        read_term(c, term[i], &x[i], &coef[i]);
    if (mask_of >= 0)
        masking = mask_by(c, mask_of, x, command.terms);
    command.mask = masking.mask;
    command.in[0] = masking.by;
    command.in[1] = masking.coef;
    emit_sum(c, &command, x, coef, y);
}

/* The derivative that comes into a sweep. */
struct incoming {
    int n, term[AFFINE_TERMS]; /* values */
    int mask_of;               /* value of the ReLU, or -1 */
    bool store;                /* somebody else reads the masked sum */
};

static struct incoming incoming_of(struct compiler *c, const struct node *node,
                                   const struct sweep *s)
{
    struct incoming in = {.n = 1, .term = {node->input[0]}, .mask_of = -1};
    const struct node *relu = compile_maker(c, node->input[0]);
    int own = s->scale < 0 ? 1 : 2, value = relu->input[0];
    bool pending = false;

    if (relu->op != OP_RELU_GRAD || !compile_is_absorbed(c, node->input[0]) ||
        c->use[node->input[0]].first != c->node)
        return in;
    in.mask_of = relu->input[1];
    in.store = c->use[node->input[0]].count > own;
    in.term[0] = value;
    if (compile_maker(c, value)->op == OP_ADD && compile_is_absorbed(c, value))
        in.n = compile_terms(c, value, in.term);
    for (int i = 0; i < in.n; i++)
        pending = pending || compile_is_pending_norm(c, in.term[i]);
    if (pending) {
        compile_affine_sum(c, value, value, -1);
        in.n = 1;
        in.term[0] = value;
    }
    return in;
}

/* Input `i` of node `number`, or -1. */
static int input_of(const struct compiler *c, int number, int i)
{
    return number < 0 ? -1 : node_at(c, number)->input[i];
}

static int sweep_result(const struct compiler *c, const struct sweep *s)
{
    int last = s->plus >= 0 ? s->plus : s->sum >= 0 ? s->sum : s->scale;

    return last < 0 ? -1 : node_at(c, last)->output[0];
}

/* What the add `plus` adds to dx. */
static int plus_of(const struct compiler *c, const struct sweep *s)
{
    const struct node *add = s->plus < 0 ? NULL : node_at(c, s->plus);
    int last = s->sum >= 0 ? s->sum : s->scale;

    return add ? add->input[add->input[0] == node_at(c, last)->output[0] ? 1 : 0] : -1;
}

static void write_sweep(struct compiler *c, const struct node *node, const struct sweep *s,
                        bool store, struct command *command)
{
    int dgamma = s->total < 0 ? node->output[0] : node_at(c, s->total)->output[0];
    int dx = sweep_result(c, s);

    command->out[0] = compile_write(c, dgamma, FORM_DENSE);
    command->out[1] = compile_write(c, node->output[1], FORM_DENSE);
    command->out[2] = dx < 0 ? -1 : compile_write(c, dx, FORM_BLOCKED);
    command->out[3] = store ? compile_write(c, node->input[0], FORM_BLOCKED) : -1;
    command->out[4] = compile_scratch(c, partial_bytes(c, &command->shape, 2));
    command->n_out = 5;
    command->in_place = dx < 0 ? -1 : 2;
}

static void compile_sweep(struct compiler *c, const struct node *node)
{
    const struct sweep *s = &c->sweep[c->node];
    struct incoming from = incoming_of(c, node, s);
    int bias, source = compile_norm_source(c, node->input[1], &bias);
    int other = s->other >= 0 ? s->other : s->dot;
    struct command command = begin(c, node, cpu_run_norm_eval_grad, source);
    struct scales scales = {node->input[2], bias, input_of(c, s->scale, 1),
                            input_of(c, s->other, 1), node->input[3]};
    struct masking masking = {MASK_NONE, -1, -1};
    int x = read_blocked(c, source);
    int coef = compile_scratch(c, coefficient_bytes(c, &command.shape));

    emit_scales(c, node, source, &scales, coef);
    if (from.mask_of >= 0)
        masking = mask_by(c, from.mask_of, &x, 1);
    command.mask = masking.mask;
    command.terms = from.n;
    command.in[0] = x;
    command.in[1] = coef;
    command.in[2] = masking.by;
    command.in[3] = masking.coef;
    command.in[4] = read_blocked(c, input_of(c, other, 0));
    command.in[5] = read_blocked(c, input_of(c, s->dot, 1));
    command.in[6] = read_blocked(c, plus_of(c, s));
    command.in[7] = read_dense(c, node->input[3]);
    for (int i = 0; i < from.n; i++)
        command.in[8 + i] = read_blocked(c, from.term[i]);
    command.n_in = 8 + from.n;
    write_sweep(c, node, s, from.store, &command);
    compile_emit(c, &command);
}

static void compile_norm_dot(struct compiler *c, const struct node *node)
{
    struct command command = begin(c, node, cpu_run_norm_eval_grad, node->input[1]);
    struct scales scales = {-1, -1, -1, -1, node->input[2]};
    int coef = compile_scratch(c, coefficient_bytes(c, &command.shape));

    emit_scales(c, node, node->input[1], &scales, coef);
    command.terms = 1;
    for (int i = 0; i < 8; i++)
        command.in[i] = -1;
    command.in[0] = read_blocked(c, node->input[1]);
    command.in[1] = coef;
    command.in[7] = read_dense(c, node->input[2]);
    command.in[8] = read_blocked(c, node->input[0]);
    command.n_in = 9;
    command.out[0] = compile_write(c, node->output[0], FORM_DENSE);
    command.out[1] = command.out[2] = command.out[3] = -1;
    command.out[4] = compile_scratch(c, partial_bytes(c, &command.shape, 2));
    command.n_out = 5;
    compile_emit(c, &command);
}

/* The values that a batch norm's tangent, or its derivative's, is made of; -1: none. */
struct moving {
    int x, rx, dy, rdy, gamma, rgamma, rbeta, mean, var;
};

static struct moving moving_of(const struct node *node)
{
    const int *in = node->input;

    if (node->op == OP_BATCH_NORM_TANGENT)
        return (struct moving){in[0], in[1], -1, -1, in[2], in[3], in[4], in[5], in[6]};
    return (struct moving){in[2], in[3], in[0], in[1], in[4], in[5], -1, in[6], in[7]};
}

static void compile_norm_tangent(struct compiler *c, const struct node *node)
{
    struct moving m = moving_of(node);
    struct command command = begin(c, node, cpu_run_norm_tangent, m.x);
    struct command sum = begin(c, node, cpu_run_affine_sum, m.x);
    struct scales scales = {m.mean, -1, -1, -1, m.var};
    int scale = compile_scratch(c, coefficient_bytes(c, &command.shape));
    int image[] = {m.x, m.rx, m.dy, m.rdy}, small[] = {m.gamma, m.rgamma, m.rbeta, m.mean, m.var};
    int x[AFFINE_TERMS];

    emit_scales(c, node, m.x, &scales, scale);
    for (int i = 0; i < 4; i++)
        command.in[command.n_in++] = read_blocked(c, image[i]);
    command.in[command.n_in++] = scale;
    for (int i = 0; i < 5; i++)
        command.in[command.n_in++] = read_dense(c, small[i]);
    sum.terms = m.dy < 0 ? 2 : 4;
    for (int i = 0; i < AFFINE_TERMS; i++)
        command.out[command.n_out++] =
            i < sum.terms ? compile_scratch(c, coefficient_bytes(c, &command.shape)) : -1;
    for (int i = 1; i < 3; i++)
        command.out[command.n_out++] =
            m.dy < 0 ? -1 : compile_write(c, node->output[i], FORM_DENSE);
    command.out[command.n_out++] =
        compile_scratch(c, partial_bytes(c, &command.shape, NORM_TANGENT_SUMS));
    compile_emit(c, &command);
    x[0] = command.in[1];
    x[1] = command.in[0];
    x[2] = command.in[2];
    x[3] = command.in[3];
    sum.n_in = 2;
    sum.in[0] = sum.in[1] = -1;
    emit_sum(c, &sum, x, command.out, node->output[0]);
}

static void compile_max_pool_tangent(struct compiler *c, const struct node *node)
{
    struct command command = begin(c, node, cpu_run_max_pool_tangent, node->input[1]);

    command.max_pool = compile_windows(c, node);
    for (int i = 0; i < 2; i++)
        command.in[command.n_in++] = read_blocked(c, node->input[i]);
    command.out[command.n_out++] = compile_write(c, node->output[0], FORM_BLOCKED);
    compile_emit(c, &command);
}

/* Of rows, all operands row-major. */
static void compile_rows_tangent(struct compiler *c, const struct node *node, command_run *run)
{
    bool back = node->op == OP_LAYER_NORM_GRAD_TANGENT;
    const struct shape *x = &c->graph->values[node->input[0]].shape;
    struct command command = {
        .run = run, .what = op_name(node->op), .in_place = -1, .eps = node->attr.eps};

    command.columns = (size_t)x->dim[x->rank - 1];
    command.rows = (size_t)shape_elements(x) / command.columns;
    for (int i = 0; i < node->n_inputs; i++)
        command.in[command.n_in++] = compile_read(c, node->input[i], FORM_DENSE);
    for (int i = 0; i < node->n_outputs; i++)
        command.out[command.n_out++] = compile_write(c, node->output[i], FORM_DENSE);
    if (back) {
        size_t chunks = (command.rows + LAYER_NORM_ROWS - 1) / LAYER_NORM_ROWS;

        command.out[command.n_out++] =
            compile_scratch(c, chunks * 2 * command.columns * sizeof(float));
    }
    compile_emit(c, &command);
}

bool compile_tangent(struct compiler *c, const struct node *node)
{
    switch (node->op) {
    case OP_BATCH_NORM_EVAL_GRAD:
        compile_sweep(c, node);
        return true;
    case OP_BATCH_NORM_DOT:
        compile_norm_dot(c, node);
        return true;
    case OP_BATCH_NORM_TANGENT:
    case OP_BATCH_NORM_GRAD_TANGENT:
        compile_norm_tangent(c, node);
        return true;
    case OP_MAX_POOL_TANGENT:
        compile_max_pool_tangent(c, node);
        return true;
    case OP_LAYER_NORM_TANGENT:
        compile_rows_tangent(c, node, cpu_run_layer_norm_tangent);
        return true;
    case OP_LAYER_NORM_GRAD_TANGENT:
        compile_rows_tangent(c, node, cpu_run_layer_norm_grad_tangent);
        return true;
    case OP_GELU_CURVE:
        compile_rows_tangent(c, node, cpu_run_gelu_curve);
        return true;
    case OP_SOFTMAX_CURVE:
        compile_rows_tangent(c, node, cpu_run_softmax_curve);
        return true;
    default:
        return false;
    }
}
