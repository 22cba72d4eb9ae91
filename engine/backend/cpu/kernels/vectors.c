/* Perturbing and changing the weights. Nothing here depends on LANES but the order in which
 * squares are summed. */
#include "backend/cpu/kernels/lanes.h"

INLINE double squares(const float *x, size_t n)
{
    wide sum = {0};
    double rest = 0, total = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        wide v = widen(load_loose(x + i));
        sum += v * v;
    }
    for (; i < n; i++)
        rest += (double)x[i] * x[i];
    for (i = 0; i < LANES; i++)
        total += sum[i];
    return total + rest;
}

void KERNEL(row_squares)(const void *arguments, size_t begin, size_t end)
{
    const struct row_squares *r = arguments;

    for (size_t row = begin; row < end; row++)
        r->sum[row] = squares(r->x + row * r->columns, r->columns);
}

INLINE lanes mix_lanes(const struct mix *mix, size_t i)
{
    lanes d = {0};

    for (int t = 0; t < mix->n_terms; t++)
        d += load_loose(mix->gradient[t] + i) * mix->weight[t];
    return d;
}

INLINE float mix_one(const struct mix *mix, size_t i)
{
    float d = 0;

    for (int t = 0; t < mix->n_terms; t++)
        d += mix->gradient[t][i] * mix->weight[t];
    return d;
}

INLINE double mix_squares(const struct mix *mix, size_t begin, size_t end)
{
    wide sum = {0};
    double rest = 0, total = 0;
    size_t i = begin;

    for (; i + LANES <= end; i += LANES) {
        wide d = widen(mix_lanes(mix, i));
        sum += d * d;
    }
    for (; i < end; i++) {
        float d = mix_one(mix, i);
        rest += (double)d * d;
    }
    for (i = 0; i < LANES; i++)
        total += sum[i];
    return total + rest;
}

void KERNEL(feed_fisher)(const void *arguments, size_t begin, size_t end)
{
    const struct feed_fisher *f = arguments;

    for (size_t row = begin; row < end; row++) {
        double sum = mix_squares(&f->mix, row * f->columns, (row + 1) * f->columns);
        f->fisher[row] = (float)(f->beta * f->fisher[row] + sum);
    }
}

void KERNEL(mix_squares)(const void *arguments, size_t begin, size_t end)
{
    const struct mix_squares *m = arguments;

    for (size_t row = begin; row < end; row++) {
        size_t first = row * m->columns, stop = first + m->columns;
        m->sum[row] = mix_squares(&m->mix, first, stop < m->size ? stop : m->size);
    }
}

/* Eight sums at a time, whatever the vectors' width. */
void KERNEL(adaptive_squares)(const void *arguments, size_t begin, size_t end)
{
    const struct adaptive_squares *a = arguments;

    for (size_t row = begin; row < end; row++) {
        size_t first = row * a->columns, stop = first + a->columns;
        double sum[8] = {0}, total = 0;

        stop = stop < a->size ? stop : a->size;
        for (size_t i = first; i < stop; i++) {
            float d = (__builtin_fabsf(a->w[i]) + a->eta) * a->d[i];
            sum[(i - first) % 8] += (double)d * d;
        }
        for (int i = 0; i < 8; i++)
            total += sum[i];
        a->sum[row] = total;
    }
}

void KERNEL(add_adaptive)(const void *arguments, size_t begin, size_t end)
{
    const struct add_adaptive *a = arguments;

    for (size_t i = begin; i < end; i++) {
        float scale = __builtin_fabsf(a->w[i]) + a->eta;
        a->to[i] = a->w[i] + a->factor * (scale * scale * a->d[i]);
    }
}

#define NOISE_CHUNK 1024

/* w + z·scale on [begin, end), which lies within one chunk of noise that starts at `first`. */
INLINE void add_chunk(const struct add_noise *a, const float *z, size_t first, size_t begin,
                      size_t end)
{
    for (size_t i = begin; i < end;) {
        size_t row = i / a->columns, stop = (row + 1) * a->columns;
        float scale = a->scale[row];

        for (stop = stop < end ? stop : end; i < stop; i++)
            a->to[i] = a->w[i] + z[i - first] * scale;
    }
}

void KERNEL(add_noise)(const void *arguments, size_t begin, size_t end)
{
    const struct add_noise *a = arguments;
    float z[NOISE_CHUNK];

    for (size_t first = begin / 4 * 4; first < end; first += NOISE_CHUNK) {
        size_t stop = first + NOISE_CHUNK < end ? first + NOISE_CHUNK : end;

        struct random_normal draw = {.seed = a->seed,
                                     .step = a->step,
                                     .first_block = first / 4,
                                     .stream = a->stream,
                                     .out = z};

        KERNEL(random_normal)(&draw, 0, stop - first);
        add_chunk(a, z, first, first < begin ? begin : first, stop);
    }
}

void KERNEL(add_scaled)(const void *arguments, size_t begin, size_t end)
{
    const struct add_scaled *a = arguments;

    for (size_t i = begin; i < end; i++)
        a->to[i] = a->w[i] + a->d[i] * a->factor;
}

INLINE void sgd(const struct sgd_step *s, size_t begin, size_t end, bool nesterov)
{
    size_t i = begin;

    for (; i + LANES <= end; i += LANES) {
        lanes w = load_loose(s->w + i), d = mix_lanes(&s->mix, i) + w * s->decay;
        lanes m = d + load_loose(s->m + i) * s->momentum;

        store_loose(s->m + i, m);
        if (nesterov)
            m = d + m * s->momentum;
        store_loose(s->w + i, w - m * s->lr);
    }
    for (; i < end; i++) {
        float d = mix_one(&s->mix, i) + s->w[i] * s->decay, m = d + s->m[i] * s->momentum;

        s->m[i] = m;
        if (nesterov)
            m = d + m * s->momentum;
        s->w[i] -= m * s->lr;
    }
}

void KERNEL(sgd_step)(const void *arguments, size_t begin, size_t end)
{
    const struct sgd_step *s = arguments;

    if (s->nesterov)
        sgd(s, begin, end, true);
    else
        sgd(s, begin, end, false);
}

void KERNEL(adam_step)(const void *arguments, size_t begin, size_t end)
{
    const struct adam_step *s = arguments;

    for (size_t i = begin; i < end; i++) {
        float w = s->w[i] * s->kept, d = mix_one(&s->mix, i) + w * s->decay;
        float m = s->m[i] * s->beta1 + d * s->rest1;
        float v = s->v[i] * s->beta2 + d * d * s->rest2;

        s->m[i] = m;
        s->v[i] = v;
        s->w[i] = w - s->rate * m / (__builtin_sqrtf(v) * s->scale + s->eps);
    }
}
