/* Tangents of batch normalisation by the batch's own statistics, which move with the batch. With
 * ι = 1/√(var + eps), u = x − mean, x̂ = u·ι, m values a statistic and r = Σ x̂·Rx/m:
 *
 *   Rx̂ = ι·(Rx − ΣRx/m − x̂·r), Rι = −ι²·r
 *   Ry = gamma·Rx̂ + Rgamma·x̂ + Rbeta
 *   Rdbeta = ΣRdy, Rdgamma = Σ(Rdy·x̂ + dy·Rx̂)
 *   Rdx = (Rgamma·ι + gamma·Rι)·(dy − dbeta/m − x̂·dgamma/m)
 *       + gamma·ι·(Rdy − Rdbeta/m − Rx̂·dgamma/m − x̂·Rdgamma/m)
 *
 * Both results are sums of x, Rx, dy, Rdy with a factor a channel, so this file only sums and makes
 * those factors; `affine_sum` does the rest. */
#include <math.h>

#include "backend/cpu/kernels/lanes.h"
#include "backend/cpu/kernels/tiles.h"

enum { SUM_RX, SUM_RX_U, SUM_DY, SUM_DY_U, SUM_RDY, SUM_RDY_U, SUM_DY_RX, SUMS };

_Static_assert(SUMS == NORM_TANGENT_SUMS, "as the header says");

struct point {
    lanes u, rx, dy, rdy;
};

/* Lanes that are no images count nothing. */
INLINE struct point point_at(const struct norm_tangent *a, size_t at, lanes mean, lanes_mask exists)
{
    struct point p = {.u = keep(load(a->x + at) - mean, exists),
                      .rx = keep(load(a->rx + at), exists)};

    if (a->dy) {
        p.dy = keep(load(a->dy + at), exists);
        p.rdy = keep(load(a->rdy + at), exists);
    }
    return p;
}

INLINE void sum_tile(const struct norm_tangent *a, const struct tile *t, lanes_mask exists,
                     lanes *sum)
{
    lanes mean = load(a->scales + t->block * COEFS * LANES + COEF_MEAN * LANES);

    for (size_t image = 0; image < t->images; image++) {
        size_t at = t->at + image * t->image_step;

        for (size_t k = 0; k < t->pixels; k++, at += LANES) {
            struct point p = point_at(a, at, mean, exists);

            sum[SUM_RX] += p.rx;
            sum[SUM_RX_U] += p.rx * p.u;
            if (!a->dy)
                continue;
            sum[SUM_DY] += p.dy;
            sum[SUM_DY_U] += p.dy * p.u;
            sum[SUM_RDY] += p.rdy;
            sum[SUM_RDY_U] += p.rdy * p.u;
            sum[SUM_DY_RX] += p.dy * p.rx;
        }
    }
}

void KERNEL(norm_tangent)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_tangent *a = arguments;
    size_t whole = (tile_count(&a->shape) - tile_columns(&a->shape)) * a->shape.blocks;

    for (size_t work = begin; work < end; work++) {
        struct tile t = tile_at(&a->shape, a->x, work);
        lanes sum[SUMS] = {0};

        sum_tile(a, &t, first_lanes(work < whole ? LANES : a->shape.tail), sum);
        for (size_t i = 0; i < SUMS; i++)
            store(a->partial + (work * SUMS + i) * LANES, sum[i]);
    }
}

/* The numbers of one channel. */
struct channel {
    double iota, gamma, rgamma, rbeta, m;
    double sum[SUMS];
};

struct factors {
    float mean;
    double rx, x, dy, rdy, shift;
};

INLINE struct factors forward_factors(const struct channel *c)
{
    double scale = c->gamma * c->iota, r = c->iota * c->sum[SUM_RX_U] / c->m;

    return (struct factors){.rx = scale,
                            .x = c->rgamma * c->iota - scale * c->iota * r,
                            .shift = c->rbeta - scale * c->sum[SUM_RX] / c->m};
}

/* Also gives Rdgamma. */
INLINE struct factors backward_factors(const struct channel *c, double *rdgamma)
{
    const double *sum = c->sum;
    double iota = c->iota, scale = c->gamma * iota, mean_rx = sum[SUM_RX] / c->m;
    double r = iota * sum[SUM_RX_U] / c->m, dgamma = iota * sum[SUM_DY_U];
    double own = c->rgamma * iota - scale * iota * r; /* what dy − … is multiplied with */

    *rdgamma = iota * sum[SUM_RDY_U] + iota * (sum[SUM_DY_RX] - mean_rx * sum[SUM_DY] - r * dgamma);
    return (struct factors){
        .dy = own,
        .rdy = scale,
        .rx = -scale * iota * dgamma / c->m,
        .x = (-own * dgamma + scale * (iota * r * dgamma - *rdgamma)) * iota / c->m,
        .shift =
            (-own * sum[SUM_DY] - scale * sum[SUM_RDY] + scale * iota * mean_rx * dgamma) / c->m};
}

INLINE void set_term(const struct norm_tangent *a, int term, size_t at, float mean, double scale,
                     double shift)
{
    float *coef = a->coef[term] + at;

    coef[COEF_MEAN * LANES] = mean;
    coef[COEF_SCALE * LANES] = (float)scale;
    coef[COEF_SHIFT * LANES] = (float)shift;
}

/* Factors of channel c, written to lanes [first, last) of its block. */
INLINE void finish(const struct norm_tangent *a, size_t c, const double *sum, size_t block,
                   size_t first, size_t last)
{
    struct factors f = {0};

    if (c < a->channels) {
        struct channel own = {.iota = 1 / sqrt((double)a->var[c] + a->eps),
                              .gamma = a->gamma[c],
                              .rgamma = a->rgamma[c],
                              .rbeta = a->rbeta ? a->rbeta[c] : 0,
                              .m = activation_count(&a->shape)};
        double rdgamma = 0;

        for (size_t i = 0; i < SUMS; i++)
            own.sum[i] = sum[i];
        f = a->dy ? backward_factors(&own, &rdgamma) : forward_factors(&own);
        f.mean = a->mean[c];
        if (a->dy) {
            a->rdgamma[c] = (float)rdgamma;
            a->rdbeta[c] = (float)sum[SUM_RDY];
        }
    }
    for (size_t i = first; i < last; i++) {
        size_t at = block * COEFS * LANES + i;

        set_term(a, 0, at, 0, f.rx, 0);
        set_term(a, 1, at, f.mean, f.x, f.shift);
        if (a->dy) {
            set_term(a, 2, at, 0, f.dy, 0);
            set_term(a, 3, at, 0, f.rdy, 0);
        }
    }
}

void KERNEL(norm_tangent_terms)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_tangent *a = arguments;
    size_t tiles = tile_count(&a->shape), step = a->shape.blocks * SUMS * LANES;

    for (size_t block = begin; block < end; block++) {
        double lane[LANES][SUMS] = {0}, all[SUMS] = {0};

        for (size_t t = 0; t < tiles; t++)
            for (size_t i = 0; i < SUMS; i++)
                for (size_t k = 0; k < LANES; k++)
                    lane[k][i] += (double)a->partial[t * step + (block * SUMS + i) * LANES + k];
        for (size_t k = 0; k < LANES; k++)
            for (size_t i = 0; i < SUMS; i++)
                all[i] += lane[k][i];
        if (a->shape.by_image)
            finish(a, block, all, block, 0, LANES);
        for (size_t k = 0; !a->shape.by_image && k < LANES; k++)
            finish(a, block * LANES + k, lane[k], block, k, k + 1);
    }
}
