/* What convolutions by rows rearrange: activations to a row an image, weights' taps to the inside.
 */
#include "backend/cpu/kernels/lanes.h"

void KERNEL(pixel_rows)(const void *arguments, size_t begin, size_t end)
{
    const struct pixel_rows *r = arguments;
    size_t pixels = r->shape.pixels, blocks = r->shape.blocks;

    for (size_t image = begin; image < end; image++)
        for (size_t p = 0; p < pixels; p++) {
            float *to = r->to + (p * r->shape.images + image) * r->channels;

            for (size_t b = 0; b < blocks; b++) {
                const float *from = r->from + ((image * blocks + b) * pixels + p) * LANES;
                size_t left = r->channels - b * LANES;

                if (left >= LANES)
                    store_loose(to + b * LANES, load(from));
                for (size_t i = 0; left < LANES && i < left; i++)
                    to[b * LANES + i] = from[i];
            }
        }
}

void KERNEL(taps_inside)(const void *arguments, size_t begin, size_t end)
{
    const struct taps_inside *t = arguments;

    for (size_t k = begin; k < end; k++)
        for (size_t c = 0; c < t->c; c++)
            for (size_t tap = 0; tap < t->taps; tap++) {
                float *to = t->to + (k * t->c + c) * t->taps + tap;
                *to = (t->onto ? *to : 0) + t->from[(tap * t->k + k) * t->c + c];
            }
}
