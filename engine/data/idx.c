/* Reads IDX files. Everything in a header is distrusted until the file's size confirms it. */
#include "data/idx.h"

#include <stdio.h>

#define TYPE_UNSIGNED_BYTE 8

static int corrupt(const struct data_file *file, struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, DATA_NAME ": %s", file->name, what);
}

static int open_named(struct data_file *file, const char *folder, const char *stem, char separator,
                      const char *kind, const char *suffix, struct err *err)
{
    char name[64];

    snprintf(name, sizeof name, "%s%c%s%s", stem, separator, kind, suffix);
    return data_file_open(file, folder, name, err);
}

/* Says why neither name was there. */
static int not_found(struct data_file *file, const char *folder, const char *stem, const char *kind,
                     struct err *err)
{
    static const char separators[] = {'-', '.'};

    for (int i = 0; i < 2; i++) {
        int rc = open_named(file, folder, stem, separators[i], kind, ".gz", NULL);

        data_file_close(file);
        if (!rc || rc == ERR_IO)
            return err_set(err, ERR_NOT_FOUND,
                           DATA_NAME ": packed files are not read; unpack it with gunzip",
                           file->name);
    }
    return err_set(err, ERR_NOT_FOUND, "%.300s: holds neither %s-%s nor %s.%s", folder, stem, kind,
                   stem, kind);
}

int idx_open(struct data_file *file, const char *folder, const char *stem, const char *kind,
             struct err *err)
{
    static const char separators[] = {'-', '.'};
    int rc = data_folder_check(folder, err);

    file->fd = -1;
    if (rc)
        return rc;
    for (int i = 0; i < 2; i++) {
        rc = open_named(file, folder, stem, separators[i], kind, "", err);
        if (rc != ERR_NOT_FOUND)
            return rc;
    }
    return not_found(file, folder, stem, kind, err);
}

static int64_t big_endian(const uint8_t bytes[4])
{
    return (int64_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

static int check_magic(const struct data_file *file, const uint8_t magic[4], int dimensions,
                       struct err *err)
{
    if (magic[0] == 0x1f && magic[1] == 0x8b)
        return corrupt(file, err, "packed files are not read; unpack it with gunzip");
    if (magic[0] || magic[1])
        return err_set(err, ERR_CORRUPT,
                       DATA_NAME ": no IDX file (it begins with %02x%02x%02x%02x in place of "
                                 "0000%02x%02x)",
                       file->name, magic[0], magic[1], magic[2], magic[3], TYPE_UNSIGNED_BYTE,
                       dimensions);
    if (magic[2] != TYPE_UNSIGNED_BYTE)
        return err_set(err, ERR_CORRUPT,
                       DATA_NAME ": holds IDX type 0x%02x; only unsigned bytes (0x08) are read",
                       file->name, magic[2]);
    if (magic[3] != dimensions)
        return err_set(err, ERR_CORRUPT, DATA_NAME ": has %d dimensions in place of %d", file->name,
                       magic[3], dimensions);
    return 0;
}

static int check_sizes(const struct data_file *file, const struct idx_header *header,
                       struct err *err)
{
    int64_t bytes;

    if (header->n < 1)
        return corrupt(file, err, "holds no samples");
    if (header->height < 1 || header->width < 1)
        return corrupt(file, err, "holds images without pixels");
    if (header->height > IDX_SIDE_MAX || header->width > IDX_SIDE_MAX)
        return err_set(err, ERR_CORRUPT, DATA_NAME ": images of %lld×%lld; at most %d×%d are read",
                       file->name, (long long)header->height, (long long)header->width,
                       IDX_SIDE_MAX, IDX_SIDE_MAX);
    bytes = header->n * header->height * header->width;
    if (header->n > IDX_SAMPLES_MAX || bytes > IDX_BYTES_MAX)
        return err_set(err, ERR_CORRUPT, DATA_NAME ": %lld samples are more than can be read",
                       file->name, (long long)header->n);
    if (file->size != header->data_offset + bytes)
        return err_set(
            err, ERR_CORRUPT,
            DATA_NAME ": %s: %lld bytes in place of %lld for %lld samples of %lld×%lld", file->name,
            file->size < header->data_offset + bytes ? "is truncated" : "has trailing bytes",
            (long long)file->size, (long long)(header->data_offset + bytes), (long long)header->n,
            (long long)header->height, (long long)header->width);
    return 0;
}

int idx_header_read(struct idx_header *out, const struct data_file *file, bool images,
                    struct err *err)
{
    int dimensions = images ? 3 : 1;
    uint8_t bytes[16];
    int rc;

    out->data_offset = 4 + 4 * dimensions;
    if (file->size < out->data_offset)
        return corrupt(file, err, "is too short for an IDX header");
    rc = data_file_read(file, 0, out->data_offset, bytes, err);
    if (rc)
        return rc;
    rc = check_magic(file, bytes, dimensions, err);
    if (rc)
        return rc;
    out->n = big_endian(bytes + 4);
    out->height = images ? big_endian(bytes + 8) : 1;
    out->width = images ? big_endian(bytes + 12) : 1;
    return check_sizes(file, out, err);
}
