/* Convolutions, linear layers, and what is done with the scores of classes. */
#include "backend/cuda/compile.h"

void gpu_conv(struct compiler *c, const struct node *node, enum conv_direction direction)
{
    struct program *p = c->program;
    struct command command = gpu_command(node, cuda_run_conv);
    struct conv_shape shape = cuda_conv_shape(c->graph, node);
    bool grad_w = direction == CONV_GRAD_W;

    command.n_in = 2;
    command.n_out = 1;
    command.in[0] = gpu_image(c, node->input[0]);
    command.in[1] = gpu_read(c, node->input[1], grad_w ? ORDER_IMAGE : ORDER_FILTER, p->type);
    command.out[0] = gpu_write(c, node->output[0], grad_w ? ORDER_FILTER : ORDER_IMAGE, p->type);
    command.u.conv.direction = direction;
    if (c->code)
        return;
    c->code = convolution_open(&command.u.conv.convolution, p->cuda->libraries, direction, &shape,
                               c->err);
    if (c->code)
        return;
    command.workspace_bytes = convolution_workspace_bytes(command.u.conv.convolution);
    gpu_emit(c, &command);
    if (c->code)
        convolution_close(command.u.conv.convolution);
}

void gpu_product(struct compiler *c, const char *what, int a, int b, int out,
                 const struct product_shape *shape)
{
    struct command command = {.run = cuda_run_product,
                              .what = what,
                              .n_in = 2,
                              .in = {a, b},
                              .n_out = 1,
                              .out = {out},
                              .in_place = -1,
                              .moments = -1};

    if (c->code)
        return;
    c->code = product_open(&command.u.product, c->program->cuda->libraries, shape, c->err);
    if (c->code)
        return;
    command.workspace_bytes = product_workspace_bytes(command.u.product);
    gpu_emit(c, &command);
    if (c->code)
        product_close(command.u.product);
}

static int64_t features(const struct compiler *c, int value)
{
    const struct shape *s = &c->graph->values[value].shape;

    return s->dim[s->rank - 1];
}

static int64_t rows(const struct compiler *c, int value)
{
    return shape_elements(&c->graph->values[value].shape) / features(c, value);
}

/* y = x + b, row by row, in place of x. */
static void add_bias(struct compiler *c, int slot, int bias, int64_t n, int64_t channels)
{
    struct command command = {.run = cuda_run_add_row,
                              .what = "bias",
                              .n_in = 2,
                              .in = {slot, gpu_floats(c, bias)},
                              .n_out = 1,
                              .out = {slot},
                              .in_place = -1,
                              .moments = -1,
                              .u.add_row = {gpu_type(c, slot), n, channels, NULL, NULL, NULL}};

    gpu_emit(c, &command);
}

void gpu_linear(struct compiler *c, const struct node *node)
{
    int x = node->input[0], w = node->input[1], y = node->output[0];
    bool scores = gpu_is_scores(c, y) || c->program->type == ELEMENT_F32;
    struct product_shape shape = {.batch = 1,
                                  .rows = rows(c, x),
                                  .columns = features(c, y),
                                  .depth = features(c, x),
                                  .b_turned = true,
                                  .out_f32 = scores,
                                  .scale = 1};
    int a = gpu_rows(c, x), b = gpu_rows(c, w), out;

    out = gpu_write(c, y, ORDER_DENSE, scores ? ELEMENT_F32 : c->program->type);
    gpu_product(c, "linear", a, b, out, &shape);
    if (node->n_inputs > 2)
        add_bias(c, out, node->input[2], shape.rows, shape.columns);
}

/* dx = dy·w; dw = dyᵀ·x, in floats. */
void gpu_linear_grad(struct compiler *c, const struct node *node)
{
    bool grad_x = node->op == OP_LINEAR_GRAD_X;
    int x = grad_x ? node->output[0] : node->input[0], dy = node->input[grad_x ? 0 : 1];
    struct product_shape shape = {.batch = 1,
                                  .rows = grad_x ? rows(c, dy) : features(c, dy),
                                  .columns = features(c, x),
                                  .depth = grad_x ? features(c, dy) : rows(c, dy),
                                  .a_turned = !grad_x,
                                  .out_f32 = !grad_x || c->program->type == ELEMENT_F32,
                                  .scale = 1};
    int a = gpu_rows(c, dy), b = gpu_rows(c, grad_x ? node->input[1] : x);

    gpu_product(c, op_name(node->op), a, b,
                gpu_write(c, node->output[0], ORDER_DENSE, grad_x ? c->program->type : ELEMENT_F32),
                &shape);
}

void gpu_scores(struct compiler *c, const struct node *node, command_run *run)
{
    struct command command = gpu_command(node, run);
    int logits = node->input[0];
    bool gradient = node->op == OP_CROSS_ENTROPY_GRAD;

    command.n_in = 2;
    command.n_out = 1;
    command.in[0] = gpu_any_rows(c, logits);
    command.in[1] = gpu_labels(c, node->input[1]);
    command.out[0] = gpu_write(c, node->output[0], ORDER_DENSE,
                               gradient ? gpu_type(c, command.in[0]) : ELEMENT_F32);
    command.u.scores = (struct class_scores){.type = gpu_type(c, command.in[0]),
                                             .rows = rows(c, logits),
                                             .classes = features(c, logits),
                                             .pitch = features(c, logits),
                                             .smoothing = (float)node->attr.smoothing,
                                             .k = node->attr.k};
    command.workspace_bytes = (size_t)rows(c, logits) * sizeof(float);
    gpu_emit(c, &command);
}
