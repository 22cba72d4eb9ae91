#ifndef ENGINE_DATA_IMAGE_MOVE_H
#define ENGINE_DATA_IMAGE_MOVE_H

#include "data/image.h"

/* Pixel (x, y) of the result is the one that contains the point (m[0]·(x+½) + m[1]·(y+½) + m[2],
 * m[3]·(x+½) + m[4]·(y+½) + m[5]), black outside, as PIL's AFFINE transform with NEAREST. In place;
 * `scratch` holds as many bytes. */
void image_move(const struct image *image, uint8_t *scratch, const double m[6]);

void image_shear(const struct image *image, uint8_t *scratch, double x, double y);
void image_translate(const struct image *image, uint8_t *scratch, int x, int y);
/* Counterclockwise about the middle, in degrees. */
void image_rotate(const struct image *image, uint8_t *scratch, double degrees);

#endif
