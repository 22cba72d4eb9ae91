/* The bytes of a dataset: a file of a folder, or memory. Files are read, not mapped: one that
 * shrinks while a job trains must not take the process down. */
#ifndef ENGINE_DATA_FILE_H
#define ENGINE_DATA_FILE_H

#include <limits.h>
#include <stdint.h>

#include "base/err.h"

/* A message holds 512 bytes, a path may be longer: the reason comes after it. */
#define DATA_NAME "%.380s"

struct data_file {
    char name[PATH_MAX]; /* for messages */
    const uint8_t *memory;
    int fd; /* -1 for memory */
    int64_t size;
};

/* ERR_NOT_FOUND, ERR_INVALID or ERR_IO unless `folder` is one. */
int data_folder_check(const char *folder, struct err *err);

/* Opens `folder`/`name`: ERR_NOT_FOUND where there is none, ERR_INVALID for what is no regular
 * file. Does not wait for what was named, even where that is a FIFO. */
int data_file_open(struct data_file *file, const char *folder, const char *name, struct err *err);
int data_file_open_path(struct data_file *file, const char *path, struct err *err);
void data_file_memory(struct data_file *file, const char *name, const uint8_t *memory,
                      int64_t size);
/* Takes one that was never opened if it is {.fd = -1}. */
void data_file_close(struct data_file *file);

/* n bytes from offset; those past the end are ERR_CORRUPT (the file has shrunk). */
int data_file_read(const struct data_file *file, int64_t offset, int64_t n, uint8_t *to,
                   struct err *err);

#endif
