/* Where datasets come from. `describe` says what can be said without reading images; `load` fills
 * an empty dataset (classes, sizes, normalisation, both splits), which the caller closes whatever
 * was returned. */
#ifndef ENGINE_DATA_FORMATS_H
#define ENGINE_DATA_FORMATS_H

#include "data/dataset.h"

struct dataset_format {
    int (*describe)(struct dataset_info *out, const struct job_dataset *job, struct err *err);
    int (*load)(struct dataset *dataset, const struct job_dataset *job, struct err *err);
};

extern const struct dataset_format format_idx;    /* digits, too */
extern const struct dataset_format format_cifar;  /* CIFAR-10 and CIFAR-100 */
extern const struct dataset_format format_folder; /* JPEG and PNG files in folders by class */

/* Constant normalisation of bytes in three channels. */
void format_normalise(struct dataset *dataset, const double mean[3], const double deviation[3]);

#endif
