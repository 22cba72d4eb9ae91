/* Softmax, cross entropy, and how many are right: a warp a row, whatever its length. */
#include "backend/cuda/kernels/device.h"

#define ROWS_OF_BLOCK (BLOCK / WARP)

static __device__ inline int64_t row_of_warp(void)
{
    return (int64_t)blockIdx.x * ROWS_OF_BLOCK + threadIdx.x / WARP;
}

static unsigned blocks_of_rows(int64_t rows)
{
    return (unsigned)divide_up(rows, ROWS_OF_BLOCK);
}

/* The largest of a row, and Σ exp(x − largest), in all lanes. NaN in the row makes the sum NaN,
 * whatever the largest is. */
template <class T, int V>
static __device__ inline float row_exponentials(const T *x, int64_t d, float *largest)
{
    int64_t first = threadIdx.x % WARP * V;
    float most = -INFINITY, sum = 0;

    for (int64_t j = first; j < d; j += WARP * V) {
        float v[V];

        load<V>(x + j, v);
        for (int i = 0; i < V; i++)
            most = fmaxf(most, v[i]);
    }
    most = warp_largest(most);
    for (int64_t j = first; j < d; j += WARP * V) {
        float v[V];

        load<V>(x + j, v);
        for (int i = 0; i < V; i++)
            sum += expf(v[i] - most);
    }
    *largest = most;
    return warp_sum(sum);
}

template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) softmax_kernel(struct softmax s)
{
    int64_t row = row_of_warp();
    const T *x = (const T *)s.x + row * s.d;
    float largest, sum;

    if (row >= s.rows)
        return;
    sum = row_exponentials<T, V>(x, s.d, &largest);
    for (int64_t j = threadIdx.x % WARP * V; j < s.d; j += WARP * V) {
        float v[V];

        load<V>(x + j, v);
        for (int i = 0; i < V; i++)
            v[i] = expf(v[i] - largest) / sum;
        store<V>(v, (T *)s.y + row * s.d + j);
    }
}

/* dx = y·(dy − Σ dy·y) */
template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) softmax_grad_kernel(struct softmax s)
{
    int64_t row = row_of_warp(), first = threadIdx.x % WARP * V;
    const T *y = (const T *)s.x + row * s.d, *dy = (const T *)s.dy + row * s.d;
    float sum = 0;

    if (row >= s.rows)
        return;
    for (int64_t j = first; j < s.d; j += WARP * V) {
        float a[V], b[V];

        load<V>(y + j, a);
        load<V>(dy + j, b);
        for (int i = 0; i < V; i++)
            sum += a[i] * b[i];
    }
    sum = warp_sum(sum);
    for (int64_t j = first; j < s.d; j += WARP * V) {
        float a[V], b[V];

        load<V>(y + j, a);
        load<V>(dy + j, b);
        for (int i = 0; i < V; i++)
            a[i] *= b[i] - sum;
        store<V>(a, (T *)s.y + row * s.d + j);
    }
}

template <class T> static int softmax_of(struct CUstream_st *stream, const struct softmax *s)
{
    unsigned blocks = blocks_of_rows(s->rows);

    if (s->d % VECTOR == 0)
        return LAUNCH((softmax_kernel<T, VECTOR>), blocks, BLOCK, 0, stream, *s);
    return LAUNCH((softmax_kernel<T, 1>), blocks, BLOCK, 0, stream, *s);
}

int launch_softmax(struct CUstream_st *stream, const struct softmax *s)
{
    return BY_TYPE(s->type, softmax_of, stream, s);
}

template <class T> static int softmax_grad_of(struct CUstream_st *stream, const struct softmax *s)
{
    unsigned blocks = blocks_of_rows(s->rows);

    if (s->d % VECTOR == 0)
        return LAUNCH((softmax_grad_kernel<T, VECTOR>), blocks, BLOCK, 0, stream, *s);
    return LAUNCH((softmax_grad_kernel<T, 1>), blocks, BLOCK, 0, stream, *s);
}

