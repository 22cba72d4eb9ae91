/* Commands of convolutions and of their weights' layouts. */
#include <string.h>

#include "backend/cpu/program.h"

/* in: x, w; out: y */
int cpu_run_conv(const struct program *p, const struct command *c, struct err *err)
{
    return cpu_convolution_run(c->convolution, cpu_data(p, c->in[0]), cpu_data(p, c->in[1]),
                               cpu_data(p, c->out[0]), cpu_data(p, c->out[1]), err);
}

/* in: dy, w; out: dx */
int cpu_run_conv_grad_x(const struct program *p, const struct command *c, struct err *err)
{
    return cpu_convolution_run(c->convolution, cpu_data(p, c->out[0]), cpu_data(p, c->in[1]),
                               cpu_data(p, c->in[0]), cpu_data(p, c->out[1]), err);
}

/* in: x, dy; out: dw */
int cpu_run_conv_grad_w(const struct program *p, const struct command *c, struct err *err)
{
    return cpu_convolution_run(c->convolution, cpu_data(p, c->in[0]), cpu_data(p, c->out[0]),
                               cpu_data(p, c->in[1]), cpu_data(p, c->out[1]), err);
}

static struct weights_pack arguments(const struct program *p, const struct command *c)
{
    const struct packing *packing = c->packing;

    return (struct weights_pack){.k = packing->k,
                                 .c = packing->c,
                                 .taps = packing->taps,
                                 .k_at = packing->at,
                                 .c_at = packing->at + packing->k,
                                 .tap_at = packing->at + packing->k + packing->c,
                                 .from = cpu_data(p, c->in[0]),
                                 .to = cpu_data(p, c->out[0])};
}

static size_t weight_tiles(const struct packing *p)
{
    return ((p->k + WEIGHT_TILE - 1) / WEIGHT_TILE) * ((p->c + WEIGHT_TILE - 1) / WEIGHT_TILE);
}

int cpu_run_pack(const struct program *p, const struct command *c, struct err *err)
{
    struct weights_pack args = arguments(p, c);

    (void)err;
    if (c->packing->padded)
        memset(args.to, 0, c->packing->bytes);
    cpu_run_kernel(p->threads, p->cpu->kernels->weights_pack, &args, weight_tiles(c->packing));
    return 0;
}

int cpu_run_unpack(const struct program *p, const struct command *c, struct err *err)
{
    struct weights_pack args = arguments(p, c);

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->weights_unpack, &args, weight_tiles(c->packing));
    return 0;
}

/* in: x or dy, w; out: y or dx, room for a border */
int cpu_run_direct(const struct program *p, const struct command *c, struct err *err)
{
    struct direct_conv args = c->direct->conv;

    (void)err;
    args.x = cpu_data(p, c->in[0]);
    args.w = cpu_data(p, c->in[1]);
    args.y = cpu_data(p, c->out[0]);
    args.room = cpu_data(p, c->out[1]);
    cpu_run_kernel(p->threads, p->cpu->kernels->direct_conv, &args, c->direct->rows);
    return 0;
}

/* in: x, dy; out: dw, room for a border */
int cpu_run_direct_grad_w(const struct program *p, const struct command *c, struct err *err)
{
    const struct kernels *kernels = p->cpu->kernels;
    struct direct_conv source = c->direct->conv;
    struct direct_grad_w args = c->direct->grad_w;

    (void)err;
    source.x = args.x = cpu_data(p, c->in[0]);
    if (source.border.needed) {
        args.x = source.room = cpu_data(p, c->out[1]);
        cpu_run_kernel(p->threads, kernels->direct_border, &source, c->direct->rows);
    }
    args.dy = cpu_data(p, c->in[1]);
    args.dw = cpu_data(p, c->out[0]);
    cpu_run_kernel(p->threads, kernels->direct_grad_w, &args,
                   (args.k + DIRECT_TILE - 1) / DIRECT_TILE);
    return 0;
}
