/* Attention, forward; attention_tiles.h says how. */
#include "backend/cuda/kernels/attention_tiles.h"

/* A warp's rows ROW and ROW + 8 so far. */
struct online {
    float largest[2], sum[2]; /* of the tiles so far; `sum` of this lane's columns */
};

/* Scores become probabilities relative to the largest so far; tokens from `count` on do not exist.
 * `by`: what the tiles before are to be multiplied with. */
template <int TILE>
static __device__ inline void soften(float s[TILE / 8][4], int count, float scale, struct online *o,
                                     float by[2])
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float largest = o->largest[half], base, sum = 0;

#pragma unroll
        for (int j = 0; j < TILE / 8; j++)
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                bool there = 8 * j + (int)COLUMN + i % 2 < count;

                s[j][i] = there ? s[j][i] * scale : -INFINITY;
                largest = fmaxf(largest, s[j][i]);
            }
        largest = row_largest(largest);
        base = largest == -INFINITY ? 0 : largest;
        by[half] = exp2f(o->largest[half] - base);
#pragma unroll
        for (int j = 0; j < TILE / 8; j++)
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                s[j][i] = exp2f(s[j][i] - base);
                sum += s[j][i];
            }
        o->largest[half] = largest;
        o->sum[half] = o->sum[half] * by[half] + sum;
    }
}

template <class T, int D>
static __device__ inline void attend(const struct layout<T, D> *l, const T *queries, int count,
                                     float scale, struct online *o, float acc[D / 8][4])
{
    constexpr int tile = layout<T, D>::tile, pitch = layout<T, D>::pitch;
    float s[tile / 8][4] = {}, by[2];

    multiply<tile, D, false>(queries, pitch, l->others[0], pitch, s);
    soften<tile>(s, count, scale, o, by);
    put_matrix<T, tile>(s, l->weights, l->tile_pitch);
#pragma unroll
    for (int j = 0; j < D / 8; j++)
        for (int i = 0; i < 4; i++)
            acc[j][i] *= by[i / 2];
    __syncwarp();
    multiply<D, tile, true>(l->weights, l->tile_pitch, l->others[1], pitch, acc);
}

template <class T, int D>
static __global__ void __launch_bounds__(sizes<T, D>::warps *WARP, sizes<T, D>::blocks)
    attention_kernel(struct attention a)
{
    SHARED_ROW(memory);
    constexpr int tile = layout<T, D>::tile;
    struct layout<T, D> l(memory, 1);
    struct place p = place_of(&a);
    struct online o = {{-INFINITY, -INFINITY}, {0, 0}};
    float acc[D / 8][4] = {}, factor[2];
    T *queries = l.first + p.row * l.pitch;

    load_rows<T, D>(a.qkv, rows_of(&a, &p, 3, 0, p.token), p.block_rows,
                    (int)(blockDim.x / WARP) * MATRIX_ROWS, a.d, l.first);
    for (int token = 0; token < a.t; token += tile) {
        int count = clamp_rows(a.t - token, tile);

        __syncthreads(); /* those before have been used */
        for (int i = 0; i < 2; i++)
            load_rows<T, D>(a.qkv, rows_of(&a, &p, 3, 1 + i, token), count, tile, a.d, l.others[i]);
        wait_for_fetched();
        __syncthreads();
        if (p.warp_rows > 0)
            attend<T, D>(&l, queries, count, scale_of(&a), &o, acc);
    }
    if (p.warp_rows == 0)
        return;
    for (int half = 0; half < 2; half++) {
        int row = (int)ROW + 8 * half;
        float sum = row_sum(o.sum[half]);

        factor[half] = 1 / sum;
        if (a.log_sums && LANE % 4 == 0 && row < p.warp_rows)
            a.log_sums[sums_at(&a, &p, p.token + p.row + row)] = o.largest[half] + log2f(sum);
    }
    store_rows<T, D>(acc, factor, queries, a.y, rows_of(&a, &p, 1, 0, p.token + p.row), p.warp_rows,
                     a.d);
}

template <class T, int D> struct forward {
    static int run(struct CUstream_st *stream, const struct attention *a)
    {
        struct grid g = grid_of(a, sizes<T, D>::warps);

        return LAUNCH((attention_kernel<T, D>), g.blocks, g.warps * WARP,
                      (layout<T, D>::bytes((int)g.warps, 1)), stream, *a);
    }
};

int launch_attention(struct CUstream_st *stream, const struct attention *a)
{
    return attention_by_type<forward>(stream, a);
}
