#ifndef ENGINE_DATA_SUBSET_H
#define ENGINE_DATA_SUBSET_H

#include <stdint.h>

#include "base/err.h"

/* Which `limit` of n training samples are kept, as data/dataset.h defines: *chosen gets their
 * numbers, ascending; the caller frees it. 0 < limit ≤ n. */
int subset_choose(int64_t **chosen, int64_t n, int64_t limit, uint64_t seed, struct err *err);

#endif
