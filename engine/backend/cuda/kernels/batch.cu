/* Batches out of a dataset in device memory. A thread has a pixel; each draws for itself what
 * varies its image, which is cheaper than to hand it on. */
#include "backend/cuda/kernels/batch.h"

#include "backend/cuda/kernels/augment_draws.h"
#include "backend/cuda/kernels/device.h"

template <class T>
static __global__ void __launch_bounds__(BLOCK) batch_kernel(struct device_batch b)
{
    uint32_t at = thread_number(), width = (uint32_t)b.w, plane = (uint32_t)b.h * width;
    uint32_t pixel = at % plane;
    int64_t i = at / plane, sample;
    uint64_t pass = b.turn ? b.turn->batch[b.number].pass : 0;
    struct image_variation vary = {0, 0, 0, 0, 0, 0, 0};
    struct source_pixel source;
    T *to = (T *)b.images + at * b.c;

    if (i >= b.n)
        return;
    sample = b.begin + i + (b.turn ? b.turn->batch[b.number].first : 0);
    if (b.order)
        sample = b.order[sample];
    if (b.vary)
        vary = image_variation_of(&b, pass, sample);
    source = source_pixel_of(&b, &vary, (int)(pixel / width), (int)(pixel % width));
    for (int64_t first = 0; first < b.c; first += VECTOR) {
        float x[VECTOR];

        for (int j = 0; j < VECTOR; j++) {
            int64_t c = first + j;
            unsigned byte = 0;

            if (c < b.channels && source.inside)
                byte =
                    b.pixels[((sample * b.h + source.row) * b.w + source.column) * b.channels + c];
            x[j] = c < b.channels && !source.cut ? b.level[c * 256 + byte] : 0;
        }
        if (b.c % VECTOR == 0)
            store_eight(x, to + first);
        else
            for (int j = 0; j < VECTOR && first + j < b.c; j++)
                narrow(x[j], to + first + j);
    }
    if (pixel == 0)
        b.labels[i] = b.all_labels[sample];
}

int launch_batch(struct CUstream_st *stream, const struct device_batch *b)
{
    unsigned blocks = (unsigned)divide_up(b->n * b->h * b->w, BLOCK);

    if (b->type == ELEMENT_F32)
        return LAUNCH((batch_kernel<float>), blocks, BLOCK, 0, stream, *b);
    return LAUNCH((batch_kernel<bf16>), blocks, BLOCK, 0, stream, *b);
}
