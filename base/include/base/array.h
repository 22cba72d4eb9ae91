/* Arrays that grow by one item at a time. */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include <stddef.h>

/* Makes room for one more item behind `n` of them, in the array whose pointer `items_at` points to
 * (NULL: none yet) and which has grown in no other way: its capacity is n rounded up to a power of
 * two, so that it needs no field of its own. Returns the new item's place, zeroed; NULL: out of
 * memory, and the array is as it was. free() it. */
void *array_grow(void *items_at, size_t n, size_t item_bytes);

#endif
