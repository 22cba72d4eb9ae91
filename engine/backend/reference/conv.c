/* Convolution and its two derivatives, as products of matrices.
 *
 * `columns` [C·R·S, n·P·Q] holds in row (c,r,s), a *tap*, for each output position the pixel that
 * w[·,c,r,s] meets there (0 in the padding). With y in the order [K, n·P·Q]:
 *
 *     y = w · columns     dcolumns = wᵀ · dy     dw = dy · columnsᵀ
 *
 * A few images at a time, so that the columns stay in the cache. */
#include <string.h>

#include "backend/reference/reference.h"

#define COLUMNS_ELEMENTS ((int64_t)1 << 16) /* of the images worked on at a time; at least one */
#define BLOCK            512                /* of a row that `multiply` works on at a time */
#define LANES            8                  /* partial sums of `dot` */

struct conv {
    int64_t n, c, h, w; /* x */
    int64_t k, r, s;    /* w: [k,c,r,s] */
    int64_t p, q;       /* y: [n,k,p,q] */
    int64_t stride, pad;
    int64_t taps, pq;
    int64_t chunk; /* images at a time */
};

static struct conv conv_of(const struct node *node, const struct shape *x, const struct shape *w,
                           const struct shape *y)
{
    struct conv v = {.n = x->dim[0], .c = x->dim[1], .h = x->dim[2], .w = x->dim[3]};

    v.k = w->dim[0];
    v.r = w->dim[2];
    v.s = w->dim[3];
    v.p = y->dim[2];
    v.q = y->dim[3];
    v.stride = node->attr.stride;
    v.pad = node->attr.pad;
    v.taps = v.c * v.r * v.s;
    v.pq = v.p * v.q;
    v.chunk = COLUMNS_ELEMENTS / (v.taps * v.pq);
    v.chunk = v.chunk < 1 ? 1 : v.chunk > v.n ? v.n : v.chunk;
    return v;
}

size_t reference_conv_scratch(const struct node *node, const struct shape *x, const struct shape *w,
                              const struct shape *y)
{
    struct conv v = conv_of(node, x, w, y);

    return (size_t)(v.chunk * (v.taps + v.k) * v.pq);
}

/* A row of the columns: which channel it reads, its pixel for output position (0,0), and the
 * output positions p0 ≤ p < p1, q0 ≤ q < q1 whose pixel lies within the image. */
struct tap {
    int64_t channel, down, right;
    int64_t p0, p1, q0, q1;
};

/* Along one dimension: position i meets pixel i·stride + offset, of `size` pixels. */
static void positions_inside(int64_t stride, int64_t offset, int64_t size, int64_t positions,
                             int64_t *first, int64_t *end)
{
    *first = 0;
    while (*first < positions && *first * stride + offset < 0)
        ++*first;
    *end = positions;
    while (*end > *first && (*end - 1) * stride + offset >= size)
        --*end;
}

static struct tap tap_of(const struct conv *v, int64_t number)
{
    struct tap tap;

    tap.channel = number / (v->r * v->s);
    tap.down = number / v->s % v->r - v->pad;
    tap.right = number % v->s - v->pad;
    positions_inside(v->stride, tap.down, v->h, v->p, &tap.p0, &tap.p1);
    positions_inside(v->stride, tap.right, v->w, v->q, &tap.q0, &tap.q1);
    return tap;
}

/* columns[taps, n·P·Q] ← n images x */
static void gather(const struct conv *v, int64_t n, const double *x, double *columns)
{
    memset(columns, 0, (size_t)(v->taps * n * v->pq) * sizeof *columns);
    for (int64_t number = 0; number < v->taps; number++) {
        struct tap tap = tap_of(v, number);
        for (int64_t i = 0; i < n; i++) {
            const double *image = x + (i * v->c + tap.channel) * v->h * v->w;
            double *column = columns + (number * n + i) * v->pq;
            for (int64_t p = tap.p0; p < tap.p1; p++) {
                int64_t row = (p * v->stride + tap.down) * v->w + tap.right;
                for (int64_t q = tap.q0; q < tap.q1; q++)
                    column[p * v->q + q] = image[row + q * v->stride];
            }
        }
    }
}

/* The derivative of `gather`: n images x += columns */
static void scatter_add(const struct conv *v, int64_t n, const double *columns, double *x)
{
    for (int64_t number = 0; number < v->taps; number++) {
        struct tap tap = tap_of(v, number);
        for (int64_t i = 0; i < n; i++) {
            double *image = x + (i * v->c + tap.channel) * v->h * v->w;
            const double *column = columns + (number * n + i) * v->pq;
            for (int64_t p = tap.p0; p < tap.p1; p++) {
                int64_t row = (p * v->stride + tap.down) * v->w + tap.right;
                for (int64_t q = tap.q0; q < tap.q1; q++)
                    image[row + q * v->stride] += column[p * v->q + q];
            }
        }
    }
}

