#include "data/image_colour.h"

#include <string.h>

#define LEVELS 256

static int64_t pixels_of(const struct image *image)
{
    return (int64_t)image->height * image->width;
}

/* PIL's Image.blend, which computes in single precision and cuts off. */
static uint8_t blend(int from, int to, float factor)
{
    float value = (float)from + factor * (float)(to - from);

    return (uint8_t)(value <= 0 ? 0 : value >= 255 ? 255 : value);
}

/* ITU-R 601 in 16 bits. */
static int luma(const uint8_t *pixel)
{
    return (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16;
}

void image_brightness(const struct image *image, double factor)
{
    int64_t n = pixels_of(image) * 3;

    for (int64_t i = 0; i < n; i++)
        image->pixels[i] = blend(0, image->pixels[i], (float)factor);
}

void image_colour(const struct image *image, double factor)
{
    int64_t n = pixels_of(image);

    for (int64_t i = 0; i < n; i++) {
        uint8_t *pixel = image->pixels + i * 3;
        int grey = luma(pixel);

        for (int c = 0; c < 3; c++)
            pixel[c] = blend(grey, pixel[c], (float)factor);
    }
}

void image_contrast(const struct image *image, double factor)
{
    int64_t n = pixels_of(image), sum = 0;
    int mean;

    for (int64_t i = 0; i < n; i++)
        sum += luma(image->pixels + i * 3);
    mean = (int)((double)sum / (double)n + 0.5);
    for (int64_t i = 0; i < n * 3; i++)
        image->pixels[i] = blend(mean, image->pixels[i], (float)factor);
}

/* The mean of a pixel, five times, and its eight neighbours, rounded. */
static int smoothed(const uint8_t *at, size_t stride)
{
    int sum = 4 * at[0];

    for (int row = -1; row <= 1; row++)
        for (int column = -3; column <= 3; column += 3)
            sum += at[row * (int)stride + column];
    return (2 * sum + 13) / 26;
}

/* The edge's pixels have not all neighbours and stay as they are. */
void image_sharpness(const struct image *image, uint8_t *scratch, double factor)
{
    size_t stride = (size_t)image->width * 3;

    memcpy(scratch, image->pixels, (size_t)image->height * stride);
    for (int y = 1; y < image->height - 1; y++)
        for (size_t x = 3; x + 3 < stride; x++) {
            const uint8_t *at = scratch + (size_t)y * stride + x;

            image->pixels[(size_t)y * stride + x] = blend(smoothed(at, stride), *at, (float)factor);
        }
}

/* Each channel through a table of its own. */
static void look_up(const struct image *image, uint8_t table[3][LEVELS])
{
    int64_t n = pixels_of(image);

    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            image->pixels[i * 3 + c] = table[c][image->pixels[i * 3 + c]];
}

static void count(const struct image *image, int64_t histogram[3][LEVELS])
{
    int64_t n = pixels_of(image);

    memset(histogram, 0, sizeof(int64_t[3][LEVELS]));
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            histogram[c][image->pixels[i * 3 + c]]++;
}

/* Changes each channel by a table that is made of its histogram. */
static void map_channels(const struct image *image,
                         void (*make)(const int64_t histogram[LEVELS], uint8_t table[LEVELS]))
{
    int64_t histogram[3][LEVELS];
    uint8_t table[3][LEVELS];

    count(image, histogram);
    for (int c = 0; c < 3; c++)
        make(histogram[c], table[c]);
    look_up(image, table);
}

static uint8_t clipped(int64_t value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

void image_posterize(const struct image *image, int bits)
{
    uint8_t mask = (uint8_t)(0xff << (8 - bits));
    int64_t n = pixels_of(image) * 3;

    for (int64_t i = 0; i < n; i++)
        image->pixels[i] &= mask;
}

void image_solarize(const struct image *image, double threshold)
{
    int64_t n = pixels_of(image) * 3;

    for (int64_t i = 0; i < n; i++)
        if (image->pixels[i] >= threshold)
            image->pixels[i] = (uint8_t)(255 - image->pixels[i]);
}

static void stretch(const int64_t histogram[LEVELS], uint8_t table[LEVELS])
{
    int low = 0, high = LEVELS - 1;
    double scale;

    while (low < LEVELS - 1 && !histogram[low])
        low++;
    while (high > 0 && !histogram[high])
        high--;
    scale = high > low ? 255.0 / (high - low) : 1;
    for (int level = 0; level < LEVELS; level++)
        table[level] =
            high > low ? clipped((int64_t)(level * scale + -low * scale)) : (uint8_t)level;
}

void image_auto_contrast(const struct image *image)
{
    map_channels(image, stretch);
}

static void flatten(const int64_t histogram[LEVELS], uint8_t table[LEVELS])
{
    int64_t n = 0, last = 0, step, so_far;

    for (int level = 0; level < LEVELS; level++) {
        n += histogram[level];
        if (histogram[level])
            last = histogram[level];
    }
    step = (n - last) / 255;
    so_far = step / 2;
    for (int level = 0; level < LEVELS; level++) {
        table[level] = step ? clipped(so_far / step) : (uint8_t)level;
        so_far += histogram[level];
    }
}

void image_equalize(const struct image *image)
{
    map_channels(image, flatten);
}
