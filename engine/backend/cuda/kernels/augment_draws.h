/* What varies an image, drawn as data/augment.c draws it, and which pixel of the stored image each
 * pixel then is. Shared by device and host. */
#ifndef ENGINE_BACKEND_CUDA_AUGMENT_DRAWS_H
#define ENGINE_BACKEND_CUDA_AUGMENT_DRAWS_H

#include "backend/cuda/kernels/arithmetic.h"
#include "backend/cuda/kernels/batch.h"

/* Numbers of `enum augment_draw` (data/augment.h). */
enum { VARY_FLIP = 0, VARY_CROP = 1, VARY_CUTOUT = 4 };

struct image_variation {
    int flip;
    int down, right;                            /* the crop's shift */
    int cut_top, cut_left, cut_bottom, cut_end; /* not clipped; bottom and end are past the last */
};

HD struct philox vary_draw(const struct device_batch *b, uint64_t pass, int64_t sample,
                           uint32_t what)
{
    return philox(b->seed, (uint32_t)sample, random_stream(RANDOM_AUGMENT, what, 0), pass);
}

HD int vary_below(uint32_t word, int n)
{
    return (int)((double)(word >> 8) * 0x1p-24 * n);
}

HD struct image_variation image_variation_of(const struct device_batch *b, uint64_t pass,
                                             int64_t sample)
{
    struct image_variation v = {0, 0, 0, 0, 0, 0, 0};
    struct philox words;
    int pad = b->crop_padding;

    if (b->flip)
        v.flip = vary_below(vary_draw(b, pass, sample, VARY_FLIP).word[0], 2);
    if (pad > 0) {
        words = vary_draw(b, pass, sample, VARY_CROP);
        v.down = vary_below(words.word[0], 2 * pad + 1) - pad;
        v.right = vary_below(words.word[1], 2 * pad + 1) - pad;
    }
    if (b->cutout > 0) {
        words = vary_draw(b, pass, sample, VARY_CUTOUT);
        if ((double)(words.word[0] >> 8) * 0x1p-24 < b->cutout_probability) {
            v.cut_top = vary_below(words.word[1], (int)b->h) - b->cutout / 2;
            v.cut_left = vary_below(words.word[2], (int)b->w) - b->cutout / 2;
            v.cut_bottom = v.cut_top + b->cutout;
            v.cut_end = v.cut_left + b->cutout;
        }
    }
    return v;
}

struct source_pixel {
    int row, column;
    bool inside; /* else black, which is normalised like any other */
    bool cut;    /* 0 after normalisation */
};

/* Flipped first, then cropped, then cut. */
HD struct source_pixel source_pixel_of(const struct device_batch *b,
                                       const struct image_variation *v, int row, int column)
{
    struct source_pixel s;

    s.cut =
        row >= v->cut_top && row < v->cut_bottom && column >= v->cut_left && column < v->cut_end;
    s.row = row + v->down;
    s.column = column + v->right;
    s.inside = s.row >= 0 && s.row < b->h && s.column >= 0 && s.column < b->w;
    if (v->flip)
        s.column = (int)b->w - 1 - s.column;
    return s;
}

#endif
