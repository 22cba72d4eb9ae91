/* What a thread that looks at many jobs has seen of a dataset: see engine_look_begin. */
#ifndef ENGINE_DATA_LOOK_H
#define ENGINE_DATA_LOOK_H

#include <stdbool.h>

#include "data/dataset.h"

/* Whether the thread has seen these files since it began to look; then *out is what they were. */
bool look_known(const struct job_dataset *job, struct dataset_info *out);
void look_note(const struct job_dataset *job, const struct dataset_info *info);

#endif
