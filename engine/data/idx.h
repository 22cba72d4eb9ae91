/* IDX, MNIST's file format: a magic number (0, 0, 8 for unsigned bytes, number of dimensions), the
 * dimensions as big-endian 32-bit numbers, then the bytes. */
#ifndef ENGINE_DATA_IDX_H
#define ENGINE_DATA_IDX_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Where the bytes come from: a file of a folder, or memory. */
struct idx_source {
    char name[PATH_MAX]; /* for messages */
    const uint8_t *memory;
    int fd; /* -1 for memory */
    int64_t size;
};

#define IDX_SIDE_MAX    4096
#define IDX_SAMPLES_MAX 1000000000
#define IDX_BYTES_MAX   ((int64_t)1 << 36)

/* The file `folder`/`stem`-`kind` or `folder`/`stem`.`kind`, with stem "train-images" and kind
 * "idx3-ubyte", say. A packed one (.gz) is refused with a message that tells what to do. */
int idx_source_open(struct idx_source *source, const char *folder, const char *stem,
                    const char *kind, struct err *err);
void idx_source_memory(struct idx_source *source, const char *name, const uint8_t *memory,
                       int64_t size);
/* Takes one that was never opened if it is {.fd = -1}. */
void idx_source_close(struct idx_source *source);

struct idx_header {
    int64_t n, height, width; /* labels: height and width 1 */
    int64_t data_offset;
};

/* Reads and checks the header against the file's size: ERR_CORRUPT says what is wrong. */
int idx_header_read(struct idx_header *out, const struct idx_source *source, bool images,
                    struct err *err);

/* n bytes from offset; those past the end are ERR_CORRUPT (the file has shrunk). */
int idx_source_read(const struct idx_source *source, int64_t offset, int64_t n, uint8_t *to,
                    struct err *err);

#endif
