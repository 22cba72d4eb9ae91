/* Commands of channel biases, max-pooling and dropout. */
#include <math.h>
#include <string.h>

#include "backend/cpu/program.h"
#include "random/philox.h"

static size_t planes(const struct command *c)
{
    return c->shape.images * c->shape.blocks;
}

/* in: x, bias */
int cpu_run_bias(const struct program *p, const struct command *c, struct err *err)
{
    struct channel_bias args = {.shape = c->shape,
                                .channels = c->channels,
                                .x = cpu_data(p, c->in[0]),
                                .bias = cpu_data(p, c->in[1]),
                                .y = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->channel_bias, &args, planes(c));
    return 0;
}

int cpu_run_sum_channels(const struct program *p, const struct command *c, struct err *err)
{
    struct channel_sums args = {.shape = c->shape,
                                .channels = c->channels,
                                .dy = cpu_data(p, c->in[0]),
                                .sum = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->channel_sums, &args, c->shape.blocks);
    return 0;
}

int cpu_run_clear(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    memset(cpu_data(p, c->out[0]), 0, p->slots[c->out[0]].bytes);
    return 0;
}

int cpu_run_max_pool(const struct program *p, const struct command *c, struct err *err)
{
    struct max_pool args = c->max_pool;

    (void)err;
    args.x = cpu_data(p, c->in[0]);
    args.to = cpu_data(p, c->out[0]);
    cpu_run_kernel(p->threads, p->cpu->kernels->max_pool, &args, planes(c));
    return 0;
}

/* in: dy, x */
int cpu_run_max_pool_grad(const struct program *p, const struct command *c, struct err *err)
{
    struct max_pool args = c->max_pool;

    (void)err;
    args.dy = cpu_data(p, c->in[0]);
    args.x = cpu_data(p, c->in[1]);
    args.to = cpu_data(p, c->out[0]);
    cpu_run_kernel(p->threads, p->cpu->kernels->max_pool_grad, &args, planes(c));
    return 0;
}

static struct dropout dropout(const struct program *p, const struct command *c)
{
    return (struct dropout){
        .shape = c->shape,
        .channels = c->channels,
        .seed = p->draws.seed,
        .step = p->draws.update,
        .stream = random_stream(RANDOM_DROPOUT, p->draws.term, (uint32_t)c->mask_number),
        .threshold = (uint32_t)ceil(c->rate * 0x1p24),
        .scale = (float)(1 / (1 - c->rate)),
        .x = cpu_data(p, c->in[0]),
        .y = cpu_data(p, c->out[0])};
}

int cpu_run_dropout(const struct program *p, const struct command *c, struct err *err)
{
    struct dropout args = dropout(p, c);

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->dropout, &args,
                   p->slots[c->out[0]].bytes / sizeof(float));
    return 0;
}

int cpu_run_dropout_blocked(const struct program *p, const struct command *c, struct err *err)
{
    struct dropout args = dropout(p, c);

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->dropout_blocked, &args, planes(c));
    return 0;
}
