/* A throw-away folder of small IDX files, right ones to begin with, for tests to break. */
#ifndef TESTS_ENGINE_IDX_FOLDER_H
#define TESTS_ENGINE_IDX_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "engine/job.h"

enum { IDX_TRAIN = 20, IDX_TEST = 7, IDX_HEIGHT = 6, IDX_WIDTH = 5, IDX_CLASSES = 4 };

/* Makes the folder with the four files and names it in *job: pixel i of the images is
 * (i·37 + 11) mod 256, label i is i mod 4. */
void idx_folder_make(struct job_dataset *job);
void idx_folder_remove(const struct job_dataset *job);

/* Replaces a file's contents. */
void idx_folder_write(const struct job_dataset *job, const char *name, const void *bytes, size_t n);
/* Overwrites n bytes at `offset`. */
void idx_folder_patch(const struct job_dataset *job, const char *name, size_t offset,
                      const void *bytes, size_t n);
void idx_folder_resize(const struct job_dataset *job, const char *name, size_t n);
void idx_folder_rename(const struct job_dataset *job, const char *from, const char *to);

#endif
