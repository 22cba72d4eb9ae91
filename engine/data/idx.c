/* Reads IDX files. Everything in a header is distrusted until the file's size confirms it. Files
 * are read, not mapped: one that shrinks while a job trains must not take the process down. */
#include "data/idx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TYPE_UNSIGNED_BYTE 8

/* A message holds 512 bytes, a path may be longer: the reason comes after it. */
#define NAME "%.380s"

static int corrupt(const struct idx_source *source, struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, NAME ": %s", source->name, what);
}

/* 0 and an open source; ERR_NOT_FOUND when there is no such file. */
static int open_path(struct idx_source *source, struct err *err)
{
    struct stat status;
    int rc = 0;

    /* Not blocking: somebody may name a FIFO. */
    source->fd = open(source->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (source->fd < 0)
        return err_errno(err, NAME, source->name);
    if (fstat(source->fd, &status))
        rc = err_errno(err, NAME, source->name);
    else if (!S_ISREG(status.st_mode))
        rc = err_set(err, ERR_INVALID, NAME ": not a regular file", source->name);
    else
        source->size = status.st_size;
    if (rc)
        idx_source_close(source);
    return rc;
}

static int check_folder(const char *folder, struct err *err)
{
    struct stat status;

    if (stat(folder, &status))
        return err_errno(err, NAME, folder);
    if (!S_ISDIR(status.st_mode))
        return err_set(err, ERR_INVALID, NAME ": not a folder", folder);
    return 0;
}

static int set_name(struct idx_source *source, const char *folder, const char *stem, char separator,
                    const char *kind, const char *suffix, struct err *err)
{
    int length = snprintf(source->name, sizeof source->name, "%s/%s%c%s%s", folder, stem, separator,
                          kind, suffix);

    if (length < 0 || (size_t)length >= sizeof source->name)
        return err_set(err, ERR_INVALID, "the dataset's path is too long");
    return 0;
}

/* Says why neither name was there. */
static int not_found(struct idx_source *source, const char *folder, const char *stem,
                     const char *kind, struct err *err)
{
    static const char separators[] = {'-', '.'};

    for (int i = 0; i < 2; i++) {
        int rc = set_name(source, folder, stem, separators[i], kind, ".gz", err);

        if (rc)
            return rc;
        if (!access(source->name, F_OK))
            return err_set(err, ERR_NOT_FOUND,
                           NAME ": packed files are not read; unpack it with gunzip", source->name);
    }
    return err_set(err, ERR_NOT_FOUND, "%.300s: holds neither %s-%s nor %s.%s", folder, stem, kind,
                   stem, kind);
}

int idx_source_open(struct idx_source *source, const char *folder, const char *stem,
                    const char *kind, struct err *err)
{
    static const char separators[] = {'-', '.'};
    int rc = check_folder(folder, err);

    source->memory = NULL;
    source->fd = -1;
    if (rc)
        return rc;
    for (int i = 0; i < 2; i++) {
        rc = set_name(source, folder, stem, separators[i], kind, "", err);
        if (!rc)
            rc = open_path(source, err);
        if (rc != ERR_NOT_FOUND)
            return rc;
    }
    return not_found(source, folder, stem, kind, err);
}

void idx_source_memory(struct idx_source *source, const char *name, const uint8_t *memory,
                       int64_t size)
{
    snprintf(source->name, sizeof source->name, "%s", name);
    source->memory = memory;
    source->fd = -1;
    source->size = size;
}

void idx_source_close(struct idx_source *source)
{
    if (source->fd >= 0)
        close(source->fd);
    source->fd = -1;
}

int idx_source_read(const struct idx_source *source, int64_t offset, int64_t n, uint8_t *to,
                    struct err *err)
{
    if (offset + n > source->size)
        return corrupt(source, err, "is truncated");
    if (source->memory) {
        memcpy(to, source->memory + offset, (size_t)n);
        return 0;
    }
    while (n > 0) {
        ssize_t got = pread(source->fd, to, (size_t)n, offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(err, NAME, source->name);
        if (got == 0)
            return corrupt(source, err, "was truncated while it was read");
        offset += got;
        to += got;
        n -= got;
    }
    return 0;
}

static int64_t big_endian(const uint8_t bytes[4])
{
    return (int64_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

static int check_magic(const struct idx_source *source, const uint8_t magic[4], int dimensions,
                       struct err *err)
{
    if (magic[0] == 0x1f && magic[1] == 0x8b)
        return corrupt(source, err, "packed files are not read; unpack it with gunzip");
    if (magic[0] || magic[1])
        return err_set(err, ERR_CORRUPT,
                       NAME ": no IDX file (it begins with %02x%02x%02x%02x in place of "
                            "0000%02x%02x)",
                       source->name, magic[0], magic[1], magic[2], magic[3], TYPE_UNSIGNED_BYTE,
                       dimensions);
    if (magic[2] != TYPE_UNSIGNED_BYTE)
        return err_set(err, ERR_CORRUPT,
                       NAME ": holds IDX type 0x%02x; only unsigned bytes (0x08) are read",
                       source->name, magic[2]);
    if (magic[3] != dimensions)
        return err_set(err, ERR_CORRUPT, NAME ": has %d dimensions in place of %d", source->name,
                       magic[3], dimensions);
    return 0;
}

static int check_sizes(const struct idx_source *source, const struct idx_header *header,
                       struct err *err)
{
    int64_t bytes;

    if (header->n < 1)
        return corrupt(source, err, "holds no samples");
    if (header->height < 1 || header->width < 1)
        return corrupt(source, err, "holds images without pixels");
    if (header->height > IDX_SIDE_MAX || header->width > IDX_SIDE_MAX)
        return err_set(err, ERR_CORRUPT, NAME ": images of %lld×%lld; at most %d×%d are read",
                       source->name, (long long)header->height, (long long)header->width,
                       IDX_SIDE_MAX, IDX_SIDE_MAX);
    bytes = header->n * header->height * header->width;
    if (header->n > IDX_SAMPLES_MAX || bytes > IDX_BYTES_MAX)
        return err_set(err, ERR_CORRUPT, NAME ": %lld samples are more than can be read",
                       source->name, (long long)header->n);
    if (source->size != header->data_offset + bytes)
        return err_set(
            err, ERR_CORRUPT,
            NAME ": %s: %lld bytes in place of %lld for %lld samples of %lld×%lld", source->name,
            source->size < header->data_offset + bytes ? "is truncated" : "has trailing bytes",
            (long long)source->size, (long long)(header->data_offset + bytes), (long long)header->n,
            (long long)header->height, (long long)header->width);
    return 0;
}

int idx_header_read(struct idx_header *out, const struct idx_source *source, bool images,
                    struct err *err)
{
    int dimensions = images ? 3 : 1;
    uint8_t bytes[16];
    int rc;

    out->data_offset = 4 + 4 * dimensions;
    if (source->size < out->data_offset)
        return corrupt(source, err, "is too short for an IDX header");
    rc = idx_source_read(source, 0, out->data_offset, bytes, err);
    if (rc)
        return rc;
    rc = check_magic(source, bytes, dimensions, err);
    if (rc)
        return rc;
    out->n = big_endian(bytes + 4);
    out->height = images ? big_endian(bytes + 8) : 1;
    out->width = images ? big_endian(bytes + 12) : 1;
    return check_sizes(source, out, err);
}
