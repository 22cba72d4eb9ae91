/* Batch normalisation, ReLU and max-pooling of windows that do not overlap, in one: what lies
 * between them is never written. The way back finds each window's largest pixel again from x.
 *
 * The largest of relu(norm(x)) is relu of the largest norm(x); where that is positive, both have it
 * at the same pixel, and where it is not, the ReLU lets no derivative through. */
#include "backend/cpu/kernels/lanes.h"
#include "backend/cpu/kernels/tiles.h"

struct best {
    lanes value, x;    /* of the largest normalised pixel, lane by lane */
    lanes_mask number; /* in the window, row by row */
};

INLINE struct best best_of(const struct affine *f, const float *x, size_t width, size_t size)
{
    struct best best = {.x = load(x)};
    int32_t number = 1;

    best.value = affine(f, best.x);
    for (size_t i = 1; i < size * size; i++, number++) {
        lanes other = load(x + (i / size * width + i % size) * LANES);
        lanes value = affine(f, other);
        lanes_mask take = larger(value, best.value);

        best.value = choose(take, value, best.value);
        best.x = choose(take, other, best.x);
        best.number = (take & (number - (lanes_mask){0})) | (best.number & ~take);
    }
    return best;
}

/* The first pixel of window (p, q) of a plane. */
INLINE size_t window_start(const struct norm_pool *a, size_t plane, size_t p, size_t q, size_t size)
{
    return (plane * a->shape.pixels + p * size * a->width + q * size) * LANES;
}

INLINE void forward(const struct norm_pool *a, size_t begin, size_t end, size_t size)
{
    float *y = a->y + begin * a->out_height * a->out_width * LANES;

    for (size_t plane = begin; plane < end; plane++) {
        struct affine f = affine_at(a->coef, plane % a->shape.blocks);

        for (size_t p = 0; p < a->out_height; p++)
            for (size_t q = 0; q < a->out_width; q++, y += LANES) {
                const float *x = a->x + window_start(a, plane, p, q, size);
                store(y, rectify(best_of(&f, x, a->width, size).value));
            }
    }
}

void KERNEL(norm_pool)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_pool *a = arguments;

    if (a->size == 2)
        forward(a, begin, end, 2);
    else
        forward(a, begin, end, a->size);
}

INLINE void sums(const struct norm_pool *a, size_t begin, size_t end, size_t size)
{
    const float *dy = a->dy + begin * a->out_height * a->out_width * LANES;

    for (size_t plane = begin; plane < end; plane++) {
        struct affine f = affine_at(a->coef, plane % a->shape.blocks);
        lanes sum = {0}, product = {0};

        for (size_t p = 0; p < a->out_height; p++)
            for (size_t q = 0; q < a->out_width; q++, dy += LANES) {
                const float *x = a->x + window_start(a, plane, p, q, size);
                struct best best = best_of(&f, x, a->width, size);
                lanes d = keep(load(dy), (lanes_mask)(best.value > 0.0f));

                sum += d;
                product += d * (best.x - f.mean);
            }
        store(a->partial + plane * 2 * LANES, sum);
        store(a->partial + (plane * 2 + 1) * LANES, product);
    }
}

void KERNEL(norm_pool_sums)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_pool *a = arguments;

    if (a->size == 2)
        sums(a, begin, end, 2);
    else
        sums(a, begin, end, a->size);
}

struct derivative {
    lanes mean, scale, c1, c2;
    lanes_mask exists; /* lanes that are images */
};

INLINE struct derivative derivative_at(const struct norm_pool *a, size_t plane)
{
    const float *c = a->grad_coef + plane % a->shape.blocks * GRADS * LANES;
    bool last = plane >= (a->shape.images - 1) * a->shape.blocks;

    return (struct derivative){.mean = load(c + GRAD_MEAN * LANES),
                               .scale = load(c + GRAD_SCALE * LANES),
                               .c1 = load(c + GRAD_C1 * LANES),
                               .c2 = load(c + GRAD_C2 * LANES),
                               .exists = first_lanes(last ? a->shape.tail : LANES)};
}

INLINE void write_one(const struct derivative *g, const float *x, lanes d, float *dx)
{
    store(dx, keep(d * g->scale - g->c1 - (load(x) - g->mean) * g->c2, g->exists));
}

INLINE void write_window(const struct norm_pool *a, const struct affine *f,
                         const struct derivative *g, size_t at, lanes dy, size_t size)
{
    struct best best = best_of(f, a->x + at, a->width, size);
    lanes d = keep(dy, (lanes_mask)(best.value > 0.0f));

    for (size_t i = 0; i < size * size; i++) {
        size_t pixel = at + (i / size * a->width + i % size) * LANES;
        write_one(g, a->x + pixel, keep(d, (lanes_mask)(best.number == (int32_t)i)), a->dx + pixel);
    }
}

/* Pixels to the right of the windows and below them. */
INLINE void write_rest(const struct norm_pool *a, const struct derivative *g, size_t plane,
                       size_t size)
{
    size_t rows = a->out_height * size, columns = a->out_width * size;

    for (size_t h = 0; h < a->height; h++)
        for (size_t w = h < rows ? columns : 0; w < a->width; w++) {
            size_t at = (plane * a->shape.pixels + h * a->width + w) * LANES;
            write_one(g, a->x + at, (lanes){0}, a->dx + at);
        }
}

INLINE void backward(const struct norm_pool *a, size_t begin, size_t end, size_t size)
{
    const float *dy = a->dy + begin * a->out_height * a->out_width * LANES;

    for (size_t plane = begin; plane < end; plane++) {
        struct affine f = affine_at(a->coef, plane % a->shape.blocks);
        struct derivative g = derivative_at(a, plane);

        for (size_t p = 0; p < a->out_height; p++)
            for (size_t q = 0; q < a->out_width; q++, dy += LANES)
                write_window(a, &f, &g, window_start(a, plane, p, q, size), load(dy), size);
        write_rest(a, &g, plane, size);
    }
}

/* dx may be x. */
void KERNEL(norm_pool_grad)(const void *arguments, size_t begin, size_t end)
{
    const struct norm_pool *a = arguments;

    if (a->size == 2)
        backward(a, begin, end, 2);
    else
        backward(a, begin, end, a->size);
}
