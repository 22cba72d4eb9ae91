/* The images of noise of data.Noise (tests/torch/data.py), as a throw-away folder of IDX files. */
#ifndef TESTS_ENGINE_GOLDEN_IMAGES_H
#define TESTS_ENGINE_GOLDEN_IMAGES_H

#include "engine/job.h"

struct golden_images {
    size_t size, n[2]; /* images of size×size, in training and test */
};

/* Makes the folder and names it in *job; idx_folder_remove removes it. */
void golden_images_make(struct job_dataset *job, const struct golden_images *images);

#endif
