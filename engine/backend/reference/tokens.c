/* What transformers are made of: tokens, layer norm, GELU, softmax, heads, products of matrices.
 * Dimensions are named as in graph.h. */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"

/* Calls `copy` for each element of an image, with its place there and in the patches. */
static void walk_patches(const struct node *node, const struct shape *x,
                         void (*copy)(const struct operands *o, int64_t image, int64_t patch),
                         const struct operands *o)
{
    int64_t size = node->attr.k, c = x->dim[1], h = x->dim[2], w = x->dim[3], image = 0;

    for (int64_t n = 0; n < x->dim[0]; n++)
        for (int64_t i = 0; i < c; i++)
            for (int64_t row = 0; row < h; row++)
                for (int64_t column = 0; column < w; column++) {
                    int64_t token = (n * (h / size) + row / size) * (w / size) + column / size;
                    int64_t pixel = row % size * size + column % size;
                    int64_t place =
                        node->attr.channels_last ? pixel * c + i : i * size * size + pixel;
                    copy(o, image++, token * size * size * c + place);
                }
}

static void gather(const struct operands *o, int64_t image, int64_t patch)
{
    o->out[0][patch] = o->in[0][image];
}

static void scatter(const struct operands *o, int64_t image, int64_t patch)
{
    o->out[0][image] = o->in[0][patch];
}

void reference_patches(const struct operands *o)
{
    walk_patches(o->node, o->in_shape[0], gather, o);
}

void reference_patches_grad(const struct operands *o)
{
    walk_patches(o->node, o->out_shape[0], scatter, o);
}

void reference_prepend(const struct operands *o)
{
    int64_t tokens = o->out_shape[0]->dim[1], d = o->out_shape[0]->dim[2];

    for (int64_t n = 0; n < o->out_shape[0]->dim[0]; n++)
        for (int64_t i = 0; i < tokens * d; i++)
            o->out[0][n * tokens * d + i] =
                i < d ? o->in[1][i] : o->in[0][n * (tokens - 1) * d + i - d];
}

void reference_drop_first(const struct operands *o)
{
    int64_t tokens = o->in_shape[0]->dim[1], d = o->in_shape[0]->dim[2];

    for (int64_t n = 0; n < o->in_shape[0]->dim[0]; n++)
        for (int64_t i = d; i < tokens * d; i++)
            o->out[0][n * (tokens - 1) * d + i - d] = o->in[0][n * tokens * d + i];
}

void reference_token(const struct operands *o)
{
    int64_t tokens = o->in_shape[0]->dim[1], d = o->in_shape[0]->dim[2];

    for (int64_t n = 0; n < o->in_shape[0]->dim[0]; n++)
        for (int64_t i = 0; i < d; i++)
            o->out[0][n * d + i] = o->in[0][(n * tokens + o->node->attr.index) * d + i];
}

void reference_token_grad(const struct operands *o)
{
    int64_t tokens = o->out_shape[0]->dim[1], d = o->out_shape[0]->dim[2];

    memset(o->out[0], 0, (size_t)shape_elements(o->out_shape[0]) * sizeof *o->out[0]);
    for (int64_t n = 0; n < o->out_shape[0]->dim[0]; n++)
        for (int64_t i = 0; i < d; i++)
            o->out[0][(n * tokens + o->node->attr.index) * d + i] = o->in[0][n * d + i];
}

void reference_add_each(const struct operands *o)
{
    int64_t n = shape_elements(o->out_shape[0]), each = shape_elements(o->in_shape[1]);

    for (int64_t i = 0; i < n; i++)
        o->out[0][i] = o->in[0][i] + o->in[1][i % each];
}

void reference_sum_each(const struct operands *o)
{
    int64_t n = shape_elements(o->in_shape[0]), each = shape_elements(o->out_shape[0]);

    memset(o->out[0], 0, (size_t)each * sizeof *o->out[0]);
    for (int64_t i = 0; i < n; i++)
        o->out[0][i % each] += o->in[0][i];
}

