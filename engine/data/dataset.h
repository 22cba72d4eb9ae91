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
    int classes, channels, height, width;
    double scale; /* 1/16 for digits, 1/255 for IDX */
    double mean, deviation;
    struct samples split[SPLITS]; /* training: after train_limit and label_noise */
    void *owned[4];               /* what `dataset_close` frees or unmaps */
};

/* Reads, checks and, for training, limits and mislabels. `seed` draws the wrong labels. Errors name
 * the file: ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT, ERR_INVALID. */
int dataset_open(struct dataset **out, const struct job_dataset *job, uint64_t seed,
                 struct err *err);
void dataset_close(struct dataset *dataset);

/* Writes n normalised images [n,C,H,W] and their labels. */
void dataset_gather_f32(const struct dataset *dataset, enum split split, const int64_t *index,
                        int64_t n, float *images, int32_t *labels);
void dataset_gather_f64(const struct dataset *dataset, enum split split, const int64_t *index,
                        int64_t n, double *images, int32_t *labels);

#endif
