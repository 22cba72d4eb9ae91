/* Where what lives for a while lies in one stretch of memory. */
#ifndef ENGINE_BACKEND_PLACE_H
#define ENGINE_BACKEND_PLACE_H

#include <stddef.h>

#include "base/err.h"

/* Something that is alive from step `first` to step `last`, both included. */
struct place_block {
    size_t bytes; /* 0: it lies elsewhere */
    int first, last;
    struct place_block *within; /* the block whose place it has taken over; NULL: none */
    size_t offset;              /* out: a multiple of the alignment */
};

/* Block `number` (-1: none) is written, or read, at a step. Writes come in the order of their
 * steps; `first` and `last` of a block that nothing uses are -1. */
void place_write(struct place_block *blocks, int number, int step);
void place_read(struct place_block *blocks, int number, int step);

/* `block` takes over the place of `other`, which is as large and not alive after the step in which
 * the block begins. Both have their `last` already. */
void place_take_over(struct place_block *block, struct place_block *other);

/* Fills the offsets, so that no two blocks that are alive in the same step overlap; `bytes`: of
 * all, whole alignments. The largest are placed first (of equal ones the first), each at the lowest
 * offset that is free for its whole life. ERR_NO_MEMORY. */
int place_blocks(struct place_block *blocks, int n, size_t alignment, size_t *bytes,
                 struct err *err);

#endif
