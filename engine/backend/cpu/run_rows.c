/* The derivative of a convolution by its weights on images of few pixels, where oneDNN's own takes
 * several times as long: for each tap, the products of the pixels that it joins,
 *
 *     dw[·,·,tap] = Σ over (pixel p of y, pixel x_p of x)  dy_pᵀ [K, N] · x_{x_p} [N, C]
 *
 * Pairs that lie in the padding cost nothing: of 3×3 on 2×2 pixels, 16 of 36 are left. */
#include <string.h>

#include "backend/cpu/program.h"

static void rows_of(const struct program *p, int64_t images, int64_t channels, int64_t pixels,
                    const float *from, float *to)
{
    size_t lanes = p->cpu->kernels->lanes;
    struct pixel_rows args = {.shape = {.images = (size_t)images,
                                        .blocks = ((size_t)channels + lanes - 1) / lanes,
                                        .pixels = (size_t)pixels,
                                        .tail = lanes},
                              .channels = (size_t)channels,
                              .from = from,
                              .to = to};

    cpu_run_kernel(p->threads, p->cpu->kernels->pixel_rows, &args, args.shape.images);
}

/* One tap, from rows x and dy, into dw [k][c]. */
static int sum_pairs(const struct convolution_shape *s, int64_t r, int64_t q, const float *x,
                     const float *dy, float *dw, struct err *err)
{
    size_t n = (size_t)s->n, k = (size_t)s->k, c = (size_t)s->c;
    bool first = true;

    for (int64_t y = 0; y < s->p * s->q; y++) {
        int64_t h = y / s->q * s->stride + r - s->pad, w = y % s->q * s->stride + q - s->pad;
        struct product product = {.rows = k, .columns = c, .inner = n, .a_turned = true};
        int rc;

        if (h < 0 || h >= s->h || w < 0 || w >= s->w)
            continue;
        product.a = dy + (size_t)y * n * k;
        product.b = x + (size_t)(h * s->w + w) * n * c;
        product.result = dw;
        product.keep = first ? 0 : 1;
        rc = cpu_multiply(&product, err);
        if (rc)
            return rc;
        first = false;
    }
    if (first)
        memset(dw, 0, k * c * sizeof *dw);
    return 0;
}

/* in: x, dy; out: dw, rows of x, rows of dy, taps */
int cpu_run_rows_grad_w(const struct program *p, const struct command *c, struct err *err)
{
    const struct convolution_shape *s = &c->conv;
    float *x = cpu_data(p, c->out[1]), *dy = cpu_data(p, c->out[2]), *taps = cpu_data(p, c->out[3]);
    size_t one = (size_t)(s->k * s->c);
    struct taps_inside inside = {.k = (size_t)s->k,
                                 .c = (size_t)s->c,
                                 .taps = (size_t)(s->r * s->s),
                                 .onto = c->onto,
                                 .from = taps,
                                 .to = cpu_data(p, c->out[0])};

    rows_of(p, s->n, s->c, s->h * s->w, cpu_data(p, c->in[0]), x);
    rows_of(p, s->n, s->k, s->p * s->q, cpu_data(p, c->in[1]), dy);
    for (int64_t tap = 0; tap < s->r * s->s; tap++) {
        int rc = sum_pairs(s, tap / s->s, tap % s->s, x, dy, taps + (size_t)tap * one, err);

        if (rc)
            return rc;
    }
    cpu_run_kernel(p->threads, p->cpu->kernels->taps_inside, &inside, inside.k);
    return 0;
}
