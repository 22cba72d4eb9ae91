/* Pooling: each thread has V channels of a pixel of the result. */
#include "backend/cuda/kernels/device.h"

/* Splits a thread's number into V channels and what is left. */
template <int V> static __device__ inline uint32_t channel_and_rest(int64_t c, int64_t *channel)
{
    uint32_t at = thread_number(), vectors = (uint32_t)(c / V);

    *channel = at % vectors * V;
    return at / vectors;
}

/* Blocks for `pixels` results of c channels. */
static unsigned blocks_for(int64_t pixels, int64_t c, int vector)
{
    return (unsigned)divide_up(pixels * (c / vector), BLOCK);
}

template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) global_avg_pool_kernel(struct global_pool p)
{
    int64_t channel, image = channel_and_rest<V>(p.c, &channel);
    const T *x = (const T *)p.from + image * p.plane * p.c + channel;
    float sum[V] = {0};

    if (image >= p.n)
        return;
#pragma unroll 4
    for (int64_t i = 0; i < p.plane; i++) {
        float v[V];

        load<V>(x + i * p.c, v);
        for (int j = 0; j < V; j++)
            sum[j] += v[j];
    }
    for (int j = 0; j < V; j++)
        sum[j] /= (float)p.plane;
    store<V>(sum, (T *)p.to + image * p.c + channel);
}

template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) global_avg_pool_grad_kernel(struct global_pool p)
{
    int64_t channel;
    uint32_t pixel = channel_and_rest<V>(p.c, &channel);
    int64_t image = pixel / (uint32_t)p.plane;
    float dy[V];

    if (image >= p.n)
        return;
    load<V>((const T *)p.from + image * p.c + channel, dy);
    for (int i = 0; i < V; i++)
        dy[i] /= (float)p.plane;
    store<V>(dy, (T *)p.to + pixel * p.c + channel);
}

template <class T, int V>
static int global_pool_of(struct CUstream_st *stream, const struct global_pool *p, bool grad)
{
    unsigned blocks = blocks_for(grad ? p->n * p->plane : p->n, p->c, V);

    if (grad)
        return LAUNCH((global_avg_pool_grad_kernel<T, V>), blocks, BLOCK, 0, stream, *p);
    return LAUNCH((global_avg_pool_kernel<T, V>), blocks, BLOCK, 0, stream, *p);
}

static int global_pool(struct CUstream_st *stream, const struct global_pool *p, bool grad)
{
    bool whole = p->c % VECTOR == 0;

    if (p->type == ELEMENT_F32)
        return whole ? global_pool_of<float, VECTOR>(stream, p, grad)
                     : global_pool_of<float, 1>(stream, p, grad);
    return whole ? global_pool_of<bf16, VECTOR>(stream, p, grad)
                 : global_pool_of<bf16, 1>(stream, p, grad);
}

int launch_global_avg_pool(struct CUstream_st *stream, const struct global_pool *p)
{
    return global_pool(stream, p, false);
}

int launch_global_avg_pool_grad(struct CUstream_st *stream, const struct global_pool *p)
{
    return global_pool(stream, p, true);
}

/* The first of equal ones, or the last NaN, as PyTorch has it. */
template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) max_pool_kernel(struct max_pool m)
{
    int64_t channel;
    uint32_t pixel = channel_and_rest<V>(m.c, &channel), q = (uint32_t)m.q, p = (uint32_t)m.p;
    int64_t column = pixel % q, line = pixel / q % p, image = pixel / q / p;
    int64_t top = line * m.stride - m.pad, left = column * m.stride - m.pad;
    float most[V] = {0};
    int place[V] = {0};
    bool any = false;

    if (image >= m.n)
        return;
    for (int r = 0; r < m.size; r++)
        for (int s = 0; s < m.size; s++) {
            int64_t h = top + r, w = left + s;
            float v[V];

            if (h < 0 || h >= m.h || w < 0 || w >= m.w)
                continue;
            load<V>((const T *)m.x + ((image * m.h + h) * m.w + w) * m.c + channel, v);
            for (int i = 0; i < V; i++)
                if (!any || v[i] > most[i] || v[i] != v[i]) {
                    most[i] = v[i];
                    place[i] = r * m.size + s;
                }
            any = true;
        }
    if (m.y)
        store<V>(most, (T *)m.y + pixel * m.c + channel);
    if (m.place)
        for (int i = 0; i < V; i++)
            m.place[pixel * m.c + channel + i] = (uint8_t)place[i];
}

