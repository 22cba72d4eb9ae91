/* Orders of samples drawn by position: samples sorted by a random 64-bit key of their own. */
#ifndef ENGINE_DATA_ORDER_H
#define ENGINE_DATA_ORDER_H

#include <stdint.h>

#include "random/philox.h"

struct order_item {
    uint64_t key; /* word0 << 32 | word1 */
    int64_t index;
};

/* Fills items[0 … n−1] with the samples 0 … n−1, sorted by the key that `purpose` and `step` give
 * each (block = sample, tensor 0, term 0), ties by index. `scratch` has room for n as well. */
void order_draw(struct order_item *items, struct order_item *scratch, int64_t n, uint64_t seed,
                enum random_purpose purpose, uint64_t step);

#endif