static int64_t features(const struct shape *shape)
{
    return shape->dim[shape->rank - 1];
}

void reference_layer_norm(const struct operands *o)
{
    int64_t d = features(o->in_shape[0]), rows = shape_elements(o->in_shape[0]) / d;

    for (int64_t n = 0; n < rows; n++) {
        const double *x = o->in[0] + n * d;
        double mean = 0, var = 0;
        for (int64_t i = 0; i < d; i++)
            mean += x[i] / (double)d;
        for (int64_t i = 0; i < d; i++)
            var += (x[i] - mean) * (x[i] - mean) / (double)d;
        for (int64_t i = 0; i < d; i++)
            o->out[0][n * d + i] =
                (x[i] - mean) / sqrt(var + o->node->attr.eps) * o->in[1][i] + o->in[2][i];
        o->out[1][n] = mean;
        o->out[2][n] = var;
    }
}

/* With x̂ = (x − mean)/s and s = √(var + eps): dx = (g − mean(g) − x̂·mean(g·x̂))/s, g = dy·gamma. */
void reference_layer_norm_grad(const struct operands *o)
{
    int64_t d = features(o->in_shape[1]), rows = shape_elements(o->in_shape[1]) / d;
    const double *gamma = o->in[2];

    memset(o->out[1], 0, (size_t)d * sizeof *o->out[1]);
    memset(o->out[2], 0, (size_t)d * sizeof *o->out[2]);
    for (int64_t n = 0; n < rows; n++) {
        const double *dy = o->in[0] + n * d, *x = o->in[1] + n * d;
        double mean = o->in[3][n], s = sqrt(o->in[4][n] + o->node->attr.eps);
        double g = 0, g_x = 0;
        for (int64_t i = 0; i < d; i++) {
            double normal = (x[i] - mean) / s;
            o->out[1][i] += dy[i] * normal;
            o->out[2][i] += dy[i];
            g += dy[i] * gamma[i] / (double)d;
            g_x += dy[i] * gamma[i] * normal / (double)d;
        }
        for (int64_t i = 0; i < d; i++)
            o->out[0][n * d + i] = (dy[i] * gamma[i] - g - (x[i] - mean) / s * g_x) / s;
    }
}

/* The normal distribution: how much of it lies below x. */
static double below(double x)
{
    return erfc(-x * M_SQRT1_2) / 2;
}

void reference_gelu(const struct operands *o)
{
    int64_t n = shape_elements(o->out_shape[0]);

    for (int64_t i = 0; i < n; i++)
        o->out[0][i] = o->in[0][i] * below(o->in[0][i]);
}

void reference_gelu_grad(const struct operands *o)
{
    int64_t n = shape_elements(o->out_shape[0]);

    for (int64_t i = 0; i < n; i++) {
        double x = o->in[1][i], density = exp(-x * x / 2) / sqrt(2 * M_PI);
        o->out[0][i] = o->in[0][i] * (below(x) + x * density);
    }
}

/* GELU's second derivative is φ(x)·(2 − x²), φ the normal density. */
void reference_gelu_curve(const struct operands *o)
{
    int64_t n = shape_elements(o->out_shape[0]);

    for (int64_t i = 0; i < n; i++) {
        double x = o->in[1][i], density = exp(-x * x / 2) / sqrt(2 * M_PI);
        o->out[0][i] = o->in[0][i] * o->in[2][i] * density * (2 - x * x);
    }
}

void reference_softmax(const struct operands *o)
{
    int64_t d = features(o->in_shape[0]), rows = shape_elements(o->in_shape[0]) / d;

    for (int64_t n = 0; n < rows; n++) {
        const double *x = o->in[0] + n * d;
        double *y = o->out[0] + n * d, largest = x[0], sum = 0;
        for (int64_t i = 1; i < d; i++)
            largest = x[i] > largest ? x[i] : largest;
        for (int64_t i = 0; i < d; i++)
            sum += y[i] = exp(x[i] - largest);
        for (int64_t i = 0; i < d; i++)
            y[i] /= sum;
    }
}