/* to[b,a,size] ← from[a,b,size] */
static void swap_outer(int64_t a, int64_t b, int64_t size, const double *from, double *to)
{
    for (int64_t i = 0; i < a; i++)
        for (int64_t j = 0; j < b; j++)
            memcpy(to + (j * a + i) * size, from + (i * b + j) * size, (size_t)size * sizeof *to);
}

/* out[n] += Σ_l factor[l]·in[l,·], rows of `in` lying `stride` apart, l < 4 */
static void add_four(int64_t n, const double factor[4], const double *in, int64_t stride,
                     double *restrict out)
{
    const double *in1 = in + stride, *in2 = in1 + stride, *in3 = in2 + stride;

    for (int64_t j = 0; j < n; j++)
        out[j] += factor[0] * in[j] + factor[1] * in1[j] + factor[2] * in2[j] + factor[3] * in3[j];
}

static void add_one(int64_t n, double factor, const double *in, double *restrict out)
{
    for (int64_t j = 0; j < n; j++)
        out[j] += factor * in[j];
}

/* c[m,n] ← Σ_l a(i,l)·b[l,n], where a(i,l) = a[i·a_row + l·a_column], l < k */
static void multiply(int64_t m, int64_t n, int64_t k, const double *a, int64_t a_row,
                     int64_t a_column, const double *b, double *c)
{
    memset(c, 0, (size_t)(m * n) * sizeof *c);
    for (int64_t from = 0; from < n; from += BLOCK) {
        int64_t width = n - from < BLOCK ? n - from : BLOCK;
        for (int64_t i = 0; i < m; i++) {
            const double *factor = a + i * a_row;
            double *out = c + i * n + from;
            int64_t l = 0;
            for (; l + 4 <= k; l += 4) {
                const double *f = factor + l * a_column;
                double four[4] = {f[0], f[a_column], f[2 * a_column], f[3 * a_column]};
                add_four(width, four, b + l * n + from, n, out);
            }
            for (; l < k; l++)
                add_one(width, factor[l * a_column], b + l * n + from, out);
        }
    }
}

static double dot(int64_t n, const double *a, const double *b)
{
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += a[i + j] * b[i + j];
    for (int j = 0; j < LANES; j++)
        sum += lane[j];
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

void reference_conv(const struct operands *o)
{
    struct conv v = conv_of(o->node, o->in_shape[0], o->in_shape[1], o->out_shape[0]);
    const double *x = o->in[0], *w = o->in[1];
    double *columns = o->scratch, *product = columns + v.chunk * v.taps * v.pq;

    for (int64_t first = 0; first < v.n; first += v.chunk) {
        int64_t n = v.n - first < v.chunk ? v.n - first : v.chunk;
        gather(&v, n, x + first * v.c * v.h * v.w, columns);
        multiply(v.k, n * v.pq, v.taps, w, v.taps, 1, columns, product);
        swap_outer(v.k, n, v.pq, product, o->out[0] + first * v.k * v.pq);
    }
}

void reference_conv_grad_x(const struct operands *o)
{
    struct conv v = conv_of(o->node, o->out_shape[0], o->in_shape[1], o->in_shape[0]);
    const double *dy = o->in[0], *w = o->in[1];
    double *columns = o->scratch, *dy_swapped = columns + v.chunk * v.taps * v.pq;
    double *dx = o->out[0];

    memset(dx, 0, (size_t)(v.n * v.c * v.h * v.w) * sizeof *dx);
    for (int64_t first = 0; first < v.n; first += v.chunk) {
        int64_t n = v.n - first < v.chunk ? v.n - first : v.chunk;
        swap_outer(n, v.k, v.pq, dy + first * v.k * v.pq, dy_swapped);
        multiply(v.taps, n * v.pq, v.k, w, 1, v.taps, dy_swapped, columns);
        scatter_add(&v, n, columns, dx + first * v.c * v.h * v.w);
    }
}

void reference_conv_grad_w(const struct operands *o)
{
    struct conv v = conv_of(o->node, o->in_shape[0], o->out_shape[0], o->in_shape[1]);
    const double *x = o->in[0], *dy = o->in[1];
    double *columns = o->scratch, *dy_swapped = columns + v.chunk * v.taps * v.pq;
    double *dw = o->out[0];

    memset(dw, 0, (size_t)(v.k * v.taps) * sizeof *dw);
    for (int64_t first = 0; first < v.n; first += v.chunk) {
        int64_t n = v.n - first < v.chunk ? v.n - first : v.chunk, size = n * v.pq;
        gather(&v, n, x + first * v.c * v.h * v.w, columns);
        swap_outer(n, v.k, v.pq, dy + first * v.k * v.pq, dy_swapped);
        for (int64_t k = 0; k < v.k; k++)
            for (int64_t tap = 0; tap < v.taps; tap++)
                dw[k * v.taps + tap] += dot(size, dy_swapped + k * size, columns + tap * size);
    }
}
