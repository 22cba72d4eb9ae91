/* The binary version of CIFAR-10 and CIFAR-100: files of records, each one or two labels and then
 * 32×32 pixels, all red ones first, then green, then blue (Krizhevsky 2009,
 * https://www.cs.toronto.edu/~kriz/cifar.html).
 *
 * The format has no header, so a file that was cut at a record's end looks whole. CIFAR-10's five
 * training files have equally many records; one that has not is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "data/file.h"
#include "data/formats.h"

#define SIDE      32
#define CHANNELS  3
#define PLANE     (SIDE * SIDE)
#define PIXELS    (CHANNELS * PLANE)
#define FILES_MAX 5
#define COARSE    20 /* CIFAR-100's superclasses */

#define RECORDS_MAX 1000000 /* in a file */

/* One read for so many records. */
#define CHUNK_RECORDS 256

struct cifar {
    const char *name, *archive;
    int classes, label_bytes; /* the last of which is the class */
    int64_t records;          /* in each file that is on offer */
    int n_files[SPLITS];
    const char *file[SPLITS][FILES_MAX];
    const char *python; /* a file of the version for Python */
    const char *other;  /* a file that the other one of the two has */
};

static const struct cifar kinds[] = {
    {"CIFAR-10",
     "cifar-10-binary.tar.gz",
     10,
     1,
     10000,
     {5, 1},
     {{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
       "data_batch_5.bin"},
      {"test_batch.bin"}},
     "data_batch_1",
     "train.bin"},
    {"CIFAR-100",
     "cifar-100-binary.tar.gz",
     100,
     2,
     50000,
     {1, 1},
     {{"train.bin"}, {"test.bin"}},
     "train",
     "data_batch_1.bin"},
};

struct cifar_files {
    const struct cifar *kind;
    struct data_file file[SPLITS][FILES_MAX];
    int64_t records[SPLITS][FILES_MAX], n[SPLITS];
};

static int64_t record_bytes(const struct cifar *kind)
{
    return kind->label_bytes + PIXELS;
}

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;

    return snprintf(path, sizeof path, "%s/%s", folder, name) < PATH_MAX && !stat(path, &status);
}

/* What a folder without its files may be instead. */
static int not_found(const struct cifar *kind, const char *folder, const char *name,
                     struct err *err)
{
    if (is_there(folder, kind->python))
        return err_set(err, ERR_NOT_FOUND,
                       "%.300s: holds %s of the version for Python; the binary version is read "
                       "(%s, with %s)",
                       folder, kind->python, kind->archive, name);
    if (is_there(folder, kind->other))
        return err_set(err, ERR_NOT_FOUND, "%.300s: lacks %s but holds %s: it is not %s", folder,
                       name, kind->other, kind->name);
    return err_set(err, ERR_NOT_FOUND, "%.300s: lacks %s of %s's binary version (%s)", folder, name,
                   kind->name, kind->archive);
}

static int check_size(const struct cifar *kind, const struct data_file *file, int64_t *records,
                      struct err *err)
{
    int64_t bytes = record_bytes(kind);

    *records = file->size / bytes;
    if (*records > RECORDS_MAX)
        return err_set(err, ERR_CORRUPT, DATA_NAME ": %lld records; at most %d are read",
                       file->name, (long long)*records, RECORDS_MAX);
    if (*records >= 1 && file->size % bytes == 0)
        return 0;
    if (file->size == 0)
        return err_set(err, ERR_CORRUPT, DATA_NAME ": is empty", file->name);
    return err_set(err, ERR_CORRUPT,
                   DATA_NAME ": %lld bytes are no whole number of records of %lld; %s has %lld "
                             "records here, %lld bytes",
                   file->name, (long long)file->size, (long long)bytes, kind->name,
                   (long long)kind->records, (long long)(kind->records * bytes));
}

static int check_label(const struct cifar *kind, const struct data_file *file, int64_t record,
                       const uint8_t *bytes, struct err *err)
{
    if (kind->label_bytes == 2 && bytes[0] >= COARSE)
        return err_set(err, ERR_CORRUPT,
                       DATA_NAME ": record %lld has superclass %d; there are %d (is it %s?)",
                       file->name, (long long)record, bytes[0], COARSE, kind->name);
    if (bytes[kind->label_bytes - 1] >= kind->classes)
        return err_set(err, ERR_CORRUPT,
                       DATA_NAME ": record %lld has label %d; there are %d classes (is it %s?)",
                       file->name, (long long)record, bytes[kind->label_bytes - 1], kind->classes,
                       kind->name);
    return 0;
}

static int check_labels(const struct cifar *kind, const struct data_file *file, int64_t records,
                        struct err *err)
{
    uint8_t label[2];
    int rc = 0;

    for (int64_t i = 0; i < records && !rc; i++) {
        rc = data_file_read(file, i * record_bytes(kind), kind->label_bytes, label, err);
        if (!rc)
            rc = check_label(kind, file, i, label, err);
    }
    return rc;
}

