/* Convolutions by Winograd's algorithm of our own (kernels/winograd.c). */
#include "backend/cpu/algorithm.h"
#include "backend/cpu/compile.h"

static size_t blocks(const struct compiler *c, int64_t channels)
{
    size_t lanes = c->program->cpu->kernels->lanes;

    return ((size_t)channels + lanes - 1) / lanes;
}

/* in: x, w; or dy, w. out: y or dx, the weights' points, room */
static void compile_results(struct compiler *c, const struct node *node,
                            const struct convolution_shape *s, bool back)
{
    size_t lanes = c->program->cpu->kernels->lanes, threads = (size_t)c->program->threads;
    size_t in = blocks(c, back ? s->k : s->c), out = blocks(c, back ? s->c : s->k);
    struct command command = {.run = back ? cpu_run_winograd_grad_x : cpu_run_winograd,
                              .what = op_name(node->op),
                              .algorithm = "winograd",
                              .in_place = -1,
                              .conv = *s};

    command.in[command.n_in++] = compile_read(c, node->input[0], FORM_BLOCKED);
    command.in[command.n_in++] = compile_read(c, node->input[1], FORM_DENSE);
    command.out[command.n_out++] = compile_write(c, node->output[0], FORM_BLOCKED);
    command.out[command.n_out++] =
        compile_scratch(c, winograd_filters(in, out, lanes) * sizeof(float));
    command.out[command.n_out++] =
        compile_scratch(c, threads * winograd_room(in, lanes) * sizeof(float));
    compile_emit(c, &command);
}

/* in: x, dy; out: dw, room */
static void compile_weights(struct compiler *c, const struct node *node,
                            const struct convolution_shape *s)
{
    size_t lanes = c->program->cpu->kernels->lanes, threads = (size_t)c->program->threads;
    size_t in = blocks(c, s->c), out = blocks(c, s->k);
    struct command command = {.run = cpu_run_winograd_grad_w,
                              .what = op_name(node->op),
                              .algorithm = "winograd",
                              .in_place = -1,
                              .conv = *s};

    command.in[command.n_in++] = compile_read(c, node->input[0], FORM_BLOCKED);
    command.in[command.n_in++] = compile_read(c, node->input[1], FORM_BLOCKED);
    command.out[command.n_out++] = compile_write(c, node->output[0], FORM_DENSE);
    command.out[command.n_out++] =
        compile_scratch(c, threads * winograd_grad_w_room(in, out, lanes) * sizeof(float));
    compile_emit(c, &command);
}

bool compile_winograd(struct compiler *c, const struct node *node, enum direction direction,
                      const struct convolution_shape *shape)
{
    if (cpu_algorithm(c->program, direction, shape) != ALGORITHM_WINOGRAD)
        return false;
    if (direction == GRAD_W)
        compile_weights(c, node, shape);
    else
        compile_results(c, node, shape, direction == GRAD_X);
    return true;
}
