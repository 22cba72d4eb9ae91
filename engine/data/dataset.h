/* Datasets of grey images in memory. */
#ifndef ENGINE_DATA_DATASET_H
#define ENGINE_DATA_DATASET_H

#include <stdint.h>

#include "base/err.h"
#include "engine/job.h"

enum split { SPLIT_TRAIN, SPLIT_TEST, SPLITS };

struct samples {
    int64_t n;
    const uint8_t *pixels; /* [n, channels, height, width] */
    const uint8_t *labels; /* [n] */
};

/* Images in memory. A pixel p enters a model as (p·scale − mean)/deviation. */
struct dataset {
    int classes; /* highest label of both splits + 1 */
    int channels, height, width;
    double scale; /* 1/16 for digits, 1/255 for IDX */
    /* IDX: over all pixels of the training file, before train_limit; deviation of the population */
    double mean, deviation;
    struct samples split[SPLITS]; /* training: after train_limit and label_noise */
    void *owned[4];               /* what `dataset_close` frees */
};

/* Reads, checks and, for training, limits and then mislabels. Errors name the file:
 * ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT; ERR_INVALID for values that do not fit the data.
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

/* What can be said of a dataset without reading its images: headers, sizes and labels are
 * checked as `dataset_open` does. */
struct dataset_info {
    int classes, channels, height, width;
    int64_t n[SPLITS]; /* in the files: before train_limit */
};

int dataset_describe(struct dataset_info *out, const struct job_dataset *job, struct err *err);

/* Writes n normalised images [n,C,H,W] and their labels. The normalised pixel is computed in
 * double and rounded once. */
void dataset_gather_f32(const struct dataset *dataset, enum split split, const int64_t *index,
                        int64_t n, float *images, int32_t *labels);
void dataset_gather_f64(const struct dataset *dataset, enum split split, const int64_t *index,
                        int64_t n, double *images, int32_t *labels);

#endif
