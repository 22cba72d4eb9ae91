/* Datasets that are not as they should be. */
#ifndef TESTS_ENGINE_DATASET_REFUSED_H
#define TESTS_ENGINE_DATASET_REFUSED_H

#include "engine/job.h"

/* That one is neither described nor opened, with `code` and a message that has both texts: the file
 * that it names, and what it says of it. */
void assert_dataset_refused(const struct job_dataset *job, int code, const char *names,
                            const char *says);

#endif
