/* Sums over the columns of [rows,c] arrays, in two steps: blocks sum stretches of rows into
 * `partial[splits][c]`, and a second kernel adds those up in double. How rows are split depends on
 * the array's size alone. */
#ifndef ENGINE_BACKEND_CUDA_COLUMNS_H
#define ENGINE_BACKEND_CUDA_COLUMNS_H

#include "backend/cuda/kernels/device.h"

#define COLUMN_BLOCKS   528 /* wanted in all: four on each multiprocessor of the largest GPU */
#define COLUMN_ROWS_MIN 8   /* rows that a thread sums, at least */
#define ADD_COLUMNS     32  /* that a block of the second kernel has */

/* How the threads of a block are laid over columns and rows. */
struct columns_plan {
    int vector; /* elements a thread has of a row: VECTOR or 1 */
    int across; /* threads side by side; a power of two, ≤ WARP */
    int column_blocks;
    int splits;
    int64_t rows_each; /* of a block */
};

static inline struct columns_plan columns_plan_of(int64_t rows, int64_t c)
{
    struct columns_plan p = {c % VECTOR ? 1 : VECTOR, 1, 0, 0, 0};
    int64_t vectors = c / p.vector, down, splits, most;

    while (p.across < vectors && p.across < WARP)
        p.across *= 2;
    p.column_blocks = (int)divide_up(vectors, p.across);
    down = BLOCK / p.across;
    most = divide_up(rows, down * COLUMN_ROWS_MIN);
    splits = divide_up(COLUMN_BLOCKS, p.column_blocks);
    splits = splits < most ? splits : most;
    p.rows_each = divide_up(divide_up(rows, splits), down) * down;
    p.splits = (int)divide_up(rows, p.rows_each);
    return p;
}

/* Floats of `sums` partial sums of each column. */
static inline size_t columns_workspace(int64_t rows, int64_t c, int sums)
{
    return (size_t)columns_plan_of(rows, c).splits * (size_t)c * (size_t)sums;
}

/* What thread (x, y) of a block sums: V columns from `column` on, of rows first, first + down, …
 * below end. */
struct columns_share {
    int across, down, x, y;
    int64_t column, first, end;
    bool idle; /* beyond the last column */
};

template <int V>
static __device__ inline struct columns_share columns_share_of(const struct columns_plan *p,
                                                               int64_t rows, int64_t c)
{
    struct columns_share s;

    s.across = p->across;
    s.down = BLOCK / p->across;
    s.x = (int)threadIdx.x % s.across;
    s.y = (int)threadIdx.x / s.across;
    s.column = ((int64_t)(blockIdx.x % (unsigned)p->column_blocks) * s.across + s.x) * V;
    s.first = (int64_t)(blockIdx.x / (unsigned)p->column_blocks) * p->rows_each;
    s.end = s.first + p->rows_each < rows ? s.first + p->rows_each : rows;
    s.first += s.y;
    s.idle = s.column >= c;
    return s;
}

/* Adds up what the threads of a column have, and writes the block's sums to its line of
 * `partial`. All threads of the block call it, once after another without a barrier: at the end
 * each reads its own place only. */
template <int V>
static __device__ inline void columns_gather(const struct columns_plan *p,
                                             const struct columns_share *s, const float sum[V],
                                             float *partial, int64_t c)
{
    __shared__ float shared[BLOCK * V];
    int width = s->across * V;

    for (int i = 0; i < V; i++)
        shared[s->y * width + s->x * V + i] = sum[i];
    __syncthreads();
    for (int half = s->down / 2; half > 0; half /= 2) {
        if (s->y < half)
            for (int i = 0; i < V; i++)
                shared[s->y * width + s->x * V + i] += shared[(s->y + half) * width + s->x * V + i];
        __syncthreads();
    }
    if (s->y == 0 && !s->idle)
        for (int i = 0; i < V; i++)
            partial[(int64_t)(blockIdx.x / (unsigned)p->column_blocks) * c + s->column + i] =
                shared[s->x * V + i];
}

/* The sum over the splits for a column, in thread y = 0 of it; blockDim is (ADD_COLUMNS, down).
 * All threads of the block call it, once after another as above. */
static __device__ inline double columns_add(const float *partial, int splits, int64_t c)
{
    __shared__ double shared[BLOCK_LARGEST];
    int64_t column = (int64_t)blockIdx.x * ADD_COLUMNS + threadIdx.x % ADD_COLUMNS;
    int down = (int)blockDim.x / ADD_COLUMNS, y = (int)threadIdx.x / ADD_COLUMNS;
    double sum = 0;

    if (column < c)
        for (int i = y; i < splits; i += down)
            sum += (double)partial[(int64_t)i * c + column];
    shared[threadIdx.x] = sum;
    __syncthreads();
    for (int half = down / 2; half > 0; half /= 2) {
        if (y < half)
            shared[threadIdx.x] += shared[threadIdx.x + (unsigned)(half * ADD_COLUMNS)];
        __syncthreads();
    }
    return shared[threadIdx.x];
}

/* Threads of a block of the second kernel: whole warps, no more lines than there are splits. */
static inline unsigned columns_add_threads(int splits)
{
    unsigned down = 1;

    while (down < (unsigned)splits && down < BLOCK_LARGEST / ADD_COLUMNS)
        down *= 2;
    return down * ADD_COLUMNS;
}

static inline unsigned columns_add_blocks(int64_t c)
{
    return (unsigned)divide_up(c, ADD_COLUMNS);
}

static inline unsigned columns_blocks(const struct columns_plan *p)
{
    return (unsigned)p->column_blocks * (unsigned)p->splits;
}

#endif