int launch_softmax_grad(struct CUstream_st *stream, const struct softmax *s)
{
    return BY_TYPE(s->type, softmax_grad_of, stream, s);
}

/* Ry·(dy − ⟨dy,y⟩) − y·⟨dy,Ry⟩ */
template <class T>
static __global__ void __launch_bounds__(BLOCK) softmax_curve_kernel(struct softmax s)
{
    int64_t row = row_of_warp(), first = row * s.d;
    const T *y = (const T *)s.x + first, *dy = (const T *)s.dy + first,
            *ry = (const T *)s.ry + first;
    float sum = 0, moved = 0;

    if (row >= s.rows)
        return;
    for (int64_t j = threadIdx.x % WARP; j < s.d; j += WARP) {
        sum += widen(dy[j]) * widen(y[j]);
        moved += widen(dy[j]) * widen(ry[j]);
    }
    sum = warp_sum(sum);
    moved = warp_sum(moved);
    for (int64_t j = threadIdx.x % WARP; j < s.d; j += WARP)
        narrow(widen(ry[j]) * (widen(dy[j]) - sum) - widen(y[j]) * moved, (T *)s.y + first + j);
}

int launch_softmax_curve(struct CUstream_st *stream, const struct softmax *s)
{
    unsigned blocks = blocks_of_rows(s->rows);

    if (s->type == ELEMENT_F32)
        return LAUNCH((softmax_curve_kernel<float>), blocks, BLOCK, 0, stream, *s);
    return LAUNCH((softmax_curve_kernel<bf16>), blocks, BLOCK, 0, stream, *s);
}

/* ---- losses -------------------------------------------------------------------------------- */

/* The loss is log Σ exp − Σ target·logit, since a target's shares add up to 1. */
template <class T>
static __global__ void __launch_bounds__(BLOCK) row_losses_kernel(struct class_scores s)
{
    int64_t row = row_of_warp();
    const T *x = (const T *)s.logits + row * s.pitch;
    float spread = s.smoothing / (float)s.classes, largest, sum, all = 0;

    if (row >= s.rows)
        return;
    sum = row_exponentials<T, 1>(x, s.classes, &largest);
    if (spread != 0)
        for (int64_t k = threadIdx.x % WARP; k < s.classes; k += WARP)
            all += widen(x[k]) - largest;
    all = warp_sum(all);
    if (threadIdx.x % WARP == 0)
        s.workspace[row] =
            logf(sum) - (1 - s.smoothing) * (widen(x[s.labels[row]]) - largest) - spread * all;
}

template <class T>
static __global__ void __launch_bounds__(BLOCK)
    cross_entropy_grad_kernel(struct class_scores s, T *to)
{
    int64_t row = row_of_warp();
    const T *x = (const T *)s.logits + row * s.pitch;
    float spread = s.smoothing / (float)s.classes, largest, sum;
    int label;

    if (row >= s.rows)
        return;
    label = s.labels[row];
    sum = row_exponentials<T, 1>(x, s.classes, &largest);
    for (int64_t k = threadIdx.x % WARP; k < s.pitch; k += WARP) {
        float d = 0;

        if (k < s.classes)
            d = expf(widen(x[k]) - largest) / sum - spread - (k == label ? 1 - s.smoothing : 0);
        narrow(d / (float)s.rows, to + row * s.pitch + k);
    }
}

/* p·(R − ⟨p,R⟩)/N with p = softmax(logits): the target does not move. */
template <class T>
static __global__ void __launch_bounds__(BLOCK)
    cross_entropy_curve_kernel(struct class_scores s, const T *rlogits, T *to)
{
    int64_t row = row_of_warp(), first = row * s.pitch;
    const T *x = (const T *)s.logits + first;
    float largest, sum, mean = 0;

    if (row >= s.rows)
        return;
    sum = row_exponentials<T, 1>(x, s.classes, &largest);
    for (int64_t k = threadIdx.x % WARP; k < s.classes; k += WARP)
        mean += expf(widen(x[k]) - largest) / sum * widen(rlogits[first + k]);
    mean = warp_sum(mean);
    for (int64_t k = threadIdx.x % WARP; k < s.pitch; k += WARP) {
        float d = 0;

        if (k < s.classes)
            d = expf(widen(x[k]) - largest) / sum * (widen(rlogits[first + k]) - mean);
        narrow(d / (float)s.rows, to + first + k);
    }
}

