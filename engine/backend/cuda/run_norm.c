/* Batch norm and layer norm. */
#include "backend/cuda/run_inside.h"

/* Running statistics are moved by the passes that are asked to. */
int cuda_run_statistics(const struct program *program, const struct command *command,
                        const struct lane *lane, struct err *err)
{
    struct batch_norm_statistics a = command->u.statistics;
    const struct pass *pass = program->pass;

    a.x = IN(0);
    a.mean = OUT(0);
    a.var = OUT(1);
    a.workspace = WORKSPACE;
    if (pass->move_statistics && command->moments >= 0) {
        const struct graph_moments *m = &program->graph->moments[command->moments];

        a.running_mean = program->state_data + program->states->tensor[m->running_mean].offset;
        a.running_var = program->state_data + program->states->tensor[m->running_var].offset;
        a.momentum = (float)pass->statistics_momentum;
    }
    return cuda_launched(launch_batch_norm_statistics(STREAM, &a), command->what, err);
}

enum { NORM_OPERANDS = 5 };

static void fill_norm(const struct program *program, const struct command *command, int first,
                      struct normalised *to)
{
    to->x = IN(first);
    to->mean = IN(first + 1);
    to->var = IN(first + 2);
    to->gamma = IN(first + 3);
    to->beta = IN(first + 4);
}

int cuda_run_apply(const struct program *program, const struct command *command,
                   const struct lane *lane, struct err *err)
{
    struct batch_norm_apply a = command->u.apply;

    fill_norm(program, command, 0, &a.first);
    if (command->n_in == 2 * NORM_OPERANDS)
        fill_norm(program, command, NORM_OPERANDS, &a.second);
    else
        a.residual = IN(NORM_OPERANDS);
    a.y = OUT(0);
    a.mask = OUT(1);
    return cuda_launched(launch_batch_norm_apply(STREAM, &a), command->what, err);
}

int cuda_run_norm_grad(const struct program *program, const struct command *command,
                       const struct lane *lane, struct err *err)
{
    struct batch_norm_grad a = command->u.norm_grad;

    a.dy = IN(0);
    a.x = IN(1);
    a.mean = IN(2);
    a.var = IN(3);
    a.gamma = IN(4);
    if (a.relu == RELU_AGAIN)
        a.beta = IN(5);
    else if (a.relu == RELU_MASK)
        a.mask = IN(5);
    else
        a.y = IN(5);
    a.dx = OUT(0);
    a.dgamma = OUT(1);
    a.dbeta = OUT(2);
    a.dz = OUT(3);
    a.workspace = WORKSPACE;
    return cuda_launched(launch_batch_norm_grad(STREAM, &a), command->what, err);
}

RUN_COMMAND(layer_norm, layer_norm, layer_norm, launch_layer_norm(STREAM, &a), a.x = IN(0);
            a.gamma = IN(1); a.beta = IN(2); a.y = OUT(0); a.mean = OUT(1); a.var = OUT(2))
RUN_COMMAND(layer_norm_grad, layer_norm_grad, layer_norm_grad, launch_layer_norm_grad(STREAM, &a),
            a.dy = IN(0);
            a.x = IN(1); a.gamma = IN(2); a.mean = IN(3); a.var = IN(4); a.dx = OUT(0);
            a.dgamma = OUT(1); a.dbeta = OUT(2); a.workspace = WORKSPACE)

#define TANGENT(name)                                                                              \
    RUN_COMMAND(name, norm_tangent, tangent, launch_##name(STREAM, &a), a.x = IN(0); a.rx = IN(1); \
                a.dy = IN(2); a.rdy = IN(3); a.gamma = IN(4); a.rgamma = IN(5); a.rbeta = IN(6);   \
                a.mean = IN(7); a.var = IN(8); a.ry = OUT(0); a.rdgamma = OUT(1);                  \
                a.rdbeta = OUT(2); a.workspace = WORKSPACE)

TANGENT(batch_norm_tangent)
TANGENT(batch_norm_grad_tangent)
TANGENT(layer_norm_tangent)
TANGENT(layer_norm_grad_tangent)
