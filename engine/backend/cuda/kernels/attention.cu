/* Attention of heads of up to 128 features, forward and backward, without the matrices of tokens by
 * tokens (Dao, FlashAttention-2, 2023): a block has some tokens of one head as rows of its own and
 * goes over all tokens, a tile at a time through shared memory; its warps have 16 rows each.
 *
 * Forward the softmax is computed as tiles come, and what it takes to compute it again, the base-2
 * logarithm of each row's sum, is kept. Backward there are two kernels, so that each sum stays with
 * one warp: rows are queries (dQ, and δ = Σ dO·O for the other one), then keys (dK, dV).
 *
 * With E = n·heads·t·d elements of a tensor, by count: forward 4·E·t FLOPs, 4·E elements and E/d
 * floats to and from memory; backward 14·E·t FLOPs (10 if S and dP were computed once), 12·E
 * elements and 4·E/d floats. Tiles that several blocks of a head read count once: they are in L2.
 *
 * What a GPU should try first: a second buffer that is fetched while the first is multiplied,
 * probabilities kept in registers as the next product's operand, wgmma. */
#include "backend/cuda/kernels/matrix.h"

/* Sixteens of rows of a block at most, and tokens of a tile, so that 48 KiB are enough backward;
 * and how many such blocks a multiprocessor is to have registers for at least: left to itself the
 * compiler spills some to get more in. */
template <class T, int D> struct sizes;
template <> struct sizes<bf16, 32> {
    static constexpr int warps = 8, tile = 32, blocks = 2;
};
template <> struct sizes<bf16, 64> {
    static constexpr int warps = 6, tile = 32, blocks = 2;
};
template <> struct sizes<bf16, 128> {
    static constexpr int warps = 4, tile = 16, blocks = 2;
};
template <> struct sizes<float, 32> {
    static constexpr int warps = 4, tile = 32, blocks = 4;
};
template <> struct sizes<float, 64> {
    static constexpr int warps = 4, tile = 16, blocks = 3;
};
template <> struct sizes<float, 128> {
    static constexpr int warps = 2, tile = 8, blocks = 4;
};
template <int D> struct sizes<tf32, D> : sizes<float, D> {
};

/* Where things lie in shared memory; D is d rounded up, the features beyond d are zero. */
template <class T, int D> struct layout {
    static constexpr int tile = sizes<T, D>::tile, pitch = matrix_pitch<T>(D);
    static constexpr int tile_pitch = matrix_pitch<T>(tile);
    static constexpr int own = MATRIX_ROWS * pitch,
                         scores = MATRIX_ROWS * tile_pitch; /* a warp's */

    T *first, *second;             /* own rows, all warps' */
    T *others[2];                  /* the tile */
    T *weights;                    /* this warp's probabilities or their derivatives */
    float *log_sums, *corrections; /* of the tile's rows */

    /* `owned`: tensors of which own rows are kept. */
    __device__ layout(float *memory, int owned)
    {
        int warps = (int)(blockDim.x / WARP);

        log_sums = memory;
        corrections = memory + tile;
        first = (T *)(memory + 2 * tile);
        second = first + warps * own;
        others[0] = first + owned * warps * own;
        others[1] = others[0] + tile * pitch;
        weights = others[1] + tile * pitch + (int)(threadIdx.x / WARP) * scores;
    }

    static size_t bytes(int warps, int owned)
    {
        return (size_t)(owned * warps * own + 2 * tile * pitch + warps * scores) * sizeof(T) +
               2 * tile * sizeof(float);
    }
};

/* A block's head and rows. */
struct place {
    int64_t sample, head;
    int token;                 /* first row of the block */
    int row;                   /* first of this warp, within the block */
    int warp_rows, block_rows; /* that exist */
};

static __device__ inline int clamp_rows(int64_t rows, int most)
{
    return rows < 0 ? 0 : rows < most ? (int)rows : most;
}

static __device__ inline struct place place_of(const struct attention *a)
{
    uint32_t rows = blockDim.x / WARP * MATRIX_ROWS;
    uint32_t blocks = ((uint32_t)a->t + rows - 1) / rows, head = blockIdx.x / blocks;
    struct place p;

    p.sample = head / (uint32_t)a->heads;
    p.head = head % (uint32_t)a->heads;
    p.token = (int)(blockIdx.x % blocks * rows);
    p.row = (int)(threadIdx.x / WARP) * MATRIX_ROWS;
    p.warp_rows = clamp_rows(a->t - p.token - p.row, MATRIX_ROWS);
    p.block_rows = clamp_rows(a->t - p.token, (int)rows);
    return p;
}

/* Rows of one of `parts` tensors of a head that lie side by side, from `token` on. */
struct rows {
    int64_t at, stride; /* elements */
};

static __device__ inline struct rows rows_of(const struct attention *a, const struct place *p,
                                             int parts, int part, int token)
{
    int64_t width = a->heads * a->d;

    return {(p->sample * a->t + token) * parts * width + part * width + p->head * a->d,
            parts * width};
}

/* Log-sums and δ of a head, from `token` on. */
static __device__ inline int64_t sums_at(const struct attention *a, const struct place *p,
                                         int token)
{
    return (p->sample * a->heads + p->head) * a->t + token;
}

