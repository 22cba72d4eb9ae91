/* JPEG by libjpeg-turbo. Its errors come back by longjmp, so each function that calls it sets a
 * mark and changes nothing between the mark and the calls that it would still need after a jump. */
#include <stdio.h>
/* jpeglib.h wants stdio.h before it. */
#include <jpeglib.h>
/* and jerror.h wants jpeglib.h. */
#include <jerror.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture.h"

/* A progressive file may claim thousands of passes over all its pixels. */
#define SCANS_MAX 200

struct jpeg {
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr messages;
    struct jpeg_progress_mgr progress;
    struct picture_error *error;
    jmp_buf mark;
    bool created;
    uint8_t *buffer, *row; /* the row stands in the buffer */
};

static struct jpeg *of(j_common_ptr decoder)
{
    return decoder->client_data;
}

static void fail(j_common_ptr decoder)
{
    struct jpeg *jpeg = of(decoder);
    char text[JMSG_LENGTH_MAX];

    decoder->err->format_message(decoder, text);
    snprintf(jpeg->error->reason, sizeof jpeg->error->reason, "%s", text);
    jpeg->error->code = decoder->err->msg_code == JERR_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_CORRUPT;
    longjmp(jpeg->mark, 1);
}

/* What libjpeg only warns of leaves grey or wrong pixels behind, except for bytes too many and
 * strange markers. */
static void note(j_common_ptr decoder, int level)
{
    int code = decoder->err->msg_code;

    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM &&
        code != JWRN_TOO_MUCH_DATA && code != JWRN_BOGUS_ICC)
        fail(decoder);
}

static void limit_scans(j_common_ptr decoder)
{
    struct jpeg *jpeg = of(decoder);

    if (jpeg->decoder.input_scan_number <= SCANS_MAX)
        return;
    snprintf(jpeg->error->reason, sizeof jpeg->error->reason, "more than %d scans", SCANS_MAX);
    jpeg->error->code = ERR_CORRUPT;
    longjmp(jpeg->mark, 1);
}

static void keep_silent(j_common_ptr decoder)
{
    (void)decoder;
}

static void create(struct jpeg *jpeg)
{
    jpeg->decoder.err = jpeg_std_error(&jpeg->messages);
    jpeg->messages.error_exit = fail;
    jpeg->messages.emit_message = note;
    jpeg->messages.output_message = keep_silent;
    jpeg->decoder.client_data = jpeg;
    jpeg->created = true;
    jpeg_create_decompress(&jpeg->decoder);
    jpeg->progress.progress_monitor = limit_scans;
    jpeg->decoder.progress = &jpeg->progress;
}

static int open_jpeg(void *state, const uint8_t *bytes, size_t n, int *height, int *width,
                     struct picture_error *error)
{
    struct jpeg *jpeg = state;

    jpeg->error = error;
    if (setjmp(jpeg->mark))
        return error->code;
    create(jpeg);
    jpeg_mem_src(&jpeg->decoder, bytes, n);
    jpeg_read_header(&jpeg->decoder, TRUE);
    *height = (int)jpeg->decoder.image_height;
    *width = (int)jpeg->decoder.image_width;
    return 0;
}

/* a·b/255, rounded as PIL does it. */
static int scaled(int a, int b)
{
    int product = a * b + 128;

    return ((product >> 8) + product) >> 8;
}

/* Adobe stores 255 − ink. In place. */
static void from_cmyk(uint8_t *row, int width)
{
    for (int x = 0; x < width; x++) {
        uint8_t *pixel = row + x * PICTURE_PIXEL_BYTES;
        int key = pixel[3];

        for (int c = 0; c < 3; c++)
            pixel[c] = (uint8_t)(key - scaled(255 - pixel[c], key));
    }
}

static void deliver(struct jpeg *jpeg, int first, int n,
                    void (*row)(void *context, const uint8_t *pixels), void *context)
{
    struct jpeg_decompress_struct *decoder = &jpeg->decoder;
    bool cmyk = decoder->jpeg_color_space == JCS_CMYK || decoder->jpeg_color_space == JCS_YCCK;

    decoder->out_color_space = cmyk ? JCS_CMYK : JCS_EXT_RGBX;
    jpeg_start_decompress(decoder);
    if (first > 0)
        jpeg_skip_scanlines(decoder, (JDIMENSION)first);
    for (int y = 0; y < n; y++) {
        jpeg_read_scanlines(decoder, &jpeg->row, 1);
        if (cmyk)
            from_cmyk(jpeg->row, (int)decoder->output_width);
        row(context, jpeg->row);
    }
    jpeg_abort_decompress(decoder);
}

static int rows_jpeg(void *state, int first, int n,
                     void (*row)(void *context, const uint8_t *pixels), void *context,
                     struct picture_error *error)
{
    struct jpeg *jpeg = state;

    jpeg->error = error;
    jpeg->buffer = malloc(((size_t)jpeg->decoder.image_width + 1) * PICTURE_PIXEL_BYTES);
    if (!jpeg->buffer)
        return error->code = ERR_NO_MEMORY;
    /* Where a row is aligned for vectors, libjpeg-turbo writes it past the caches, and reading it
     * would wait for memory. */
    jpeg->row = jpeg->buffer + PICTURE_PIXEL_BYTES;
    if (setjmp(jpeg->mark))
        return error->code;
    deliver(jpeg, first, n, row, context);
    return 0;
}

static void close_jpeg(void *state)
{
    struct jpeg *jpeg = state;

    if (jpeg->created)
        jpeg_destroy_decompress(&jpeg->decoder);
    free(jpeg->buffer);
    jpeg->buffer = NULL;
    jpeg->created = false;
}

const struct picture_codec picture_jpeg = {.magic = "\xff\xd8\xff",
                                           .magic_bytes = 3,
                                           .state_bytes = sizeof(struct jpeg),
                                           .open = open_jpeg,
                                           .rows = rows_jpeg,
                                           .close = close_jpeg};
