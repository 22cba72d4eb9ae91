/* Commands of layer norms, their derivatives, and the tangents of both. */
#include "backend/cpu/program.h"

/* in: x, gamma, beta; out: y, mean, var */
int cpu_run_layer_norm(const struct program *p, const struct command *c, struct err *err)
{
    struct layer_norm args = {.columns = c->columns,
                              .eps = c->eps,
                              .x = cpu_data(p, c->in[0]),
                              .gamma = cpu_data(p, c->in[1]),
                              .beta = cpu_data(p, c->in[2]),
                              .y = cpu_data(p, c->out[0]),
                              .mean = cpu_data(p, c->out[1]),
                              .var = cpu_data(p, c->out[2])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->layer_norm, &args, c->rows);
    return 0;
}

/* The derivatives' kernels sum over chunks of rows, for both parameters, which then become theirs.
 */
static void run_grad(const struct program *p, const struct command *c, kernel *run,
                     const void *args)
{
    size_t chunks = (c->rows + LAYER_NORM_ROWS - 1) / LAYER_NORM_ROWS;
    const float *partial = cpu_data(p, c->out[3]);

    cpu_run_kernel(p->threads, run, args, chunks);
    for (size_t i = 0; i < 2; i++) {
        struct sum_rows sums = {.n = chunks,
                                .out = c->columns,
                                .step = 2 * c->columns,
                                .dy = partial + i * c->columns,
                                .result = cpu_data(p, c->out[1 + i])};

        cpu_run_kernel(p->threads, p->cpu->kernels->sum_rows, &sums,
                       (sums.out + SUM_COLUMNS - 1) / SUM_COLUMNS);
    }
}

/* in: dy, x, gamma, mean, var; out: dx, dgamma, dbeta, sums of chunks of rows */
int cpu_run_layer_norm_grad(const struct program *p, const struct command *c, struct err *err)
{
    struct layer_norm_grad args = {.rows = c->rows,
                                   .columns = c->columns,
                                   .eps = c->eps,
                                   .dy = cpu_data(p, c->in[0]),
                                   .x = cpu_data(p, c->in[1]),
                                   .gamma = cpu_data(p, c->in[2]),
                                   .mean = cpu_data(p, c->in[3]),
                                   .var = cpu_data(p, c->in[4]),
                                   .dx = cpu_data(p, c->out[0]),
                                   .partial = cpu_data(p, c->out[3])};

    (void)err;
    run_grad(p, c, p->cpu->kernels->layer_norm_grad, &args);
    return 0;
}

/* in: x, Rx, gamma, Rgamma, Rbeta, mean, var */
int cpu_run_layer_norm_tangent(const struct program *p, const struct command *c, struct err *err)
{
    struct layer_norm_tangent args = {.columns = c->columns,
                                      .eps = c->eps,
                                      .x = cpu_data(p, c->in[0]),
                                      .rx = cpu_data(p, c->in[1]),
                                      .gamma = cpu_data(p, c->in[2]),
                                      .rgamma = cpu_data(p, c->in[3]),
                                      .rbeta = cpu_data(p, c->in[4]),
                                      .mean = cpu_data(p, c->in[5]),
                                      .var = cpu_data(p, c->in[6]),
                                      .y = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->layer_norm_tangent, &args, c->rows);
    return 0;
}

/* in: dy, Rdy, x, Rx, gamma, Rgamma, mean, var; out: Rdx, Rdgamma, Rdbeta, sums of chunks */
int cpu_run_layer_norm_grad_tangent(const struct program *p, const struct command *c,
                                    struct err *err)
{
    struct layer_norm_grad_tangent args = {.rows = c->rows,
                                           .columns = c->columns,
                                           .eps = c->eps,
                                           .dy = cpu_data(p, c->in[0]),
                                           .rdy = cpu_data(p, c->in[1]),
                                           .x = cpu_data(p, c->in[2]),
                                           .rx = cpu_data(p, c->in[3]),
                                           .gamma = cpu_data(p, c->in[4]),
                                           .rgamma = cpu_data(p, c->in[5]),
                                           .mean = cpu_data(p, c->in[6]),
                                           .var = cpu_data(p, c->in[7]),
                                           .dx = cpu_data(p, c->out[0]),
                                           .partial = cpu_data(p, c->out[3])};

    (void)err;
    run_grad(p, c, p->cpu->kernels->layer_norm_grad_tangent, &args);
    return 0;
}
