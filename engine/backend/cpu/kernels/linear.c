/* The linear layer: small next to the convolutions, so plain vector loops do. */
#include "backend/cpu/kernels/lanes.h"

INLINE float dot(const float *a, const float *b, size_t n)
{
    lanes sum[2] = {0};
    float rest = 0;
    size_t i = 0;

    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        sum[0] += load_loose(a + i) * load_loose(b + i);
        sum[1] += load_loose(a + i + LANES) * load_loose(b + i + LANES);
    }
    for (; i + LANES <= n; i += LANES)
        sum[0] += load_loose(a + i) * load_loose(b + i);
    for (; i < n; i++)
        rest += a[i] * b[i];
    return lanes_sum(sum[0] + sum[1]) + rest;
}

/* y += factor·x */
INLINE void accumulate(float *restrict y, const float *restrict x, float factor, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        store_loose(y + i, load_loose(y + i) + load_loose(x + i) * factor);
    for (; i < n; i++)
        y[i] += x[i] * factor;
}

void KERNEL(linear)(const void *arguments, size_t begin, size_t end)
{
    const struct linear *l = arguments;

    for (size_t n = begin; n < end; n++)
        for (size_t o = 0; o < l->out; o++) {
            float *to = l->result + n * l->out + o;
            *to = (l->onto ? *to : 0) + (l->b ? l->b[o] : 0) +
                  dot(l->x + n * l->in, l->w + o * l->in, l->in);
        }
}

void KERNEL(linear_grad_x)(const void *arguments, size_t begin, size_t end)
{
    const struct linear *l = arguments;

    for (size_t n = begin; n < end; n++) {
        float *dx = l->result + n * l->in;

        for (size_t i = 0; !l->onto && i < l->in; i++)
            dx[i] = 0;
        for (size_t o = 0; o < l->out; o++)
            accumulate(dx, l->w + o * l->in, l->dy[n * l->out + o], l->in);
    }
}

void KERNEL(linear_grad_w)(const void *arguments, size_t begin, size_t end)
{
    const struct linear *l = arguments;

    for (size_t o = begin; o < end; o++) {
        float *dw = l->result + o * l->in;

        for (size_t i = 0; !l->onto && i < l->in; i++)
            dw[i] = 0;
        for (size_t n = 0; n < l->n; n++)
            accumulate(dw, l->x + n * l->in, l->dy[n * l->out + o], l->in);
    }
}

/* Each column in double, row after row. */
INLINE void sum_columns(const struct sum_rows *s, size_t first, size_t n)
{
    double sum[SUM_COLUMNS] = {0};

    for (size_t row = 0; row < s->n; row++) {
        const float *dy = s->dy + row * s->step + first;

        for (size_t i = 0; i < n; i++)
            sum[i] += dy[i];
    }
    for (size_t i = 0; i < n; i++)
        s->result[first + i] = (float)sum[i];
}

void KERNEL(sum_rows)(const void *arguments, size_t begin, size_t end)
{
    const struct sum_rows *s = arguments;

    for (size_t block = begin; block < end; block++) {
        size_t first = block * SUM_COLUMNS;

        if (first + SUM_COLUMNS <= s->out)
            sum_columns(s, first, SUM_COLUMNS);
        else
            sum_columns(s, first, s->out - first);
    }
}
