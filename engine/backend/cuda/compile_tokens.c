/* What transformers are made of. Tokens are dense rows of the compute type. */
#include "backend/cuda/compile.h"

static const struct shape *shape_of_value(const struct compiler *c, int value)
{
    return &c->graph->values[value].shape;
}

static int64_t features(const struct shape *s)
{
    return s->dim[s->rank - 1];
}

static void gpu_patches(struct compiler *c, const struct node *node)
{
    bool forward = node->op == OP_PATCHES;
    int image = forward ? node->input[0] : node->output[0];
    const struct shape *s = shape_of_value(c, image);
    struct command command = gpu_command(node, forward ? cuda_run_patches : cuda_run_patches_grad);

    command.n_in = command.n_out = 1;
    command.in[0] = forward ? gpu_image(c, image) : gpu_rows(c, node->input[0]);
    command.out[0] = forward ? gpu_write(c, node->output[0], ORDER_DENSE, c->program->type)
                             : gpu_new_image(c, image);
    command.u.patches = (struct patches){.type = c->program->type,
                                         .n = s->dim[0],
                                         .h = s->dim[2],
                                         .w = s->dim[3],
                                         .c = gpu_channels(c, image),
                                         .channels = s->dim[1],
                                         .size = node->attr.k,
                                         .channels_last = node->attr.channels_last};
    gpu_emit(c, &command);
}

/* `tokens` is the value with the larger number of them. */
static void gpu_move(struct compiler *c, const struct node *node, command_run *run, int tokens)
{
    struct command command = gpu_command(node, run);
    const struct shape *s = shape_of_value(c, tokens);

    command.in[command.n_in++] = gpu_rows(c, node->input[0]);
    if (node->op == OP_PREPEND)
        command.in[command.n_in++] = gpu_floats(c, node->input[1]);
    command.n_out = 1;
    command.out[0] = gpu_write(c, node->output[0], ORDER_DENSE, c->program->type);
    command.u.token_move = (struct token_move){.type = c->program->type,
                                               .n = s->dim[0],
                                               .t = s->dim[1],
                                               .d = s->dim[2],
                                               .number = node->attr.index};
    gpu_emit(c, &command);
}

static void gpu_add_each(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_add_row);
    const struct shape *s = shape_of_value(c, node->input[0]);

    command.n_in = 2;
    command.n_out = 1;
    command.in[0] = gpu_rows(c, node->input[0]);
    command.in[1] = gpu_floats(c, node->input[1]);
    command.out[0] = gpu_write(c, node->output[0], ORDER_DENSE, c->program->type);
    command.in_place = 0;
    command.in_place_of = 1;
    command.u.add_row = (struct add_row){
        .type = c->program->type, .rows = s->dim[0], .c = shape_elements(s) / s->dim[0]};
    gpu_emit(c, &command);
}

static void gpu_layer_norm(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_layer_norm);
    const struct shape *s = shape_of_value(c, node->input[0]);

    command.n_in = command.n_out = 3;
    command.in[0] = gpu_rows(c, node->input[0]);
    command.in[1] = gpu_floats(c, node->input[1]);
    command.in[2] = gpu_floats(c, node->input[2]);
    command.out[0] = gpu_write(c, node->output[0], ORDER_DENSE, c->program->type);
    command.out[1] = gpu_write(c, node->output[1], ORDER_DENSE, ELEMENT_F32);
    command.out[2] = gpu_write(c, node->output[2], ORDER_DENSE, ELEMENT_F32);
    command.u.layer_norm = (struct layer_norm){.type = c->program->type,
                                               .rows = shape_elements(s) / features(s),
                                               .d = features(s),
                                               .eps = (float)node->attr.eps};
    gpu_emit(c, &command);
}

static void gpu_layer_norm_grad(struct compiler *c, const struct node *node)
{
    struct command command = gpu_command(node, cuda_run_layer_norm_grad);
    const struct shape *s = shape_of_value(c, node->input[1]);
    int64_t d = features(s), rows = shape_elements(s) / d;

    command.n_in = 5;
    command.n_out = 3;
    command.in[0] = gpu_rows(c, node->input[0]);
    command.in[1] = gpu_rows(c, node->input[1]);
    for (int i = 2; i < 5; i++)
        command.in[i] = gpu_floats(c, node->input[i]);
    command.out[0] = gpu_write(c, node->output[0], ORDER_DENSE, c->program->type);
    command.out[1] = gpu_write(c, node->output[1], ORDER_DENSE, ELEMENT_F32);
    command.out[2] = gpu_write(c, node->output[2], ORDER_DENSE, ELEMENT_F32);
    command.in_place = 0;
    command.in_place_of = 1;
    command.u.layer_norm_grad = (struct layer_norm_grad){
        .type = c->program->type, .rows = rows, .d = d, .eps = (float)node->attr.eps};
    command.workspace_bytes = layer_norm_grad_workspace(rows, d) * sizeof(float);
    gpu_emit(c, &command);
}

