/* Scaling with antialiasing, to the bit as PIL's `resize` with BILINEAR: a triangle filter as wide
 * as the scale, weights in fixed point, first along rows, then along columns, rounded to bytes
 * between the two. Fed row by row, so that the picture itself is never held. */
#ifndef ENGINE_DATA_RESAMPLE_H
#define ENGINE_DATA_RESAMPLE_H

#include "data/augment.h"
#include "data/image.h"

#include "base/err.h"

/* A part of a picture is cut out, scaled, and a part of the result is wanted. */
struct resample_plan {
    struct window box; /* of the picture; pixels around it do not count */
    int height, width; /* to which the box is scaled */
    int top, left;     /* of the wanted part in that */
    int out_height, out_width;
};

struct resampler;

int resampler_new(struct resampler **out, struct err *err);
void resampler_free(struct resampler *resampler);

/* Which rows of the picture it needs, in order: *n of them from *first on. Their width is that of
 * the picture, their pixels are PICTURE_PIXEL_BYTES. */
int resampler_begin(struct resampler *resampler, const struct resample_plan *plan, int *first,
                    int *n, struct err *err);
/* For `picture_rows`. */
void resampler_row(void *resampler, const uint8_t *pixels);
/* After the last row: writes [out_height, out_width, 3]. */
void resampler_end(struct resampler *resampler, uint8_t *pixels);

#endif
