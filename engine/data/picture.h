/* A JPEG or PNG file as rows of pixels.
 *
 * The bytes of a file are hostile: whatever they are, a function here returns, within bounds of
 * time and memory, an error that names the file and what is wrong with it. Decoded as PIL does it
 * with `convert("RGB")`: grey becomes three equal channels, transparency is dropped, CMYK is taken
 * as Adobe writes it, orientation tags are not followed. 16-bit PNG keeps the upper byte. */
#ifndef ENGINE_DATA_PICTURE_H
#define ENGINE_DATA_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* 64 megapixels: well above what cameras make, well below what a few bytes can claim. */
#define PICTURE_PIXELS_MAX ((int64_t)1 << 26)
#define PICTURE_BYTES_MAX  ((int64_t)1 << 28)

#define PICTURE_PIXEL_BYTES 4 /* red, green, blue and one to ignore */

/* Why a file cannot be decoded; without its name, which whoever has it puts before. */
struct picture_error {
    int code; /* ERR_CORRUPT, ERR_NO_MEMORY */
    char reason[200];
};

/* Decodes one format. A codec's state, of `state_bytes`, is zeroed by the caller before `open`. */
struct picture_codec {
    const char *magic;
    size_t magic_bytes, state_bytes;
    /* Reads the header. `bytes` stays until `close`, which is called whatever was returned. */
    int (*open)(void *state, const uint8_t *bytes, size_t n, int *height, int *width,
                struct picture_error *error);
    /* Calls `row` with rows first … first + n − 1, at most once a picture. */
    int (*rows)(void *state, int first, int n, void (*row)(void *context, const uint8_t *pixels),
                void *context, struct picture_error *error);
    void (*close)(void *state);
};

/* NULL-terminated; none where this build has no codecs. */
extern const struct picture_codec *const picture_codecs[];

/* A reader keeps its buffers from one file to the next. */
struct picture;

int picture_new(struct picture **out, struct err *err);
void picture_free(struct picture *picture);

/* Reads a file and its header. ERR_CORRUPT for what is no picture that can be decoded; ERR_IO for
 * a file that cannot be opened or read, or is not there. */
int picture_open(struct picture *picture, const char *path, int *height, int *width,
                 struct err *err);
/* As the codec's. Every row has the picture's width, PICTURE_PIXEL_BYTES a pixel. */
int picture_rows(struct picture *picture, int first, int n,
                 void (*row)(void *context, const uint8_t *pixels), void *context, struct err *err);

#endif