static int open_file(struct cifar_files *files, const char *folder, int s, int i, struct err *err)
{
    const struct cifar *kind = files->kind;
    struct data_file *file = &files->file[s][i];
    int64_t *records = &files->records[s][i];
    int rc = data_file_open(file, folder, kind->file[s][i], err);

    if (rc == ERR_NOT_FOUND)
        return not_found(kind, folder, kind->file[s][i], err);
    if (!rc)
        rc = check_size(kind, file, records, err);
    if (!rc && *records != files->records[s][0])
        rc = err_set(err, ERR_CORRUPT, DATA_NAME ": has %lld records, %s has %lld", file->name,
                     (long long)*records, kind->file[s][0], (long long)files->records[s][0]);
    if (!rc)
        rc = check_labels(kind, file, *records, err);
    files->n[s] += *records;
    return rc;
}

static void close_files(struct cifar_files *files)
{
    for (int s = 0; s < SPLITS; s++)
        for (int i = 0; i < FILES_MAX; i++)
            data_file_close(&files->file[s][i]);
}

static int open_files(struct cifar_files *files, const struct job_dataset *job, struct err *err)
{
    int rc;

    *files = (struct cifar_files){.kind = &kinds[job->kind == DATASET_CIFAR100]};
    for (int s = 0; s < SPLITS; s++)
        for (int i = 0; i < FILES_MAX; i++)
            files->file[s][i].fd = -1;
    rc = data_folder_check(job->path, err);
    for (int s = 0; s < SPLITS; s++)
        for (int i = 0; i < files->kind->n_files[s] && !rc; i++)
            rc = open_file(files, job->path, s, i, err);
    return rc;
}

static int describe(struct dataset_info *out, const struct job_dataset *job, struct err *err)
{
    struct cifar_files files;
    int rc = open_files(&files, job, err);

    if (!rc)
        *out = (struct dataset_info){.classes = files.kind->classes,
                                     .channels = CHANNELS,
                                     .height = SIDE,
                                     .width = SIDE,
                                     .n = {files.n[SPLIT_TRAIN], files.n[SPLIT_TEST]}};
    close_files(&files);
    return rc;
}

/* A record's planes become pixels of three bytes. */
static void take_pixels(const uint8_t *planes, uint8_t *pixels)
{
    for (int p = 0; p < PLANE; p++)
        for (int c = 0; c < CHANNELS; c++)
            pixels[p * CHANNELS + c] = planes[c * PLANE + p];
}

static int read_file(const struct cifar *kind, const struct data_file *file, int64_t records,
                     uint8_t *pixels, int32_t *labels, struct err *err)
{
    int64_t bytes = record_bytes(kind);
    cleanup_free uint8_t *chunk = malloc((size_t)(CHUNK_RECORDS * bytes));
    int rc = chunk ? 0 : err_no_memory(err);

    for (int64_t first = 0; first < records && !rc; first += CHUNK_RECORDS) {
        int64_t n = records - first < CHUNK_RECORDS ? records - first : CHUNK_RECORDS;

        rc = data_file_read(file, first * bytes, n * bytes, chunk, err);
        for (int64_t i = 0; i < n && !rc; i++) {
            const uint8_t *record = chunk + i * bytes;

            rc = check_label(kind, file, first + i, record, err);
            labels[first + i] = record[kind->label_bytes - 1];
            take_pixels(record + kind->label_bytes, pixels + (first + i) * PIXELS);
        }
    }
    return rc;
}

static int read_split(struct dataset *dataset, const struct cifar_files *files, int s,
                      struct err *err)
{
    uint8_t *pixels = malloc((size_t)(files->n[s] * PIXELS));
    int32_t *labels = calloc((size_t)files->n[s], sizeof *labels);
    int64_t at = 0;
    int rc = pixels && labels ? 0 : err_no_memory(err);

    dataset->split[s].n = files->n[s];
    dataset->split[s].pixels = dataset->own_pixels[s] = pixels;
    dataset->split[s].labels = dataset->own_labels[s] = labels;
    for (int i = 0; i < files->kind->n_files[s] && !rc; i++) {
        rc = read_file(files->kind, &files->file[s][i], files->records[s][i], pixels + at * PIXELS,
                       labels + at, err);
        at += files->records[s][i];
    }
    return rc;
}

/* The constants of the method's published code, which uses CIFAR-10's for both. */
static int load(struct dataset *dataset, const struct job_dataset *job, struct err *err)
{
    static const double mean[] = {.4914, .4822, .4465}, deviation[] = {.2023, .1994, .2010};
    struct cifar_files files;
    int rc = open_files(&files, job, err);

    dataset->classes = files.kind->classes;
    dataset->channels = CHANNELS;
    dataset->height = dataset->width = SIDE;
    format_normalise(dataset, mean, deviation);
    for (int s = 0; s < SPLITS && !rc; s++)
        rc = read_split(dataset, &files, s, err);
    close_files(&files);
    return rc;
}

const struct dataset_format format_cifar = {.describe = describe, .load = load};
