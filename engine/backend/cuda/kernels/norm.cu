/* Batch norm forward: statistics of the columns of [rows,c], and what follows from them.
 *
 * Sums are taken of x less the first row, so that a mean far from zero costs no digits. */
#include "backend/cuda/kernels/columns.h"

template <class T, int V>
static __global__ void __launch_bounds__(BLOCK)
    statistics_kernel(struct batch_norm_statistics b, struct columns_plan p)
{
    struct columns_share s = columns_share_of<V>(&p, b.rows, b.c);
    float shift[V] = {0}, sum[V] = {0}, squares[V] = {0};
    const T *x = (const T *)b.x + s.column;

    if (!s.idle)
        load<V>(x, shift);
#pragma unroll 4
    for (int64_t row = s.first; row < s.end && !s.idle; row += s.down) {
        float v[V];

        load<V>(x + row * b.c, v);
        for (int i = 0; i < V; i++) {
            float d = v[i] - shift[i];
            sum[i] += d;
            squares[i] += d * d;
        }
    }
    columns_gather<V>(&p, &s, sum, b.workspace, b.c);
    columns_gather<V>(&p, &s, squares, b.workspace + (int64_t)p.splits * b.c, b.c);
}

template <class T>
static __global__ void __launch_bounds__(BLOCK_LARGEST)
    moments_kernel(struct batch_norm_statistics b, int splits)
{
    int64_t column = (int64_t)blockIdx.x * ADD_COLUMNS + threadIdx.x;
    double sum = columns_add(b.workspace, splits, b.c);
    double squares = columns_add(b.workspace + (int64_t)splits * b.c, splits, b.c);
    double n = (double)b.rows, off = sum / n, var = squares / n - off * off, mean;

    if (threadIdx.x >= ADD_COLUMNS || column >= b.c)
        return;
    mean = (double)widen(((const T *)b.x)[column]) + off;
    var = var < 0 ? 0 : var; /* NaN stays NaN */
    b.mean[column] = (float)mean;
    b.var[column] = (float)var;
    if (b.running_mean) {
        double kept = 1 - (double)b.momentum, unbiased = var * n / (n - 1);

        b.running_mean[column] = (float)(kept * b.running_mean[column] + (double)b.momentum * mean);
        b.running_var[column] =
            (float)(kept * b.running_var[column] + (double)b.momentum * unbiased);
    }
}

size_t batch_norm_workspace(int64_t rows, int64_t c)
{
    return columns_workspace(rows, c, 2);
}

template <class T>
static int statistics_of(struct CUstream_st *stream, const struct batch_norm_statistics *b)
{
    struct columns_plan p = columns_plan_of(b->rows, b->c);
    unsigned blocks = columns_blocks(&p);
    int rc = p.vector == VECTOR
                 ? LAUNCH((statistics_kernel<T, VECTOR>), blocks, BLOCK, 0, stream, *b, p)
                 : LAUNCH((statistics_kernel<T, 1>), blocks, BLOCK, 0, stream, *b, p);

    return rc ? rc
              : LAUNCH((moments_kernel<T>), columns_add_blocks(b->c), columns_add_threads(p.splits),
                       0, stream, *b, p.splits);
}

int launch_batch_norm_statistics(struct CUstream_st *stream, const struct batch_norm_statistics *b)
{
    return BY_TYPE(b->type, statistics_of, stream, b);
}

/* What V columns of one side of the sum are multiplied with and moved by. */
template <int V> struct columns_scale {
    float mean[V], scale[V], beta[V];
};

template <int V>
static __device__ inline void columns_scale_load(const struct normalised *n, int64_t column,
                                                 struct columns_scale<V> *s)
{
    float var[V];

    load_floats_or<V>(n->mean, column, 0, s->mean);
    load_floats<V>(n->var + column, var);
    load_floats<V>(n->gamma + column, s->scale);
    load_floats_or<V>(n->beta, column, 0, s->beta);
    for (int i = 0; i < V; i++)
        s->scale[i] *= inverse_deviation(var[i], n->eps);
}

template <int V>
static __device__ inline void columns_normalise(const struct columns_scale<V> *s, float y[V])
{
    for (int i = 0; i < V; i++)
        y[i] = normalise(y[i], s->mean[i], s->scale[i], s->beta[i]);
}

/* A thread has V columns of ROWS_EACH rows, `down` apart. It asks for the next row's numbers before
 * it writes this one's: the compiler may not, since y may be x. */
#define ROWS_EACH 8

template <class T, int V, bool TWO>
static __global__ void __launch_bounds__(BLOCK)
    apply_kernel(struct batch_norm_apply b, struct columns_plan p)
{
    struct columns_share s = columns_share_of<V>(&p, b.rows, b.c);
    struct columns_scale<V> first, second;
    const bool ahead = V == VECTOR;
    float next[V] = {0};

    if (s.idle || s.first >= s.end)
        return;
    columns_scale_load<V>(&b.first, s.column, &first);
    if (ahead)
        load<V>((const T *)b.first.x + s.first * b.c + s.column, next);
    if (TWO)
        columns_scale_load<V>(&b.second, s.column, &second);
    for (int64_t row = s.first; row < s.end; row += s.down) {
        int64_t at = row * b.c + s.column;
        float y[V], more[V];
        unsigned positive = 0;

        if (ahead)
            for (int i = 0; i < V; i++)
                y[i] = next[i];
        else
            load<V>((const T *)b.first.x + at, y);
        if (ahead && row + s.down < s.end)
            load<V>((const T *)b.first.x + at + s.down * b.c, next);
        columns_normalise<V>(&first, y);
        if (TWO) {
            load<V>((const T *)b.second.x + at, more);
            columns_normalise<V>(&second, more);
            for (int i = 0; i < V; i++)
                y[i] += more[i];
        }
        if (b.residual) {
            load<V>((const T *)b.residual + at, more);
            for (int i = 0; i < V; i++)
                y[i] += more[i];
        }
        for (int i = 0; i < V; i++) {
            y[i] = b.relu ? relu(y[i]) : y[i];
            positive |= (unsigned)(y[i] > 0) << i;
        }
        store<V>(y, (T *)b.y + at);
        if (V == VECTOR && b.mask)
            b.mask[at / VECTOR] = (uint8_t)positive;
    }
}

/* Blocks over all rows, each thread with a few of them. */
static struct columns_plan apply_plan(int64_t rows, int64_t c)
{
    struct columns_plan p = columns_plan_of(rows, c);

    p.rows_each = (int64_t)BLOCK / p.across * ROWS_EACH;
    p.splits = (int)divide_up(rows, p.rows_each);
    return p;
}

template <class T, int V>
static int apply_of(struct CUstream_st *stream, const struct batch_norm_apply *b,
                    const struct columns_plan *p)
{
    if (b->second.x)
        return LAUNCH((apply_kernel<T, V, true>), columns_blocks(p), BLOCK, 0, stream, *b, *p);
    return LAUNCH((apply_kernel<T, V, false>), columns_blocks(p), BLOCK, 0, stream, *b, *p);
}

int launch_batch_norm_apply(struct CUstream_st *stream, const struct batch_norm_apply *b)
{
    struct columns_plan p = apply_plan(b->rows, b->c);

    if (b->type == ELEMENT_F32)
        return p.vector == VECTOR ? apply_of<float, VECTOR>(stream, b, &p)
                                  : apply_of<float, 1>(stream, b, &p);
    return p.vector == VECTOR ? apply_of<bf16, VECTOR>(stream, b, &p)
                              : apply_of<bf16, 1>(stream, b, &p);
}
