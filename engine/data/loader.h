/* Batches, loaded before they are asked for.
 *
 * Two endless streams of batches, one a split, each read from its place on: training batch b is the
 * sampler's, test batch b is number b mod N in the order of the files. A stream holds a few batches
 * as bytes in a ring of slots; threads fill the samples of the slots that are wanted next, and
 * whoever waits for a batch helps. What is in a batch depends on its number alone.
 *
 * A sample that cannot be decoded is replaced by the next one of its split that can, and noted; one
 * whose file cannot be read is an error: another time it may be there again. */
#ifndef ENGINE_DATA_LOADER_H
#define ENGINE_DATA_LOADER_H

#include "data/dataset.h"
#include "data/sampler.h"

struct loader;

struct loader_options {
    const struct dataset *dataset; /* outlives the loader, as the sampler does */
    struct sampler *sampler;       /* only the loader asks it for batches from here on */
    int64_t batch_size, test_batch_size;
    int batches_an_update; /* so many are loaded while an update is computed */
    /* That may load at the same time, the caller's among them, so that with 1 there is none but
     * the caller's and nothing is loaded ahead. Datasets that are quickly made use no threads. */
    int threads;
};

/* Memory that one takes, but for what decoders need; of `options->dataset` only sizes and settings
 * are looked at. */
size_t loader_bytes(const struct loader_options *options);

int loader_open(struct loader **out, const struct loader_options *options, struct err *err);
/* Ends the threads, whatever they are doing; waits for the samples that they have begun. */
void loader_close(struct loader *loader);

/* Writes batch b of a split, normalised, [n,C,H,W], with its labels; returns n or an error:
 * ERR_IO when a file cannot be read, ERR_CORRUPT when none of a thousand can be decoded. Quickest
 * in ascending order of b. Allocates nothing but what a decoder needs. One thread at a time. */
int64_t loader_take_f32(struct loader *loader, enum split split, uint64_t b, float *images,
                        int32_t *labels, struct err *err);
int64_t loader_take_f64(struct loader *loader, enum split split, uint64_t b, double *images,
                        int32_t *labels, struct err *err);

/* Tells of the files that could not be used since the last call: the first few by name, each of
 * them once, then now and then how many there are; with `total` in any case, if there are more than
 * were told of. NULL: there is nothing to tell. */
void loader_report(struct loader *loader, bool total,
                   void (*message)(void *context, const char *text), void *context);

#endif
