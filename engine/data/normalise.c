/* From bytes to numbers. The two precisions differ in nothing but the type. */
#include "data/normalise.h"

void normaliser_make(struct normaliser *out, const struct dataset *dataset)
{
    out->channels = dataset->channels;
    out->height = dataset->height;
    out->width = dataset->width;
    for (int c = 0; c < dataset->channels; c++)
        for (int level = 0; level < 256; level++) {
            out->f64[c][level] =
                (level * dataset->scale - dataset->mean[c]) / dataset->deviation[c];
            out->f32[c][level] = (float)out->f64[c][level];
        }
}

#define NORMALISE(type, real)                                                                      \
    void normalise_##type(const struct normaliser *by, const uint8_t *pixels,                      \
                          const struct window *cutout, real *image)                                \
    {                                                                                              \
        int64_t plane = by->height * by->width;                                                    \
                                                                                                   \
        for (int c = 0; c < by->channels; c++) {                                                   \
            const real *value = by->type[c];                                                       \
            real *to = image + c * plane;                                                          \
                                                                                                   \
            for (int64_t p = 0; p < plane; p++)                                                    \
                to[p] = value[pixels[p * by->channels + c]];                                       \
            for (int y = 0; y < cutout->height; y++)                                               \
                for (int x = 0; x < cutout->width; x++)                                            \
                    to[(cutout->top + y) * by->width + cutout->left + x] = 0;                      \
        }                                                                                          \
    }

NORMALISE(f32, float)
NORMALISE(f64, double)
