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

/* A pass over the pixels for all channels, and those pixels that are cut out again. */
#define NORMALISE(type, real)                                                                      \
    static void colours_##type(const struct normaliser *by, const uint8_t *pixels, real *image)    \
    {                                                                                              \
        int64_t plane = by->height * by->width;                                                    \
        real *red = image, *green = image + plane, *blue = image + 2 * plane;                      \
                                                                                                   \
        for (int64_t p = 0; p < plane; p++) {                                                      \
            red[p] = by->type[0][pixels[p * 3]];                                                   \
            green[p] = by->type[1][pixels[p * 3 + 1]];                                             \
            blue[p] = by->type[2][pixels[p * 3 + 2]];                                              \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    void normalise_##type(const struct normaliser *by, const uint8_t *pixels,                      \
                          const struct window *cutout, real *image)                                \
    {                                                                                              \
        int64_t plane = by->height * by->width;                                                    \
                                                                                                   \
        if (by->channels == 3)                                                                     \
            colours_##type(by, pixels, image);                                                     \
        else                                                                                       \
            for (int64_t p = 0; p < plane; p++)                                                    \
                image[p] = by->type[0][pixels[p]];                                                 \
        for (int c = 0; c < by->channels; c++)                                                     \
            for (int y = cutout->top; y < cutout->top + cutout->height; y++)                       \
                for (int x = cutout->left; x < cutout->left + cutout->width; x++)                  \
                    image[c * plane + y * by->width + x] = 0;                                      \
    }

NORMALISE(f32, float)
NORMALISE(f64, double)
