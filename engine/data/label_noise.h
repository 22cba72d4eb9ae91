#ifndef ENGINE_DATA_LABEL_NOISE_H
#define ENGINE_DATA_LABEL_NOISE_H

#include <stdint.h>

#include "base/err.h"

/* Makes round(share·n) labels wrong, as data/dataset.h defines. `classes` ≥ 2. */
int label_noise_apply(int32_t *labels, int64_t n, int classes, double share, uint64_t seed,
                      struct err *err);

#endif
