/* Max-pooling: the largest of each window, the first of equal ones; NaN is larger than all. A plane
 * is that of an image's block of channels or of a channel's row of images: no matter here. */
#include <string.h>

#include "backend/cpu/kernels/lanes.h"

/* Pixels of a window that lie within the image. */
struct window {
    size_t top, bottom, left, right;
};

INLINE void clip(size_t at, const struct max_pool *m, size_t size, size_t *first, size_t *end)
{
    size_t begin = at * m->stride; /* in the image with its padding */

    *first = begin < m->pad ? 0 : begin - m->pad;
    *end = begin + m->size - m->pad < size ? begin + m->size - m->pad : size;
}

INLINE struct window window_at(const struct max_pool *m, size_t p, size_t q)
{
    struct window w;

    clip(p, m, m->height, &w.top, &w.bottom);
    clip(q, m, m->width, &w.left, &w.right);
    return w;
}

/* The largest of a window, and its number in the window, row by row, lane by lane. */
struct largest {
    lanes value;
    lanes_mask number;
};

INLINE struct largest largest_of(const struct max_pool *m, const float *x, const struct window *w)
{
    struct largest best = {load(x + (w->top * m->width + w->left) * LANES), {0}};
    int32_t number = 0;

    for (size_t h = w->top; h < w->bottom; h++)
        for (size_t v = w->left; v < w->right; v++, number++) {
            lanes value = load(x + (h * m->width + v) * LANES);
            lanes_mask take = larger(value, best.value);

            best.value = choose(take, value, best.value);
            best.number = (take & (number - (lanes_mask){0})) | (best.number & ~take);
        }
    return best;
}

void KERNEL(max_pool)(const void *arguments, size_t begin, size_t end)
{
    const struct max_pool *m = arguments;
    size_t from = m->height * m->width * LANES, to = m->out_height * m->out_width * LANES;

    for (size_t plane = begin; plane < end; plane++) {
        float *y = m->to + plane * to;

        for (size_t p = 0; p < m->out_height; p++)
            for (size_t q = 0; q < m->out_width; q++, y += LANES) {
                struct window w = window_at(m, p, q);
                store(y, largest_of(m, m->x + plane * from, &w).value);
            }
    }
}

INLINE void add_where_largest(const struct max_pool *m, const struct window *w,
                              const struct largest *best, lanes dy, float *dx)
{
    int32_t number = 0;

    for (size_t h = w->top; h < w->bottom; h++)
        for (size_t v = w->left; v < w->right; v++, number++) {
            float *at = dx + (h * m->width + v) * LANES;
            store(at, load(at) + keep(dy, (lanes_mask)(best->number == number)));
        }
}

void KERNEL(max_pool_grad)(const void *arguments, size_t begin, size_t end)
{
    const struct max_pool *m = arguments;
    size_t from = m->height * m->width * LANES, to = m->out_height * m->out_width * LANES;

    for (size_t plane = begin; plane < end; plane++) {
        const float *x = m->x + plane * from, *dy = m->dy + plane * to;
        float *dx = m->to + plane * from;

        memset(dx, 0, from * sizeof *dx);
        for (size_t p = 0; p < m->out_height; p++)
            for (size_t q = 0; q < m->out_width; q++, dy += LANES) {
                struct window w = window_at(m, p, q);
                struct largest best = largest_of(m, x, &w);
                add_where_largest(m, &w, &best, load(dy), dx);
            }
    }
}

/* Of `from`, the pixel of each lane's number in the window. */
INLINE lanes pick(const struct max_pool *m, const struct window *w, lanes_mask wanted,
                  const float *from)
{
    lanes value = {0};
    int32_t number = 0;

    for (size_t h = w->top; h < w->bottom; h++)
        for (size_t v = w->left; v < w->right; v++, number++)
            value = choose((lanes_mask)(wanted == number), load(from + (h * m->width + v) * LANES),
                           value);
    return value;
}

void KERNEL(max_pool_tangent)(const void *arguments, size_t begin, size_t end)
{
    const struct max_pool *m = arguments;
    size_t from = m->height * m->width * LANES, to = m->out_height * m->out_width * LANES;

    for (size_t plane = begin; plane < end; plane++) {
        float *y = m->to + plane * to;

        for (size_t p = 0; p < m->out_height; p++)
            for (size_t q = 0; q < m->out_width; q++, y += LANES) {
                struct window w = window_at(m, p, q);
                struct largest best = largest_of(m, m->x + plane * from, &w);
                store(y, pick(m, &w, best.number, m->rx + plane * from));
            }
    }
}