/* `count` rows of a tile of `total`, to be waited for; the others, and features beyond d, are zero.
 */
template <class T, int D>
static __device__ inline void load_rows(const void *from, struct rows r, int count, int total,
                                        int64_t d, T *to)
{
    constexpr int pitch = layout<T, D>::pitch, vectors = D / VECTOR;

    for (int i = (int)threadIdx.x; i < total * vectors; i += (int)blockDim.x) {
        int row = i / vectors, column = i % vectors * VECTOR;
        const T *source = (const T *)from + r.at + row * r.stride + column;
        T *target = to + row * pitch + column;

        if (row < count && d % VECTOR == 0 && column < d) {
            for (int k = 0; k < VECTOR; k += 16 / (int)sizeof(T))
                fetch(source + k, target + k);
            continue;
        }
        for (int k = 0; k < VECTOR; k++)
            if (row < count && column + k < d)
                target[k] = source[k];
            else
                narrow(0, target + k);
    }
}

/* The warp's rows times `factor` to memory, by way of shared memory that nobody else uses. */
template <class T, int D>
static __device__ inline void store_rows(float acc[D / 8][4], const float factor[2], T *shared,
                                         void *to, struct rows r, int count, int64_t d)
{
    constexpr int pitch = layout<T, D>::pitch, vectors = D / VECTOR;

#pragma unroll
    for (int j = 0; j < D / 8; j++)
        for (int i = 0; i < 4; i++)
            acc[j][i] *= factor[i / 2];
    __syncwarp();
    put_matrix<T, D>(acc, shared, pitch);
    __syncwarp();
    for (int i = (int)LANE; i < count * vectors; i += WARP) {
        int row = i / vectors, column = i % vectors * VECTOR;
        T *target = (T *)to + r.at + row * r.stride + column;
        const T *source = shared + row * pitch + column;

        if (d % VECTOR == 0 && column < d) {
            for (int k = 0; k < VECTOR * (int)sizeof(T) / 16; k++)
                ((sixteen_bytes *)target)[k] = ((const sixteen_bytes *)source)[k];
            continue;
        }
        for (int k = 0; k < VECTOR; k++)
            if (column + k < d)
                target[k] = source[k];
    }
}

/* log2(e)·scale: exponentials are powers of two. */
static __device__ inline float scale_of(const struct attention *a)
{
    return a->scale * 1.4426950408889634f;
}

/* ---- forward ------------------------------------------------------------------------------- */

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

/* ---- backward: queries --------------------------------------------------------------------- */

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

/* ---- backward: keys and values ------------------------------------------------------------- */

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

/* Rows spread evenly over as few blocks of a head as there can be. */
struct grid {
    unsigned blocks, warps;
};

static struct grid grid_of(const struct attention *a, int warps_most)
{
    int64_t sixteens = divide_up(a->t, MATRIX_ROWS), blocks = divide_up(sixteens, warps_most);
    int64_t warps = divide_up(sixteens, blocks);

    blocks = divide_up(sixteens, warps);
    return {(unsigned)(a->n * a->heads * blocks), (unsigned)warps};
}

template <class T, int D>
static int attention_of(struct CUstream_st *stream, const struct attention *a)
{
    struct grid g = grid_of(a, sizes<T, D>::warps);

    return LAUNCH((attention_kernel<T, D>), g.blocks, g.warps * WARP,
                  (layout<T, D>::bytes((int)g.warps, 1)), stream, *a);
}

template <class T, int D>
static int attention_grad_of(struct CUstream_st *stream, const struct attention *a)
{
    struct grid g = grid_of(a, sizes<T, D>::warps);
    size_t bytes = layout<T, D>::bytes((int)g.warps, 2);
    int rc = LAUNCH((query_slope_kernel<T, D>), g.blocks, g.warps * WARP, bytes, stream, *a);

    return rc ? rc : LAUNCH((key_slope_kernel<T, D>), g.blocks, g.warps * WARP, bytes, stream, *a);
}

template <class T> static int forward_of(struct CUstream_st *stream, const struct attention *a)
{
    return a->d <= 32   ? attention_of<T, 32>(stream, a)
           : a->d <= 64 ? attention_of<T, 64>(stream, a)
                        : attention_of<T, 128>(stream, a);
}

template <class T> static int backward_of(struct CUstream_st *stream, const struct attention *a)
{
    return a->d <= 32   ? attention_grad_of<T, 32>(stream, a)
           : a->d <= 64 ? attention_grad_of<T, 64>(stream, a)
                        : attention_grad_of<T, 128>(stream, a);
}

int launch_attention(struct CUstream_st *stream, const struct attention *a)
{
    return a->tf32 && a->type == ELEMENT_F32 ? forward_of<tf32>(stream, a)
                                             : BY_TYPE(a->type, forward_of, stream, a);
}

size_t attention_grad_workspace(const struct attention *a)
{
    return (size_t)(a->n * a->heads * a->t);
}

int launch_attention_grad(struct CUstream_st *stream, const struct attention *a)
{
    return a->tf32 && a->type == ELEMENT_F32 ? backward_of<tf32>(stream, a)
                                             : BY_TYPE(a->type, backward_of, stream, a);
}
