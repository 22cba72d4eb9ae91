/* What the normalisation's kernels share: walking over tiles, and y = (x − mean)·scale + shift. */
#ifndef ENGINE_BACKEND_CPU_KERNELS_TILES_H
#define ENGINE_BACKEND_CPU_KERNELS_TILES_H

#include "backend/cpu/kernels/lanes.h"

struct tile {
    const float *x;
    size_t at;                 /* of its first element in an activation */
    size_t images, image_step; /* rows of pixels, and elements from one to the next */
    size_t pixels;
    size_t block;
};

/* Images and pixels of tile number `index`. */
INLINE void tile_size(const struct activation *a, size_t index, size_t *images, size_t *pixels)
{
    size_t per_tile = tile_images(a), columns = tile_columns(a);
    size_t first = index / columns * per_tile, column = index % columns * TILE_VECTORS;

    *images = a->images - first < per_tile ? a->images - first : per_tile;
    *pixels = columns == 1                        ? a->pixels
              : a->pixels - column < TILE_VECTORS ? a->pixels - column
                                                  : TILE_VECTORS;
}

INLINE size_t tile_elements(const struct activation *a, size_t index)
{
    size_t images, pixels;

    tile_size(a, index, &images, &pixels);
    return images * pixels;
}

/* Values that one statistic is taken over. */
INLINE double activation_count(const struct activation *a)
{
    size_t images = a->by_image ? (a->images - 1) * LANES + a->tail : a->images;

    return (double)(images * a->pixels);
}

INLINE struct tile tile_at(const struct activation *a, const float *x, size_t work)
{
    size_t index = work / a->blocks, columns = tile_columns(a);
    struct tile t = {.x = x, .block = work % a->blocks};
    size_t first = index / columns * tile_images(a), column = index % columns * TILE_VECTORS;

    tile_size(a, index, &t.images, &t.pixels);
    t.image_step = a->blocks * a->pixels * LANES;
    t.at = first * t.image_step + (t.block * a->pixels + column) * LANES;
    return t;
}

struct affine {
    lanes mean, scale, shift;
};

INLINE struct affine affine_at(const float *coef, size_t block)
{
    const float *c = coef + block * COEFS * LANES;

    return (struct affine){load(c + COEF_MEAN * LANES), load(c + COEF_SCALE * LANES),
                           load(c + COEF_SHIFT * LANES)};
}

/* The backward pass must find the same sign as the forward pass: both come here. */
INLINE lanes affine(const struct affine *f, lanes x)
{
    return (x - f->mean) * f->scale + f->shift;
}

#endif
