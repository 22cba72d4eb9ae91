/* Convolutions of programs that store activations by image. */
#include "backend/cpu/compile.h"
#include "base/array.h"

static const struct direct *open_direct(struct compiler *c, enum direction direction,
                                        const struct convolution_shape *shape)
{
    struct program *p = c->program;
    struct direct **added;

    if (c->code)
        return NULL;
    added = array_grow(&p->directs, (size_t)p->n_directs, sizeof(struct direct *));
    c->code = added ? cpu_direct_open(added, p->cpu->kernels->lanes, direction, shape, c->err)
                    : err_no_memory(c->err);
    return c->code ? NULL : p->directs[p->n_directs++];
}

void compile_direct(struct compiler *c, const struct node *node)
{
    enum direction direction = node->op == OP_CONV          ? FORWARD
                               : node->op == OP_CONV_GRAD_X ? GRAD_X
                                                            : GRAD_W;
    int a = node->input[0], b = node->input[1], out = node->output[0];
    struct convolution_shape shape =
        direction == FORWARD  ? cpu_conv_shape(c->graph, node, a, b, out)
        : direction == GRAD_X ? cpu_conv_shape(c->graph, node, out, b, a)
                              : cpu_conv_shape(c->graph, node, a, out, b);
    struct command command = {.run = direction == GRAD_W ? cpu_run_direct_grad_w : cpu_run_direct,
                              .what = op_name(node->op),
                              .in_place = -1,
                              .direct = open_direct(c, direction, &shape)};

    if (c->code)
        return;
    command.in[command.n_in++] = compile_read(c, a, FORM_BLOCKED);
    command.in[command.n_in++] =
        compile_read(c, b, direction == GRAD_W ? FORM_BLOCKED : FORM_DENSE);
    compile_result(c, &command, out, direction == GRAD_W ? FORM_DENSE : FORM_BLOCKED);
    command.out[command.n_out++] = compile_scratch(c, command.direct->room_bytes);
    compile_emit(c, &command);
}
