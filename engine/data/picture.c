/* Reads a whole file, then lets the codec that its first bytes ask for have it. A name's ending is
 * not believed: ImageNet itself has a PNG called .JPEG. */
#include "data/picture.h"

#include <stdlib.h>
#include <string.h>

#include "data/file.h"

struct picture {
    struct data_file file;
    uint8_t *bytes;
    size_t size;                       /* of the buffer */
    const struct picture_codec *codec; /* NULL: none open */
    void *state;
    size_t state_size;
};

int picture_new(struct picture **out, struct err *err)
{
    struct picture *picture = calloc(1, sizeof *picture);

    if (!picture)
        return err_no_memory(err);
    for (int i = 0; picture_codecs[i]; i++)
        if (picture_codecs[i]->state_bytes > picture->state_size)
            picture->state_size = picture_codecs[i]->state_bytes;
    picture->state = calloc(1, picture->state_size + 1);
    if (!picture->state) {
        free(picture);
        return err_no_memory(err);
    }
    *out = picture;
    return 0;
}

static void end_codec(struct picture *picture)
{
    if (picture->codec)
        picture->codec->close(picture->state);
    picture->codec = NULL;
}

void picture_free(struct picture *picture)
{
    if (!picture)
        return;
    end_codec(picture);
    free(picture->bytes);
    free(picture->state);
    free(picture);
}

static int grow_buffer(struct picture *picture, size_t bytes, struct err *err)
{
    uint8_t *grown;

    if (bytes <= picture->size)
        return 0;
    grown = realloc(picture->bytes, bytes);
    if (!grown)
        return err_no_memory(err);
    picture->bytes = grown;
    picture->size = bytes;
    return 0;
}

/* What cannot be opened or read may be had another time, and nothing is known of the picture; what
 * is there, but no file of bytes or not all of them, is no picture. */
static int judge(int rc, struct err *err)
{
    if (rc == ERR_INVALID)
        rc = ERR_CORRUPT;
    else if (rc && rc != ERR_CORRUPT && rc != ERR_NO_MEMORY)
        rc = ERR_IO;
    if (rc && err)
        err->code = rc;
    return rc;
}

static int read_file(struct picture *picture, const char *path, struct err *err)
{
    struct data_file *file = &picture->file;
    int rc = judge(data_file_open_path(file, path, err), err);

    if (rc)
        return rc;
    if (file->size > PICTURE_BYTES_MAX)
        rc = err_set(err, ERR_CORRUPT, DATA_NAME ": a file of %lld bytes; at most %lld are read",
                     file->name, (long long)file->size, (long long)PICTURE_BYTES_MAX);
    if (!rc)
        rc = grow_buffer(picture, (size_t)file->size, err);
    if (!rc)
        rc = judge(data_file_read(file, 0, file->size, picture->bytes, err), err);
    data_file_close(file);
    return rc;
}

static const struct picture_codec *codec_of(const struct picture *picture)
{
    for (int i = 0; picture_codecs[i]; i++) {
        const struct picture_codec *codec = picture_codecs[i];

        if (picture->file.size >= (int64_t)codec->magic_bytes &&
            !memcmp(picture->bytes, codec->magic, codec->magic_bytes))
            return codec;
    }
    return NULL;
}

static int failed(const struct picture *picture, const struct picture_error *error, struct err *err)
{
    if (error->code == ERR_NO_MEMORY)
        return err_no_memory(err);
    return err_set(err, ERR_CORRUPT, "%.300s: %s", picture->file.name, error->reason);
}

int picture_open(struct picture *picture, const char *path, int *height, int *width,
                 struct err *err)
{
    struct picture_error error = {0};
    int rc;

    end_codec(picture);
    rc = read_file(picture, path, err);
    if (rc)
        return rc;
    picture->codec = codec_of(picture);
    if (!picture->codec)
        return err_set(err, ERR_CORRUPT, DATA_NAME ": %s", picture->file.name,
                       picture->file.size ? "neither JPEG nor PNG" : "an empty file");
    memset(picture->state, 0, picture->codec->state_bytes);
    rc = picture->codec->open(picture->state, picture->bytes, (size_t)picture->file.size, height,
                              width, &error);
    if (rc)
        return failed(picture, &error, err);
    if ((int64_t)*height * *width > PICTURE_PIXELS_MAX)
        return err_set(err, ERR_CORRUPT, DATA_NAME ": %d×%d pixels; at most %lld are decoded",
                       picture->file.name, *width, *height, (long long)PICTURE_PIXELS_MAX);
    return 0;
}

int picture_rows(struct picture *picture, int first, int n,
                 void (*row)(void *context, const uint8_t *pixels), void *context, struct err *err)
{
    struct picture_error error = {0};
    int rc = picture->codec->rows(picture->state, first, n, row, context, &error);

    return rc ? failed(picture, &error, err) : 0;
}
