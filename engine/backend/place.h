/* Where what lives for a while lies in one stretch of memory. */
#ifndef ENGINE_BACKEND_PLACE_H
#define ENGINE_BACKEND_PLACE_H

#include <stddef.h>

#include "base/err.h"

/* Something that is alive from step `first` to step `last`, both included. */
struct place_block {
    size_t bytes;
    int first, last;
    size_t offset; /* out: a multiple of the alignment */
};

/* Fills the offsets, so that no two blocks that are alive in the same step overlap; `bytes`: of
 * all, whole alignments. The largest are placed first (of equal ones the first), each at the lowest
 * offset that is free for its whole life. ERR_NO_MEMORY. */
int place_blocks(struct place_block *blocks, int n, size_t alignment, size_t *bytes,
                 struct err *err);

#endif
