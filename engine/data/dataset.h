/* Datasets: images with labels, in memory or as files of a folder.
 *
 * Where a dataset comes from is the business of its format (idx_load.c, cifar.c, folder.c); what
 * all of them share is here: limiting the training split, wrong labels, normalisation. How a
 * sample becomes what a model sees is data/sample.h's. */
#ifndef ENGINE_DATA_DATASET_H
#define ENGINE_DATA_DATASET_H

#include <stdint.h>

#include "base/err.h"
#include "engine/job.h"

enum split { SPLIT_TRAIN, SPLIT_TEST, SPLITS };

#define DATASET_CHANNELS_MAX 3

struct samples {
    int64_t n;
    const uint8_t *pixels; /* [n, height, width, channels]; NULL for files */
    const int64_t *item;   /* [n], files only: number in the folder's listing of this split */
    const int32_t *labels; /* [n] */
};

/* A pixel p of channel c enters a model as (p·scale − mean[c])/deviation[c]. */
struct dataset {
    int classes;
    int channels, height, width; /* of the images that a model sees */
    double scale;                /* 1/16 for digits, 1/255 otherwise */
    /* IDX: over all pixels of the training file, before train_limit; deviation of the population.
     * Otherwise constants. */
    double mean[DATASET_CHANNELS_MAX], deviation[DATASET_CHANNELS_MAX];
    struct samples split[SPLITS]; /* training: after train_limit and label_noise */
    struct job_dataset job;       /* size, resize and augment are read by data/sample.h */
    uint64_t seed;
    struct image_folder *folder; /* NULL: in memory */

    /* What `dataset_close` frees: where the members of `split` point to what is not static. */
    uint8_t *own_pixels[SPLITS];
    int64_t *own_item[SPLITS];
    int32_t *own_labels[SPLITS];
};

/* Reads, checks and, for training, limits and then mislabels. Errors name the file:
 * ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT; ERR_INVALID for values that do not fit the data;
 * ERR_UNSUPPORTED for a format that this build lacks. Of a folder of images only the names are
 * read.
 *
 * train_limit: of the training samples in the file, those with the smallest 64-bit keys
 * (word0 << 32 | word1 of RANDOM_SUBSET, tensor 0, term 0, step 0, block = sample; ties by sample)
 * are kept, in the order of the file. Drawn, and not the first so many: files are often sorted by
 * class or by writer.
 *
 * label_noise: of the n training samples, the round(share·n) with the smallest keys, drawn in the
 * same way by RANDOM_LABEL_PICK (block = place after train_limit), get the label (label + 1 +
 * ⌊unit·(classes − 1)⌋) mod classes, which is always a wrong one, with unit = (word0 >> 8)·2⁻²⁴ of
 * RANDOM_LABEL_VALUE, same block. */
int dataset_open(struct dataset **out, const struct job_dataset *job, uint64_t seed,
                 struct err *err);
void dataset_close(struct dataset *dataset);

/* What can be said of a dataset without reading its images: headers, sizes, names and labels are
 * checked as `dataset_open` does. */
struct dataset_info {
    int classes, channels, height, width;
    int64_t n[SPLITS];     /* in the files: before train_limit */
    int64_t listing_bytes; /* folders of images: what their names take in memory */
};

int dataset_describe(struct dataset_info *out, const struct job_dataset *job, struct err *err);

/* Memory that the dataset takes once it is open. */
int64_t dataset_bytes(const struct job_dataset *job, const struct dataset_info *info);

/* A dataset of these sizes without a sample in it. */
int dataset_outline(struct dataset **out, const struct job_dataset *job,
                    const struct dataset_info *info, struct err *err);

/* Bytes of an image as a model sees it. */
static inline int64_t dataset_image_bytes(const struct dataset *dataset)
{
    return (int64_t)dataset->channels * dataset->height * dataset->width;
}

#endif
