/* Elementwise operations, sums, pooling, losses, and conversions between forms. */
#include "backend/cuda/run_inside.h"

/* Casts and copies know the number of elements, whatever room their slots have. */
#define ELEMENTWISE(name)                                                                          \
    RUN_COMMAND(name, elementwise, elementwise, launch_##name(STREAM, &a), a.a = IN(0);            \
                a.b = IN(1); a.c = IN(2); a.y = OUT(0))

ELEMENTWISE(relu)
ELEMENTWISE(relu_grad)
ELEMENTWISE(add)
ELEMENTWISE(gelu)
ELEMENTWISE(gelu_grad)
ELEMENTWISE(gelu_curve)

RUN_COMMAND(cast, cast_elements, cast, launch_cast(STREAM, a.from, IN(0), a.to, OUT(0), a.n),
            (void)0)
RUN_COMMAND(add_row, add_row, add_row, launch_add_row(STREAM, &a), a.x = IN(0); a.b = IN(1);
            a.y = OUT(0))
RUN_COMMAND(sum_rows, sum_rows, sum_rows, launch_sum_rows(STREAM, &a), a.dy = IN(0); a.db = OUT(0);
            a.workspace = WORKSPACE)
RUN_COMMAND(dropout, dropout, dropout, launch_dropout(STREAM, &a), a.x = IN(0); a.y = OUT(0);
            a.seed = program->pass->draws.seed; a.term = program->pass->draws.term;
            a.turn = program->draws)
RUN_COMMAND(global_pool, global_pool, global_pool, launch_global_avg_pool(STREAM, &a),
            a.from = IN(0);
            a.to = OUT(0))
RUN_COMMAND(global_pool_grad, global_pool, global_pool, launch_global_avg_pool_grad(STREAM, &a),
            a.from = IN(0);
            a.to = OUT(0))
RUN_COMMAND(max_pool, max_pool, max_pool, launch_max_pool(STREAM, &a), a.x = IN(0); a.y = OUT(0);
            a.place = OUT(1))
RUN_COMMAND(max_pool_grad, max_pool, max_pool, launch_max_pool_grad(STREAM, &a), a.x = IN(0);
            a.place = IN(1); a.y = OUT(0))
RUN_COMMAND(cross_entropy, class_scores, scores, launch_cross_entropy(STREAM, &a, OUT(0)),
            a.logits = IN(0);
            a.labels = IN(1); a.workspace = WORKSPACE)
RUN_COMMAND(cross_entropy_grad, class_scores, scores, launch_cross_entropy_grad(STREAM, &a, OUT(0)),
            a.logits = IN(0);
            a.labels = IN(1))
RUN_COMMAND(correct, class_scores, scores, launch_correct(STREAM, &a, OUT(0)), a.logits = IN(0);
            a.labels = IN(1); a.workspace = WORKSPACE)
RUN_COMMAND(max_pool_tangent, max_pool, max_pool, launch_max_pool_tangent(STREAM, &a), a.x = IN(0);
            a.place = IN(1); a.y = OUT(0))
RUN_COMMAND(cross_entropy_curve, class_scores, scores,
            launch_cross_entropy_curve(STREAM, &a, IN(1), OUT(0)), a.logits = IN(0))
RUN_COMMAND(to_nchw, reorder, reorder, launch_to_nchw(STREAM, &a), a.from = IN(0); a.to = OUT(0))

/* Filters beyond a convolution's own are zero. */
int cuda_run_from_nchw(const struct program *program, const struct command *command,
                       const struct lane *lane, struct err *err)
{
    struct reorder a = command->u.reorder;
    size_t bytes = (size_t)(a.n * a.plane * a.c) * element_bytes(a.type);
    size_t room = program->slots[command->out[0]].bytes;
    int rc = 0;

    a.from = IN(0);
    a.to = OUT(0);
    if (room > bytes)
        rc = runtime_cuda.clear((char *)a.to + bytes, room - bytes, lane->stream, err);
    return rc ? rc : cuda_launched(launch_from_nchw(STREAM, &a), command->what, err);
}

int cuda_run_copy(const struct program *program, const struct command *command,
                  const struct lane *lane, struct err *err)
{
    return runtime_cuda.copy(OUT(0), IN(0), program->slots[command->out[0]].bytes, lane->stream,
                             err);
}

int cuda_run_conv(const struct program *program, const struct command *command,
                  const struct lane *lane, struct err *err)
{
    const struct convolution *conv = command->u.conv.convolution;

    switch (command->u.conv.direction) {
    case CONV_FORWARD:
        return convolution_run(conv, lane, IN(0), IN(1), OUT(0), err);
    case CONV_GRAD_X:
        return convolution_run(conv, lane, OUT(0), IN(1), IN(0), err);
    default:
        return convolution_run(conv, lane, IN(0), OUT(0), IN(1), err);
    }
}

int cuda_run_product(const struct program *program, const struct command *command,
                     const struct lane *lane, struct err *err)
{
    return product_run(command->u.product, lane, IN(0), IN(1), OUT(0), err);
}
