/* In fixed point with 16 bits behind it, as PIL computes for images of less than 32768 a side. */
#include "data/image_move.h"

#include <math.h>
#include <string.h>

static int64_t fixed(double value)
{
    return (int64_t)floor(value * 65536 + 0.5);
}

void image_move(const struct image *image, uint8_t *scratch, const double m[6])
{
    int64_t right_x = fixed(m[0]), down_x = fixed(m[1]), right_y = fixed(m[3]),
            down_y = fixed(m[4]);
    int64_t row_x = fixed(m[2] + m[0] * 0.5 + m[1] * 0.5);
    int64_t row_y = fixed(m[5] + m[3] * 0.5 + m[4] * 0.5);
    size_t pixel = (size_t)image->channels, stride = (size_t)image->width * pixel;
    uint8_t *to = image->pixels;

    memcpy(scratch, image->pixels, (size_t)image->height * stride);
    for (int y = 0; y < image->height; y++, row_x += down_x, row_y += down_y) {
        int64_t at_x = row_x, at_y = row_y;

        for (int x = 0; x < image->width; x++, at_x += right_x, at_y += right_y, to += pixel) {
            int64_t from_x = at_x >> 16, from_y = at_y >> 16;

            if (from_x >= 0 && from_x < image->width && from_y >= 0 && from_y < image->height)
                memcpy(to, scratch + (size_t)from_y * stride + (size_t)from_x * pixel, pixel);
            else
                memset(to, 0, pixel);
        }
    }
}

void image_shear(const struct image *image, uint8_t *scratch, double x, double y)
{
    image_move(image, scratch, (const double[6]){1, x, 0, y, 1, 0});
}

void image_translate(const struct image *image, uint8_t *scratch, int x, int y)
{
    image_move(image, scratch, (const double[6]){1, 0, -x, 0, 1, -y});
}

void image_rotate(const struct image *image, uint8_t *scratch, double degrees)
{
    double angle = -degrees * M_PI / 180, c = cos(angle), s = sin(angle);
    double x = image->width / 2.0, y = image->height / 2.0;

    image_move(image, scratch,
               (const double[6]){c, s, c * -x + s * -y + x, -s, c, -s * -x + c * -y + y});
}
