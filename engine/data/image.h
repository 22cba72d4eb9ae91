/* Pixels of an image in memory. */
#ifndef ENGINE_DATA_IMAGE_H
#define ENGINE_DATA_IMAGE_H

#include <stdint.h>

struct image {
    int height, width, channels;
    uint8_t *pixels; /* [height, width, channels] */
};

#endif
