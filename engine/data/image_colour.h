/* Operations on the colours of an image of three channels, in place. */
#ifndef ENGINE_DATA_IMAGE_COLOUR_H
#define ENGINE_DATA_IMAGE_COLOUR_H

#include "data/image.h"

/* PIL's ImageEnhance: the image moved away from (factor > 1) or towards (< 1) black, its grey, its
 * mean grey, its smoothed self. */
void image_brightness(const struct image *image, double factor);
void image_colour(const struct image *image, double factor);
void image_contrast(const struct image *image, double factor);
void image_sharpness(const struct image *image, uint8_t *scratch, double factor);

/* PIL's ImageOps. */
void image_posterize(const struct image *image, int bits);
void image_solarize(const struct image *image, double threshold);
void image_auto_contrast(const struct image *image);
void image_equalize(const struct image *image);

#endif
