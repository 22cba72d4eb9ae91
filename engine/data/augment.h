/* The random choices of augmentation, each by its place: key = the job's seed, block = the sample's
 * number (after train_limit), step = the pass over the data, term = `enum augment_draw`, tensor =
 * number of the attempt or operation, RANDOM_AUGMENT. So neither the threads that load nor where a
 * run was resumed show in them, and the two batches of a mixed method, which belong to two passes
 * or two places of one, vary independently.
 *
 * A word becomes a number in [0, 1) as unit = (word >> 8)·2⁻²⁴, and one of n choices as ⌊unit·n⌋.
 */
#ifndef ENGINE_DATA_AUGMENT_H
#define ENGINE_DATA_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/job.h"

enum augment_draw {
    DRAW_FLIP,      /* word 0 */
    DRAW_CROP,      /* words 0, 1: top, left */
    DRAW_RESIZED,   /* tensor: attempt; words 0 … 3: area, shape, top, left */
    DRAW_OPERATION, /* tensor: place in the sequence; words 0, 1: operation, sign */
    DRAW_CUTOUT,    /* words 0 … 2: whether, top, left */
};

struct augment_key {
    uint64_t seed, pass;
    int64_t sample;
};

struct window {
    int top, left, height, width;
};

/* True for half of the samples. */
bool augment_flip(const struct augment_key *key);

/* Top left corner of a crop: uniform in 0 … rows − 1 and 0 … columns − 1. */
void augment_corner(const struct augment_key *key, int rows, int columns, int *top, int *left);

/* torchvision's RandomResizedCrop: a share of the area uniform from area_min to 1, the logarithm of
 * width/height uniform from 3/4 to 4/3, ten attempts to fit it in, else the largest window of an
 * allowed shape in the middle. */
struct window augment_resized(const struct augment_key *key, double area_min, int height,
                              int width);

/* The part of the image that a square of `side`, centred anywhere in it, covers: corner uniform
 * from −⌊side/2⌋, clipped. No rows where there is no cutout. */
struct window augment_cutout(const struct augment_key *key, const struct job_augment *job,
                             int height, int width);

struct augment_operation {
    int operation; /* 0 … n − 1 */
    bool negative; /* for operations with two directions */
};

struct augment_operation augment_operation(const struct augment_key *key, int place, int n);

#endif
