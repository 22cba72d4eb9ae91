/* Tangents of batch norm and of layer norm in the batch's statistics, and of their derivatives.
 * Over a group of elements, a column or a row, with ι = 1/√(var + eps), x̂ = (x − mean)·ι and r =
 * mean(x̂·Rx):
 *
 *     Rx̂ = ι·(Rx − mean(Rx) − x̂·r)        Ry = Rγ·x̂ + γ·Rx̂ + Rβ
 *
 * and of dβ = Σ dy, dγ = Σ dy·x̂, dx = ι·(g − mean(g) − x̂·mean(g·x̂)) with g = γ·dy:
 *
 *     Rdβ = Σ Rdy        Rdγ = Σ (Rdy·x̂ + dy·Rx̂)        Rg = Rγ·dy + γ·Rdy
 *     Rdx = −ι·r·dx + ι·(Rg − mean(Rg) − Rx̂·mean(g·x̂) − x̂·mean(Rg·x̂ + g·Rx̂))
 *
 * For batch norm γ is the group's, so all means follow from seven sums over a column. */
#include "backend/cuda/kernels/columns.h"

/* What a group's means are, and how an element follows from them. */
struct group {
    float mean, inverse;
    float drift, along;           /* mean(Rx), r */
    float g, g_normal;            /* mean(g), mean(g·x̂) */
    float rg, rg_normal_and_back; /* mean(Rg), mean(Rg·x̂ + g·Rx̂) */
};

static __device__ inline float normal(const struct group *g, float x)
{
    return (x - g->mean) * g->inverse;
}

static __device__ inline float normal_tangent(const struct group *g, float x, float rx)
{
    return g->inverse * (rx - g->drift - normal(g, x) * g->along);
}

static __device__ inline float element_tangent(const struct group *g, float x, float rx,
                                               float gamma, float rgamma, float rbeta)
{
    return rgamma * normal(g, x) + gamma * normal_tangent(g, x, rx) + rbeta;
}

static __device__ inline float grad_tangent(const struct group *g, float x, float rx, float slope,
                                            float rslope)
{
    float dx = g->inverse * (slope - g->g - normal(g, x) * g->g_normal);

    return g->inverse * (rslope - g->rg - normal_tangent(g, x, rx) * g->g_normal -
                         normal(g, x) * g->rg_normal_and_back - g->along * dx);
}

/* ---- batch norm ---------------------------------------------------------------------------- */

/* Sums over a column, c of each, in this order. */
enum column_sum { SUM_RX, SUM_RX_X, SUM_DY, SUM_DY_X, SUM_RDY, SUM_RDY_X, SUM_DY_RX, COLUMN_SUMS };

size_t batch_norm_tangent_workspace(int64_t rows, int64_t c)
{
    size_t sums = (size_t)divide_up(c * COLUMN_SUMS, 4) * 4; /* what follows stays at 16 bytes */

    return sums + batch_norm_workspace(rows, c);
}

/* Σ dy and Σ dy·x̂ by column. Without statistics x̂ is x itself. */
static int sum_columns(struct CUstream_st *stream, const struct norm_tangent *t, const void *dy,
                       const void *x, bool statistics, float *sum, float *sum_x)
{
    struct batch_norm_grad b = {t->type, t->rows,   t->c, dy,   x,    NULL, NULL, NULL, NULL,
                                t->eps,  RELU_NONE, NULL, NULL, NULL, NULL, NULL, NULL, NULL};

    b.mean = statistics ? t->mean : NULL;
    b.var = statistics ? t->var : NULL;
    b.dbeta = sum;
    b.dgamma = sum_x;
    b.workspace = t->workspace + divide_up(t->c * COLUMN_SUMS, 4) * 4;
    return launch_batch_norm_grad(stream, &b);
}

/* Everything known of a column; Rdgamma and Rdbeta of those that are wanted. */
static __device__ inline struct group column_of(const struct norm_tangent *t, int64_t c,
                                                float *rdgamma, float *rdbeta)
{
    const float *sum = t->workspace + c;
    float n = (float)t->rows, gamma = t->gamma[c], rgamma = t->rgamma[c], back;
    struct group g = {t->mean[c], inverse_deviation(t->var[c], t->eps), 0, 0, 0, 0, 0, 0};

    g.drift = sum[SUM_RX * t->c] / n;
    g.along = sum[SUM_RX_X * t->c] / n;
    if (!t->dy)
        return g;
    /* Σ dy·Rx̂ */
    back = g.inverse *
           (sum[SUM_DY_RX * t->c] - g.drift * sum[SUM_DY * t->c] - g.along * sum[SUM_DY_X * t->c]);
    g.g = gamma * sum[SUM_DY * t->c] / n;
    g.g_normal = gamma * sum[SUM_DY_X * t->c] / n;
    g.rg = (rgamma * sum[SUM_DY * t->c] + gamma * sum[SUM_RDY * t->c]) / n;
    g.rg_normal_and_back =
        (rgamma * sum[SUM_DY_X * t->c] + gamma * (sum[SUM_RDY_X * t->c] + back)) / n;
    *rdgamma = sum[SUM_RDY_X * t->c] + back;
    *rdbeta = sum[SUM_RDY * t->c];
    return g;
}

