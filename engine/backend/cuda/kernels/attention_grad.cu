/* Attention, backward; attention_tiles.h says how. */
#include "backend/cuda/kernels/attention_tiles.h"

/* ---- queries ------------------------------------------------------------------------------- */

/* δ of rows ROW and ROW + 8: four lanes a row, eight features at a time. */
template <class T, int D>
static __device__ inline void correct(const struct attention *a, const struct place *p, const T *dy,
                                      float delta[2])
{
    for (int half = 0; half < 2; half++) {
        int row = (int)ROW + 8 * half;
        struct rows r = rows_of(a, p, 1, 0, p->token + p->row + row);
        const T *y = (const T *)a->y + r.at;
        float sum = 0;

        for (int j = (int)(LANE % 4) * VECTOR; j < a->d && row < p->warp_rows; j += 4 * VECTOR) {
            float v[VECTOR];

            if (a->d % VECTOR == 0)
                load_eight(y + j, v);
            else
                for (int i = 0; i < VECTOR; i++)
                    v[i] = j + i < a->d ? widen(y[j + i]) : 0;
            for (int i = 0; i < VECTOR; i++)
                sum += v[i] * widen(dy[row * layout<T, D>::pitch + j + i]);
        }
        delta[half] = row_sum(sum);
        if (LANE % 4 == 0 && row < p->warp_rows)
            a->workspace[sums_at(a, p, p->token + p->row + row)] = delta[half];
    }
}

/* Of a warp's queries, with a tile of keys and values. */
template <class T, int D>
static __device__ inline void query_slope(const struct layout<T, D> *l, int row, int count,
                                          float scale, const float log_sum[2], const float delta[2],
                                          float acc[D / 8][4])
{
    constexpr int tile = layout<T, D>::tile, pitch = layout<T, D>::pitch;
    float s[tile / 8][4] = {}, dp[tile / 8][4] = {};

    multiply<tile, D, false>(l->first + row * pitch, pitch, l->others[0], pitch, s);
    multiply<tile, D, false>(l->second + row * pitch, pitch, l->others[1], pitch, dp);
#pragma unroll
    for (int j = 0; j < tile / 8; j++)
        for (int i = 0; i < 4; i++) {
            bool there = 8 * j + (int)COLUMN + i % 2 < count;
            float probability = exp2f(s[j][i] * scale - log_sum[i / 2]);

            s[j][i] = there ? probability * (dp[j][i] - delta[i / 2]) : 0;
        }
    put_matrix<T, tile>(s, l->weights, l->tile_pitch);
    __syncwarp();
    multiply<D, tile, true>(l->weights, l->tile_pitch, l->others[0], pitch, acc);
}

template <class T, int D>
static __global__ void __launch_bounds__(sizes<T, D>::warps *WARP, sizes<T, D>::blocks)
    query_slope_kernel(struct attention a)
{
    SHARED_ROW(memory);
    constexpr int tile = layout<T, D>::tile;
    struct layout<T, D> l(memory, 2);
    struct place p = place_of(&a);
    float acc[D / 8][4] = {}, log_sum[2], delta[2], factor[2] = {a.scale, a.scale};
    int rows = (int)(blockDim.x / WARP) * MATRIX_ROWS;

    load_rows<T, D>(a.qkv, rows_of(&a, &p, 3, 0, p.token), p.block_rows, rows, a.d, l.first);
    load_rows<T, D>(a.dy, rows_of(&a, &p, 1, 0, p.token), p.block_rows, rows, a.d, l.second);
    wait_for_fetched();
    __syncthreads();
    correct<T, D>(&a, &p, l.second + p.row * l.pitch, delta);
    for (int half = 0; half < 2; half++) {
        int row = (int)ROW + 8 * half;

        log_sum[half] =
            row < p.warp_rows ? a.log_sums[sums_at(&a, &p, p.token + p.row + row)] : INFINITY;
    }
    for (int token = 0; token < a.t; token += tile) {
        int count = clamp_rows(a.t - token, tile);

        __syncthreads();
        for (int i = 0; i < 2; i++)
            load_rows<T, D>(a.qkv, rows_of(&a, &p, 3, 1 + i, token), count, tile, a.d, l.others[i]);
        wait_for_fetched();
        __syncthreads();
        if (p.warp_rows > 0)
            query_slope<T, D>(&l, p.row, count, scale_of(&a), log_sum, delta, acc);
    }
    if (p.warp_rows > 0)
        store_rows<T, D>(acc, factor, l.first + p.row * l.pitch, a.dqkv,
                         rows_of(&a, &p, 3, 0, p.token + p.row), p.warp_rows, a.d);
}

