/* Tokens in memory: patches of images, tokens put before others or taken out, heads. */
#include "backend/cpu/kernels/lanes.h"

INLINE void copy(float *restrict to, const float *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = from[i];
}

/* One pixel row of one patch's channel. `patch` is where its first pixel goes, `step` from one to
 * the next. */
INLINE void patch_row(const struct patches *p, const float *image, float *patch, size_t step)
{
    for (size_t i = 0; i < p->size; i++)
        patch[i * step] = image[i];
}

INLINE void patch_row_back(const struct patches *p, const float *patch, float *image, size_t step)
{
    for (size_t i = 0; i < p->size; i++)
        image[i] = patch[i * step];
}

/* Row `row` of an image's patches. */
INLINE void patches_of_row(const struct patches *p, size_t sample, size_t row)
{
    size_t across = p->width / p->size, area = p->size * p->size, each = area * p->channels;
    size_t down = p->height / p->size, step = p->channels_last ? p->channels : 1;

    for (size_t c = 0; c < p->channels; c++)
        for (size_t y = 0; y < p->size; y++)
            for (size_t column = 0; column < across; column++) {
                size_t image =
                    ((sample * p->channels + c) * p->height + row * p->size + y) * p->width +
                    column * p->size;
                size_t patch =
                    ((sample * down + row) * across + column) * each +
                    (p->channels_last ? y * p->size * p->channels + c : c * area + y * p->size);

                if (p->back)
                    patch_row_back(p, p->from + patch, p->to + image, step);
                else
                    patch_row(p, p->from + image, p->to + patch, step);
            }
}

void KERNEL(patches)(const void *arguments, size_t begin, size_t end)
{
    const struct patches *p = arguments;
    size_t down = p->height / p->size;

    for (size_t i = begin; i < end; i++)
        patches_of_row(p, i / down, i % down);
}

void KERNEL(place)(const void *arguments, size_t begin, size_t end)
{
    const struct place_rows *p = arguments;

    for (size_t n = begin; n < end; n++) {
        float *to = p->to + n * p->to_step;

        for (size_t i = 0; i < p->to_at; i++)
            to[i] = p->before ? p->before[i] : 0;
        copy(to + p->to_at, p->from + n * p->from_step + p->from_at, p->size);
        for (size_t i = p->to_at + p->size; i < p->to_step; i++)
            to[i] = 0;
    }
}

void KERNEL(add_each)(const void *arguments, size_t begin, size_t end)
{
    const struct add_each *a = arguments;

    for (size_t n = begin; n < end; n++) {
        const float *x = a->x + n * a->size;
        float *y = a->y + n * a->size;
        size_t i = 0;

        for (; i + LANES <= a->size; i += LANES)
            store_loose(y + i, load_loose(x + i) + load_loose(a->b + i));
        for (; i < a->size; i++)
            y[i] = x[i] + a->b[i];
    }
}

void KERNEL(heads)(const void *arguments, size_t begin, size_t end)
{
    const struct heads *s = arguments;

    for (size_t row = begin; row < end; row++) {
        size_t n = row / s->tokens, token = row % s->tokens;

        for (size_t part = 0; part < s->parts; part++)
            for (size_t head = 0; head < s->heads; head++) {
                size_t whole = ((row * s->parts + part) * s->heads + head) * s->size;
                size_t at = ((n * s->heads + head) * s->tokens + token) * s->size;

                if (s->merge)
                    copy(s->whole + whole, s->part[part] + at, s->size);
                else
                    copy(s->part[part] + at, s->whole + whole, s->size);
            }
    }
}
