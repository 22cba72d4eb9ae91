/* Between the host's order, [n,channels,plane] of floats, and the device's, [n,plane,c]. */
#include "backend/cuda/kernels/device.h"

/* A thread has a pixel: neighbours read neighbours of each channel, and write c channels each. */
template <class T>
static __global__ void __launch_bounds__(BLOCK) from_nchw_kernel(struct reorder r)
{
    uint32_t at = thread_number(), plane = (uint32_t)r.plane;
    int64_t image = at / plane;
    const float *from = (const float *)r.from + image * r.channels * r.plane + at % plane;
    T *to = (T *)r.to + at * r.c;

    if (image >= r.n)
        return;
    for (int64_t first = 0; first < r.c; first += VECTOR) {
        int64_t left = r.c - first;
        float x[VECTOR];

        for (int i = 0; i < VECTOR; i++)
            x[i] = first + i < r.channels ? from[(first + i) * r.plane] : 0;
        if (r.c % VECTOR == 0)
            store_eight(x, to + first);
        else
            for (int i = 0; i < VECTOR && i < left; i++)
                narrow(x[i], to + first + i);
    }
}

template <class T> static __global__ void __launch_bounds__(BLOCK) to_nchw_kernel(struct reorder r)
{
    uint32_t at = thread_number(), plane = (uint32_t)r.plane, channels = (uint32_t)r.channels;
    int64_t pixel = at % plane, channel = at / plane % channels, image = at / plane / channels;

    if (image < r.n)
        ((float *)r.to)[at] = widen(((const T *)r.from)[(image * r.plane + pixel) * r.c + channel]);
}

int launch_from_nchw(struct CUstream_st *stream, const struct reorder *r)
{
    unsigned blocks = (unsigned)divide_up(r->n * r->plane, BLOCK);

    if (r->type == ELEMENT_F32)
        return LAUNCH((from_nchw_kernel<float>), blocks, BLOCK, 0, stream, *r);
    return LAUNCH((from_nchw_kernel<bf16>), blocks, BLOCK, 0, stream, *r);
}

int launch_to_nchw(struct CUstream_st *stream, const struct reorder *r)
{
    unsigned blocks = (unsigned)divide_up(r->n * r->channels * r->plane, BLOCK);

    if (r->type == ELEMENT_F32)
        return LAUNCH((to_nchw_kernel<float>), blocks, BLOCK, 0, stream, *r);
    return LAUNCH((to_nchw_kernel<bf16>), blocks, BLOCK, 0, stream, *r);
}
