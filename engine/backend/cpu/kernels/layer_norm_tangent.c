/* Tangents of layer norm and of its derivative, by rows of n. With ι = 1/√(var + eps),
 * x̂ = (x − mean)·ι and r = Σ x̂·Rx/n:
 *
 *   Rx̂ = ι·(Rx − ΣRx/n − x̂·r)
 *   Ry = gamma·Rx̂ + Rgamma·x̂ + Rbeta
 *   Rdbeta = Σ Rdy, Rdgamma = Σ Rdy·x̂ + dy·Rx̂, over rows
 *   Rdx = −ι·r·dx + ι·(Rg − ΣRg/n − Rx̂·Σ(g·x̂)/n − x̂·Σ(Rg·x̂ + g·Rx̂)/n)
 *
 * with g = dy·gamma and dx = ι·(g − Σg/n − x̂·Σ(g·x̂)/n). */
#include "backend/cpu/kernels/exponential.h"

INLINE float inverse_deviation(float var, double eps)
{
    return (float)(1 / __builtin_sqrt((double)var + eps));
}

/* Up to LANES numbers, then zeros. */
INLINE lanes take(const float *from, size_t left)
{
    return left >= LANES ? load_loose(from) : load_some(from, left, 0);
}

INLINE void put(float *to, lanes x, size_t left)
{
    if (left >= LANES)
        store_loose(to, x);
    else
        store_some(to, x, left);
}

/* What one row has for all its features; means are over them. */
struct row {
    float mean, iota;
    float rx, r; /* means of Rx and x̂·Rx */
};

INLINE lanes normal_at(const struct row *w, lanes x)
{
    return (x - w->mean) * w->iota;
}

/* Rx̂ */
INLINE lanes moved(const struct row *w, lanes normal, lanes rx)
{
    return (rx - w->rx - normal * w->r) * w->iota;
}

INLINE struct row row_of(const float *x, const float *rx, size_t n, float mean, float iota)
{
    struct row w = {.mean = mean, .iota = iota};
    lanes sum = {0}, product = {0};

    for (size_t i = 0; i < n; i += LANES) {
        lanes moving = take(rx + i, n - i);

        sum += moving;
        product += moving * normal_at(&w, take(x + i, n - i));
    }
    w.rx = lanes_sum(sum) / (float)n;
    w.r = lanes_sum(product) / (float)n;
    return w;
}

void KERNEL(layer_norm_tangent)(const void *arguments, size_t begin, size_t end)
{
    const struct layer_norm_tangent *l = arguments;
    size_t n = l->columns;

    for (size_t at = begin; at < end; at++) {
        const float *x = l->x + at * n, *rx = l->rx + at * n;
        struct row w = row_of(x, rx, n, l->mean[at], inverse_deviation(l->var[at], l->eps));

        for (size_t i = 0; i < n; i += LANES) {
            size_t left = n - i;
            lanes normal = normal_at(&w, take(x + i, left));
            lanes y = moved(&w, normal, take(rx + i, left)) * take(l->gamma + i, left);

            y += normal * take(l->rgamma + i, left) + take(l->rbeta + i, left);
            put(l->y + at * n + i, y, left);
        }
    }
}

/* Means over a row. */
struct means {
    float g, gx, rg, both; /* g, g·x̂, Rg, Rg·x̂ + g·Rx̂ */
};

/* g and Rg of features from i on. */
INLINE void scaled(const struct layer_norm_grad_tangent *l, size_t at, size_t i, lanes *g,
                   lanes *rg)
{
    size_t left = l->columns - i, place = at * l->columns + i;
    lanes dy = take(l->dy + place, left), gamma = take(l->gamma + i, left);

    *g = dy * gamma;
    *rg = take(l->rgamma + i, left) * dy + gamma * take(l->rdy + place, left);
}

INLINE struct means means_of(const struct layer_norm_grad_tangent *l, size_t at,
                             const struct row *w)
{
    size_t n = l->columns;
    const float *x = l->x + at * n, *rx = l->rx + at * n;
    lanes sum[4] = {0};

    for (size_t i = 0; i < n; i += LANES) {
        lanes normal = normal_at(w, take(x + i, n - i)), g, rg;

        scaled(l, at, i, &g, &rg);
        sum[0] += g;
        sum[1] += g * normal;
        sum[2] += rg;
        sum[3] += rg * normal + g * moved(w, normal, take(rx + i, n - i));
    }
    return (struct means){lanes_sum(sum[0]) / (float)n, lanes_sum(sum[1]) / (float)n,
                          lanes_sum(sum[2]) / (float)n, lanes_sum(sum[3]) / (float)n};
}

/* Writes Rdx of a row and adds to the chunk's sums. */
INLINE void row_tangent(const struct layer_norm_grad_tangent *l, size_t at, float *partial)
{
    size_t n = l->columns;
    const float *x = l->x + at * n, *rx = l->rx + at * n;
    struct row w = row_of(x, rx, n, l->mean[at], inverse_deviation(l->var[at], l->eps));
    struct means m = means_of(l, at, &w);

    for (size_t i = 0; i < n; i += LANES) {
        size_t left = n - i, place = at * n + i;
        lanes normal = normal_at(&w, take(x + i, left)), g, rg;
        lanes moving = moved(&w, normal, take(rx + i, left));
        lanes dy = take(l->dy + place, left), rdy = take(l->rdy + place, left), dx;

        scaled(l, at, i, &g, &rg);
        dx = (g - m.g - normal * m.gx) * w.iota;
        put(l->dx + place,
            (rg - m.rg - moving * m.gx - normal * m.both) * w.iota - dx * (w.iota * w.r), left);
        put(partial + i, take(partial + i, left) + rdy * normal + dy * moving, left);
        put(partial + n + i, take(partial + n + i, left) + rdy, left);
    }
}

void KERNEL(layer_norm_grad_tangent)(const void *arguments, size_t begin, size_t end)
{
    const struct layer_norm_grad_tangent *l = arguments;

    for (size_t chunk = begin; chunk < end; chunk++) {
        float *partial = l->partial + chunk * 2 * l->columns;
        size_t first = chunk * LAYER_NORM_ROWS, past = first + LAYER_NORM_ROWS;

        for (size_t i = 0; i < 2 * l->columns; i++)
            partial[i] = 0;
        for (size_t at = first; at < past && at < l->rows; at++)
            row_tangent(l, at, partial);
    }
}
