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
#ifndef ENGINE_BACKEND_CUDA_ATTENTION_TILES_H
#define ENGINE_BACKEND_CUDA_ATTENTION_TILES_H

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

/* ---- launching ----------------------------------------------------------------------------- */

/* Rows spread evenly over as few blocks of a head as there can be. */
struct grid {
    unsigned blocks, warps;
};

static inline struct grid grid_of(const struct attention *a, int warps_most)
{
    int64_t sixteens = divide_up(a->t, MATRIX_ROWS), blocks = divide_up(sixteens, warps_most);
    int64_t warps = divide_up(sixteens, blocks);

    blocks = divide_up(sixteens, warps);
    return {(unsigned)(a->n * a->heads * blocks), (unsigned)warps};
}

/* Calls F<T, D>::run(stream, a) for a's numbers and features. */
template <class T, template <class, int> class F>
static int attention_by_features(struct CUstream_st *stream, const struct attention *a)
{
    return a->d <= 32   ? F<T, 32>::run(stream, a)
           : a->d <= 64 ? F<T, 64>::run(stream, a)
                        : F<T, 128>::run(stream, a);
}

template <template <class, int> class F>
static int attention_by_type(struct CUstream_st *stream, const struct attention *a)
{
    if (a->type == ELEMENT_BF16)
        return attention_by_features<bf16, F>(stream, a);
    return a->tf32 ? attention_by_features<tf32, F>(stream, a)
                   : attention_by_features<float, F>(stream, a);
}

#endif