#define ROWS_EACH 8 /* of a thread, which has one column */

template <class T>
static __global__ void __launch_bounds__(BLOCK)
    column_tangent_kernel(const __grid_constant__ struct norm_tangent t)
{
    uint32_t at = thread_number(), columns = (uint32_t)t.c;
    int64_t c = at % columns, first = (int64_t)(at / columns) * ROWS_EACH;
    float gamma = t.gamma[c], rgamma = t.rgamma[c], rdgamma, rdbeta;
    struct group g = column_of(&t, c, &rdgamma, &rdbeta);

    for (int64_t row = first; row < first + ROWS_EACH && row < t.rows; row++) {
        int64_t e = row * t.c + c;
        float x = widen(((const T *)t.x)[e]), rx = widen(((const T *)t.rx)[e]), to;

        if (t.dy) {
            float dy = widen(((const T *)t.dy)[e]), rdy = widen(((const T *)t.rdy)[e]);
            to = grad_tangent(&g, x, rx, gamma * dy, rgamma * dy + gamma * rdy);
        } else {
            to = element_tangent(&g, x, rx, gamma, rgamma, t.rbeta[c]);
        }
        narrow(to, (T *)t.ry + e);
    }
    if (t.dy && first == 0) {
        t.rdgamma[c] = rdgamma;
        t.rdbeta[c] = rdbeta;
    }
}

static int column_tangent(struct CUstream_st *stream, const struct norm_tangent *t)
{
    unsigned blocks = (unsigned)divide_up(t->c * divide_up(t->rows, ROWS_EACH), BLOCK);

    if (t->type == ELEMENT_F32)
        return LAUNCH(column_tangent_kernel<float>, blocks, BLOCK, 0, stream, *t);
    return LAUNCH(column_tangent_kernel<bf16>, blocks, BLOCK, 0, stream, *t);
}

int launch_batch_norm_tangent(struct CUstream_st *stream, const struct norm_tangent *t)
{
    struct norm_tangent alone = *t;
    float *sum = t->workspace;
    int rc = sum_columns(stream, t, t->rx, t->x, true, sum, sum + SUM_RX_X * t->c);

    alone.dy = NULL;
    return rc ? rc : column_tangent(stream, &alone);
}

int launch_batch_norm_grad_tangent(struct CUstream_st *stream, const struct norm_tangent *t)
{
    float *sum = t->workspace;
    int rc = sum_columns(stream, t, t->rx, t->x, true, sum, sum + SUM_RX_X * t->c);

    if (!rc)
        rc = sum_columns(stream, t, t->dy, t->x, true, sum + SUM_DY * t->c, sum + SUM_DY_X * t->c);
    if (!rc)
        rc = sum_columns(stream, t, t->rdy, t->x, true, sum + SUM_RDY * t->c,
                         sum + SUM_RDY_X * t->c);
    if (!rc)
        rc = sum_columns(stream, t, t->dy, t->rx, false, NULL, sum + SUM_DY_RX * t->c);
    return rc ? rc : column_tangent(stream, t);
}

/* ---- layer norm ---------------------------------------------------------------------------- */

#define ROWS_OF_BLOCK (BLOCK / WARP)

/* A row's drift, in all lanes. */
template <class T>
static __device__ inline struct group row_of(const struct norm_tangent *t, int64_t row)
{
    struct group g = {t->mean[row], inverse_deviation(t->var[row], t->eps), 0, 0, 0, 0, 0, 0};
    const T *x = (const T *)t->x + row * t->c, *rx = (const T *)t->rx + row * t->c;

    for (int64_t j = threadIdx.x % WARP; j < t->c; j += WARP) {
        g.drift += widen(rx[j]);
        g.along += widen(rx[j]) * normal(&g, widen(x[j]));
    }
    g.drift = warp_sum(g.drift) / (float)t->c;
    g.along = warp_sum(g.along) / (float)t->c;
    return g;
}

/* The means that a derivative's tangent needs. */
template <class T>
static __device__ inline void row_means(const struct norm_tangent *t, int64_t row, struct group *g)
{
    float sum = 0, sum_x = 0, moved = 0, moved_x = 0, n = (float)t->c;

    for (int64_t j = threadIdx.x % WARP; j < t->c; j += WARP) {
        int64_t e = row * t->c + j;
        float x = widen(((const T *)t->x)[e]), rx = widen(((const T *)t->rx)[e]);
        float dy = widen(((const T *)t->dy)[e]), rdy = widen(((const T *)t->rdy)[e]);
        float slope = t->gamma[j] * dy, rslope = t->rgamma[j] * dy + t->gamma[j] * rdy;

        sum += slope;
        sum_x += slope * normal(g, x);
        moved += rslope;
        moved_x += rslope * normal(g, x) + slope * normal_tangent(g, x, rx);
    }
    g->g = warp_sum(sum) / n;
    g->g_normal = warp_sum(sum_x) / n;
    g->rg = warp_sum(moved) / n;
    g->rg_normal_and_back = warp_sum(moved_x) / n;
}

