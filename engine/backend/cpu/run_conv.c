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
                                 .onto = c->onto,
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

static size_t whole_blocks(const struct program *p, int64_t channels)
{
    return ((size_t)channels + p->cpu->kernels->lanes - 1) / p->cpu->kernels->lanes;
}

/* With what `run` and `weights` have in common; what they read and write is the caller's. */
static void winograd_sizes(const struct program *p, const struct command *c, bool back,
                           struct winograd *run, struct winograd_weights *weights)
{
    size_t in = (size_t)(back ? c->conv.k : c->conv.c),
           out = (size_t)(back ? c->conv.c : c->conv.k);
    size_t step_c = 9, step_k = 9 * (size_t)c->conv.c;

    *run = (struct winograd){.images = (size_t)c->conv.n,
                             .height = (size_t)c->conv.h,
                             .width = (size_t)c->conv.w,
                             .in_blocks = whole_blocks(p, (int64_t)in),
                             .out_blocks = whole_blocks(p, (int64_t)out),
                             .parts = (size_t)p->threads};
    *weights = (struct winograd_weights){.in = in,
                                         .out = out,
                                         .in_blocks = run->in_blocks,
                                         .in_step = back ? step_k : step_c,
                                         .out_step = back ? step_c : step_k,
                                         .turned = back,
                                         .parts = run->parts};
}

/* in: x, w; or dy, w. out: y or dx, the weights' points, room */
static int run_winograd(const struct program *p, const struct command *c, bool back)
{
    const struct kernels *kernels = p->cpu->kernels;
    struct winograd_weights weights;
    struct winograd run;

    winograd_sizes(p, c, back, &run, &weights);
    weights.w = cpu_data(p, c->in[1]);
    run.u = weights.u = cpu_data(p, c->out[1]);
    run.x = cpu_data(p, c->in[0]);
    run.y = cpu_data(p, c->out[0]);
    run.room = cpu_data(p, c->out[2]);
    run.part_room = winograd_room(run.in_blocks, kernels->lanes);
    cpu_run_kernel(p->threads, kernels->winograd_weights, &weights, run.in_blocks * run.out_blocks);
    cpu_run_kernel(p->threads, kernels->winograd_conv, &run, run.parts);
    return 0;
}

int cpu_run_winograd(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    return run_winograd(p, c, false);
}

int cpu_run_winograd_grad_x(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    return run_winograd(p, c, true);
}

/* in: x, dy; out: dw, room */
int cpu_run_winograd_grad_w(const struct program *p, const struct command *c, struct err *err)
{
    const struct kernels *kernels = p->cpu->kernels;
    struct winograd_weights weights;
    struct winograd run;

    (void)err;
    winograd_sizes(p, c, false, &run, &weights);
    run.x = cpu_data(p, c->in[0]);
    run.dy = cpu_data(p, c->in[1]);
    run.room = weights.u = cpu_data(p, c->out[1]);
    run.part_room = weights.part_room =
        winograd_grad_w_room(run.in_blocks, run.out_blocks, kernels->lanes);
    weights.dw = cpu_data(p, c->out[0]);
    cpu_run_kernel(p->threads, kernels->winograd_grad_w, &run, run.parts);
    cpu_run_kernel(p->threads, kernels->winograd_grad_w_sum, &weights,
                   run.in_blocks * run.out_blocks);
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
    args.onto = c->onto;
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
    args.onto = c->onto;
    cpu_run_kernel(p->threads, kernels->direct_grad_w, &args,
                   (args.k + DIRECT_TILE - 1) / DIRECT_TILE);
    return 0;
}
