/* Which samples each batch of a run holds.
 *
 * Batches form one endless stream. A pass over n samples is N = ⌈n/batch_size⌉ batches, the last
 * of which may be shorter; batch b is number b mod N of pass ⌊b/N⌋. The order of pass p is that
 * of the samples' keys word0 << 32 | word1 of RANDOM_SHUFFLE with step p, block = sample
 * (data/order.h). Update u of a method that reads B batches an update reads u·B … u·B + B − 1. */
#ifndef ENGINE_DATA_SAMPLER_H
#define ENGINE_DATA_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sampler;

int sampler_open(struct sampler **out, uint64_t seed, int64_t samples, int64_t batch_size,
                 struct err *err);
void sampler_close(struct sampler *sampler);

/* Memory that one of so many samples takes. */
size_t sampler_bytes(int64_t samples);

/* N. */
int64_t sampler_batches(const struct sampler *sampler);

/* Samples in batch b. */
int64_t sampler_batch_size(const struct sampler *sampler, uint64_t b);

/* All samples in the order of a pass; as `sampler_batch`. */
const int64_t *sampler_order(struct sampler *sampler, uint64_t pass);

/* The samples of batch b, `sampler_batch_size` of them; valid until the next call. Allocates
 * nothing; sorts when b lies in another pass than the call before. */
const int64_t *sampler_batch(struct sampler *sampler, uint64_t b);

#endif
