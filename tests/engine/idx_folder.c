#include "idx_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"

#define NAME_BYTES (JOB_PATH_MAX + 100)

static void full_name(const struct job_dataset *job, const char *name, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "%s/%s", job->path, name);
}

void idx_folder_write(const struct job_dataset *job, const char *name, const void *bytes, size_t n)
{
    char path[NAME_BYTES];
    FILE *file;

    full_name(job, name, path);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

void idx_folder_patch(const struct job_dataset *job, const char *name, size_t offset,
                      const void *bytes, size_t n)
{
    char path[NAME_BYTES];
    int fd;

    full_name(job, name, path);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, (off_t)offset), n);
    close(fd);
}

void idx_folder_resize(const struct job_dataset *job, const char *name, size_t n)
{
    char path[NAME_BYTES];

    full_name(job, name, path);
    assert_int_equal(truncate(path, (off_t)n), 0);
}

void idx_folder_rename(const struct job_dataset *job, const char *from, const char *to)
{
    char old[NAME_BYTES], new[NAME_BYTES];

    full_name(job, from, old);
    full_name(job, to, new);
    assert_int_equal(rename(old, new), 0);
}

static void write_images(const struct job_dataset *job, const char *name, int n)
{
    uint8_t bytes[16 + IDX_TRAIN * IDX_HEIGHT * IDX_WIDTH] = {
        0, 0, 8, 3, 0, 0, 0, (uint8_t)n, 0, 0, 0, IDX_HEIGHT, 0, 0, 0, IDX_WIDTH};
    int size = n * IDX_HEIGHT * IDX_WIDTH;

    for (int i = 0; i < size; i++)
        bytes[16 + i] = (uint8_t)(i * 37 + 11);
    idx_folder_write(job, name, bytes, 16 + (size_t)size);
}

static void write_labels(const struct job_dataset *job, const char *name, int n)
{
    uint8_t bytes[8 + IDX_TRAIN] = {0, 0, 8, 1, 0, 0, 0, (uint8_t)n};

    for (int i = 0; i < n; i++)
        bytes[8 + i] = (uint8_t)(i % IDX_CLASSES);
    idx_folder_write(job, name, bytes, 8 + (size_t)n);
}

void idx_folder_make(struct job_dataset *job)
{
    const char *parent = getenv("TMPDIR");

    *job = (struct job_dataset){.kind = DATASET_IDX};
    snprintf(job->path, sizeof job->path, "%s/rwpd-idx-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(job->path));
    write_images(job, "train-images-idx3-ubyte", IDX_TRAIN);
    write_labels(job, "train-labels-idx1-ubyte", IDX_TRAIN);
    write_images(job, "t10k-images-idx3-ubyte", IDX_TEST);
    write_labels(job, "t10k-labels-idx1-ubyte", IDX_TEST);
}

void idx_folder_remove(const struct job_dataset *job)
{
    static const char *const stems[] = {"train-images", "train-labels", "t10k-images",
                                        "t10k-labels"};
    static const char *const ends[] = {"-idx3-ubyte",    "-idx1-ubyte",    ".idx3-ubyte",
                                       ".idx1-ubyte",    "-idx3-ubyte.gz", "-idx1-ubyte.gz",
                                       ".idx3-ubyte.gz", ".idx1-ubyte.gz"};
    char name[64], path[NAME_BYTES];

    for (size_t s = 0; s < ARRAY_LENGTH(stems); s++)
        for (size_t e = 0; e < ARRAY_LENGTH(ends); e++) {
            snprintf(name, sizeof name, "%s%s", stems[s], ends[e]);
            full_name(job, name, path);
            if (unlink(path))
                rmdir(path);
        }
    assert_int_equal(rmdir(job->path), 0);
}
