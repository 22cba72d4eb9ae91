/* Batch norm (Ioffe and Szegedy, 2015), one channel after the other, in the batch's statistics and
 * in given ones, and their derivatives. */
#include <math.h>

#include "backend/reference/reference.h"

/* A channel of [N,C,H,W]: `images` stretches of `plane` elements, `stride` apart. */
struct channel {
    int64_t images, plane, stride, offset;
    double count; /* elements */
};

static struct channel channel_of(const struct shape *x, int64_t c)
{
    struct channel v = {.images = x->dim[0], .plane = x->dim[2] * x->dim[3]};

    v.stride = x->dim[1] * v.plane;
    v.offset = c * v.plane;
    v.count = (double)(v.images * v.plane);
    return v;
}

static double channel_sum(const struct channel *v, const double *x)
{
    double sum = 0;

    for (int64_t n = 0; n < v->images; n++) {
        const double *plane = x + n * v->stride + v->offset;
        for (int64_t i = 0; i < v->plane; i++)
            sum += plane[i];
    }
    return sum;
}

static double channel_var(const struct channel *v, const double *x, double mean)
{
    double sum = 0;

    for (int64_t n = 0; n < v->images; n++) {
        const double *plane = x + n * v->stride + v->offset;
        for (int64_t i = 0; i < v->plane; i++)
            sum += (plane[i] - mean) * (plane[i] - mean);
    }
    return sum / v->count;
}

/* y = (x − mean)·scale + shift */
static void channel_normalise(const struct channel *v, const double *x, double mean, double scale,
                              double shift, double *y)
{
    for (int64_t n = 0; n < v->images; n++) {
        const double *from = x + n * v->stride + v->offset;
        double *to = y + n * v->stride + v->offset;
        for (int64_t i = 0; i < v->plane; i++)
            to[i] = (from[i] - mean) * scale + shift;
    }
}

void reference_batch_norm(const struct operands *o)
{
    const double *x = o->in[0], *gamma = o->in[1], *beta = o->in[2];
    double *y = o->out[0], *mean = o->out[1], *var = o->out[2];

    for (int64_t c = 0; c < o->in_shape[0]->dim[1]; c++) {
        struct channel v = channel_of(o->in_shape[0], c);
        mean[c] = channel_sum(&v, x) / v.count;
        var[c] = channel_var(&v, x, mean[c]);
        channel_normalise(&v, x, mean[c], gamma[c] / sqrt(var[c] + o->node->attr.eps), beta[c], y);
    }
}

void reference_batch_norm_eval(const struct operands *o)
{
    const double *x = o->in[0], *gamma = o->in[1], *beta = o->in[2];
    const double *mean = o->in[3], *var = o->in[4];

    for (int64_t c = 0; c < o->in_shape[0]->dim[1]; c++) {
        struct channel v = channel_of(o->in_shape[0], c);
        channel_normalise(&v, x, mean[c], gamma[c] / sqrt(var[c] + o->node->attr.eps), beta[c],
                          o->out[0]);
    }
}

/* With x̂ = (x − mean)·inverse: dβ = Σ dy, dγ = Σ dy·x̂,
 * dx = γ·inverse·(dy − dβ/count − x̂·dγ/count), since mean and variance depend on x as well. */
void reference_batch_norm_grad(const struct operands *o)
{
    const double *dy = o->in[0], *x = o->in[1], *gamma = o->in[2];
    const double *mean = o->in[3], *var = o->in[4];
    double *dx = o->out[0], *dgamma = o->out[1], *dbeta = o->out[2];

    for (int64_t c = 0; c < o->in_shape[1]->dim[1]; c++) {
        struct channel v = channel_of(o->in_shape[1], c);
        double inverse = 1 / sqrt(var[c] + o->node->attr.eps), by_gamma = 0, by_beta = 0;
        for (int64_t n = 0; n < v.images; n++)
            for (int64_t i = n * v.stride + v.offset, end = i + v.plane; i < end; i++) {
                by_beta += dy[i];
                by_gamma += dy[i] * ((x[i] - mean[c]) * inverse);
            }
        for (int64_t n = 0; n < v.images; n++)
            for (int64_t i = n * v.stride + v.offset, end = i + v.plane; i < end; i++)
                dx[i] =
                    gamma[c] * inverse *
                    (dy[i] - by_beta / v.count - (x[i] - mean[c]) * inverse * (by_gamma / v.count));
        dgamma[c] = by_gamma;
        dbeta[c] = by_beta;
    }
}

/* y = x·gamma/√(var + eps) */
void reference_batch_norm_scale(const struct operands *o)
{
    const double *gamma = o->in[1], *var = o->in[2];

    for (int64_t c = 0; c < o->in_shape[0]->dim[1]; c++) {
        struct channel v = channel_of(o->in_shape[0], c);
        channel_normalise(&v, o->in[0], 0, gamma[c] / sqrt(var[c] + o->node->attr.eps), 0,
                          o->out[0]);
    }
}

/* Σ dy·(x − mean) of a channel */
static double channel_dot(const struct channel *v, const double *dy, const double *x, double mean)
{
    double sum = 0;

    for (int64_t n = 0; n < v->images; n++)
        for (int64_t i = n * v->stride + v->offset, end = i + v->plane; i < end; i++)
            sum += dy[i] * (x[i] - mean);
    return sum;
}

void reference_batch_norm_eval_grad(const struct operands *o)
{
    const double *dy = o->in[0], *x = o->in[1], *mean = o->in[2], *var = o->in[3];

    for (int64_t c = 0; c < o->in_shape[1]->dim[1]; c++) {
        struct channel v = channel_of(o->in_shape[1], c);
        o->out[0][c] = channel_dot(&v, dy, x, mean[c]) / sqrt(var[c] + o->node->attr.eps);
        o->out[1][c] = channel_sum(&v, dy);
    }
}

void reference_batch_norm_dot(const struct operands *o)
{
    const double *var = o->in[2];

    for (int64_t c = 0; c < o->in_shape[1]->dim[1]; c++) {
        struct channel v = channel_of(o->in_shape[1], c);
        o->out[0][c] = channel_dot(&v, o->in[0], o->in[1], 0) / sqrt(var[c] + o->node->attr.eps);
    }
}
