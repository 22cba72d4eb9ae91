/* Commands of batch normalisation. */
#include "backend/cpu/program.h"

static size_t planes(const struct activation *shape)
{
    return shape->images * shape->blocks;
}

static size_t tiles(const struct activation *shape)
{
    return tile_count(shape) * shape->blocks;
}

int cpu_run_norm_statistics(const struct program *p, const struct command *c, struct err *err)
{
    const struct kernels *kernels = p->cpu->kernels;
    float *partial = cpu_data(p, c->out[3]);
    struct norm_statistics sweep = {
        .shape = c->shape, .x = cpu_data(p, c->in[0]), .partial = partial};
    struct norm_coefficients finish = {.shape = c->shape,
                                       .channels = c->channels,
                                       .eps = c->eps,
                                       .partial = partial,
                                       .gamma = cpu_data(p, c->in[1]),
                                       .beta = cpu_data(p, c->in[2]),
                                       .mean = cpu_data(p, c->out[1]),
                                       .var = cpu_data(p, c->out[2]),
                                       .coef = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, kernels->norm_statistics, &sweep, tiles(&c->shape));
    cpu_run_kernel(p->threads, kernels->norm_coefficients, &finish, c->shape.blocks);
    return 0;
}

int cpu_run_norm_eval(const struct program *p, const struct command *c, struct err *err)
{
    struct norm_coefficients args = {.shape = c->shape,
                                     .channels = c->channels,
                                     .eps = c->eps,
                                     .gamma = cpu_data(p, c->in[0]),
                                     .beta = cpu_data(p, c->in[1]),
                                     .mean = cpu_data(p, c->in[2]),
                                     .var = cpu_data(p, c->in[3]),
                                     .bias = cpu_data(p, c->in[4]),
                                     .coef = cpu_data(p, c->out[0])};

    (void)err;
    p->cpu->kernels->norm_coefficients(&args, 0, c->shape.blocks);
    return 0;
}

int cpu_run_norm_apply(const struct program *p, const struct command *c, struct err *err)
{
    struct norm_apply args = {.shape = c->shape,
                              .x = cpu_data(p, c->in[0]),
                              .coef = cpu_data(p, c->in[1]),
                              .residual = c->residual,
                              .relu = c->relu,
                              .y = cpu_data(p, c->out[0])};

    (void)err;
    if (c->residual != RESIDUAL_NONE)
        args.other = cpu_data(p, c->in[2]);
    if (c->residual == RESIDUAL_NORM)
        args.other_coef = cpu_data(p, c->in[3]);
    cpu_run_kernel(p->threads, p->cpu->kernels->norm_apply, &args, planes(&c->shape));
    return 0;
}

static struct norm_derivative derivative(const struct program *p, const struct command *c)
{
    return (struct norm_derivative){.dy = cpu_data(p, c->in[0]),
                                    .more = cpu_data(p, c->in[1]),
                                    .mask = c->mask,
                                    .y = cpu_data(p, c->in[2]),
                                    .coef = cpu_data(p, c->in[3])};
}

int cpu_run_norm_grad_sums(const struct program *p, const struct command *c, struct err *err)
{
    const struct kernels *kernels = p->cpu->kernels;
    float *partial = cpu_data(p, c->out[3]);
    struct norm_grad_sums sweep = {.shape = c->shape,
                                   .d = derivative(p, c),
                                   .x = cpu_data(p, c->in[4]),
                                   .store = cpu_data(p, c->out[4]),
                                   .partial = partial};
    struct norm_grad_coefficients finish = {.shape = c->shape,
                                            .channels = c->channels,
                                            .eps = c->eps,
                                            .partial = partial,
                                            .gamma = cpu_data(p, c->in[5]),
                                            .mean = cpu_data(p, c->in[6]),
                                            .var = cpu_data(p, c->in[7]),
                                            .dgamma = cpu_data(p, c->out[0]),
                                            .dbeta = cpu_data(p, c->out[1]),
                                            .coef = cpu_data(p, c->out[2])};

    (void)err;
    cpu_run_kernel(p->threads, kernels->norm_grad_sums, &sweep, tiles(&c->shape));
    cpu_run_kernel(p->threads, kernels->norm_grad_coefficients, &finish, c->shape.blocks);
    return 0;
}

int cpu_run_norm_grad_apply(const struct program *p, const struct command *c, struct err *err)
{
    struct norm_grad_apply args = {.shape = c->shape,
                                   .d = derivative(p, c),
                                   .x = cpu_data(p, c->in[4]),
                                   .grad_coef = cpu_data(p, c->in[5]),
                                   .plus = cpu_data(p, c->in[6]),
                                   .dx = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->norm_grad_apply, &args, planes(&c->shape));
    return 0;
}

static struct norm_pool norm_pool(const struct command *c)
{
    return (struct norm_pool){.shape = c->shape,
                              .height = c->max_pool.height,
                              .width = c->max_pool.width,
                              .out_height = c->max_pool.out_height,
                              .out_width = c->max_pool.out_width,
                              .size = c->max_pool.size};
}

/* in: x, coef */
int cpu_run_norm_pool(const struct program *p, const struct command *c, struct err *err)
{
    struct norm_pool args = norm_pool(c);

    (void)err;
    args.x = cpu_data(p, c->in[0]);
    args.coef = cpu_data(p, c->in[1]);
    args.y = cpu_data(p, c->out[0]);
    cpu_run_kernel(p->threads, p->cpu->kernels->norm_pool, &args, planes(&c->shape));
    return 0;
}

/* in: dy, x, coef, gamma, mean, var; out: dgamma, dbeta, grad_coef, partial */
int cpu_run_norm_pool_sums(const struct program *p, const struct command *c, struct err *err)
{
    const struct kernels *kernels = p->cpu->kernels;
    struct norm_pool sweep = norm_pool(c);
    struct norm_grad_coefficients finish = {.shape = c->shape,
                                            .tiles = c->shape.images,
                                            .channels = c->channels,
                                            .eps = c->eps,
                                            .partial = cpu_data(p, c->out[3]),
                                            .gamma = cpu_data(p, c->in[3]),
                                            .mean = cpu_data(p, c->in[4]),
                                            .var = cpu_data(p, c->in[5]),
                                            .dgamma = cpu_data(p, c->out[0]),
                                            .dbeta = cpu_data(p, c->out[1]),
                                            .coef = cpu_data(p, c->out[2])};

    (void)err;
    sweep.dy = cpu_data(p, c->in[0]);
    sweep.x = cpu_data(p, c->in[1]);
    sweep.coef = cpu_data(p, c->in[2]);
    sweep.partial = cpu_data(p, c->out[3]);
    cpu_run_kernel(p->threads, kernels->norm_pool_sums, &sweep, planes(&c->shape));
    cpu_run_kernel(p->threads, kernels->norm_grad_coefficients, &finish, c->shape.blocks);
    return 0;
}

/* in: dy, x, coef, grad_coef */
int cpu_run_norm_pool_grad(const struct program *p, const struct command *c, struct err *err)
{
    struct norm_pool args = norm_pool(c);

    (void)err;
    args.dy = cpu_data(p, c->in[0]);
    args.x = cpu_data(p, c->in[1]);
    args.coef = cpu_data(p, c->in[2]);
    args.grad_coef = cpu_data(p, c->in[3]);
    args.dx = cpu_data(p, c->out[0]);
    cpu_run_kernel(p->threads, p->cpu->kernels->norm_pool_grad, &args, planes(&c->shape));
    return 0;
}
