#include "data_folder.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "golden.h"

#define CIFAR_PIXELS 3072

void data_folder_make(char path[JOB_PATH_MAX + 1])
{
    const char *parent = getenv("TMPDIR");

    snprintf(path, JOB_PATH_MAX + 1, "%s/rwpd-data-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void data_folder_remove(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

void data_folder_join(char out[JOB_PATH_MAX + 1], const char *path, const char *name)
{
    assert_true(snprintf(out, JOB_PATH_MAX + 1, "%s/%s", path, name) <= JOB_PATH_MAX);
}

void data_folder_put(const char *path, const char *name, const void *bytes, size_t n)
{
    char full[JOB_PATH_MAX + 1];
    FILE *file;

    data_folder_join(full, path, name);
    for (char *slash = full + strlen(path) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(full, 0777); /* or it is there */
        *slash = '/';
    }
    unlink(full); /* some file systems write a file out at once that takes another one's place */
    file = fopen(full, "wb");
    if (!file)
        fail_msg("cannot write %s", full);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* Not by golden_next, whose line the caller may still be reading. */
static char *hex_of(FILE *file, const char *name, char **line, size_t *size)
{
    char wanted[80];

    snprintf(wanted, sizeof wanted, "file %s ", name);
    while (getline(line, size, file) > 0)
        if (!strncmp(*line, wanted, strlen(wanted))) {
            (*line)[strcspn(*line, "\n")] = '\0';
            return *line + strlen(wanted);
        }
    return NULL;
}

const uint8_t *golden_picture(const char *name, size_t *n)
{
    static uint8_t bytes[8192];
    FILE *file = golden_open("images.txt");
    cleanup_free char *line = NULL;
    size_t size = 0;
    const char *hex = hex_of(file, name, &line, &size);

    fclose(file);
    if (!hex)
        fail_msg("no picture %s", name);
    *n = strlen(hex) / 2;
    assert_true(*n <= sizeof bytes);
    for (size_t i = 0; i < *n; i++) {
        unsigned byte;

        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (uint8_t)byte;
    }
    return bytes;
}

void data_folder_picture(const char *path, const char *name, const char *picture)
{
    size_t n;
    const uint8_t *bytes = golden_picture(picture, &n);

    data_folder_put(path, name, bytes, n);
}

void photo_folder_make(struct job_dataset *job)
{
    static const char *const pictures[] = {"plain.jpg",       "full.jpg",    "colour.png",
                                           "grey.jpg",        "bits.png",    "half.jpg",
                                           "progressive.jpg", "palette.png", "interlaced.png"};
    static const char *const folders[] = {"train/ant", "train/bee", "val/ant", "val/bee"};
    static const int counts[] = {8, 7, 3, 2};
    int next = 0;

    *job = (struct job_dataset){
        .kind = DATASET_IMAGE_FOLDER, .size = PHOTOS_SIZE, .resize = PHOTOS_SIZE + 2};
    data_folder_make(job->path);
    for (size_t f = 0; f < ARRAY_LENGTH(folders); f++)
        for (int i = 0; i < counts[f]; i++) {
            const char *picture = pictures[next++ % (int)ARRAY_LENGTH(pictures)];
            char name[64];

            snprintf(name, sizeof name, "%s/%02d-%s", folders[f], i, picture);
            data_folder_picture(job->path, name, picture);
        }
}

void cifar_folder_make(struct job_dataset *job, int classes, int records)
{
    static const char *const ten[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                      "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};
    static const char *const hundred[] = {"train.bin", "test.bin"};
    int labels = classes == 10 ? 1 : 2, n = classes == 10 ? 6 : 2;
    size_t record_bytes = (size_t)labels + CIFAR_PIXELS;
    cleanup_free uint8_t *bytes = malloc((size_t)records * record_bytes);

    *job = (struct job_dataset){.kind = classes == 10 ? DATASET_CIFAR10 : DATASET_CIFAR100};
    data_folder_make(job->path);
    assert_non_null(bytes);
    for (int f = 0; f < n; f++) {
        for (int r = 0; r < records; r++) {
            uint8_t *record = bytes + (size_t)r * record_bytes;
            int label = (r + f) % classes;

            record[0] = (uint8_t)(label % 20);
            record[labels - 1] = (uint8_t)label;
            for (int i = 0; i < CIFAR_PIXELS; i++)
                record[labels + i] = (uint8_t)(i * 7 + r * 31 + f);
        }
        data_folder_put(job->path, classes == 10 ? ten[f] : hundred[f], bytes,
                        (size_t)records * record_bytes);
    }
}

uint64_t hash_bytes(const void *bytes, size_t n)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}
