/* See place.h. */
#include "backend/place.h"

#include <stdlib.h>

static size_t aligned(size_t bytes, size_t alignment)
{
    return (bytes + alignment - 1) / alignment * alignment;
}

/* The lowest offset at which `block` overlaps none of the `n` placed ones that live with it.
 * `placed` is in the order of offsets. */
static size_t free_offset(const struct place_block *block, struct place_block *const *placed, int n,
                          size_t alignment)
{
    size_t at = 0, bytes = aligned(block->bytes, alignment);

    for (int i = 0; i < n; i++) {
        const struct place_block *other = placed[i];
        size_t end = other->offset + aligned(other->bytes, alignment);

        if (other->last < block->first || other->first > block->last)
            continue;
        if (other->offset >= at + bytes)
            break;
        if (end > at)
            at = end;
    }
    return at;
}

static void insert_by_offset(struct place_block **placed, int n, struct place_block *block)
{
    int i = n;

    for (; i > 0 && placed[i - 1]->offset > block->offset; i--)
        placed[i] = placed[i - 1];
    placed[i] = block;
}

static int larger_first(const void *a, const void *b)
{
    const struct place_block *left = *(struct place_block *const *)a;
    const struct place_block *right = *(struct place_block *const *)b;

    if (left->bytes != right->bytes)
        return left->bytes > right->bytes ? -1 : 1;
    return left < right ? -1 : left > right;
}

void place_write(struct place_block *blocks, int number, int step)
{
    if (number >= 0 && blocks[number].first < 0)
        blocks[number].first = step;
    place_read(blocks, number, step);
}

void place_read(struct place_block *blocks, int number, int step)
{
    if (number >= 0 && blocks[number].last < step)
        blocks[number].last = step;
}

void place_take_over(struct place_block *block, struct place_block *other)
{
    struct place_block *owner = other->within ? other->within : other;

    if (owner == block)
        return;
    block->within = owner;
    if (owner->last < block->last)
        owner->last = block->last;
}

int place_blocks(struct place_block *blocks, int n, size_t alignment, size_t *bytes,
                 struct err *err)
{
    struct place_block **sorted = malloc(2 * ((size_t)n + 1) * sizeof *sorted), **placed;
    int n_own = 0;

    if (!sorted)
        return err_no_memory(err);
    placed = sorted + n + 1;
    for (int i = 0; i < n; i++)
        if (blocks[i].bytes > 0 && !blocks[i].within)
            sorted[n_own++] = &blocks[i];
    qsort(sorted, (size_t)n_own, sizeof *sorted, larger_first);
    *bytes = 0;
    for (int i = 0; i < n_own; i++) {
        struct place_block *block = sorted[i];
        size_t end;

        block->offset = free_offset(block, placed, i, alignment);
        insert_by_offset(placed, i, block);
        end = block->offset + aligned(block->bytes, alignment);
        *bytes = end > *bytes ? end : *bytes;
    }
    for (int i = 0; i < n; i++)
        if (blocks[i].within)
            blocks[i].offset = blocks[i].within->offset;
    free(sorted);
    return 0;
}
