/* PNG by libpng, whose errors come back by longjmp, too. */
#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture.h"

#define CHUNK_BYTES_MAX (8 << 20) /* of what stands beside the pixels: profiles, texts */
#define CHUNKS_MAX      128

struct png {
    png_structp decoder;
    png_infop info;
    struct picture_error *error;
    const uint8_t *at;
    size_t left;
    uint8_t *pixels; /* a row; of an interlaced picture all rows */
    png_bytepp row;  /* interlaced: where each begins */
};

static PNG_NORETURN void fail(png_structp decoder, png_const_charp text)
{
    struct png *png = png_get_error_ptr(decoder);

    snprintf(png->error->reason, sizeof png->error->reason, "%s", text);
    png->error->code = ERR_CORRUPT;
    png_longjmp(decoder, 1);
}

static void ignore(png_structp decoder, png_const_charp text)
{
    (void)decoder;
    (void)text;
}

static void read_bytes(png_structp decoder, png_bytep to, size_t n)
{
    struct png *png = png_get_io_ptr(decoder);

    if (n > png->left)
        png_error(decoder, "is truncated");
    memcpy(to, png->at, n);
    png->at += n;
    png->left -= n;
}

/* Whatever it holds becomes four bytes a pixel. */
static void ask_for_rgbx(png_structp decoder)
{
    png_set_expand(decoder);
    png_set_strip_16(decoder);
    png_set_gray_to_rgb(decoder);
    png_set_add_alpha(decoder, 0xff, PNG_FILLER_AFTER);
}

static int open_png(void *state, const uint8_t *bytes, size_t n, int *height, int *width,
                    struct picture_error *error)
{
    struct png *png = state;

    png->error = error;
    png->at = bytes;
    png->left = n;
    png->decoder = png_create_read_struct(PNG_LIBPNG_VER_STRING, png, fail, ignore);
    png->info = png->decoder ? png_create_info_struct(png->decoder) : NULL;
    if (!png->info)
        return error->code = ERR_NO_MEMORY;
    if (setjmp(png_jmpbuf(png->decoder)))
        return error->code;
    png_set_read_fn(png->decoder, png, read_bytes);
    png_set_chunk_malloc_max(png->decoder, CHUNK_BYTES_MAX);
    png_set_chunk_cache_max(png->decoder, CHUNKS_MAX);
    png_read_info(png->decoder, png->info);
    *height = (int)png_get_image_height(png->decoder, png->info);
    *width = (int)png_get_image_width(png->decoder, png->info);
    return 0;
}

static int allocate(struct png *png, bool interlaced, struct picture_error *error)
{
    size_t height = interlaced ? png_get_image_height(png->decoder, png->info) : 1;
    size_t bytes = (size_t)png_get_image_width(png->decoder, png->info) * PICTURE_PIXEL_BYTES;

    png->pixels = malloc(height * bytes);
    png->row = calloc(height, sizeof *png->row);
    if (!png->pixels || !png->row)
        return error->code = ERR_NO_MEMORY;
    for (size_t y = 0; y < height; y++)
        png->row[y] = png->pixels + y * bytes;
    return 0;
}

/* Rows of an interlaced picture are whole after the last of its passes only. */
static void deliver(struct png *png, bool interlaced, int first, int n,
                    void (*row)(void *context, const uint8_t *pixels), void *context)
{
    ask_for_rgbx(png->decoder);
    if (interlaced)
        png_set_interlace_handling(png->decoder);
    png_read_update_info(png->decoder, png->info);
    if (interlaced)
        png_read_image(png->decoder, png->row);
    for (int y = interlaced ? first : 0; y < first + n; y++) {
        if (!interlaced)
            png_read_row(png->decoder, png->row[0], NULL);
        if (y >= first)
            row(context, png->row[interlaced ? y : 0]);
    }
}

static int rows_png(void *state, int first, int n,
                    void (*row)(void *context, const uint8_t *pixels), void *context,
                    struct picture_error *error)
{
    struct png *png = state;
    bool interlaced = png_get_interlace_type(png->decoder, png->info) != PNG_INTERLACE_NONE;

    png->error = error;
    if (allocate(png, interlaced, error))
        return error->code;
    if (setjmp(png_jmpbuf(png->decoder)))
        return error->code;
    deliver(png, interlaced, first, n, row, context);
    return 0;
}

static void close_png(void *state)
{
    struct png *png = state;

    png_destroy_read_struct(&png->decoder, &png->info, NULL);
    free(png->pixels);
    free(png->row);
    png->pixels = NULL;
    png->row = NULL;
}

const struct picture_codec picture_png = {.magic = "\x89PNG\r\n\x1a\n",
                                          .magic_bytes = 8,
                                          .state_bytes = sizeof(struct png),
                                          .open = open_png,
                                          .rows = rows_png,
                                          .close = close_png};