template <class T, bool GRAD>
static __global__ void __launch_bounds__(BLOCK)
    row_tangent_kernel(const __grid_constant__ struct norm_tangent t)
{
    int64_t row = (int64_t)blockIdx.x * ROWS_OF_BLOCK + threadIdx.x / WARP;
    struct group g;

    if (row >= t.rows)
        return;
    g = row_of<T>(&t, row);
    if (GRAD)
        row_means<T>(&t, row, &g);
    for (int64_t j = threadIdx.x % WARP; j < t.c; j += WARP) {
        int64_t e = row * t.c + j;
        float x = widen(((const T *)t.x)[e]), rx = widen(((const T *)t.rx)[e]);
        float gamma = t.gamma[j], rgamma = t.rgamma[j], to;

        if (GRAD) {
            float dy = widen(((const T *)t.dy)[e]), rdy = widen(((const T *)t.rdy)[e]);
            to = grad_tangent(&g, x, rx, gamma * dy, rgamma * dy + gamma * rdy);
        } else {
            to = element_tangent(&g, x, rx, gamma, rgamma, t.rbeta[j]);
        }
        narrow(to, (T *)t.ry + e);
    }
}

/* Rdγ and Rdβ: a block a column, with each row's drift from the workspace. */
template <class T>
static __global__ void __launch_bounds__(BLOCK)
    row_parameters_kernel(const __grid_constant__ struct norm_tangent t)
{
    int64_t j = blockIdx.x;
    double sum = 0, sum_x = 0;

    for (int64_t row = threadIdx.x; row < t.rows; row += BLOCK) {
        int64_t e = row * t.c + j;
        struct group g = {t.mean[row],
                          inverse_deviation(t.var[row], t.eps),
                          t.workspace[2 * row],
                          t.workspace[2 * row + 1],
                          0,
                          0,
                          0,
                          0};
        float x = widen(((const T *)t.x)[e]), rx = widen(((const T *)t.rx)[e]);
        float dy = widen(((const T *)t.dy)[e]), rdy = widen(((const T *)t.rdy)[e]);

        sum += (double)rdy;
        sum_x += (double)(rdy * normal(&g, x) + dy * normal_tangent(&g, x, rx));
    }
    sum = block_sum(sum);
    sum_x = block_sum(sum_x);
    if (threadIdx.x == 0) {
        t.rdbeta[j] = (float)sum;
        t.rdgamma[j] = (float)sum_x;
    }
}

/* Leaves each row's drift and r in the workspace, for the sums over columns. */
template <class T>
static __global__ void __launch_bounds__(BLOCK)
    row_drift_kernel(const __grid_constant__ struct norm_tangent t)
{
    int64_t row = (int64_t)blockIdx.x * ROWS_OF_BLOCK + threadIdx.x / WARP;
    struct group g;

    if (row >= t.rows)
        return;
    g = row_of<T>(&t, row);
    if (threadIdx.x % WARP == 0) {
        t.workspace[2 * row] = g.drift;
        t.workspace[2 * row + 1] = g.along;
    }
}

size_t layer_norm_tangent_workspace(int64_t rows, int64_t c)
{
    (void)c;
    return 2 * (size_t)rows;
}

template <class T>
static int row_tangent(struct CUstream_st *stream, const struct norm_tangent *t, bool grad)
{
    unsigned blocks = (unsigned)divide_up(t->rows, ROWS_OF_BLOCK);
    int rc;

    if (!grad)
        return LAUNCH((row_tangent_kernel<T, false>), blocks, BLOCK, 0, stream, *t);
    rc = LAUNCH((row_drift_kernel<T>), blocks, BLOCK, 0, stream, *t);
    if (!rc) /* before Rdx, which may take the place of an input */
        rc = LAUNCH((row_parameters_kernel<T>), (unsigned)t->c, BLOCK, 0, stream, *t);
    return rc ? rc : LAUNCH((row_tangent_kernel<T, true>), blocks, BLOCK, 0, stream, *t);
}

int launch_layer_norm_tangent(struct CUstream_st *stream, const struct norm_tangent *t)
{
    return BY_TYPE(t->type, row_tangent, stream, t, false);
}

int launch_layer_norm_grad_tangent(struct CUstream_st *stream, const struct norm_tangent *t)
{
    return BY_TYPE(t->type, row_tangent, stream, t, true);
}
