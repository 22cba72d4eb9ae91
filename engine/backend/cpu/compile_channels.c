/* Biases of channels, max-pooling and dropout. */
#include "backend/cpu/compile.h"

static struct command begin(const struct compiler *c, const struct node *node, command_run *run,
                            int image)
{
    return (struct command){.run = run,
                            .what = op_name(node->op),
                            .in_place = -1,
                            .shape = compile_activation(c, image),
                            .channels = (size_t)c->graph->values[image].shape.dim[1]};
}

/* Not where a batch norm follows: fusion.c. */
void compile_bias(struct compiler *c, const struct node *node)
{
    struct command command = begin(c, node, cpu_run_bias, node->input[0]);

    command.in[command.n_in++] = compile_read(c, node->input[0], FORM_BLOCKED);
    command.in[command.n_in++] = compile_read(c, node->input[1], FORM_DENSE);
    command.out[command.n_out++] = compile_write(c, node->output[0], FORM_BLOCKED);
    command.in_place = 0;
    compile_emit(c, &command);
}

/* The derivative of a normalisation by its batch's values sums to zero in each channel, since the
 * same number added to all of them changes nothing: rounding is all that a sum would find. So it is
 * along any direction, with the tangent of that derivative. */
static bool is_sum_free(const struct compiler *c, const struct node *node)
{
    return (node->op == OP_BATCH_NORM_GRAD && compile_forward_norm(c, node)) ||
           node->op == OP_BATCH_NORM_GRAD_TANGENT;
}

void compile_sum_channels(struct compiler *c, const struct node *node)
{
    const struct node *maker = compile_maker(c, node->input[0]);
    bool none = maker->output[0] == node->input[0] && is_sum_free(c, maker);
    struct command command =
        begin(c, node, none ? cpu_run_clear : cpu_run_sum_channels, node->input[0]);

    if (!none)
        command.in[command.n_in++] = compile_read(c, node->input[0], FORM_BLOCKED);
    command.out[command.n_out++] = compile_write(c, node->output[0], FORM_DENSE);
    compile_emit(c, &command);
}

/* Of a max_pool, its derivative or its tangent. */
struct max_pool compile_windows(const struct compiler *c, const struct node *node)
{
    int x = node->input[node->op == OP_MAX_POOL ? 0 : 1];
    int y = node->op == OP_MAX_POOL_GRAD ? node->input[0] : node->output[0];
    const struct shape *from = &c->graph->values[x].shape, *to = &c->graph->values[y].shape;

    return (struct max_pool){.height = (size_t)from->dim[2],
                             .width = (size_t)from->dim[3],
                             .out_height = (size_t)to->dim[2],
                             .out_width = (size_t)to->dim[3],
                             .size = (size_t)node->attr.k,
                             .stride = (size_t)node->attr.stride,
                             .pad = (size_t)node->attr.pad};
}

void compile_max_pool(struct compiler *c, const struct node *node)
{
    bool forward = node->op == OP_MAX_POOL;
    int x = node->input[forward ? 0 : 1];
    struct command command = begin(c, node, forward ? cpu_run_max_pool : cpu_run_max_pool_grad, x);

    if (forward && compile_is_absorbed(c, x)) {
        compile_norm_pool(c, node);
        return;
    }
    command.max_pool = compile_windows(c, node);
    for (int i = 0; i < node->n_inputs; i++)
        command.in[command.n_in++] = compile_read(c, node->input[i], FORM_BLOCKED);
    command.out[command.n_out++] = compile_write(c, node->output[0], FORM_BLOCKED);
    compile_emit(c, &command);
}

void compile_dropout(struct compiler *c, const struct node *node)
{
    enum form form = compile_common_form(c, node->input, 1);
    struct command command = {.run = form == FORM_DENSE ? cpu_run_dropout : cpu_run_dropout_blocked,
                              .what = op_name(node->op),
                              .rate = node->attr.rate,
                              .mask_number = node->attr.index};

    if (form == FORM_BLOCKED) {
        command.shape = compile_activation(c, node->input[0]);
        command.channels = (size_t)c->graph->values[node->input[0]].shape.dim[1];
    }
    command.in[command.n_in++] = compile_read(c, node->input[0], form);
    command.out[command.n_out++] = compile_write(c, node->output[0], form);
    compile_emit(c, &command);
}
