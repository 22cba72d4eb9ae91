/* Layer norm, by rows. The parameters' derivatives are summed over chunks of rows first. */
#include "backend/cpu/kernels/exponential.h"

/* Σ x, or Σ (x − mean)². */
INLINE float sum(const float *x, size_t n)
{
    lanes all = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        all += load_loose(x + i);
    return lanes_sum(all + load_some(x + i, n - i, 0));
}

INLINE float squares(const float *x, size_t n, float mean)
{
    lanes all = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        lanes d = load_loose(x + i) - mean;
        all += d * d;
    }
    if (i < n) {
        lanes d = load_some(x + i, n - i, mean) - mean;
        all += d * d;
    }
    return lanes_sum(all);
}

INLINE float inverse_deviation(float var, double eps)
{
    return (float)(1 / __builtin_sqrt((double)var + eps));
}

void KERNEL(layer_norm)(const void *arguments, size_t begin, size_t end)
{
    const struct layer_norm *l = arguments;
    size_t n = l->columns;

    for (size_t row = begin; row < end; row++) {
        const float *x = l->x + row * n;
        float *y = l->y + row * n, mean = sum(x, n) / (float)n;
        float var = squares(x, n, mean) / (float)n, scale = inverse_deviation(var, l->eps);
        size_t i = 0;

        for (; i + LANES <= n; i += LANES)
            store_loose(y + i, (load_loose(x + i) - mean) * scale * load_loose(l->gamma + i) +
                                   load_loose(l->beta + i));
        for (; i < n; i++)
            y[i] = (x[i] - mean) * scale * l->gamma[i] + l->beta[i];
        l->mean[row] = mean;
        l->var[row] = var;
    }
}

/* Σ g and Σ g·x̂ of a row, g = dy·gamma; adds dy·x̂ and dy to the chunk's sums. */
INLINE void row_sums(const struct layer_norm_grad *l, size_t row, float scale, float *partial,
                     float *g_sum, float *gx_sum)
{
    size_t n = l->columns, i = 0;
    const float *dy = l->dy + row * n, *x = l->x + row * n;
    float mean = l->mean[row], *dgamma = partial, *dbeta = partial + n, rest = 0, rest_x = 0;
    lanes all = {0}, all_x = {0};

    for (; i + LANES <= n; i += LANES) {
        lanes d = load_loose(dy + i), normal = (load_loose(x + i) - mean) * scale;
        lanes g = d * load_loose(l->gamma + i);

        store_loose(dgamma + i, load_loose(dgamma + i) + d * normal);
        store_loose(dbeta + i, load_loose(dbeta + i) + d);
        all += g;
        all_x += g * normal;
    }
    for (; i < n; i++) {
        float normal = (x[i] - mean) * scale, g = dy[i] * l->gamma[i];

        dgamma[i] += dy[i] * normal;
        dbeta[i] += dy[i];
        rest += g;
        rest_x += g * normal;
    }
    *g_sum = lanes_sum(all) + rest;
    *gx_sum = lanes_sum(all_x) + rest_x;
}

INLINE void row_grad(const struct layer_norm_grad *l, size_t row, float *partial)
{
    size_t n = l->columns, i = 0;
    const float *dy = l->dy + row * n, *x = l->x + row * n;
    float *dx = l->dx + row * n, mean = l->mean[row];
    float scale = inverse_deviation(l->var[row], l->eps), g_mean, gx_mean;

    row_sums(l, row, scale, partial, &g_mean, &gx_mean);
    g_mean /= (float)n;
    gx_mean /= (float)n;
    for (; i + LANES <= n; i += LANES) {
        lanes g = load_loose(dy + i) * load_loose(l->gamma + i);
        lanes normal = (load_loose(x + i) - mean) * scale;

        store_loose(dx + i, (g - g_mean - normal * gx_mean) * scale);
    }
    for (; i < n; i++)
        dx[i] = (dy[i] * l->gamma[i] - g_mean - (x[i] - mean) * scale * gx_mean) * scale;
}

void KERNEL(layer_norm_grad)(const void *arguments, size_t begin, size_t end)
{
    const struct layer_norm_grad *l = arguments;

    for (size_t chunk = begin; chunk < end; chunk++) {
        float *partial = l->partial + chunk * 2 * l->columns;
        size_t first = chunk * LAYER_NORM_ROWS, past = first + LAYER_NORM_ROWS;

        for (size_t i = 0; i < 2 * l->columns; i++)
            partial[i] = 0;
        for (size_t row = first; row < past && row < l->rows; row++)
            row_grad(l, row, partial);
    }
}
