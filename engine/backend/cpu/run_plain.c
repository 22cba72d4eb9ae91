/* Commands of layouts, elementwise operations and pools. */
#include <string.h>

#include "backend/cpu/program.h"

static void rearrange(const struct program *p, const struct command *c, kernel *run)
{
    struct rearrange args = {.shape = c->shape,
                             .channels = c->channels,
                             .from = cpu_data(p, c->in[0]),
                             .to = cpu_data(p, c->out[0])};

    cpu_run_kernel(p->threads, run, &args, c->shape.images * c->shape.blocks);
}

int cpu_run_to_blocked(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    rearrange(p, c, p->cpu->kernels->to_blocked);
    return 0;
}

int cpu_run_to_dense(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    rearrange(p, c, p->cpu->kernels->to_dense);
    return 0;
}

int cpu_run_pool(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    rearrange(p, c, p->cpu->kernels->pool);
    return 0;
}

int cpu_run_pool_grad(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    rearrange(p, c, p->cpu->kernels->pool_grad);
    return 0;
}

int cpu_run_copy(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    memcpy(cpu_data(p, c->out[0]), cpu_data(p, c->in[0]), c->columns * sizeof(float));
    return 0;
}

static void elementwise(const struct program *p, const struct command *c, kernel *run)
{
    struct elementwise args = {.a = cpu_data(p, c->in[0]),
                               .b = cpu_data(p, c->n_in > 1 ? c->in[1] : -1),
                               .c = cpu_data(p, c->n_in > 2 ? c->in[2] : -1),
                               .y = cpu_data(p, c->out[0])};

    cpu_run_kernel(p->threads, run, &args, p->slots[c->out[0]].bytes / sizeof(float));
}

int cpu_run_relu(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    elementwise(p, c, p->cpu->kernels->relu);
    return 0;
}

int cpu_run_relu_grad(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    elementwise(p, c, p->cpu->kernels->relu_grad);
    return 0;
}

int cpu_run_add(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    elementwise(p, c, p->cpu->kernels->add);
    return 0;
}

int cpu_run_gelu(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    elementwise(p, c, p->cpu->kernels->gelu);
    return 0;
}

/* in: dy, x */
int cpu_run_gelu_grad(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    elementwise(p, c, p->cpu->kernels->gelu_grad);
    return 0;
}

/* in: dy, x, Rx */
int cpu_run_gelu_curve(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    elementwise(p, c, p->cpu->kernels->gelu_curve);
    return 0;
}