/* ---- keys and values ----------------------------------------------------------------------- */

/* Of a warp's keys and values, with a tile of queries and of the result's derivative. */
template <class T, int D>
static __device__ inline void key_slope(const struct layout<T, D> *l, int row, float scale,
                                        float dk[D / 8][4], float dv[D / 8][4])
{
    constexpr int tile = layout<T, D>::tile, pitch = layout<T, D>::pitch;
    float s[tile / 8][4] = {}, dp[tile / 8][4] = {};

    multiply<tile, D, false>(l->first + row * pitch, pitch, l->others[0], pitch, s);
#pragma unroll
    for (int j = 0; j < tile / 8; j++)
        for (int i = 0; i < 4; i++)
            s[j][i] = exp2f(s[j][i] * scale - l->log_sums[8 * j + (int)COLUMN + i % 2]);
    put_matrix<T, tile>(s, l->weights, l->tile_pitch);
    __syncwarp();
    multiply<D, tile, true>(l->weights, l->tile_pitch, l->others[1], pitch, dv);
    multiply<tile, D, false>(l->second + row * pitch, pitch, l->others[1], pitch, dp);
#pragma unroll
    for (int j = 0; j < tile / 8; j++)
        for (int i = 0; i < 4; i++)
            s[j][i] *= dp[j][i] - l->corrections[8 * j + (int)COLUMN + i % 2];
    __syncwarp();
    put_matrix<T, tile>(s, l->weights, l->tile_pitch);
    __syncwarp();
    multiply<D, tile, true>(l->weights, l->tile_pitch, l->others[0], pitch, dk);
}

template <class T, int D>
static __global__ void __launch_bounds__(sizes<T, D>::warps *WARP, sizes<T, D>::blocks)
    key_slope_kernel(struct attention a)
{
    SHARED_ROW(memory);
    constexpr int tile = layout<T, D>::tile;
    struct layout<T, D> l(memory, 2);
    struct place p = place_of(&a);
    float dk[D / 8][4] = {}, dv[D / 8][4] = {}, factor[2] = {a.scale, a.scale}, one[2] = {1, 1};
    int rows = (int)(blockDim.x / WARP) * MATRIX_ROWS, i = (int)threadIdx.x;

    load_rows<T, D>(a.qkv, rows_of(&a, &p, 3, 1, p.token), p.block_rows, rows, a.d, l.first);
    load_rows<T, D>(a.qkv, rows_of(&a, &p, 3, 2, p.token), p.block_rows, rows, a.d, l.second);
    for (int token = 0; token < a.t; token += tile) {
        int count = clamp_rows(a.t - token, tile);
        int64_t sums = sums_at(&a, &p, token);

        __syncthreads();
        load_rows<T, D>(a.qkv, rows_of(&a, &p, 3, 0, token), count, tile, a.d, l.others[0]);
        load_rows<T, D>(a.dy, rows_of(&a, &p, 1, 0, token), count, tile, a.d, l.others[1]);
        if (i < tile) { /* queries that do not exist have probabilities of zero */
            l.log_sums[i] = i < count ? a.log_sums[sums + i] : INFINITY;
            l.corrections[i] = i < count ? a.workspace[sums + i] : 0;
        }
        wait_for_fetched();
        __syncthreads();
        if (p.warp_rows > 0)
            key_slope<T, D>(&l, p.row, scale_of(&a), dk, dv);
    }
    if (p.warp_rows == 0)
        return;
    store_rows<T, D>(dk, factor, l.first + p.row * l.pitch, a.dqkv,
                     rows_of(&a, &p, 3, 1, p.token + p.row), p.warp_rows, a.d);
    store_rows<T, D>(dv, one, l.first + p.row * l.pitch, a.dqkv,
                     rows_of(&a, &p, 3, 2, p.token + p.row), p.warp_rows, a.d);
}

/* ---- launching ----------------------------------------------------------------------------- */

template <class T, int D> struct backward {
    static int run(struct CUstream_st *stream, const struct attention *a)
    {
        struct grid g = grid_of(a, sizes<T, D>::warps);
        size_t bytes = layout<T, D>::bytes((int)g.warps, 2);
        int rc = LAUNCH((query_slope_kernel<T, D>), g.blocks, g.warps * WARP, bytes, stream, *a);

        return rc ? rc
                  : LAUNCH((key_slope_kernel<T, D>), g.blocks, g.warps * WARP, bytes, stream, *a);
    }
};

size_t attention_grad_workspace(const struct attention *a)
{
    return (size_t)(a->n * a->heads * a->t);
}

int launch_attention_grad(struct CUstream_st *stream, const struct attention *a)
{
    return attention_by_type<backward>(stream, a);
}
