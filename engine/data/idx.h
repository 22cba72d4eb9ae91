/* IDX, MNIST's file format: a magic number (0, 0, 8 for unsigned bytes, number of dimensions), the
 * dimensions as big-endian 32-bit numbers, then the bytes. */
#ifndef ENGINE_DATA_IDX_H
#define ENGINE_DATA_IDX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/file.h"

#define IDX_SIDE_MAX    4096
#define IDX_SAMPLES_MAX 1000000000
#define IDX_BYTES_MAX   ((int64_t)1 << 36)

/* The file `folder`/`stem`-`kind` or `folder`/`stem`.`kind`, with stem "train-images" and kind
 * "idx3-ubyte", say. A packed one (.gz) is refused with a message that tells what to do. */
int idx_open(struct data_file *file, const char *folder, const char *stem, const char *kind,
             struct err *err);

struct idx_header {
    int64_t n, height, width; /* labels: height and width 1 */
    int64_t data_offset;
};

/* Reads and checks the header against the file's size: ERR_CORRUPT says what is wrong. */
int idx_header_read(struct idx_header *out, const struct data_file *file, bool images,
                    struct err *err);

#endif
