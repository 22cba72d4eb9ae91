/* Tangents of batch norm in the batch's statistics and of layer norm, and of their derivatives.
 * Both normalise groups of elements, a channel or a row. With mean(·) over the group, ι = 1/√(var +
 * eps), x̂ = (x − mean)·ι and r = mean(x̂·Rx):
 *
 *     Rx̂ = ι·(Rx − mean(Rx) − x̂·r)        Rι = −ι²·r
 *     Ry = Rγ·x̂ + γ·Rx̂ + Rβ
 *
 * and of dβ = Σ dy, dγ = Σ dy·x̂, dx = ι·(g − mean(g) − x̂·mean(g·x̂)) with g = γ·dy:
 *
 *     Rdβ = Σ Rdy        Rdγ = Σ (Rdy·x̂ + dy·Rx̂)        Rg = Rγ·dy + γ·Rdy
 *     Rdx = −ι·r·dx + ι·(Rg − mean(Rg) − Rx̂·mean(g·x̂) − x̂·mean(Rg·x̂ + g·Rx̂)) */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"

/* Element i of a group lies at offset + i/run·stride + i mod run. */
struct group {
    int64_t count, run, stride, offset;
    bool rows; /* layer norm: gamma is one an element of the group; else one the group */
    int64_t number;
    double mean, inverse; /* ι */
};

static int64_t at(const struct group *g, int64_t i)
{
    return g->offset + i / g->run * g->stride + i % g->run;
}

static int64_t feature(const struct group *g, int64_t i)
{
    return g->rows ? i : g->number;
}

static int64_t groups_of(const struct shape *x, bool rows)
{
    return rows ? shape_elements(x) / x->dim[x->rank - 1] : x->dim[1];
}

static struct group group_of(const struct operands *o, const struct shape *x, bool rows,
                             int64_t number, int mean)
{
    struct group g = {.rows = rows, .number = number, .mean = o->in[mean][number]};

    if (rows) {
        g.count = g.run = x->dim[x->rank - 1];
        g.offset = number * g.run;
    } else {
        g.run = x->dim[2] * x->dim[3];
        g.count = x->dim[0] * g.run;
        g.stride = x->dim[1] * g.run;
        g.offset = number * g.run;
    }
    g.inverse = 1 / sqrt(o->in[mean + 1][number] + o->node->attr.eps);
    return g;
}

static double normal(const struct group *g, const double *x, int64_t i)
{
    return (x[at(g, i)] - g->mean) * g->inverse;
}

/* How the group's statistics move: mean(Rx) and r. */
struct drift {
    double mean, along;
};

static struct drift drift_of(const struct group *g, const double *x, const double *rx)
{
    struct drift drift = {0};

    for (int64_t i = 0; i < g->count; i++) {
        drift.mean += rx[at(g, i)] / (double)g->count;
        drift.along += normal(g, x, i) * rx[at(g, i)] / (double)g->count;
    }
    return drift;
}

/* Rx̂ */
static double normal_tangent(const struct group *g, const struct drift *drift, const double *x,
                             const double *rx, int64_t i)
{
    return g->inverse * (rx[at(g, i)] - drift->mean - normal(g, x, i) * drift->along);
}

static void tangent(const struct operands *o, bool rows)
{
    const double *x = o->in[0], *rx = o->in[1];
    const double *gamma = o->in[2], *rgamma = o->in[3], *rbeta = o->in[4];

    for (int64_t n = 0; n < groups_of(o->in_shape[0], rows); n++) {
        struct group g = group_of(o, o->in_shape[0], rows, n, 5);
        struct drift drift = drift_of(&g, x, rx);
        for (int64_t i = 0; i < g.count; i++) {
            int64_t c = feature(&g, i);
            o->out[0][at(&g, i)] = rgamma[c] * normal(&g, x, i) +
                                   gamma[c] * normal_tangent(&g, &drift, x, rx, i) + rbeta[c];
        }
    }
}

/* The means of a group that dx and Rdx need. */
struct grad_means {
    double g, g_normal;            /* mean(g), mean(g·x̂) */
    double rg, rg_normal_and_back; /* mean(Rg), mean(Rg·x̂ + g·Rx̂) */
};

/* Also adds to Rdgamma and Rdbeta. */
static struct grad_means grad_means_of(const struct operands *o, const struct group *g,
                                       const struct drift *drift)
{
    const double *dy = o->in[0], *rdy = o->in[1], *gamma = o->in[4], *rgamma = o->in[5];
    struct grad_means means = {0};

    for (int64_t i = 0; i < g->count; i++) {
        int64_t c = feature(g, i), e = at(g, i);
        double x = normal(g, o->in[2], i);
        double rx = normal_tangent(g, drift, o->in[2], o->in[3], i);
        double slope = gamma[c] * dy[e], rslope = rgamma[c] * dy[e] + gamma[c] * rdy[e];
        o->out[1][c] += rdy[e] * x + dy[e] * rx;
        o->out[2][c] += rdy[e];
        means.g += slope / (double)g->count;
        means.g_normal += slope * x / (double)g->count;
        means.rg += rslope / (double)g->count;
        means.rg_normal_and_back += (rslope * x + slope * rx) / (double)g->count;
    }
    return means;
}

static void grad_tangent(const struct operands *o, bool rows)
{
    const double *dy = o->in[0], *rdy = o->in[1], *gamma = o->in[4], *rgamma = o->in[5];
    const struct shape *shape = o->in_shape[2];

    memset(o->out[1], 0, (size_t)shape_elements(o->out_shape[1]) * sizeof *o->out[1]);
    memset(o->out[2], 0, (size_t)shape_elements(o->out_shape[2]) * sizeof *o->out[2]);
    for (int64_t n = 0; n < groups_of(shape, rows); n++) {
        struct group g = group_of(o, shape, rows, n, 6);
        struct drift drift = drift_of(&g, o->in[2], o->in[3]);
        struct grad_means means = grad_means_of(o, &g, &drift);
        for (int64_t i = 0; i < g.count; i++) {
            int64_t c = feature(&g, i), e = at(&g, i);
            double x = normal(&g, o->in[2], i);
            double rx = normal_tangent(&g, &drift, o->in[2], o->in[3], i);
            double dx = g.inverse * (gamma[c] * dy[e] - means.g - x * means.g_normal);
            o->out[0][e] =
                g.inverse * (rgamma[c] * dy[e] + gamma[c] * rdy[e] - means.rg -
                             rx * means.g_normal - x * means.rg_normal_and_back - drift.along * dx);
        }
    }
}

void reference_batch_norm_tangent(const struct operands *o)
{
    tangent(o, false);
}

void reference_batch_norm_grad_tangent(const struct operands *o)
{
    grad_tangent(o, false);
}

void reference_layer_norm_tangent(const struct operands *o)
{
    tangent(o, true);
}

void reference_layer_norm_grad_tangent(const struct operands *o)
{
    grad_tangent(o, true);
}
