/* Tangents, and batch norm in given statistics, whose derivatives they need. */
#include "backend/cuda/compile.h"

/* Operands as in a normalisation: x, mean, var, gamma, beta; here without mean and beta. */
static void scale(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_apply);
    struct batch_norm_apply *apply = &command.u.apply;

    command.n_in = 5;
    command.n_out = 1;
    command.in[0] = gpu_image(c, node->input[0]);
    command.in[1] = command.in[4] = -1;
    command.in[2] = gpu_floats(c, node->input[2]);
    command.in[3] = gpu_floats(c, node->input[1]);
    command.out[0] = gpu_new_image(c, node->output[0]);
    apply->type = c->program->type;
    apply->rows = gpu_pixels(c, node->input[0]);
    apply->c = gpu_channels(c, node->input[0]);
    apply->first.eps = (float)node->attr.eps;
    gpu_emit(c, &command);
}

/* Operands as in batch norm's derivative: dy, x, mean, var, gamma; here without gamma, and for the
 * product alone without mean. */
static void sums(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_norm_grad);
    struct batch_norm_grad *grad = &command.u.norm_grad;
    bool both = node->op == OP_BATCH_NORM_EVAL_GRAD;

    command.n_in = 5;
    command.n_out = 4;
    command.in[0] = gpu_image(c, node->input[0]);
    command.in[1] = gpu_image(c, node->input[1]);
    command.in[2] = both ? gpu_floats(c, node->input[2]) : -1;
    command.in[3] = gpu_floats(c, node->input[both ? 3 : 2]);
    command.in[4] = command.out[0] = command.out[3] = -1;
    command.out[1] = gpu_write(c, node->output[0], ORDER_DENSE, ELEMENT_F32);
    command.out[2] = both ? gpu_write(c, node->output[1], ORDER_DENSE, ELEMENT_F32) : -1;
    grad->relu = RELU_NONE;
    grad->type = c->program->type;
    grad->rows = gpu_pixels(c, node->input[1]);
    grad->c = gpu_channels(c, node->input[1]);
    grad->eps = (float)node->attr.eps;
    command.workspace_bytes = batch_norm_workspace(grad->rows, grad->c) * sizeof(float);
    gpu_emit(c, &command);
}

/* Which inputs of a normalisation's tangent, or of its derivative's, are what; -1: it has none. */
struct norm_inputs {
    int x, rx, dy, rdy, gamma, rgamma, rbeta, mean, var;
};

static const struct norm_inputs forward = {
    .x = 0, .rx = 1, .dy = -1, .rdy = -1, .gamma = 2, .rgamma = 3, .rbeta = 4, .mean = 5, .var = 6};
static const struct norm_inputs backward = {
    .x = 2, .rx = 3, .dy = 0, .rdy = 1, .gamma = 4, .rgamma = 5, .rbeta = -1, .mean = 6, .var = 7};

static int activation(struct compiler *c, const struct node *node, int input, bool image)
{
    if (input < 0)
        return -1;
    return image ? gpu_image(c, node->input[input]) : gpu_rows(c, node->input[input]);
}

static int vector(struct compiler *c, const struct node *node, int input)
{
    return input < 0 ? -1 : gpu_floats(c, node->input[input]);
}

/* The operands, in the order of struct norm_inputs, and the results: of images or of rows, with two
 * vectors beside if it is a derivative's tangent. */
static void norm_operands(struct compiler *c, const struct node *node, const struct norm_inputs *in,
                          bool image, struct command *command)
{
    bool gradient = in == &backward;

    command->n_in = 9;
    command->in[0] = activation(c, node, in->x, image);
    command->in[1] = activation(c, node, in->rx, image);
    command->in[2] = activation(c, node, in->dy, image);
    command->in[3] = activation(c, node, in->rdy, image);
    command->in[4] = vector(c, node, in->gamma);
    command->in[5] = vector(c, node, in->rgamma);
    command->in[6] = vector(c, node, in->rbeta);
    command->in[7] = vector(c, node, in->mean);
    command->in[8] = vector(c, node, in->var);
    command->n_out = 3;
    command->out[0] = image ? gpu_new_image(c, node->output[0])
                            : gpu_write(c, node->output[0], ORDER_DENSE, c->program->type);
    for (int i = 1; i < 3; i++)
        command->out[i] = gradient ? gpu_write(c, node->output[i], ORDER_DENSE, ELEMENT_F32) : -1;
}

