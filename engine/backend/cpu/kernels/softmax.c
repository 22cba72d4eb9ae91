/* Softmax over rows. A NaN in a row makes all of it NaN. */
#include "backend/cpu/kernels/exponential.h"

INLINE lanes larger_of(lanes a, lanes b)
{
    return choose(a > b, a, b);
}

INLINE float largest(const float *x, size_t n)
{
    lanes top = load_some(x, n < LANES ? n : LANES, x[0]);
    float most;
    size_t i = LANES;

    for (; i + LANES <= n; i += LANES)
        top = larger_of(load_loose(x + i), top);
    if (i < n)
        top = larger_of(load_some(x + i, n - i, x[0]), top);
    most = top[0];
    for (size_t k = 1; k < LANES; k++)
        most = top[k] > most ? top[k] : most;
    return most;
}

void KERNEL(softmax)(const void *arguments, size_t begin, size_t end)
{
    const struct softmax *s = arguments;
    size_t n = s->columns;

    for (size_t row = begin; row < end; row++) {
        const float *x = s->x + row * n;
        float *y = s->y + row * n, top = largest(x, n), scale;
        lanes all = {0};
        size_t i = 0;

        for (; i + LANES <= n; i += LANES) {
            lanes e = exponential(load_loose(x + i) - top);

            store_loose(y + i, e);
            all += e;
        }
        if (i < n) {
            lanes e = keep(exponential(load_some(x + i, n - i, top) - top), first_lanes(n - i));

            store_some(y + i, e, n - i);
            all += e;
        }
        scale = 1 / lanes_sum(all);
        for (i = 0; i + LANES <= n; i += LANES)
            store_loose(y + i, load_loose(y + i) * scale);
        for (; i < n; i++)
            y[i] *= scale;
    }
}

/* x: y of the forward pass; y: dx, which may be dy. */
void KERNEL(softmax_grad)(const void *arguments, size_t begin, size_t end)
{
    const struct softmax *s = arguments;
    size_t n = s->columns;

    for (size_t row = begin; row < end; row++) {
        const float *y = s->x + row * n, *dy = s->dy + row * n;
        float *dx = s->y + row * n, sum = 0;
        lanes all = {0};
        size_t i = 0;

        for (; i + LANES <= n; i += LANES)
            all += load_loose(y + i) * load_loose(dy + i);
        for (; i < n; i++)
            sum += y[i] * dy[i];
        sum += lanes_sum(all);
        for (i = 0; i + LANES <= n; i += LANES)
            store_loose(dx + i, load_loose(y + i) * (load_loose(dy + i) - sum));
        for (; i < n; i++)
            dx[i] = y[i] * (dy[i] - sum);
    }
}

/* Rx·(dy − ⟨dy,y⟩) − y·⟨dy,Ry⟩, where x is y of the forward pass. y may be dy or rx. */
void KERNEL(softmax_curve)(const void *arguments, size_t begin, size_t end)
{
    const struct softmax *s = arguments;
    size_t n = s->columns;

    for (size_t row = begin; row < end; row++) {
        const float *y = s->x + row * n, *dy = s->dy + row * n, *ry = s->rx + row * n;
        float *to = s->y + row * n, sum = 0, moved = 0;
        lanes all = {0}, all_moved = {0};
        size_t i = 0;

        for (; i + LANES <= n; i += LANES) {
            all += load_loose(y + i) * load_loose(dy + i);
            all_moved += load_loose(ry + i) * load_loose(dy + i);
        }
        for (; i < n; i++) {
            sum += y[i] * dy[i];
            moved += ry[i] * dy[i];
        }
        sum += lanes_sum(all);
        moved += lanes_sum(all_moved);
        for (i = 0; i + LANES <= n; i += LANES)
            store_loose(to + i, load_loose(ry + i) * (load_loose(dy + i) - sum) -
                                    load_loose(y + i) * moved);
        for (; i < n; i++)
            to[i] = ry[i] * (dy[i] - sum) - y[i] * moved;
    }
}
