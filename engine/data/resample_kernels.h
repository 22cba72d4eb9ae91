/* The two loops of scaling. In integers, so each width of vectors gives the same bytes. */
#ifndef ENGINE_DATA_RESAMPLE_KERNELS_H
#define ENGINE_DATA_RESAMPLE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define RESAMPLE_BITS 22 /* behind the point: 32 for the sum, less 8 of a pixel and 2 to spare */

/* The weights that make one line of results out of one line of pixels; none is negative. All
 * results have as many, though some be 0: a loop whose length changes costs more than it saves. */
struct axis {
    int n, taps;     /* results; pixels that make each */
    int *first;      /* [n] the first of them */
    int32_t *weight; /* [n, taps] */
    int room, weight_room;
};

struct resample_kernels {
    /* A line of pixels of four bytes → axis->n such pixels. */
    void (*across)(const struct axis *axis, const uint8_t *from, uint8_t *to);
    /* Line y of the result, `width` pixels of three bytes, from lines of four bytes a pixel, of
     * which `from` is the first that counts. */
    void (*down)(const struct axis *axis, int y, const uint8_t *from, size_t width, uint8_t *to);
};

/* Without wide vectors. */
extern const struct resample_kernels resample_kernels_plain;

/* The fastest that this processor runs. */
const struct resample_kernels *resample_kernels(void);

#endif
