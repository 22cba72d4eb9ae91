/* Convolutions of 3×3 by Winograd's F(4×4, 3×3), for few channels: 36 products in place of 144 for
 * a tile of 4×4 results. Unlike oneDNN's it goes through all its steps for a group of tiles while
 * they are in the nearest caches, which is what counts where channels are few.
 *
 * Interpolation at 0, ±A, ±B and ∞ (Lavin and Gray 2016, section 4.3; Barabasz et al. 2020 on
 * points that keep the rounding small). With V = Bᵀ·x·B of 6×6 inputs and U = G·w·Gᵀ of a filter,
 * y = Cᵀ·(Σ U∘V)·C; the derivative by the weights is Gᵀ·(Σ V∘(C·dy·Cᵀ))·G. */
#include <string.h>

#include "backend/cpu/kernels/fused.h"
#include "backend/cpu/kernels/lanes.h"

#define A    0.625f
#define B    1.5f
#define A2   (A * A)
#define B2   (B * B)
/* Π (p − q) over the other points q */
#define AT_0 (A2 * B2)
#define AT_A (2 * A2 * (A2 - B2))
#define AT_B (2 * B2 * (B2 - A2))

#define GROUP  LANES /* tiles that are worked on together: as many as there are accumulators */
#define SIDE   4     /* of a tile of results */
#define REACH  6     /* of the inputs that they need */
#define POINTS (REACH * REACH)

/* Bᵀ·d */
INLINE void to_points(const lanes *d, lanes *v)
{
    lanes even_a = fused(splat(-B2), d[2], d[4]), odd_a = fused(splat(-B2), d[1], d[3]);
    lanes even_b = fused(splat(-A2), d[2], d[4]), odd_b = fused(splat(-A2), d[1], d[3]);

    v[0] = fused(splat(AT_0), d[0], fused(splat(-A2 - B2), d[2], d[4]));
    v[1] = fused(splat(A), odd_a, even_a);
    v[2] = fused(splat(-A), odd_a, even_a);
    v[3] = fused(splat(B), odd_b, even_b);
    v[4] = fused(splat(-B), odd_b, even_b);
    v[5] = fused(splat(AT_0), d[1], fused(splat(-A2 - B2), d[3], d[5]));
}

/* Cᵀ·m */
INLINE void from_points(const lanes *m, lanes *y)
{
    lanes sum_a = m[1] + m[2], difference_a = m[1] - m[2];
    lanes sum_b = m[3] + m[4], difference_b = m[3] - m[4];

    y[0] = m[0] + sum_a + sum_b;
    y[1] = fused(splat(A), difference_a, splat(B) * difference_b);
    y[2] = fused(splat(A2), sum_a, splat(B2) * sum_b);
    y[3] = fused(splat(A2 * A), difference_a, fused(splat(B2 * B), difference_b, m[5]));
}

/* C·y */
INLINE void results_to_points(const lanes *y, lanes *v)
{
    lanes even_a = fused(splat(A2), y[2], y[0]), odd_a = fused(splat(A2), y[3], y[1]);
    lanes even_b = fused(splat(B2), y[2], y[0]), odd_b = fused(splat(B2), y[3], y[1]);

    v[0] = y[0];
    v[1] = fused(splat(A), odd_a, even_a);
    v[2] = fused(splat(-A), odd_a, even_a);
    v[3] = fused(splat(B), odd_b, even_b);
    v[4] = fused(splat(-B), odd_b, even_b);
    v[5] = y[3];
}

