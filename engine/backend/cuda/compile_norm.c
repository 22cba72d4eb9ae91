/* Batch norm: statistics, then the normalisation together with what follows it.
 *
 * At the end of a residual block the ReLU's signs are kept as bits for the derivative, whose two
 * sweeps read them instead of its result: in bfloat16 2·2 bytes an element less, and 3/8 more for
 * the bits. With dy and x twice, dx and dz those sweeps move 12.25 bytes an element instead of 16,
 * the whole end of a block 18.4 instead of 22. Without something added in between, the signs come
 * from x, which is read anyway, and bits would only cost. */
#include "backend/cuda/compile.h"

static int moments_of(const struct compiler *c, const struct node *node)
{
    for (int i = 0; i < c->graph->n_moments; i++)
        if (c->graph->moments[i].mean == node->output[1])
            return i;
    return -1;
}

static void emit_statistics(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_statistics);
    struct batch_norm_statistics *s = &command.u.statistics;

    command.what = "batch_norm_statistics";
    command.n_in = 1;
    command.n_out = 2;
    command.in[0] = gpu_image(c, node->input[0]);
    for (int i = 0; i < 2; i++)
        command.out[i] = gpu_write(c, node->output[1 + i], ORDER_DENSE, ELEMENT_F32);
    command.moments = moments_of(c, node);
    s->type = c->program->type;
    s->rows = gpu_pixels(c, node->input[0]);
    s->c = gpu_channels(c, node->input[0]);
    command.workspace_bytes = batch_norm_workspace(s->rows, s->c) * sizeof(float);
    gpu_emit(c, &command);
}

/* Appends x, mean, var, gamma, beta of a norm to the operands. */
static void add_operands(struct compiler *c, struct command *command, const struct node *norm,
                         struct normalised *to)
{
    bool evaluation = norm->op == OP_BATCH_NORM_EVAL;

    command->in[command->n_in++] = gpu_image(c, norm->input[0]);
    command->in[command->n_in++] = gpu_floats(c, evaluation ? norm->input[3] : norm->output[1]);
    command->in[command->n_in++] = gpu_floats(c, evaluation ? norm->input[4] : norm->output[2]);
    command->in[command->n_in++] = gpu_floats(c, norm->input[1]);
    command->in[command->n_in++] = gpu_floats(c, norm->input[2]);
    to->eps = (float)norm->attr.eps;
}

/* Operands: those of the first norm, then those of the second or the residual. */
static void emit_apply(struct compiler *c, int y, const struct node *norm, int other, bool relu)
{
    struct command command = gpu_command(norm, cuda_run_apply);
    struct batch_norm_apply *apply = &command.u.apply;

    command.what = "batch_norm_apply";
    add_operands(c, &command, norm, &apply->first);
    if (other >= 0 && gpu_is_pending_norm(c, other))
        add_operands(c, &command, gpu_maker(c, other), &apply->second);
    else if (other >= 0)
        command.in[command.n_in++] = gpu_image(c, other);
    apply->type = c->program->type;
    apply->rows = gpu_pixels(c, y);
    apply->c = gpu_channels(c, y);
    apply->relu = relu;
    command.n_out = 2;
    command.out[0] = gpu_new_image(c, y);
    command.out[1] = relu && gpu_wants_mask(c, y)
                         ? gpu_bytes(c, (size_t)(apply->rows * apply->c) / CHANNEL_BLOCK)
                         : -1;
    command.in_place = 0;
    command.in_place_of = command.n_in;
    gpu_emit(c, &command);
}

int gpu_kept_mask(const struct compiler *c, int y)
{
    const struct program *p = c->program;

    for (int i = 0; i < p->n_commands; i++) {
        const struct command *at = &p->commands[i];

        if (at->run == cuda_run_apply && p->slots[at->out[0]].value == y)
            return at->n_out > 1 ? at->out[1] : -1;
    }
    return -1;
}

void gpu_apply(struct compiler *c, int y, int norm, int other, bool relu)
{
    emit_apply(c, y, gpu_maker(c, norm), other, relu);
}

void gpu_norm(struct compiler *c, const struct node *node)
{
    if (node->op == OP_BATCH_NORM)
        emit_statistics(c, node);
    if (!gpu_is_absorbed(c, node->output[0]))
        emit_apply(c, node->output[0], node, -1, false);
}

/* The ReLU's derivative before it, if that is left to it; else NULL. */
static const struct node *relu_grad_of(const struct compiler *c, const struct node *node)
{
    const struct node *maker = gpu_maker(c, node->input[0]);

    return maker->op == OP_RELU_GRAD && gpu_is_absorbed(c, node->input[0]) &&
                   gpu_find(c, node->input[0], ORDER_IMAGE, c->program->type) < 0
               ? maker
               : NULL;
}

/* Operands: dy, x, mean, var, gamma, and beta, the ReLU's signs or its result. */
void gpu_norm_grad(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_norm_grad);
    struct batch_norm_grad *grad = &command.u.norm_grad;
    const struct node *relu = relu_grad_of(c, node);
    const struct node *norm = relu ? gpu_norm_before(c, node, relu) : NULL;
    int mask = relu && !norm ? gpu_kept_mask(c, relu->input[1]) : -1;
    bool others = relu && c->use[node->input[0]].count > 1;

    command.in[command.n_in++] = gpu_image(c, relu ? relu->input[0] : node->input[0]);
    command.in[command.n_in++] = gpu_image(c, node->input[1]);
    command.in[command.n_in++] = gpu_floats(c, node->input[3]);
    command.in[command.n_in++] = gpu_floats(c, node->input[4]);
    command.in[command.n_in++] = gpu_floats(c, node->input[2]);
    if (norm)
        command.in[command.n_in++] = gpu_floats(c, norm->input[2]);
    else if (relu)
        command.in[command.n_in++] = mask >= 0 ? mask : gpu_image(c, relu->input[1]);
    grad->relu = norm ? RELU_AGAIN : mask >= 0 ? RELU_MASK : relu ? RELU_Y : RELU_NONE;
    grad->type = c->program->type;
    grad->rows = gpu_pixels(c, node->input[1]);
    grad->c = gpu_channels(c, node->input[1]);
    grad->eps = (float)node->attr.eps;
    command.n_out = 4;
    command.out[0] = gpu_new_image(c, node->output[0]);
    command.out[1] = gpu_write(c, node->output[1], ORDER_DENSE, ELEMENT_F32);
    command.out[2] = gpu_write(c, node->output[2], ORDER_DENSE, ELEMENT_F32);
    command.out[3] = others ? gpu_new_image(c, node->input[0]) : -1;
    command.in_place = others ? 3 : 0;
    command.in_place_of = 1;
    command.workspace_bytes = batch_norm_workspace(grad->rows, grad->c) * sizeof(float);
    gpu_emit(c, &command);
}
