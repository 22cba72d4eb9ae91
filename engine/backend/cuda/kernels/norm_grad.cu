/* Batch norm's derivative, with that of a ReLU behind it: Σdz and Σdz·x̂ by column, then dx (and
 * dz) element by element. */
#include "backend/cuda/kernels/columns.h"

#define ROWS_EACH 8 /* of a thread, in the second step */

/* V columns of what x̂ and the ReLU's result are made from. */
template <int V> struct columns_known {
    float mean[V], inverse[V], gamma[V], beta[V];
};

template <int V, int RELU>
static __device__ inline void columns_known_load(const struct batch_norm_grad *b, int64_t column,
                                                 struct columns_known<V> *k)
{
    float var[V];

    load_floats_or<V>(b->mean, column, 0, k->mean);
    load_floats_or<V>(b->var, column, 1 - b->eps, var);
    load_floats_or<V>(b->gamma, column, 1, k->gamma);
    if (RELU == RELU_AGAIN)
        load_floats<V>(b->beta + column, k->beta);
    for (int i = 0; i < V; i++)
        k->inverse[i] = inverse_deviation(var[i], b->eps);
}

/* dz[V] and x less its mean, of the elements from `at` on. */
template <class T, int V, int RELU>
static __device__ inline void load_dz(const struct batch_norm_grad *b,
                                      const struct columns_known<V> *k, int64_t at, float dz[V],
                                      float x[V])
{
    float y[V];
    unsigned mask = 0;

    load<V>((const T *)b->dy + at, dz);
    load<V>((const T *)b->x + at, x);
    if (RELU == RELU_MASK && V == VECTOR)
        mask = b->mask[at / VECTOR];
    if (RELU == RELU_Y)
        load<V>((const T *)b->y + at, y);
    for (int i = 0; i < V; i++) {
        if (RELU == RELU_AGAIN)
            y[i] = normalise(x[i], k->mean[i], k->gamma[i] * k->inverse[i], k->beta[i]);
        if (RELU == RELU_MASK)
            dz[i] = mask >> i & 1 ? dz[i] : 0;
        else if (RELU != RELU_NONE)
            dz[i] = y[i] > 0 ? dz[i] : 0;
        x[i] -= k->mean[i];
    }
}

template <class T, int V, int RELU>
static __global__ void __launch_bounds__(BLOCK)
    reduce_kernel(struct batch_norm_grad b, struct columns_plan p)
{
    struct columns_share s = columns_share_of<V>(&p, b.rows, b.c);
    float sum[V] = {0}, sum_x[V] = {0};
    struct columns_known<V> known;

    if (!s.idle)
        columns_known_load<V, RELU>(&b, s.column, &known);
#pragma unroll 2
    for (int64_t row = s.first; row < s.end && !s.idle; row += s.down) {
        float dz[V], x[V];

        load_dz<T, V, RELU>(&b, &known, row * b.c + s.column, dz, x);
        for (int i = 0; i < V; i++) {
            sum[i] += dz[i];
            sum_x[i] += dz[i] * x[i];
        }
    }
    columns_gather<V>(&p, &s, sum, b.workspace, b.c);
    columns_gather<V>(&p, &s, sum_x, b.workspace + (int64_t)p.splits * b.c, b.c);
}

static __global__ void __launch_bounds__(BLOCK_LARGEST)
    sums_kernel(struct batch_norm_grad b, int splits)
{
    int64_t column = (int64_t)blockIdx.x * ADD_COLUMNS + threadIdx.x;
    double sum = columns_add(b.workspace, splits, b.c);
    double sum_x = columns_add(b.workspace + (int64_t)splits * b.c, splits, b.c);

    if (threadIdx.x >= ADD_COLUMNS || column >= b.c)
        return;
    if (b.dbeta)
        b.dbeta[column] = (float)sum;
    if (b.var)
        sum_x *= (double)inverse_deviation(b.var[column], b.eps);
    b.dgamma[column] = (float)sum_x;
}

template <class T, int V, int RELU>
static __global__ void __launch_bounds__(BLOCK)
    dx_kernel(struct batch_norm_grad b, struct columns_plan p)
{
    struct columns_share s = columns_share_of<V>(&p, b.rows, b.c);
    float mean_dz[V], mean_dz_x[V], count = (float)b.rows;
    struct columns_known<V> known;

    if (s.idle)
        return;
    columns_known_load<V, RELU>(&b, s.column, &known);
    load_floats<V>(b.dbeta + s.column, mean_dz);
    load_floats<V>(b.dgamma + s.column, mean_dz_x);
    for (int i = 0; i < V; i++) {
        mean_dz[i] /= count;
        mean_dz_x[i] /= count;
    }
    for (int64_t row = s.first; row < s.end; row += s.down) {
        int64_t at = row * b.c + s.column;
        float dz[V], x[V];

        load_dz<T, V, RELU>(&b, &known, at, dz, x);
        for (int i = 0; i < V; i++)
            x[i] = normalise_slope(dz[i], x[i] * known.inverse[i],
                                   known.gamma[i] * known.inverse[i], mean_dz[i], mean_dz_x[i]);
        store<V>(x, (T *)b.dx + at);
        if (b.dz)
            store<V>(dz, (T *)b.dz + at);
    }
}

template <class T, int V, int RELU>
static int grad_of(struct CUstream_st *stream, const struct batch_norm_grad *b,
                   struct columns_plan *p)
{
    int splits = p->splits;
    int rc = LAUNCH((reduce_kernel<T, V, RELU>), columns_blocks(p), BLOCK, 0, stream, *b, *p);

    if (rc)
        return rc;
    rc = LAUNCH(sums_kernel, columns_add_blocks(b->c), columns_add_threads(splits), 0, stream, *b,
                splits);
    if (rc || !b->dx)
        return rc;
    p->rows_each = (int64_t)BLOCK / p->across * ROWS_EACH;
    p->splits = (int)divide_up(b->rows, p->rows_each);
    return LAUNCH((dx_kernel<T, V, RELU>), columns_blocks(p), BLOCK, 0, stream, *b, *p);
}

template <class T, int V>
static int grad_by_relu(struct CUstream_st *stream, const struct batch_norm_grad *b,
                        struct columns_plan *p)
{
    switch (b->relu) {
    case RELU_MASK:
        return grad_of<T, V, RELU_MASK>(stream, b, p);
    case RELU_Y:
        return grad_of<T, V, RELU_Y>(stream, b, p);
    case RELU_AGAIN:
        return grad_of<T, V, RELU_AGAIN>(stream, b, p);
    default:
        return grad_of<T, V, RELU_NONE>(stream, b, p);
    }
}

template <class T> static int grad(struct CUstream_st *stream, const struct batch_norm_grad *b)
{
    struct columns_plan p = columns_plan_of(b->rows, b->c);

    if (p.vector == VECTOR)
        return grad_by_relu<T, VECTOR>(stream, b, &p);
    return grad_by_relu<T, 1>(stream, b, &p);
}

int launch_batch_norm_grad(struct CUstream_st *stream, const struct batch_norm_grad *b)
{
    return BY_TYPE(b->type, grad, stream, b);
}