/* softmax: x. softmax_grad: dy, y. */
static void gpu_softmax(struct compiler *c, const struct node *node)
{
    bool gradient = node->op == OP_SOFTMAX_GRAD;
    struct command command = gpu_command(node, gradient ? cuda_run_softmax_grad : cuda_run_softmax);
    const struct shape *s = shape_of_value(c, node->output[0]);

    for (int i = 0; i < node->n_inputs; i++)
        command.in[command.n_in++] = gpu_rows(c, node->input[i]);
    command.n_out = 1;
    command.out[0] = gpu_write(c, node->output[0], ORDER_DENSE, c->program->type);
    command.in_place = gradient ? 0 : -1;
    command.in_place_of = 2;
    command.u.softmax = (struct softmax){
        .type = c->program->type, .rows = shape_elements(s) / features(s), .d = features(s)};
    gpu_emit(c, &command);
}

static void gpu_heads(struct compiler *c, const struct node *node)
{
    bool split = node->op == OP_SPLIT_HEADS;
    struct command command = gpu_command(node, split ? cuda_run_split_heads : cuda_run_merge_heads);
    const struct shape *part = shape_of_value(c, split ? node->output[0] : node->input[0]);

    for (int i = 0; i < node->n_inputs; i++)
        command.in[command.n_in++] = gpu_rows(c, node->input[i]);
    for (int i = 0; i < node->n_outputs; i++)
        command.out[command.n_out++] = gpu_write(c, node->output[i], ORDER_DENSE, c->program->type);
    command.u.heads = (struct heads){.type = c->program->type,
                                     .n = part->dim[0],
                                     .t = part->dim[2],
                                     .heads = part->dim[1],
                                     .d = part->dim[3],
                                     .parts = split ? node->n_outputs : node->n_inputs};
    gpu_emit(c, &command);
}

static void gpu_matmul(struct compiler *c, const struct node *node)
{
    const struct shape *y = shape_of_value(c, node->output[0]);
    const struct shape *a = shape_of_value(c, node->input[0]);
    int64_t m = y->dim[y->rank - 2], n = y->dim[y->rank - 1];
    struct product_shape shape = {.batch = shape_elements(y) / (m * n),
                                  .rows = m,
                                  .columns = n,
                                  .depth = a->dim[a->rank - (node->attr.transpose_a ? 2 : 1)],
                                  .a_turned = node->attr.transpose_a,
                                  .b_turned = node->attr.transpose_b,
                                  .out_f32 = c->program->type == ELEMENT_F32,
                                  .scale = (float)node->attr.scale};
    int left = gpu_rows(c, node->input[0]), right = gpu_rows(c, node->input[1]);

    gpu_product(c, "matmul", left, right,
                gpu_write(c, node->output[0], ORDER_DENSE, c->program->type), &shape);
}

bool gpu_tokens(struct compiler *c, const struct node *node)
{
    switch (node->op) {
    case OP_PATCHES:
    case OP_PATCHES_GRAD:
        gpu_patches(c, node);
        return true;
    case OP_PREPEND:
        gpu_move(c, node, cuda_run_prepend, node->output[0]);
        return true;
    case OP_DROP_FIRST:
        gpu_move(c, node, cuda_run_drop_first, node->input[0]);
        return true;
    case OP_TOKEN:
        gpu_move(c, node, cuda_run_token, node->input[0]);
        return true;
    case OP_TOKEN_GRAD:
        gpu_move(c, node, cuda_run_token_grad, node->output[0]);
        return true;
    case OP_ADD_EACH:
        gpu_add_each(c, node);
        return true;
    case OP_LAYER_NORM:
        gpu_layer_norm(c, node);
        return true;
    case OP_LAYER_NORM_GRAD:
        gpu_layer_norm_grad(c, node);
        return true;
    case OP_SOFTMAX:
    case OP_SOFTMAX_GRAD:
        gpu_softmax(c, node);
        return true;
    case OP_SPLIT_HEADS:
    case OP_MERGE_HEADS:
        if (!gpu_attention(c, node))
            gpu_heads(c, node);
        return true;
    case OP_MATMUL:
        gpu_matmul(c, node);
        return true;
    default:
        return false;
    }
}
