/* Sums over rows, and layer norm, whose rows a warp has one each.
 *
 * A row is read once for each of its sums and once to make the result of: after the first time it
 * is in the nearest cache, and rows of any length work. */
#include "backend/cuda/kernels/columns.h"

/* ---- sums over rows ------------------------------------------------------------------------ */

template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) sum_kernel(struct sum_rows a, struct columns_plan p)
{
    struct columns_share s = columns_share_of<V>(&p, a.rows, a.c);
    float sum[V] = {0};

#pragma unroll 4
    for (int64_t row = s.first; row < s.end && !s.idle; row += s.down) {
        float dy[V];

        load<V>((const T *)a.dy + row * a.c + s.column, dy);
        for (int i = 0; i < V; i++)
            sum[i] += dy[i];
    }
    columns_gather<V>(&p, &s, sum, a.workspace, a.c);
}

/* One or two sums of each column; `second` may be NULL. */
static __global__ void __launch_bounds__(BLOCK_LARGEST)
    add_kernel(const float *partial, int splits, int64_t c, float *first, float *second)
{
    int64_t column = (int64_t)blockIdx.x * ADD_COLUMNS + threadIdx.x;
    bool mine = threadIdx.x < ADD_COLUMNS && column < c;
    double sum = columns_add(partial, splits, c);

    if (mine)
        first[column] = (float)sum;
    if (!second)
        return;
    sum = columns_add(partial + (int64_t)splits * c, splits, c);
    if (mine)
        second[column] = (float)sum;
}

size_t sum_rows_workspace(int64_t rows, int64_t c)
{
    return columns_workspace(rows, c, 1);
}

template <class T> static int sum_rows_of(struct CUstream_st *stream, const struct sum_rows *s)
{
    struct columns_plan p = columns_plan_of(s->rows, s->c);
    unsigned blocks = columns_blocks(&p);
    int rc = p.vector == VECTOR ? LAUNCH((sum_kernel<T, VECTOR>), blocks, BLOCK, 0, stream, *s, p)
                                : LAUNCH((sum_kernel<T, 1>), blocks, BLOCK, 0, stream, *s, p);

    return rc ? rc
              : LAUNCH(add_kernel, columns_add_blocks(s->c), columns_add_threads(p.splits), 0,
                       stream, s->workspace, p.splits, s->c, s->db, (float *)NULL);
}

int launch_sum_rows(struct CUstream_st *stream, const struct sum_rows *s)
{
    return BY_TYPE(s->type, sum_rows_of, stream, s);
}

/* ---- layer norm ---------------------------------------------------------------------------- */

#define ROWS_OF_BLOCK (BLOCK / WARP)

/* The row of this warp. */
static __device__ inline int64_t row_of_warp(void)
{
    return (int64_t)blockIdx.x * ROWS_OF_BLOCK + threadIdx.x / WARP;
}

template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) layer_norm_kernel(struct layer_norm l)
{
    int64_t row = row_of_warp(), first = threadIdx.x % WARP * V, step = WARP * V;
    const T *x = (const T *)l.x + row * l.d;
    float sum = 0, mean, var, scale;

    if (row >= l.rows)
        return;
    for (int64_t j = first; j < l.d; j += step) {
        float v[V];

        load<V>(x + j, v);
        for (int i = 0; i < V; i++)
            sum += v[i];
    }
    mean = warp_sum(sum) / (float)l.d;
    sum = 0;
    for (int64_t j = first; j < l.d; j += step) {
        float v[V];

        load<V>(x + j, v);
        for (int i = 0; i < V; i++)
            sum += (v[i] - mean) * (v[i] - mean);
    }
    var = warp_sum(sum) / (float)l.d;
    scale = inverse_deviation(var, l.eps);
    for (int64_t j = first; j < l.d; j += step) {
        float v[V], gamma[V], beta[V];

        load<V>(x + j, v);
        load_floats<V>(l.gamma + j, gamma);
        load_floats<V>(l.beta + j, beta);
        for (int i = 0; i < V; i++)
            v[i] = (v[i] - mean) * scale * gamma[i] + beta[i];
        store<V>(v, (T *)l.y + row * l.d + j);
    }
    if (threadIdx.x % WARP == 0) {
        l.mean[row] = mean;
        l.var[row] = var;
    }
}

template <class T> static int layer_norm_of(struct CUstream_st *stream, const struct layer_norm *l)
{
    unsigned blocks = (unsigned)divide_up(l->rows, ROWS_OF_BLOCK);

    if (l->d % VECTOR == 0)
        return LAUNCH((layer_norm_kernel<T, VECTOR>), blocks, BLOCK, 0, stream, *l);
    return LAUNCH((layer_norm_kernel<T, 1>), blocks, BLOCK, 0, stream, *l);
}

