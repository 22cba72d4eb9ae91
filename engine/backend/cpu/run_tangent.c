/* Commands of batch norms in given statistics on their way back, and of tangents. */
#include "backend/cpu/program.h"

static size_t planes(const struct activation *shape)
{
    return shape->images * shape->blocks;
}

static size_t tiles(const struct activation *shape)
{
    return tile_count(shape) * shape->blocks;
}

/* in: mean, bias, gamma, other, var */
int cpu_run_norm_scales(const struct program *p, const struct command *c, struct err *err)
{
    struct norm_scales args = {.shape = c->shape,
                               .channels = c->channels,
                               .eps = c->eps,
                               .mean = cpu_data(p, c->in[0]),
                               .bias = cpu_data(p, c->in[1]),
                               .gamma = cpu_data(p, c->in[2]),
                               .other = cpu_data(p, c->in[3]),
                               .var = cpu_data(p, c->in[4]),
                               .coef = cpu_data(p, c->out[0])};

    (void)err;
    p->cpu->kernels->norm_scales(&args, 0, c->shape.blocks);
    return 0;
}

/* in: what masks, its coefficients, terms and their coefficients in turn */
int cpu_run_affine_sum(const struct program *p, const struct command *c, struct err *err)
{
    struct affine_sum args = {.shape = c->shape,
                              .n = c->terms,
                              .mask = c->mask,
                              .by = cpu_data(p, c->in[0]),
                              .by_coef = cpu_data(p, c->in[1]),
                              .y = cpu_data(p, c->out[0])};

    (void)err;
    for (int i = 0; i < c->terms; i++) {
        args.x[i] = cpu_data(p, c->in[2 + 2 * i]);
        args.coef[i] = cpu_data(p, c->in[3 + 2 * i]);
    }
    cpu_run_kernel(p->threads, p->cpu->kernels->affine_sum, &args, planes(&c->shape));
    return 0;
}

/* in: x, coef, what masks, its coefficients, other, rx, plus, var, terms of dy;
 * out: dgamma, dbeta, dx, d, partial */
int cpu_run_norm_eval_grad(const struct program *p, const struct command *c, struct err *err)
{
    const struct kernels *kernels = p->cpu->kernels;
    struct norm_eval_grad sweep = {.shape = c->shape,
                                   .n = c->terms,
                                   .mask = c->mask,
                                   .x = cpu_data(p, c->in[0]),
                                   .coef = cpu_data(p, c->in[1]),
                                   .y = cpu_data(p, c->in[2]),
                                   .forward = cpu_data(p, c->in[3]),
                                   .other = cpu_data(p, c->in[4]),
                                   .rx = cpu_data(p, c->in[5]),
                                   .plus = cpu_data(p, c->in[6]),
                                   .dx = cpu_data(p, c->out[2]),
                                   .store = cpu_data(p, c->out[3]),
                                   .partial = cpu_data(p, c->out[4])};
    struct norm_eval_sums finish = {.shape = c->shape,
                                    .channels = c->channels,
                                    .eps = c->eps,
                                    .partial = cpu_data(p, c->out[4]),
                                    .var = cpu_data(p, c->in[7]),
                                    .dgamma = cpu_data(p, c->out[0]),
                                    .dbeta = cpu_data(p, c->out[1])};

    (void)err;
    for (int i = 0; i < c->terms; i++)
        sweep.dy[i] = cpu_data(p, c->in[8 + i]);
    cpu_run_kernel(p->threads, kernels->norm_eval_grad, &sweep, tiles(&c->shape));
    cpu_run_kernel(p->threads, kernels->norm_eval_sums, &finish, c->shape.blocks);
    return 0;
}

/* in: x, rx, dy, rdy, scales, gamma, rgamma, rbeta, mean, var;
 * out: coefficients of the terms, rdgamma, rdbeta, partial */
int cpu_run_norm_tangent(const struct program *p, const struct command *c, struct err *err)
{
    const struct kernels *kernels = p->cpu->kernels;
    struct norm_tangent args = {.shape = c->shape,
                                .channels = c->channels,
                                .eps = c->eps,
                                .x = cpu_data(p, c->in[0]),
                                .rx = cpu_data(p, c->in[1]),
                                .dy = cpu_data(p, c->in[2]),
                                .rdy = cpu_data(p, c->in[3]),
                                .scales = cpu_data(p, c->in[4]),
                                .gamma = cpu_data(p, c->in[5]),
                                .rgamma = cpu_data(p, c->in[6]),
                                .rbeta = cpu_data(p, c->in[7]),
                                .mean = cpu_data(p, c->in[8]),
                                .var = cpu_data(p, c->in[9]),
                                .rdgamma = cpu_data(p, c->out[4]),
                                .rdbeta = cpu_data(p, c->out[5]),
                                .partial = cpu_data(p, c->out[6])};

    (void)err;
    for (size_t i = 0; i < AFFINE_TERMS; i++)
        args.coef[i] = cpu_data(p, c->out[i]);
    cpu_run_kernel(p->threads, kernels->norm_tangent, &args, tiles(&c->shape));
    cpu_run_kernel(p->threads, kernels->norm_tangent_terms, &args, c->shape.blocks);
    return 0;
}

/* in: Rx, x */
int cpu_run_max_pool_tangent(const struct program *p, const struct command *c, struct err *err)
{
    struct max_pool args = c->max_pool;

    (void)err;
    args.rx = cpu_data(p, c->in[0]);
    args.x = cpu_data(p, c->in[1]);
    args.to = cpu_data(p, c->out[0]);
    cpu_run_kernel(p->threads, p->cpu->kernels->max_pool_tangent, &args, planes(&c->shape));
    return 0;
}
