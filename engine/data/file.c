#include "data/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int data_folder_check(const char *folder, struct err *err)
{
    struct stat status;

    if (stat(folder, &status))
        return err_errno(err, DATA_NAME, folder);
    if (!S_ISDIR(status.st_mode))
        return err_set(err, ERR_INVALID, DATA_NAME ": not a folder", folder);
    return 0;
}

/* 0 and an open file; ERR_NOT_FOUND when there is none. */
static int open_path(struct data_file *file, struct err *err)
{
    struct stat status;
    int rc = 0;

    /* Not blocking: somebody may name a FIFO. */
    file->fd = open(file->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0)
        return err_errno(err, DATA_NAME, file->name);
    if (fstat(file->fd, &status))
        rc = err_errno(err, DATA_NAME, file->name);
    else if (!S_ISREG(status.st_mode))
        rc = err_set(err, ERR_INVALID, DATA_NAME ": not a regular file", file->name);
    else
        file->size = status.st_size;
    if (rc)
        data_file_close(file);
    return rc;
}

int data_file_open_path(struct data_file *file, const char *path, struct err *err)
{
    int length = snprintf(file->name, sizeof file->name, "%s", path);

    file->memory = NULL;
    file->fd = -1;
    file->size = 0;
    if (length < 0 || (size_t)length >= sizeof file->name)
        return err_set(err, ERR_INVALID, "the dataset's path is too long");
    return open_path(file, err);
}

int data_file_open(struct data_file *file, const char *folder, const char *name, struct err *err)
{
    char path[PATH_MAX + 300];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return data_file_open_path(file, path, err);
}

void data_file_memory(struct data_file *file, const char *name, const uint8_t *memory, int64_t size)
{
    snprintf(file->name, sizeof file->name, "%s", name);
    file->memory = memory;
    file->fd = -1;
    file->size = size;
}

void data_file_close(struct data_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

int data_file_read(const struct data_file *file, int64_t offset, int64_t n, uint8_t *to,
                   struct err *err)
{
    if (offset + n > file->size)
        return err_set(err, ERR_CORRUPT, DATA_NAME ": is truncated", file->name);
    if (file->memory) {
        memcpy(to, file->memory + offset, (size_t)n);
        return 0;
    }
    while (n > 0) {
        ssize_t got = pread(file->fd, to, (size_t)n, offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(err, DATA_NAME, file->name);
        if (got == 0)
            return err_set(err, ERR_CORRUPT, DATA_NAME ": was truncated while it was read",
                           file->name);
        offset += got;
        to += got;
        n -= got;
    }
    return 0;
}
