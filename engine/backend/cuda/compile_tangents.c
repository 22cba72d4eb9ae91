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

static int activation(struct compiler *c, int value, bool image)
{
    return image ? gpu_image(c, value) : gpu_rows(c, value);
}

/* Operands: x, Rx, dy, Rdy (or -1), gamma, Rgamma, Rbeta (or -1), mean, var. */
static void norm(struct compiler *c, const struct node *node, command_run *run, bool image,
                 bool gradient)
{
    struct command command = gpu_command(node, run);
    struct norm_tangent *t = &command.u.tangent;
    const int *in = node->input;
    int x = gradient ? in[2] : in[0];
    const struct shape *s = &c->graph->values[x].shape;

    command.n_in = 9;
    command.in[0] = activation(c, x, image);
    command.in[1] = activation(c, gradient ? in[3] : in[1], image);
    command.in[2] = gradient ? activation(c, in[0], image) : -1;
    command.in[3] = gradient ? activation(c, in[1], image) : -1;
    command.in[4] = gpu_floats(c, in[gradient ? 4 : 2]);
    command.in[5] = gpu_floats(c, in[gradient ? 5 : 3]);
    command.in[6] = gradient ? -1 : gpu_floats(c, in[4]);
    command.in[7] = gpu_floats(c, in[gradient ? 6 : 5]);
    command.in[8] = gpu_floats(c, in[gradient ? 7 : 6]);
    command.n_out = 3;
    command.out[0] = image ? gpu_new_image(c, node->output[0])
                           : gpu_write(c, node->output[0], ORDER_DENSE, c->program->type);
    for (int i = 1; i < 3; i++)
        command.out[i] = gradient ? gpu_write(c, node->output[i], ORDER_DENSE, ELEMENT_F32) : -1;
    t->type = c->program->type;
    t->c = image ? gpu_channels(c, x) : s->dim[s->rank - 1];
    t->rows = image ? gpu_pixels(c, x) : shape_elements(s) / t->c;
    t->eps = (float)node->attr.eps;
    command.workspace_bytes = (image ? batch_norm_tangent_workspace(t->rows, t->c)
                                     : layer_norm_tangent_workspace(t->rows, t->c)) *
                              sizeof(float);
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
        norm(c, node, cuda_run_batch_norm_tangent, true, false);
        return true;
    case OP_BATCH_NORM_GRAD_TANGENT:
        norm(c, node, cuda_run_batch_norm_grad_tangent, true, true);
        return true;
    case OP_LAYER_NORM_TANGENT:
        norm(c, node, cuda_run_layer_norm_tangent, false, false);
        return true;
    case OP_LAYER_NORM_GRAD_TANGENT:
        norm(c, node, cuda_run_layer_norm_grad_tangent, false, true);
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
