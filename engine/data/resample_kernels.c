/* Each loop stands once and is compiled twice on x86-64: vectors of 32-bit products need SSE4.1 to
 * be worth it, and AVX2 is where that is no question any more. */
#include "data/resample_kernels.h"

#include <string.h>

#include "data/picture.h"

#define HALF  (1 << (RESAMPLE_BITS - 1))
#define STRIP 64 /* bytes of a line at once */

typedef int32_t lanes __attribute__((vector_size(16)));
typedef uint8_t bytes __attribute__((vector_size(16)));

#define INLINE static inline __attribute__((always_inline))

/* A pixel's four bytes, a lane each. */
INLINE lanes load(const uint8_t *pixel)
{
    int32_t four;

    memcpy(&four, pixel, sizeof four);
    return (lanes)__builtin_shuffle(
        (bytes)(lanes){four}, (bytes){0},
        (bytes){0, 16, 16, 16, 1, 16, 16, 16, 2, 16, 16, 16, 3, 16, 16, 16});
}

INLINE void store(lanes value, uint8_t *pixel)
{
    bytes packed = __builtin_shuffle((bytes)value, (bytes){0, 4, 8, 12});
    int32_t four = ((lanes)packed)[0];

    memcpy(pixel, &four, sizeof four);
}

INLINE void scale_across(const struct axis *axis, const uint8_t *from, uint8_t *to)
{
    for (int x = 0; x < axis->n; x++) {
        const uint8_t *pixel = from + (size_t)axis->first[x] * PICTURE_PIXEL_BYTES;
        const int32_t *weight = axis->weight + (size_t)x * (size_t)axis->taps;
        lanes sum = {HALF, HALF, HALF, HALF}, most = {255, 255, 255, 255}, over;

        for (int t = 0; t < axis->taps; t++)
            sum += load(pixel + (size_t)t * PICTURE_PIXEL_BYTES) * weight[t];
        sum >>= RESAMPLE_BITS;
        over = sum > most; /* weights may sum to a little more than 1 */
        store((sum & ~over) | (most & over), to + (size_t)x * PICTURE_PIXEL_BYTES);
    }
}

INLINE int32_t byte_of(int32_t sum)
{
    int32_t value = sum >> RESAMPLE_BITS;

    return value > 255 ? 255 : value;
}

INLINE void scale_strip(const int32_t *weight, int taps, const uint8_t *from, size_t stride,
                        size_t n, uint8_t *to)
{
    int32_t sum[STRIP];

    for (size_t i = 0; i < n; i++)
        sum[i] = HALF;
    for (int t = 0; t < taps; t++)
        for (size_t i = 0; i < n; i++)
            sum[i] += from[(size_t)t * stride + i] * weight[t];
    for (size_t i = 0; i < n; i++)
        sum[i] = byte_of(sum[i]);
    for (size_t i = 0; i < n / PICTURE_PIXEL_BYTES; i++)
        for (int c = 0; c < 3; c++)
            to[i * 3 + (size_t)c] = (uint8_t)sum[i * PICTURE_PIXEL_BYTES + (size_t)c];
}

INLINE void scale_down(const struct axis *axis, int y, const uint8_t *from, size_t width,
                       uint8_t *to)
{
    const int32_t *weight = axis->weight + (size_t)y * (size_t)axis->taps;
    size_t stride = width * PICTURE_PIXEL_BYTES, x = 0;

    for (; x + STRIP <= stride; x += STRIP)
        scale_strip(weight, axis->taps, from + x, stride, STRIP, to + x / PICTURE_PIXEL_BYTES * 3);
    scale_strip(weight, axis->taps, from + x, stride, stride - x, to + x / PICTURE_PIXEL_BYTES * 3);
}

#define KERNELS(name, attribute)                                                                   \
    attribute static void across_##name(const struct axis *axis, const uint8_t *from, uint8_t *to) \
    {                                                                                              \
        scale_across(axis, from, to);                                                              \
    }                                                                                              \
    attribute static void down_##name(const struct axis *axis, int y, const uint8_t *from,         \
                                      size_t width, uint8_t *to)                                   \
    {                                                                                              \
        scale_down(axis, y, from, width, to);                                                      \
    }                                                                                              \
    const struct resample_kernels resample_kernels_##name = {across_##name, down_##name};

KERNELS(plain, )

#ifdef __x86_64__
extern const struct resample_kernels resample_kernels_avx2;

KERNELS(avx2, __attribute__((target("avx2"))))

const struct resample_kernels *resample_kernels(void)
{
    return __builtin_cpu_supports("avx2") ? &resample_kernels_avx2 : &resample_kernels_plain;
}
#else
const struct resample_kernels *resample_kernels(void)
{
    return &resample_kernels_plain;
}
#endif