/* Each pixel of x gathers from the windows that contain it, in row-major order of y. */
template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) max_pool_grad_kernel(struct max_pool m)
{
    int64_t channel;
    uint32_t pixel = channel_and_rest<V>(m.c, &channel), width = (uint32_t)m.w;
    uint32_t height = (uint32_t)m.h;
    int64_t w = pixel % width, h = pixel / width % height, image = pixel / width / height;
    int64_t below = h + m.pad, right = w + m.pad, first_p, first_q;
    float dx[V] = {0};

    if (image >= m.n)
        return;
    first_p = below < m.size ? 0 : (below - m.size) / m.stride + 1;
    first_q = right < m.size ? 0 : (right - m.size) / m.stride + 1;
    for (int64_t p = first_p; p < m.p && p * m.stride <= below; p++)
        for (int64_t q = first_q; q < m.q && q * m.stride <= right; q++) {
            int64_t at = ((image * m.p + p) * m.q + q) * m.c + channel;
            int here = (int)((below - p * m.stride) * m.size + right - q * m.stride);
            float dy[V];

            load<V>((const T *)m.x + at, dy);
            for (int i = 0; i < V; i++)
                dx[i] += m.place[at + i] == here ? dy[i] : 0;
        }
    store<V>(dx, (T *)m.y + pixel * m.c + channel);
}

/* y's pixels from where x had its largest. */
template <class T>
static __global__ void __launch_bounds__(BLOCK) max_pool_tangent_kernel(struct max_pool m)
{
    int64_t channel;
    uint32_t pixel = channel_and_rest<1>(m.c, &channel), q = (uint32_t)m.q, p = (uint32_t)m.p;
    int64_t column = pixel % q, line = pixel / q % p, image = pixel / q / p, h, w;
    int64_t at = pixel * m.c + channel;

    if (image >= m.n)
        return;
    h = line * m.stride - m.pad + m.place[at] / m.size;
    w = column * m.stride - m.pad + m.place[at] % m.size;
    ((T *)m.y)[at] = ((const T *)m.x)[((image * m.h + h) * m.w + w) * m.c + channel];
}

int launch_max_pool_tangent(struct CUstream_st *stream, const struct max_pool *m)
{
    unsigned blocks = blocks_for(m->n * m->p * m->q, m->c, 1);

    if (m->type == ELEMENT_F32)
        return LAUNCH((max_pool_tangent_kernel<float>), blocks, BLOCK, 0, stream, *m);
    return LAUNCH((max_pool_tangent_kernel<bf16>), blocks, BLOCK, 0, stream, *m);
}

template <class T, int V>
static int max_pool_of(struct CUstream_st *stream, const struct max_pool *m, bool grad)
{
    unsigned blocks = blocks_for(m->n * (grad ? m->h * m->w : m->p * m->q), m->c, V);

    if (grad)
        return LAUNCH((max_pool_grad_kernel<T, V>), blocks, BLOCK, 0, stream, *m);
    return LAUNCH((max_pool_kernel<T, V>), blocks, BLOCK, 0, stream, *m);
}

static int max_pool(struct CUstream_st *stream, const struct max_pool *m, bool grad)
{
    bool whole = m->c % VECTOR == 0;

    if (m->type == ELEMENT_F32)
        return whole ? max_pool_of<float, VECTOR>(stream, m, grad)
                     : max_pool_of<float, 1>(stream, m, grad);
    return whole ? max_pool_of<bf16, VECTOR>(stream, m, grad)
                 : max_pool_of<bf16, 1>(stream, m, grad);
}

int launch_max_pool(struct CUstream_st *stream, const struct max_pool *m)
{
    return max_pool(stream, m, false);
}

int launch_max_pool_grad(struct CUstream_st *stream, const struct max_pool *m)
{
    return max_pool(stream, m, true);
}
