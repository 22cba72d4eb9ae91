/* Dropout. A mask's words belong to elements in row-major order [n,channels,plane]; one Philox
 * block has four. Where four neighbours of that order can be had together, a thread takes them: of
 * a row of features, or of one channel's plane. */
#include "backend/cuda/kernels/device.h"
#include "backend/cuda/kernels/update.h"

struct drop {
    uint32_t threshold, stream;
    float scale;
};

template <class T>
static __device__ inline void drop_one(const struct dropout *d, const struct drop *how,
                                       uint32_t word, int64_t at)
{
    float x = widen(((const T *)d->x)[at]);

    narrow(dropout_keeps(word, how->threshold) ? x * how->scale : 0, (T *)d->y + at);
}

/* Rows without padding: element number and place are one. A thread has eight. */
template <class T>
static __global__ void __launch_bounds__(BLOCK)
    dropout_flat_kernel(struct dropout d, struct drop how)
{
    int64_t first = ((int64_t)blockIdx.x * BLOCK + threadIdx.x) * VECTOR, n = d.n * d.c;
    int count = n - first < VECTOR ? (int)(n - first) : VECTOR;
    uint64_t update = d.turn->update;
    float x[VECTOR];

    if (count <= 0)
        return;
    load_some((const T *)d.x + first, count, x);
    for (int half = 0; half < 2; half++) {
        struct philox draw = philox(d.seed, (uint32_t)(first / 4 + half), how.stream, update);

        for (int i = 0; i < 4; i++) {
            float scaled = x[4 * half + i] * how.scale;
            x[4 * half + i] = dropout_keeps(draw.word[i], how.threshold) ? scaled : 0;
        }
    }
    store_some(x, count, (T *)d.y + first);
}

/* Planes of a multiple of four pixels: a thread has four pixels of one channel. Neighbouring
 * threads have neighbouring channels. */
template <class T>
static __global__ void __launch_bounds__(BLOCK)
    dropout_planes_kernel(struct dropout d, struct drop how)
{
    uint32_t at = thread_number(), c = (uint32_t)d.c, quads = (uint32_t)d.plane / 4;
    int64_t channel = at % c, quad = at / c % quads, image = at / c / quads;
    int64_t place = (image * d.plane + quad * 4) * d.c + channel;
    struct philox draw;

    if (image >= d.n)
        return;
    draw = philox(d.seed, (uint32_t)((image * d.channels + channel) * quads + quad), how.stream,
                  d.turn->update);
    for (int i = 0; i < 4; i++)
        drop_one<T>(&d, &how, channel < d.channels ? draw.word[i] : 0, place + i * d.c);
}

template <class T>
static __global__ void __launch_bounds__(BLOCK)
    dropout_any_kernel(struct dropout d, struct drop how)
{
    uint32_t at = thread_number(), c = (uint32_t)d.c, plane = (uint32_t)d.plane;
    int64_t channel = at % c, pixel = at / c % plane, image = at / c / plane, e;
    struct philox draw;
    uint32_t word = 0;

    if (image >= d.n)
        return;
    e = (image * d.channels + channel) * d.plane + pixel;
    draw = philox(d.seed, (uint32_t)(e / 4), how.stream, d.turn->update);
    for (int i = 0; i < 4; i++) /* not draw.word[e % 4], which would put the words in memory */
        word = i == e % 4 && channel < d.channels ? draw.word[i] : word;
    drop_one<T>(&d, &how, word, at);
}

template <class T> static int dropout_of(struct CUstream_st *stream, const struct dropout *d)
{
    struct drop how = {dropout_threshold(d->rate), random_stream(RANDOM_DROPOUT, d->term, d->index),
                       (float)(1 / (1 - d->rate))};
    int64_t all = d->n * d->plane * d->c;

    if (d->plane == 1 && d->c == d->channels)
        return LAUNCH((dropout_flat_kernel<T>), (unsigned)divide_up(divide_up(all, VECTOR), BLOCK),
                      BLOCK, 0, stream, *d, how);
    if (d->plane % 4 == 0)
        return LAUNCH((dropout_planes_kernel<T>), (unsigned)divide_up(all / 4, BLOCK), BLOCK, 0,
                      stream, *d, how);
    return LAUNCH((dropout_any_kernel<T>), (unsigned)divide_up(all, BLOCK), BLOCK, 0, stream, *d,
                  how);
}

int launch_dropout(struct CUstream_st *stream, const struct dropout *d)
{
    return BY_TYPE(d->type, dropout_of, stream, d);
}