static void batch_norm(struct compiler *c, const struct node *node, command_run *run,
                       const struct norm_inputs *in)
{
    struct command command = gpu_command(node, run);
    struct norm_tangent *t = &command.u.tangent;
    int x = node->input[in->x];

    norm_operands(c, node, in, true, &command);
    *t = (struct norm_tangent){.type = c->program->type,
                               .rows = gpu_pixels(c, x),
                               .c = gpu_channels(c, x),
                               .eps = (float)node->attr.eps};
    command.workspace_bytes = batch_norm_tangent_workspace(t->rows, t->c) * sizeof(float);
    gpu_emit(c, &command);
}

static void layer_norm(struct compiler *c, const struct node *node, command_run *run,
                       const struct norm_inputs *in)
{
    struct command command = gpu_command(node, run);
    struct norm_tangent *t = &command.u.tangent;
    const struct shape *s = &c->graph->values[node->input[in->x]].shape;
    int64_t columns = s->dim[s->rank - 1];

    norm_operands(c, node, in, false, &command);
    *t = (struct norm_tangent){.type = c->program->type,
                               .rows = shape_elements(s) / columns,
                               .c = columns,
                               .eps = (float)node->attr.eps};
    command.workspace_bytes = layer_norm_tangent_workspace(t->rows, t->c) * sizeof(float);
    gpu_emit(c, &command);
}

/* dy, y, Ry */
static void softmax_curve(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_softmax_curve);
    const struct shape *s = &c->graph->values[node->output[0]].shape;

    for (int i = 0; i < 3; i++)
        command.in[command.n_in++] = gpu_rows(c, node->input[i]);
    command.n_out = 1;
    command.out[0] = gpu_write(c, node->output[0], ORDER_DENSE, c->program->type);
    command.u.softmax = (struct softmax){.type = c->program->type,
                                         .rows = shape_elements(s) / s->dim[s->rank - 1],
                                         .d = s->dim[s->rank - 1]};
    gpu_emit(c, &command);
}

/* logits, Rlogits */
static void cross_entropy_curve(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_cross_entropy_curve);
    const struct shape *s = &c->graph->values[node->input[0]].shape;
    enum element type;

    command.n_in = 2;
    command.n_out = 1;
    command.in[0] = gpu_any_rows(c, node->input[0]);
    type = gpu_type(c, command.in[0]);
    command.in[1] = gpu_read(c, node->input[1], ORDER_DENSE, type);
    command.out[0] = gpu_write(c, node->output[0], ORDER_DENSE, type);
    command.u.scores = (struct class_scores){
        .type = type, .rows = s->dim[0], .classes = s->dim[1], .pitch = s->dim[1]};
    gpu_emit(c, &command);
}

bool gpu_tangents(struct compiler *c, const struct node *node)
{
    switch (node->op) {
    case OP_BATCH_NORM_SCALE:
        scale(c, node);
        return true;
    case OP_BATCH_NORM_EVAL_GRAD:
    case OP_BATCH_NORM_DOT:
        sums(c, node);
        return true;
    case OP_BATCH_NORM_TANGENT:
        batch_norm(c, node, cuda_run_batch_norm_tangent, &forward);
        return true;
    case OP_BATCH_NORM_GRAD_TANGENT:
        batch_norm(c, node, cuda_run_batch_norm_grad_tangent, &backward);
        return true;
    case OP_LAYER_NORM_TANGENT:
        layer_norm(c, node, cuda_run_layer_norm_tangent, &forward);
        return true;
    case OP_LAYER_NORM_GRAD_TANGENT:
        layer_norm(c, node, cuda_run_layer_norm_grad_tangent, &backward);
        return true;
    case OP_SOFTMAX_CURVE:
        softmax_curve(c, node);
        return true;
    case OP_CROSS_ENTROPY_CURVE:
        cross_entropy_curve(c, node);
        return true;
    default:
        return false;
    }
}
