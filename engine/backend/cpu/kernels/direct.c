/* Direct convolutions with images in the lanes. Nothing is wasted on small channel counts, and
 * weights need no layout of their own. Tiles of DIRECT_TILE × DIRECT_TILE vectors stay in
 * registers; where a tile reaches past the end it does the last result again. */
#include <string.h>

#include "backend/cpu/kernels/fused.h"
#include "backend/cpu/kernels/lanes.h"

#define TILE DIRECT_TILE

INLINE size_t at_most(size_t i, size_t last)
{
    return i < last ? i : last;
}

/* One row of images with its border. */
INLINE void add_border(const struct direct_border *b, const float *from, float *to)
{
    for (size_t c = 0; c < b->channels; c++)
        for (size_t h = 0; h < b->height; h++) {
            bool inside = h >= b->top && h < b->top + b->from_height;
            size_t row = inside ? (c * b->from_height + h - b->top) * b->from_width : 0;

            for (size_t w = 0; w < b->width; w++, to += LANES) {
                lanes value = {0};
                if (inside && w >= b->left && w < b->left + b->from_width)
                    value = load(from + (row + w - b->left) * LANES);
                store(to, value);
            }
        }
}

INLINE size_t border_plane(const struct direct_border *b)
{
    return b->height * b->width * LANES;
}

/* Work: row of images. */
void KERNEL(direct_border)(const void *arguments, size_t begin, size_t end)
{
    const struct direct_conv *a = arguments;
    const struct direct_border *b = &a->border;
    size_t from = b->channels * b->from_height * b->from_width * LANES;

    for (size_t row = begin; row < end; row++)
        add_border(b, a->x + row * from, a->room + row * b->channels * border_plane(b));
}

/* TILE result channels from `k` on at TILE pixels from `first` on, of one row of images. */
INLINE void conv_tile(const struct direct_conv *a, const struct direct_class *t, const float *x,
                      float *y, size_t k, size_t first)
{
    const float *from[TILE], *by[TILE];
    lanes sum[TILE][TILE] = {0};

    for (size_t i = 0; a->onto && i < TILE; i++)
        for (size_t j = 0; j < TILE; j++)
            sum[j][i] = load(y + t->pixel_y[first + i] +
                             at_most(k + j, a->out_channels - 1) * a->out_pixels * LANES);

    for (size_t i = 0; i < TILE; i++) {
        from[i] = x + t->pixel_x[first + i];
        by[i] = a->w + at_most(k + i, a->out_channels - 1) * a->w_out;
    }
    for (size_t term = 0; term < t->terms; term++) {
        size_t at = t->term_x[term], w = t->term_w[term];
        lanes source[TILE];

        for (size_t i = 0; i < TILE; i++)
            source[i] = load(from[i] + at);
        for (size_t j = 0; j < TILE; j++) {
            lanes weight = splat(by[j][w]);
            for (size_t i = 0; i < TILE; i++)
                sum[j][i] = fused(source[i], weight, sum[j][i]);
        }
    }
    for (size_t i = 0; i < TILE; i++) {
        float *to = y + t->pixel_y[first + i];
        for (size_t j = 0; j < TILE; j++)
            store(to + at_most(k + j, a->out_channels - 1) * a->out_pixels * LANES, sum[j][i]);
    }
}

/* One class of one row of images. What is smaller, the weights or the source, is walked over in the
 * inner loop, so that it stays in the nearest cache. */
INLINE void conv_class(const struct direct_conv *a, const struct direct_class *t, const float *x,
                       float *y)
{
    size_t weights = a->out_channels * t->terms;

    if (weights < a->border.channels * border_plane(&a->border))
        for (size_t p = 0; p < t->pixels; p += TILE)
            for (size_t k = 0; k < a->out_channels; k += TILE)
                conv_tile(a, t, x, y, k, p);
    else
        for (size_t k = 0; k < a->out_channels; k += TILE)
            for (size_t p = 0; p < t->pixels; p += TILE)
                conv_tile(a, t, x, y, k, p);
}

void KERNEL(direct_conv)(const void *arguments, size_t begin, size_t end)
{
    const struct direct_conv *a = arguments;
    const struct direct_border *b = &a->border;
    size_t source = b->channels * border_plane(b), result = a->out_channels * a->out_pixels * LANES;

    if (b->needed)
        KERNEL(direct_border)(arguments, begin, end);
    for (size_t row = begin; row < end; row++) {
        const float *x = (b->needed ? a->room : a->x) + row * source;

        for (int i = 0; i < a->n_classes; i++)
            conv_class(a, &a->classes[i], x, a->y + row * result);
    }
}

