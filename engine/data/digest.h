/* What tells one dataset from another, in a few numbers: a checkpoint holds them, so that a run
 * goes on only with the data that it began with.
 *
 * Of datasets in memory they cover each byte that the run uses, after train_limit and label_noise.
 * Of folders of images, which are not read for it, they cover the names of the classes, the names
 * of the files in their order and the sizes of a few thousand of them a split (of all, where there
 * are no more): one that was replaced by another of the same name and size does not show. */
#ifndef ENGINE_DATA_DIGEST_H
#define ENGINE_DATA_DIGEST_H

#include "base/tensor.h"
#include "data/dataset.h"

/* Its name in a checkpoint, where it has the role TENSOR_PROGRESS. */
#define DATASET_DIGEST_NAME "dataset"

/* As the checkpoint's tensor has it: nothing but int64_t. */
struct dataset_digest {
    int64_t n[SPLITS]; /* samples */
    int64_t classes;
    int64_t class_names;     /* 0 where they have none */
    int64_t content[SPLITS]; /* of samples and labels, with what they are normalised by */
};

#define DATASET_DIGEST_NUMBERS ((int)(sizeof(struct dataset_digest) / sizeof(int64_t)))

/* ERR_NOT_FOUND or ERR_IO, with its name, for a file that is gone. */
int dataset_digest(const struct dataset *dataset, struct dataset_digest *out, struct err *err);

/* ERR_CONFLICT, with what has changed, where `dataset` is not the one that a checkpoint was made
 * with. 0, too, for one that does not say (older versions' do not). */
int dataset_digest_check(const struct dataset_digest *dataset, const struct checkpoint *checkpoint,
                         struct err *err);

#endif
