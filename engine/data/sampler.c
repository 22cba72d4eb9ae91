/* Holds the order of one pass at a time; any batch can be asked for at any time. */
#include "data/sampler.h"

#include <stdbool.h>
#include <stdlib.h>

#include "data/order.h"

struct sampler {
    uint64_t seed;
    int64_t samples, batch_size, batches;
    bool drawn;
    uint64_t pass; /* whose order is held, once drawn */
    struct order_item *items, *scratch;
    int64_t *order;
};

int sampler_open(struct sampler **out, uint64_t seed, int64_t samples, int64_t batch_size,
                 struct err *err)
{
    struct sampler *sampler = calloc(1, sizeof *sampler);

    if (!sampler)
        return err_no_memory(err);
    sampler->seed = seed;
    sampler->samples = samples;
    sampler->batch_size = batch_size;
    sampler->batches = (samples + batch_size - 1) / batch_size;
    sampler->items = calloc((size_t)samples, sizeof *sampler->items);
    sampler->scratch = calloc((size_t)samples, sizeof *sampler->scratch);
    sampler->order = calloc((size_t)samples, sizeof *sampler->order);
    if (!sampler->items || !sampler->scratch || !sampler->order) {
        sampler_close(sampler);
        return err_no_memory(err);
    }
    *out = sampler;
    return 0;
}

void sampler_close(struct sampler *sampler)
{
    if (!sampler)
        return;
    free(sampler->items);
    free(sampler->scratch);
    free(sampler->order);
    free(sampler);
}

size_t sampler_bytes(int64_t samples)
{
    return (size_t)samples * (2 * sizeof(struct order_item) + sizeof(int64_t));
}

int64_t sampler_batches(const struct sampler *sampler)
{
    return sampler->batches;
}

static int64_t first_sample(const struct sampler *sampler, uint64_t b)
{
    return (int64_t)(b % (uint64_t)sampler->batches) * sampler->batch_size;
}

int64_t sampler_batch_size(const struct sampler *sampler, uint64_t b)
{
    int64_t left = sampler->samples - first_sample(sampler, b);

    return left < sampler->batch_size ? left : sampler->batch_size;
}

const int64_t *sampler_order(struct sampler *sampler, uint64_t pass)
{
    if (!sampler->drawn || sampler->pass != pass) {
        order_draw(sampler->items, sampler->scratch, sampler->samples, sampler->seed,
                   RANDOM_SHUFFLE, pass);
        for (int64_t i = 0; i < sampler->samples; i++)
            sampler->order[i] = sampler->items[i].index;
        sampler->pass = pass;
        sampler->drawn = true;
    }
    return sampler->order;
}

const int64_t *sampler_batch(struct sampler *sampler, uint64_t b)
{
    return sampler_order(sampler, b / (uint64_t)sampler->batches) + first_sample(sampler, b);
}