/* G·w */
INLINE void weights_to_points(const lanes *w, lanes *u)
{
    lanes even_a = splat(1 / AT_A) * fused(splat(A2), w[2], w[0]), odd_a = splat(A / AT_A) * w[1];
    lanes even_b = splat(1 / AT_B) * fused(splat(B2), w[2], w[0]), odd_b = splat(B / AT_B) * w[1];

    u[0] = splat(1 / AT_0) * w[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = w[2];
}

/* Gᵀ·u */
INLINE void points_to_weights(const lanes *u, lanes *w)
{
    lanes sum_a = splat(1 / AT_A) * (u[1] + u[2]), sum_b = splat(1 / AT_B) * (u[3] + u[4]);

    w[0] = fused(splat(1 / AT_0), u[0], sum_a + sum_b);
    w[1] = fused(splat(A / AT_A), u[1] - u[2], splat(B / AT_B) * (u[3] - u[4]));
    w[2] = fused(splat(A2), sum_a, fused(splat(B2), sum_b, u[5]));
}

struct place {
    size_t image, row, column; /* of the tile's first result */
};

INLINE struct place place_of(const struct winograd *a, size_t tile)
{
    size_t columns = (a->width + SIDE - 1) / SIDE, rows = (a->height + SIDE - 1) / SIDE;

    return (struct place){.image = tile / (rows * columns),
                          .row = tile / columns % rows * SIDE,
                          .column = tile % columns * SIDE};
}

/* Tiles past the last one are those of no image. */
INLINE bool is_tile(const struct winograd *a, struct place at)
{
    return at.image < a->images;
}

INLINE const float *plane_of(const struct winograd *a, const float *x, size_t blocks,
                             struct place at, size_t block)
{
    return x + (at.image * blocks + block) * a->height * a->width * LANES;
}

/* One tile of a block of input channels: V of point p at v[p·step]. */
INLINE void source_tile(const struct winograd *a, const float *plane, struct place at, float *v,
                        size_t step)
{
    bool inside =
        at.row > 0 && at.column > 0 && at.row + SIDE < a->height && at.column + SIDE < a->width;
    lanes half[REACH][REACH];

    for (size_t i = 0; i < REACH; i++) {
        const float *row = plane + ((at.row + i - 1) * a->width + at.column - 1) * LANES;
        bool row_inside = at.row + i - 1 < a->height; /* −1 is large, too */
        lanes d[REACH];

#pragma GCC unroll 6
        for (size_t j = 0; j < REACH; j++)
            d[j] = inside || (row_inside && at.column + j - 1 < a->width) ? load(row + j * LANES)
                                                                          : splat(0);
        to_points(d, half[i]);
    }
    for (size_t j = 0; j < REACH; j++) {
        lanes d[REACH], points[REACH];

#pragma GCC unroll 6
        for (size_t i = 0; i < REACH; i++)
            d[i] = half[i][j];
        to_points(d, points);
#pragma GCC unroll 6
        for (size_t i = 0; i < REACH; i++)
            store(v + (i * REACH + j) * step, points[i]);
    }
}

/* One tile of a block of result channels, from its products at m[p·step]. */
INLINE void result_tile(const struct winograd *a, float *plane, struct place at, const float *m,
                        size_t step)
{
    size_t rows = a->height - at.row, columns = a->width - at.column;
    lanes half[SIDE][REACH];

    for (size_t j = 0; j < REACH; j++) {
        lanes points[REACH], y[SIDE];

#pragma GCC unroll 6
        for (size_t i = 0; i < REACH; i++)
            points[i] = load(m + (i * REACH + j) * step);
        from_points(points, y);
#pragma GCC unroll 4
        for (size_t i = 0; i < SIDE; i++)
            half[i][j] = y[i];
    }
    for (size_t i = 0; i < SIDE && i < rows; i++) {
        float *row = plane + ((at.row + i) * a->width + at.column) * LANES;
        lanes y[SIDE];

        from_points(half[i], y);
        for (size_t j = 0; j < SIDE && j < columns; j++)
            store(row + j * LANES, y[j]);
    }
}

/* One tile of a block of dy's channels: C·dy·Cᵀ of point p at v[p·step]. */
INLINE void derivative_tile(const struct winograd *a, const float *plane, struct place at, float *v,
                            size_t step)
{
    size_t rows = a->height - at.row, columns = a->width - at.column;
    lanes half[SIDE][REACH];

    for (size_t i = 0; i < SIDE; i++) {
        const float *row = plane + ((at.row + i) * a->width + at.column) * LANES;
        lanes y[SIDE];

#pragma GCC unroll 4
        for (size_t j = 0; j < SIDE; j++)
            y[j] = i < rows && j < columns ? load(row + j * LANES) : splat(0);
        results_to_points(y, half[i]);
    }
    for (size_t j = 0; j < REACH; j++) {
        lanes y[SIDE], points[REACH];

#pragma GCC unroll 4
        for (size_t i = 0; i < SIDE; i++)
            y[i] = half[i][j];
        results_to_points(y, points);
#pragma GCC unroll 6
        for (size_t i = 0; i < REACH; i++)
            store(v + (i * REACH + j) * step, points[i]);
    }
}

INLINE void clear_tile(float *v, size_t step)
{
    for (size_t p = 0; p < POINTS; p++)
        store(v + p * step, splat(0));
}

/* A group of tiles of x: v[point][block][tile][LANES]. */
INLINE void source_group(const struct winograd *a, size_t first, float *v)
{
    size_t step = a->in_blocks * GROUP * LANES;

    for (size_t t = 0; t < GROUP; t++) {
        struct place at = place_of(a, first + t);

        for (size_t block = 0; block < a->in_blocks; block++) {
            float *to = v + (block * GROUP + t) * LANES;

            if (is_tile(a, at))
                source_tile(a, plane_of(a, a->x, a->in_blocks, at, block), at, to, step);
            else
                clear_tile(to, step);
        }
    }
}

/* m[tile] = Σ over all input channels of v[block][tile][channel]·u[block][channel], of one point
 * and one block of result channels. */
INLINE void products(const struct winograd *a, const float *v, const float *u, float *m)
{
    lanes sum[GROUP];

#pragma GCC unroll 16
    for (size_t t = 0; t < GROUP; t++)
        sum[t] = splat(0);
    for (size_t block = 0; block < a->in_blocks; block++, v += GROUP * LANES)
        for (size_t c = 0; c < LANES; c++, u += LANES) {
            lanes weight = load(u);
#pragma GCC unroll 16
            for (size_t t = 0; t < GROUP; t++)
                sum[t] = fused(splat(v[t * LANES + c]), weight, sum[t]);
        }
#pragma GCC unroll 16
    for (size_t t = 0; t < GROUP; t++)
        store(m + t * LANES, sum[t]);
}

/* The pixels of a group of tiles in one block of channels, line by line, to be had in the cache
 * before they are needed: no pattern of reads that the processor would see by itself. */
struct ahead {
    const float *line;
    size_t left;  /* in this image */
    size_t plane; /* lines of an image */
    size_t skip;  /* floats from the end of an image to the next one */
};

INLINE struct ahead ahead_of(const struct winograd *a, const float *x, size_t blocks, size_t block,
                             size_t first)
{
    struct place at = place_of(a, first);
    size_t plane = a->height * a->width, pixel = at.row * a->width + at.column;

    if (!is_tile(a, at))
        return (struct ahead){0};
    return (struct ahead){.line = plane_of(a, x, blocks, at, block) + pixel * LANES,
                          .left = plane - pixel,
                          .plane = plane,
                          .skip = (blocks - 1) * plane * LANES};
}

/* A step of POINTS. */
#define AHEAD_LINES ((GROUP * SIDE * SIDE + POINTS - 1) / POINTS)

INLINE void fetch_ahead(struct ahead *ahead)
{
    if (!ahead->line)
        return;
    for (size_t i = 0; i < AHEAD_LINES; i++) {
        __builtin_prefetch(ahead->line);
        ahead->line += LANES;
        if (--ahead->left == 0) {
            ahead->line += ahead->skip;
            ahead->left = ahead->plane;
        }
    }
}

/* While block number `block` of the results is worked on, a share of the blocks of channels of the
 * next group's x is fetched. */
#define SHARE_MAX 4

struct share {
    size_t n;
    struct ahead x[SHARE_MAX];
};

INLINE struct share share_of(const struct winograd *a, size_t block, size_t first)
{
    size_t begin = a->in_blocks * block / a->out_blocks;
    size_t end = a->in_blocks * (block + 1) / a->out_blocks;
    struct share share = {0};

    for (; begin < end && share.n < SHARE_MAX; begin++)
        share.x[share.n++] = ahead_of(a, a->x, a->in_blocks, begin, first);
    return share;
}

INLINE void fetch_share(struct share *share)
{
    for (size_t i = 0; i < share->n; i++)
        fetch_ahead(&share->x[i]);
}

INLINE size_t group_count(const struct winograd *a)
{
    size_t columns = (a->width + SIDE - 1) / SIDE, rows = (a->height + SIDE - 1) / SIDE;

    return (a->images * rows * columns + GROUP - 1) / GROUP;
}

INLINE void conv_group(const struct winograd *a, size_t first, float *v, float *m)
{
    size_t source = a->in_blocks * GROUP * LANES, filters = a->in_blocks * LANES * LANES;

    source_group(a, first, v);
    for (size_t block = 0; block < a->out_blocks; block++) {
        struct ahead y = ahead_of(a, a->y, a->out_blocks, block, first);
        struct share next = share_of(a, block, first + GROUP);

        for (size_t p = 0; p < POINTS; p++) {
            fetch_share(&next);
            fetch_ahead(&y);
            products(a, v + p * source, a->u + (block * POINTS + p) * filters,
                     m + p * GROUP * LANES);
        }
        for (size_t t = 0; t < GROUP; t++) {
            struct place at = place_of(a, first + t);

            if (is_tile(a, at))
                result_tile(
                    a, a->y + (at.image * a->out_blocks + block) * a->height * a->width * LANES, at,
                    m + t * LANES, GROUP * LANES);
        }
    }
}

void KERNEL(winograd_conv)(const void *arguments, size_t begin, size_t end)
{
    const struct winograd *a = arguments;
    size_t groups = group_count(a);

    for (size_t part = begin; part < end; part++) {
        float *v = a->room + part * a->part_room;
        float *m = v + POINTS * a->in_blocks * GROUP * LANES;

        for (size_t g = groups * part / a->parts; g < groups * (part + 1) / a->parts; g++)
            conv_group(a, g * GROUP, v, m);
    }
}

/* Work: (block of results, block of inputs). u[out block][point][in block][in][out] */
void KERNEL(winograd_weights)(const void *arguments, size_t begin, size_t end)
{
    const struct winograd_weights *a = arguments;

    for (size_t work = begin; work < end; work++) {
        size_t out = work / a->in_blocks * LANES, in_block = work % a->in_blocks;
        float *u = a->u + (work / a->in_blocks * POINTS * a->in_blocks + in_block) * LANES * LANES;

        for (size_t i = 0; i < LANES; i++, u += LANES) {
            size_t in = in_block * LANES + i;
            lanes w[3][3], half[3][REACH];

            for (size_t tap = 0; tap < 9; tap++)
                for (size_t o = 0; o < LANES; o++)
                    w[tap / 3][tap % 3][o] = in < a->in && out + o < a->out
                                                 ? a->w[in * a->in_step + (out + o) * a->out_step +
                                                        (a->turned ? 8 - tap : tap)]
                                                 : 0;
            for (size_t r = 0; r < 3; r++)
                weights_to_points(w[r], half[r]);
            for (size_t j = 0; j < REACH; j++) {
                lanes column[3] = {half[0][j], half[1][j], half[2][j]}, points[REACH];

                weights_to_points(column, points);
                for (size_t k = 0; k < REACH; k++)
                    store(u + (k * REACH + j) * a->in_blocks * LANES * LANES, points[k]);
            }
        }
    }
}

/* sum[channel] += Σ over a group's tiles of v[tile][channel]·d[tile], of one point. */
INLINE void outer_products(const float *v, const float *d, float *sums)
{
    lanes sum[LANES];

#pragma GCC unroll 16
    for (size_t c = 0; c < LANES; c++)
        sum[c] = load(sums + c * LANES);
    for (size_t t = 0; t < GROUP; t++) {
        lanes derivative = load(d + t * LANES);
#pragma GCC unroll 16
        for (size_t c = 0; c < LANES; c++)
            sum[c] = fused(splat(v[t * LANES + c]), derivative, sum[c]);
    }
#pragma GCC unroll 16
    for (size_t c = 0; c < LANES; c++)
        store(sums + c * LANES, sum[c]);
}

/* d[point][block][tile][LANES] of a group of dy's tiles. */
INLINE void derivative_group(const struct winograd *a, size_t first, float *d)
{
    size_t step = a->out_blocks * GROUP * LANES;

    for (size_t t = 0; t < GROUP; t++) {
        struct place at = place_of(a, first + t);

        for (size_t block = 0; block < a->out_blocks; block++) {
            float *to = d + (block * GROUP + t) * LANES;

            if (is_tile(a, at))
                derivative_tile(a, plane_of(a, a->dy, a->out_blocks, at, block), at, to, step);
            else
                clear_tile(to, step);
        }
    }
}

/* `next`: the first tile of the next group. */
INLINE void add_products(const struct winograd *a, size_t next, const float *v, const float *d,
                         float *sums)
{
    size_t in = a->in_blocks, out = a->out_blocks;

    for (size_t o = 0; o < out; o++) {
        struct ahead dy = ahead_of(a, a->dy, out, o, next);
        struct share x = share_of(a, o, next);

        for (size_t p = 0; p < POINTS; p++) {
            fetch_share(&x);
            fetch_ahead(&dy);
            for (size_t i = 0; i < in; i++)
                outer_products(v + (p * in + i) * GROUP * LANES, d + (p * out + o) * GROUP * LANES,
                               sums + ((o * POINTS + p) * in + i) * LANES * LANES);
        }
    }
}

/* A part's sums [out block][point][in block][in][out]. */
void KERNEL(winograd_grad_w)(const void *arguments, size_t begin, size_t end)
{
    const struct winograd *a = arguments;
    size_t groups = group_count(a), in = a->in_blocks, out = a->out_blocks;

    for (size_t part = begin; part < end; part++) {
        float *sums = a->room + part * a->part_room;
        float *v = sums + POINTS * in * out * LANES * LANES, *d = v + POINTS * in * GROUP * LANES;

        memset(sums, 0, POINTS * in * out * LANES * LANES * sizeof *sums);
        for (size_t g = groups * part / a->parts; g < groups * (part + 1) / a->parts; g++) {
            source_group(a, g * GROUP, v);
            derivative_group(a, g * GROUP, d);
            add_products(a, (g + 1) * GROUP, v, d, sums);
        }
    }
}

/* The taps between one input channel and a block of results, from the sums of all parts, in their
 * order: those of the first part are at sums[point·step]. */
INLINE void taps_of(const struct winograd_weights *a, const float *sums, lanes taps[3][3])
{
    size_t step = a->in_blocks * LANES * LANES;
    lanes half[REACH][3];

    for (size_t r = 0; r < REACH; r++) {
        lanes points[REACH];

        for (size_t j = 0; j < REACH; j++) {
            const float *from = sums + (r * REACH + j) * step;

            points[j] = load(from);
            for (size_t part = 1; part < a->parts; part++)
                points[j] += load(from + part * a->part_room);
        }
        points_to_weights(points, half[r]);
    }
    for (size_t s = 0; s < 3; s++) {
        lanes column[REACH], w[3];

        for (size_t r = 0; r < REACH; r++)
            column[r] = half[r][s];
        points_to_weights(column, w);
        for (size_t r = 0; r < 3; r++)
            taps[r][s] = w[r];
    }
}

/* Work: (block of results, block of inputs). dw from all parts' sums. */
void KERNEL(winograd_grad_w_sum)(const void *arguments, size_t begin, size_t end)
{
    const struct winograd_weights *a = arguments;

    for (size_t work = begin; work < end; work++) {
        size_t out = work / a->in_blocks * LANES, in = work % a->in_blocks * LANES;
        size_t past = out + LANES < a->out ? out + LANES : a->out;
        const float *sums =
            a->u + (work / a->in_blocks * POINTS * a->in_blocks * LANES + in) * LANES;

        for (size_t i = in; i < in + LANES && i < a->in; i++, sums += LANES) {
            lanes taps[3][3];

            taps_of(a, sums, taps);
            for (size_t r = 0; r < 3; r++)
                for (size_t s = 0; s < 3; s++)
                    for (size_t o = out; o < past; o++)
                        a->dw[i * a->in_step + o * a->out_step + r * 3 + s] = taps[r][s][o - out];
        }
    }
}
