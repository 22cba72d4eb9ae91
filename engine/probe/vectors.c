/* Eight sums side by side: a compiler can keep them in registers without changing the order. */
#include "probe/vectors.h"

#include <math.h>
#include <string.h>

#include "random/philox.h"

#define LANES 8

static double sum_lanes(const double lane[LANES])
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

double vectors_dot(const float *a, const double *b, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)a[i + (size_t)l] * b[i + (size_t)l];
    for (; i < n; i++)
        lane[i % LANES] += (double)a[i] * b[i];
    return sum_lanes(lane);
}

double vectors_dot_f32(const float *a, const float *b, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)a[i + (size_t)l] * (double)b[i + (size_t)l];
    for (; i < n; i++)
        lane[i % LANES] += (double)a[i] * (double)b[i];
    return sum_lanes(lane);
}

double vectors_norm(const double *a, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += a[i + (size_t)l] * a[i + (size_t)l];
    for (; i < n; i++)
        lane[i % LANES] += a[i] * a[i];
    return sqrt(sum_lanes(lane));
}

double vectors_norm_f32(const float *a, size_t n)
{
    return sqrt(vectors_dot_f32(a, a, n));
}

void vectors_add(double *to, double factor, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += factor * (double)x[i];
}

void vectors_scale(float *to, double factor, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)(factor * x[i]);
}

static void draw_tensor(const struct probe_drawing *drawing, int tensor, float *out, size_t n)
{
    uint32_t stream = random_stream(RANDOM_PROBE, (uint32_t)drawing->what, (uint32_t)tensor);

    for (size_t first = 0; first < n; first += 4) {
        struct philox draw = philox(drawing->seed, (uint32_t)(first / 4), stream, drawing->number);
        double four[4];

        if (drawing->distribution == DRAW_NORMAL)
            random_normal4_f64(draw, four);
        for (size_t i = 0; i < 4 && first + i < n; i++)
            out[first + i] = drawing->distribution == DRAW_NORMAL ? (float)four[i]
                             : draw.word[i] >> 31                 ? -1
                                                                  : 1;
    }
}

void vectors_draw(const struct layout *layout, const struct probe_drawing *drawing, float *out)
{
    memset(out, 0, layout->size * sizeof *out);
    for (int t = 0; t < layout->n; t++)
        if (drawing->only < 0 || drawing->only == t)
            draw_tensor(drawing, t, out + layout->tensor[t].offset, layout->tensor[t].size);
}
