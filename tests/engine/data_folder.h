/* A throw-away folder of files for tests, and the pictures of tests/golden/images.txt. Any failure
 * fails the running cmocka test. */
#ifndef TESTS_ENGINE_DATA_FOLDER_H
#define TESTS_ENGINE_DATA_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "engine/job.h"

/* Makes an empty folder and names it in `path`. */
void data_folder_make(char path[JOB_PATH_MAX + 1]);
/* With all that is in it. */
void data_folder_remove(const char *path);

/* Writes the file `path`/`name`, making the folders that `name` leads through. */
void data_folder_put(const char *path, const char *name, const void *bytes, size_t n);
/* The same with a golden picture. */
void data_folder_picture(const char *path, const char *name, const char *picture);
void data_folder_join(char out[JOB_PATH_MAX + 1], const char *path, const char *name);

/* The bytes of a golden picture; valid until the next call. */
const uint8_t *golden_picture(const char *name, size_t *n);

/* train/ant, train/bee, val/ant, val/bee with eight, seven, three and two pictures of several sizes
 * and formats, and a job for them of 16×16 pixels, not varied. */
enum { PHOTOS_TRAIN = 15, PHOTOS_VAL = 5, PHOTOS_SIZE = 16 };
void photo_folder_make(struct job_dataset *job);

/* Files of CIFAR-10 (`classes` 10) or CIFAR-100 with `records` records each: record r of file f has
 * label (r + f) mod classes (superclass mod 20) and pixel bytes (i·7 + r·31 + f) mod 256. */
void cifar_folder_make(struct job_dataset *job, int classes, int records);

/* FNV-1a. */
uint64_t hash_bytes(const void *bytes, size_t n);

#endif
