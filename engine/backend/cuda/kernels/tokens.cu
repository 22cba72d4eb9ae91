/* Moving numbers: patches of images, tokens, heads. A thread has V neighbours of the result, which
 * are neighbours of the source as well. */
#include "backend/cuda/kernels/device.h"

static unsigned blocks_for(int64_t n)
{
    return (unsigned)divide_up(n, BLOCK);
}

template <class T, int V> static __device__ inline void copy(const T *from, T *to)
{
    float x[V];

    load<V>(from, x);
    store<V>(x, to);
}

/* ---- patches ------------------------------------------------------------------------------- */

/* Where pixel (h, w) of a channel of an image lies among the patches. */
static __device__ inline int64_t patch_place(const struct patches *p, uint32_t image, uint32_t h,
                                             uint32_t w, uint32_t channel)
{
    uint32_t size = (uint32_t)p->size, channels = (uint32_t)p->channels;
    uint32_t line = image * ((uint32_t)p->h / size) + h / size;
    int64_t token = line * ((uint32_t)p->w / size) + w / size;
    uint32_t pixel = h % size * size + w % size;
    uint32_t place = p->channels_last ? pixel * channels + channel : channel * size * size + pixel;

    return token * (size * size * channels) + place;
}

/* An element of the image, which has a place among the patches if its channel counts. */
template <class T, bool GRAD>
static __global__ void __launch_bounds__(BLOCK) patches_kernel(struct patches p)
{
    uint32_t at = thread_number(), c = (uint32_t)p.c, h = (uint32_t)p.h, w = (uint32_t)p.w;
    uint32_t channel = at % c, pixel = at / c, image = pixel / (h * w);
    int64_t place = patch_place(&p, image, pixel / w % h, pixel % w, channel);

    if (image >= p.n)
        return;
    if (GRAD)
        ((T *)p.to)[at] = channel < p.channels ? ((const T *)p.from)[place] : T();
    else if (channel < p.channels)
        ((T *)p.to)[place] = ((const T *)p.from)[at];
}

template <class T>
static int patches_of(struct CUstream_st *stream, const struct patches *p, bool grad)
{
    unsigned blocks = blocks_for(p->n * p->h * p->w * p->c);

    if (grad)
        return LAUNCH((patches_kernel<T, true>), blocks, BLOCK, 0, stream, *p);
    return LAUNCH((patches_kernel<T, false>), blocks, BLOCK, 0, stream, *p);
}

int launch_patches(struct CUstream_st *stream, const struct patches *p)
{
    return BY_TYPE(p->type, patches_of, stream, p, false);
}

int launch_patches_grad(struct CUstream_st *stream, const struct patches *p)
{
    return BY_TYPE(p->type, patches_of, stream, p, true);
}

/* ---- tokens -------------------------------------------------------------------------------- */

enum token_job { PREPEND, DROP_FIRST, TOKEN, TOKEN_GRAD };

template <class T, int V, int JOB>
static __global__ void __launch_bounds__(BLOCK) token_kernel(struct token_move m)
{
    uint32_t tokens = JOB == TOKEN ? 1 : (uint32_t)m.t - (JOB == DROP_FIRST);
    uint32_t at = thread_number(), vectors = (uint32_t)(m.d / V), rest = at / vectors;
    int64_t j = at % vectors * V, token = rest % tokens, sample = rest / tokens;
    const T *from = (const T *)m.from;
    float x[V] = {0};

    if (sample >= m.n)
        return;
    if (JOB == PREPEND && token == 0)
        load_floats<V>(m.token + j, x);
    else if (JOB == PREPEND)
        load<V>(from + (sample * (m.t - 1) + token - 1) * m.d + j, x);
    else if (JOB == DROP_FIRST)
        load<V>(from + (sample * m.t + token + 1) * m.d + j, x);
    else if (JOB == TOKEN)
        load<V>(from + (sample * m.t + m.number) * m.d + j, x);
    else if (token == m.number)
        load<V>(from + sample * m.d + j, x);
    store<V>(x, (T *)m.to + (int64_t)at * V);
}

template <class T, int JOB>
static int token_of(struct CUstream_st *stream, const struct token_move *m)
{
    int64_t tokens = JOB == DROP_FIRST ? m->t - 1 : JOB == TOKEN ? 1 : m->t;
    int64_t n = m->n * tokens * m->d;

    if (m->d % VECTOR == 0)
        return LAUNCH((token_kernel<T, VECTOR, JOB>), blocks_for(n / VECTOR), BLOCK, 0, stream, *m);
    return LAUNCH((token_kernel<T, 1, JOB>), blocks_for(n), BLOCK, 0, stream, *m);
}

template <int JOB> static int token(struct CUstream_st *stream, const struct token_move *m)
{
    return m->type == ELEMENT_F32 ? token_of<float, JOB>(stream, m)
                                  : token_of<bf16, JOB>(stream, m);
}

int launch_prepend(struct CUstream_st *stream, const struct token_move *m)
{
    return token<PREPEND>(stream, m);
}

int launch_drop_first(struct CUstream_st *stream, const struct token_move *m)
{
    return token<DROP_FIRST>(stream, m);
}

int launch_token(struct CUstream_st *stream, const struct token_move *m)
{
    return token<TOKEN>(stream, m);
}

int launch_token_grad(struct CUstream_st *stream, const struct token_move *m)
{
    return token<TOKEN_GRAD>(stream, m);
}

/* ---- heads --------------------------------------------------------------------------------- */

/* Threads count in the merged order: sample, token, part, head, number. */
template <class T, int V, bool SPLIT>
static __global__ void __launch_bounds__(BLOCK) heads_kernel(struct heads h)
{
    uint32_t at = thread_number(), vectors = (uint32_t)(h.d / V), heads = (uint32_t)h.heads;
    uint32_t parts = (uint32_t)h.parts, tokens = (uint32_t)h.t, rest = at / vectors;
    int64_t j = at % vectors * V, head = rest % heads, token, sample;
    uint32_t part = rest / heads % parts;
    T *merged = (T *)h.merged + (int64_t)at * V, *apart;

    rest = rest / heads / parts;
    token = rest % tokens;
    sample = rest / tokens;
    if (sample >= h.n)
        return;
    apart = (T *)(part == 0 ? h.part[0] : part == 1 ? h.part[1] : h.part[2]);
    apart += ((sample * h.heads + head) * h.t + token) * h.d + j;
    if (SPLIT)
        copy<T, V>(merged, apart);
    else
        copy<T, V>(apart, merged);
}

template <class T, bool SPLIT>
static int heads_of(struct CUstream_st *stream, const struct heads *h)
{
    int64_t n = h->n * h->t * h->parts * h->heads * h->d;

    if (h->d % VECTOR == 0)
        return LAUNCH((heads_kernel<T, VECTOR, SPLIT>), blocks_for(n / VECTOR), BLOCK, 0, stream,
                      *h);
    return LAUNCH((heads_kernel<T, 1, SPLIT>), blocks_for(n), BLOCK, 0, stream, *h);
}

int launch_split_heads(struct CUstream_st *stream, const struct heads *h)
{
    return h->type == ELEMENT_F32 ? heads_of<float, true>(stream, h)
                                  : heads_of<bf16, true>(stream, h);
}

int launch_merge_heads(struct CUstream_st *stream, const struct heads *h)
{
    return h->type == ELEMENT_F32 ? heads_of<float, false>(stream, h)
                                  : heads_of<bf16, false>(stream, h);
}
