#ifndef ENGINE_DATA_NORMALISE_H
#define ENGINE_DATA_NORMALISE_H

#include "data/augment.h"
#include "data/dataset.h"

/* What each byte of each channel becomes: computed in double and, for single precision, rounded
 * once. */
struct normaliser {
    int channels;
    int64_t height, width;
    double f64[DATASET_CHANNELS_MAX][256];
    float f32[DATASET_CHANNELS_MAX][256];
};

void normaliser_make(struct normaliser *out, const struct dataset *dataset);

/* Pixels [H,W,C] → [C,H,W]; 0 where `cutout` covers them. */
void normalise_f32(const struct normaliser *by, const uint8_t *pixels, const struct window *cutout,
                   float *image);
void normalise_f64(const struct normaliser *by, const uint8_t *pixels, const struct window *cutout,
                   double *image);

#endif