void reference_softmax_grad(const struct operands *o)
{
    int64_t d = features(o->in_shape[0]), rows = shape_elements(o->in_shape[0]) / d;

    for (int64_t n = 0; n < rows; n++) {
        const double *dy = o->in[0] + n * d, *y = o->in[1] + n * d;
        double sum = 0;
        for (int64_t i = 0; i < d; i++)
            sum += dy[i] * y[i];
        for (int64_t i = 0; i < d; i++)
            o->out[0][n * d + i] = y[i] * (dy[i] - sum);
    }
}

/* Ry·(dy − ⟨dy,y⟩) − y·⟨dy,Ry⟩ */
void reference_softmax_curve(const struct operands *o)
{
    int64_t d = features(o->in_shape[0]), rows = shape_elements(o->in_shape[0]) / d;

    for (int64_t n = 0; n < rows; n++) {
        const double *dy = o->in[0] + n * d, *y = o->in[1] + n * d, *ry = o->in[2] + n * d;
        double sum = 0, moved = 0;
        for (int64_t i = 0; i < d; i++) {
            sum += dy[i] * y[i];
            moved += dy[i] * ry[i];
        }
        for (int64_t i = 0; i < d; i++)
            o->out[0][n * d + i] = ry[i] * (dy[i] - sum) - y[i] * moved;
    }
}

/* Where part `part`'s row (n, head, t) lies in [N,T,P·H·D]. */
static int64_t merged_row(const struct shape *heads, int parts, int part, int64_t row)
{
    int64_t h = heads->dim[1], t = heads->dim[2], d = heads->dim[3];
    int64_t n = row / (h * t), head = row / t % h, token = row % t;

    return (((n * t + token) * parts + part) * h + head) * d;
}

static int64_t head_rows(const struct shape *heads)
{
    return heads->dim[0] * heads->dim[1] * heads->dim[2];
}

void reference_split_heads(const struct operands *o)
{
    const struct shape *heads = o->out_shape[0];
    int64_t d = heads->dim[3];
    int parts = o->node->n_outputs;

    for (int part = 0; part < parts; part++)
        for (int64_t row = 0; row < head_rows(heads); row++)
            memcpy(o->out[part] + row * d, o->in[0] + merged_row(heads, parts, part, row),
                   (size_t)d * sizeof(double));
}

void reference_merge_heads(const struct operands *o)
{
    const struct shape *heads = o->in_shape[0];
    int64_t d = heads->dim[3];
    int parts = o->node->n_inputs;

    for (int part = 0; part < parts; part++)
        for (int64_t row = 0; row < head_rows(heads); row++)
            memcpy(o->out[0] + merged_row(heads, parts, part, row), o->in[part] + row * d,
                   (size_t)d * sizeof(double));
}

void reference_matmul(const struct operands *o)
{
    const struct shape *y = o->out_shape[0], *a = o->in_shape[0];
    bool across_a = o->node->attr.transpose_a, across_b = o->node->attr.transpose_b;
    int64_t m = y->dim[y->rank - 2], n = y->dim[y->rank - 1];
    int64_t k = a->dim[a->rank - (across_a ? 2 : 1)], matrices = shape_elements(y) / (m * n);

    for (int64_t at = 0; at < matrices; at++) {
        const double *from_a = o->in[0] + at * m * k, *from_b = o->in[1] + at * k * n;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int64_t l = 0; l < k; l++)
                    sum += from_a[across_a ? l * m + i : i * k + l] *
                           from_b[across_b ? j * k + l : l * n + j];
                o->out[0][(at * m + i) * n + j] = o->node->attr.scale * sum;
            }
    }
}
