/* Batches of a dataset that lies in device memory: gathered, varied and normalised as
 * data/sample.c, augment.c and normalise.c do it, to the same numbers. See kernels.h for what holds
 * for all launches here. */
#ifndef ENGINE_BACKEND_CUDA_BATCH_H
#define ENGINE_BACKEND_CUDA_BATCH_H

#include "backend/cuda/kernels/update.h"

#ifdef __cplusplus
extern "C" {
#endif

struct device_batch {
    const uint8_t *pixels;     /* [samples,h,w,channels] */
    const int32_t *all_labels; /* [samples] */
    const int32_t *order;      /* numbers of samples; NULL: sample i is number i */
    const struct turn *turn;   /* whose batch[number] says where in `order` it begins, and the
                                  pass; NULL: at 0, pass 0 */
    int number;
    int64_t begin, n;          /* samples begin … begin + n − 1 of that batch */
    int64_t h, w, channels, c; /* c channels are written, zeros past `channels` */
    const float *level;        /* [channels,256]: what each byte becomes (data/normalise.h) */
    uint64_t seed;
    bool vary; /* training: what follows counts */
    bool flip;
    int crop_padding; /* 0: no crop */
    int cutout;       /* side; 0: none */
    double cutout_probability;
    enum element type;
    void *images;    /* [n,h,w,c] */
    int32_t *labels; /* [n] */
};
int launch_batch(struct CUstream_st *stream, const struct device_batch *b);

#ifdef __cplusplus
}
#endif

#endif