#if LANES == 16
#define LOW_8  0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LOW_4  0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LOW_2  0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_1  0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#else
#define LOW_4  0, 1, 2, 3, 8, 9, 10, 11
#define HIGH_4 4, 5, 6, 7, 12, 13, 14, 15
#define LOW_2  0, 1, 8, 9, 4, 5, 12, 13
#define HIGH_2 2, 3, 10, 11, 6, 7, 14, 15
#define LOW_1  0, 8, 2, 10, 4, 12, 6, 14
#define HIGH_1 1, 9, 3, 11, 5, 13, 7, 15
#endif

/* Adds the lower and the upper half of each group of 2·half lanes of two vectors: one vector with
 * groups of `half` lanes, the second vector's beside the first's. */
#define ADD_HALVES(a, b, half)                                                                     \
    (__builtin_shufflevector((a), (b), LOW_##half) + __builtin_shufflevector((a), (b), HIGH_##half))

/* The sum of each of LANES vectors, as one vector. */
INLINE lanes sums_of_lanes(const lanes *v)
{
    lanes four[4], two[2];

#if LANES == 16
    lanes eight[8];

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        eight[i] = ADD_HALVES(v[i], v[i + 8], 8);
    v = eight;
#endif
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        four[i] = ADD_HALVES(v[i], v[i + 4], 4);
    two[0] = ADD_HALVES(four[0], four[2], 2);
    two[1] = ADD_HALVES(four[1], four[3], 2);
    return ADD_HALVES(two[0], two[1], 1);
}

/* TILE filters: of each, where its dy and its dw begin. The last may be fewer. */
struct filters {
    size_t n;
    const float *dy[TILE];
    float *dw[TILE];
};

/* Of these filters, TILE terms from `first` on: adds pixels [begin, end). */
INLINE void grad_w_tile(const struct direct_class *t, const float *x, const struct filters *f,
                        size_t first, size_t begin, size_t end, bool onto)
{
    const float *from[TILE];
    lanes sum[TILE * TILE];
    float total[TILE * TILE];

#pragma GCC unroll 16
    for (size_t i = 0; i < TILE * TILE; i++)
        sum[i] = splat(0);
#pragma GCC unroll 4
    for (size_t i = 0; i < TILE; i++)
        from[i] = x + t->term_x[first + i];
    for (size_t p = begin; p < end; p++) {
        size_t at = t->pixel_x[p], y = t->pixel_y[p];
        lanes source[TILE];

#pragma GCC unroll 4
        for (size_t i = 0; i < TILE; i++)
            source[i] = load(from[i] + at);
#pragma GCC unroll 4
        for (size_t j = 0; j < TILE; j++) {
            lanes d = load(f->dy[j] + y);
#pragma GCC unroll 4
            for (size_t i = 0; i < TILE; i++)
                sum[j * TILE + i] = fused(source[i], d, sum[j * TILE + i]);
        }
    }
#pragma GCC unroll 2
    for (size_t i = 0; i < TILE * TILE; i += LANES)
        store_loose(total + i, sums_of_lanes(sum + i));
    if (begin == 0 && !onto && first + TILE <= t->terms)
        for (size_t j = 0; j < TILE; j++)
            memcpy(f->dw[j] + first, total + j * TILE, TILE * sizeof *total);
    else
        for (size_t j = 0; j < f->n; j++)
            for (size_t i = 0; i < TILE && first + i < t->terms; i++) {
                float *dw = f->dw[j] + first + i;
                *dw = (begin == 0 && !onto ? 0 : *dw) + total[j * TILE + i];
            }
}

/* Pixels at a time: with them, dy of a tile of filters stays in the nearest cache. */
#define PIXELS 64

void KERNEL(direct_grad_w)(const void *arguments, size_t begin, size_t end)
{
    const struct direct_grad_w *a = arguments;
    size_t pixels = a->class.pixels;

    for (size_t work = begin; work < end; work++) {
        struct filters f = {.n = at_most(TILE, a->k - work * TILE)};

        for (size_t j = 0; j < TILE; j++) {
            size_t k = at_most(work * TILE + j, a->k - 1);
            f.dy[j] = a->dy + k * a->y_plane;
            f.dw[j] = a->dw + k * a->class.terms;
        }
        for (size_t p = 0; p < pixels; p += PIXELS)
            for (size_t term = 0; term < a->class.terms; term += TILE)
                grad_w_tile(&a->class, a->x, &f, term, p, at_most(p + PIXELS, pixels), a->onto);
    }
}
