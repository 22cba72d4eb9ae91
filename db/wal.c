/* See wal.h. The format is that of https://www.sqlite.org/fileformat2.html#walformat: a header,
 * then frames of a page each; salts tie a frame to its log, a running checksum to all before it.
 *
 * Each commit is synchronised before the next one begins, so that only the last can be torn, by a
 * machine that loses its power. Two commits in a row behind a frame that does not fit mean that the
 * first of them was confirmed. Frames that a log's earlier round left have other salts; those that
 * several torn commits left behind a shorter one do not go on from each other's checksums. */
#include "wal.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define HEADER_BYTES       32
#define FRAME_HEADER_BYTES 24
#define PAGE_BYTES_MIN     512
#define PAGE_BYTES_MAX     65536

struct wal {
    FILE *file;
    bool big_endian; /* the words that the checksum adds */
    uint32_t page_bytes;
    uint8_t salts[8];
    uint32_t sum[2];
    uint8_t *frame; /* header and page */
};

static uint32_t big(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t little(const uint8_t *bytes)
{
    return (uint32_t)bytes[3] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[1] << 8 | bytes[0];
}

/* `n` is a multiple of eight. */
static void add(const struct wal *wal, uint32_t sum[2], const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        const uint8_t *next = bytes + i;

        sum[0] += (wal->big_endian ? big(next) : little(next)) + sum[1];
        sum[1] += (wal->big_endian ? big(next + 4) : little(next + 4)) + sum[0];
    }
}

static bool sum_is(const uint32_t sum[2], const uint8_t *bytes)
{
    return big(bytes) == sum[0] && big(bytes + 4) == sum[1];
}

static bool read_header(struct wal *wal, const uint8_t header[HEADER_BYTES])
{
    const uint32_t magic = big(header);

    wal->big_endian = magic & 1;
    wal->page_bytes = big(header + 8);
    memcpy(wal->salts, header + 16, sizeof wal->salts);
    add(wal, wal->sum, header, 24);
    return (magic & ~1U) == 0x377f0682 && sum_is(wal->sum, header + 24) &&
           wal->page_bytes >= PAGE_BYTES_MIN && wal->page_bytes <= PAGE_BYTES_MAX &&
           (wal->page_bytes & (wal->page_bytes - 1)) == 0;
}

static bool next_frame(struct wal *wal)
{
    const size_t bytes = FRAME_HEADER_BYTES + wal->page_bytes;

    return fread(wal->frame, 1, bytes, wal->file) == bytes;
}

static bool of_this_round(const struct wal *wal)
{
    return memcmp(wal->frame + 8, wal->salts, sizeof wal->salts) == 0;
}

static bool fits(struct wal *wal)
{
    if (!of_this_round(wal) || big(wal->frame) == 0)
        return false;
    add(wal, wal->sum, wal->frame, 8);
    add(wal, wal->sum, wal->frame + FRAME_HEADER_BYTES, wal->page_bytes);
    return sum_is(wal->sum, wal->frame + 16);
}

/* The next frame fits if it goes on from what this one says, be that right or not. */
static void go_on_from(struct wal *wal)
{
    wal->sum[0] = big(wal->frame + 16);
    wal->sum[1] = big(wal->frame + 20);
}

static int damaged(const char *database, int64_t at, struct err *err)
{
    return err_set(
        err, ERR_CORRUPT,
        "damaged file %.300s-wal: behind byte %lld are changes that were confirmed; put a "
        "good copy of the folder back, or move all of it away",
        database, (long long)at);
}

static int check_frames(struct wal *wal, const char *database, struct err *err)
{
    int64_t at = HEADER_BYTES;
    int commits = 0;
    bool more = next_frame(wal);

    while (more && fits(wal)) {
        at += FRAME_HEADER_BYTES + wal->page_bytes;
        more = next_frame(wal);
    }
    for (; more && commits < 2; more = next_frame(wal)) {
        if (!fits(wal))
            commits = 0;
        go_on_from(wal);
        /* A frame that ends a commit has the size of the database after it. */
        commits += of_this_round(wal) && big(wal->frame + 4) != 0;
    }
    return commits > 1 ? damaged(database, at, err) : 0;
}

static int check(struct wal *wal, const char *database, struct err *err)
{
    uint8_t header[HEADER_BYTES];

    /* The header is on disk before the first frame is written. */
    if (fread(header, 1, sizeof header, wal->file) != sizeof header)
        return 0;
    if (!read_header(wal, header))
        return fgetc(wal->file) == EOF ? 0 : damaged(database, 0, err);
    wal->frame = malloc(FRAME_HEADER_BYTES + wal->page_bytes);
    return wal->frame ? check_frames(wal, database, err) : err_no_memory(err);
}

int db_wal_check(const char *database, struct err *err)
{
    struct wal wal = {0};
    char path[PATH_MAX + 8];
    int code;

    snprintf(path, sizeof path, "%s-wal", database);
    wal.file = fopen(path, "re");
    if (!wal.file)
        return errno == ENOENT ? 0 : err_errno(err, "cannot read %s", path);
    code = check(&wal, database, err);
    if (!code && ferror(wal.file))
        code = err_set(err, ERR_IO, "cannot read %s", path);
    free(wal.frame);
    fclose(wal.file);
    return code;
}