int launch_layer_norm(struct CUstream_st *stream, const struct layer_norm *l)
{
    return BY_TYPE(l->type, layer_norm_of, stream, l);
}

/* dgamma = Σ dy·x̂ and dbeta = Σ dy, by column. */
template <class T, int V>
static __global__ void __launch_bounds__(BLOCK)
    parameters_kernel(struct layer_norm_grad l, struct columns_plan p)
{
    struct columns_share s = columns_share_of<V>(&p, l.rows, l.d);
    float sum[V] = {0}, sum_x[V] = {0};

#pragma unroll 2
    for (int64_t row = s.first; row < s.end && !s.idle; row += s.down) {
        float dy[V], x[V], mean = l.mean[row], inverse = inverse_deviation(l.var[row], l.eps);

        load<V>((const T *)l.dy + row * l.d + s.column, dy);
        load<V>((const T *)l.x + row * l.d + s.column, x);
        for (int i = 0; i < V; i++) {
            sum[i] += dy[i];
            sum_x[i] += dy[i] * ((x[i] - mean) * inverse);
        }
    }
    columns_gather<V>(&p, &s, sum, l.workspace, l.d);
    columns_gather<V>(&p, &s, sum_x, l.workspace + (int64_t)p.splits * l.d, l.d);
}

/* With g = dy·gamma: dx = (g − mean(g) − x̂·mean(g·x̂))/√(var + eps). */
template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) layer_norm_dx_kernel(struct layer_norm_grad l)
{
    int64_t row = row_of_warp(), first = threadIdx.x % WARP * V, step = WARP * V;
    float sum = 0, sum_x = 0, mean, inverse;

    if (row >= l.rows)
        return;
    mean = l.mean[row];
    inverse = inverse_deviation(l.var[row], l.eps);
    for (int64_t j = first; j < l.d; j += step) {
        float dy[V], x[V], gamma[V];

        load<V>((const T *)l.dy + row * l.d + j, dy);
        load<V>((const T *)l.x + row * l.d + j, x);
        load_floats<V>(l.gamma + j, gamma);
        for (int i = 0; i < V; i++) {
            sum += dy[i] * gamma[i];
            sum_x += dy[i] * gamma[i] * ((x[i] - mean) * inverse);
        }
    }
    sum = warp_sum(sum) / (float)l.d;
    sum_x = warp_sum(sum_x) / (float)l.d;
    for (int64_t j = first; j < l.d; j += step) {
        float dy[V], x[V], gamma[V];

        load<V>((const T *)l.dy + row * l.d + j, dy);
        load<V>((const T *)l.x + row * l.d + j, x);
        load_floats<V>(l.gamma + j, gamma);
        for (int i = 0; i < V; i++)
            x[i] = normalise_slope(dy[i] * gamma[i], (x[i] - mean) * inverse, inverse, sum, sum_x);
        store<V>(x, (T *)l.dx + row * l.d + j);
    }
}

size_t layer_norm_grad_workspace(int64_t rows, int64_t d)
{
    return columns_workspace(rows, d, 2);
}

template <class T, int V>
static int layer_norm_grad_of(struct CUstream_st *stream, const struct layer_norm_grad *l)
{
    struct columns_plan p = columns_plan_of(l->rows, l->d);
    int rc = LAUNCH((parameters_kernel<T, V>), columns_blocks(&p), BLOCK, 0, stream, *l, p);

    if (!rc)
        rc = LAUNCH(add_kernel, columns_add_blocks(l->d), columns_add_threads(p.splits), 0, stream,
                    l->workspace, p.splits, l->d, l->dbeta, l->dgamma);
    if (!rc)
        rc = LAUNCH((layer_norm_dx_kernel<T, V>), (unsigned)divide_up(l->rows, ROWS_OF_BLOCK),
                    BLOCK, 0, stream, *l);
    return rc;
}

int launch_layer_norm_grad(struct CUstream_st *stream, const struct layer_norm_grad *l)
{
    bool whole = l->d % VECTOR == 0;

    if (l->type == ELEMENT_F32)
        return whole ? layer_norm_grad_of<float, VECTOR>(stream, l)
                     : layer_norm_grad_of<float, 1>(stream, l);
    return whole ? layer_norm_grad_of<bf16, VECTOR>(stream, l)
                 : layer_norm_grad_of<bf16, 1>(stream, l);
}