/* A label's place is the number of classes before it: those with more, those with as much and a
 * lower number, and NaN, so that a model that gives NaN is never right. */
template <class T>
static __global__ void __launch_bounds__(BLOCK) row_right_kernel(struct class_scores s)
{
    int64_t row = row_of_warp();
    const T *x = (const T *)s.logits + row * s.pitch;
    float mine, before = 0;
    int label;

    if (row >= s.rows)
        return;
    label = s.labels[row];
    mine = widen(x[label]);
    for (int64_t k = threadIdx.x % WARP; k < s.classes; k += WARP) {
        float other = widen(x[k]);

        if (k != label && !(other < mine) && !(k > label && other == mine))
            before++;
    }
    before = warp_sum(before);
    if (threadIdx.x % WARP == 0)
        s.workspace[row] = mine == mine && before < (float)s.k;
}

/* Σ values/divisor, in one block. */
static __global__ void __launch_bounds__(BLOCK_LARGEST)
    total_kernel(const float *values, int64_t n, double divisor, float *to)
{
    double sum = 0;

    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        sum += (double)values[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *to = (float)(sum / divisor);
}

static int launch_total(struct CUstream_st *stream, const struct class_scores *s, double divisor,
                        float *to)
{
    return LAUNCH(total_kernel, 1, BLOCK_LARGEST, 0, stream, s->workspace, s->rows, divisor, to);
}

int launch_cross_entropy(struct CUstream_st *stream, const struct class_scores *s, float *loss)
{
    unsigned blocks = blocks_of_rows(s->rows);
    int rc = s->type == ELEMENT_F32
                 ? LAUNCH((row_losses_kernel<float>), blocks, BLOCK, 0, stream, *s)
                 : LAUNCH((row_losses_kernel<bf16>), blocks, BLOCK, 0, stream, *s);

    return rc ? rc : launch_total(stream, s, (double)s->rows, loss);
}

int launch_cross_entropy_grad(struct CUstream_st *stream, const struct class_scores *s,
                              void *dlogits)
{
    unsigned blocks = blocks_of_rows(s->rows);

    if (s->type == ELEMENT_F32)
        return LAUNCH((cross_entropy_grad_kernel<float>), blocks, BLOCK, 0, stream, *s,
                      (float *)dlogits);
    return LAUNCH((cross_entropy_grad_kernel<bf16>), blocks, BLOCK, 0, stream, *s, (bf16 *)dlogits);
}

int launch_cross_entropy_curve(struct CUstream_st *stream, const struct class_scores *s,
                               const void *rlogits, void *to)
{
    unsigned blocks = blocks_of_rows(s->rows);

    if (s->type == ELEMENT_F32)
        return LAUNCH((cross_entropy_curve_kernel<float>), blocks, BLOCK, 0, stream, *s,
                      (const float *)rlogits, (float *)to);
    return LAUNCH((cross_entropy_curve_kernel<bf16>), blocks, BLOCK, 0, stream, *s,
                  (const bf16 *)rlogits, (bf16 *)to);
}

int launch_correct(struct CUstream_st *stream, const struct class_scores *s, float *count)
{
    unsigned blocks = blocks_of_rows(s->rows);
    int rc = s->type == ELEMENT_F32
                 ? LAUNCH((row_right_kernel<float>), blocks, BLOCK, 0, stream, *s)
                 : LAUNCH((row_right_kernel<bf16>), blocks, BLOCK, 0, stream, *s);

    return rc ? rc : launch_total(stream, s, 1, count);
}
