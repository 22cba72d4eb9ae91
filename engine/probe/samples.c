/* A fixed subset of a split, as bytes in memory: drawn by the seed, in the order of the dataset,
 * not varied. A file that cannot be decoded is replaced by the next one that can, as in training.
 */
#include <stdlib.h>

#include "data/normalise.h"
#include "data/order.h"
#include "data/sample.h"
#include "probe/state.h"

/* Most of the machine's memory that the samples may take. */
#define MEMORY_SHARE 0.25

#define STAND_INS_MAX 1000

static void choose_sizes(const struct engine_probe_run *run, struct probe_set *set)
{
    int64_t all = run->dataset->split[set->split].n, wanted = run->probe.samples;

    set->n = wanted > 0 && wanted < all ? wanted : all;
    set->batch_size = run->probe.batch_size ? run->probe.batch_size : run->job.batch_size;
    if (set->batch_size > set->n)
        set->batch_size = set->n;
    if (set->batch_statistics)
        set->n -= set->n % set->batch_size;
    set->batches = (set->n + set->batch_size - 1) / set->batch_size;
}

static int by_number(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

/* The numbers of the set's samples, ascending; the caller frees *chosen. */
static int choose(const struct engine_probe_run *run, const struct probe_set *set, int64_t **chosen,
                  struct err *err)
{
    int64_t all = run->dataset->split[set->split].n;
    struct order_item *items = calloc((size_t)all, sizeof *items);
    struct order_item *scratch = calloc((size_t)all, sizeof *scratch);
    int64_t *numbers = calloc((size_t)set->n, sizeof *numbers);
    int rc = items && scratch && numbers ? 0 : err_no_memory(err);

    if (!rc) {
        order_draw(items, scratch, all, (uint64_t)run->probe.seed, RANDOM_PROBE,
                   (uint64_t)set->split);
        for (int64_t i = 0; i < set->n; i++)
            numbers[i] = items[i].index;
        qsort(numbers, (size_t)set->n, sizeof *numbers, by_number);
        *chosen = numbers;
        numbers = NULL;
    }
    free(items);
    free(scratch);
    free(numbers);
    return rc;
}

static int make_sample(const struct engine_probe_run *run, struct probe_set *set,
                       struct sample_maker *maker, int64_t place, int64_t number, int64_t *broken,
                       struct err *err)
{
    const struct samples *samples = &run->dataset->split[set->split];
    uint8_t *pixels = set->pixels + place * dataset_image_bytes(run->dataset);
    struct window nothing;
    int64_t tries = 0, sample;
    int rc;

    do {
        sample = (number + tries) % samples->n;
        rc = sample_make(maker, set->split, sample, number, 0, pixels, &nothing, err);
        *broken += rc == ERR_CORRUPT;
    } while (rc == ERR_CORRUPT && ++tries < samples->n && tries < STAND_INS_MAX);
    set->labels[place] = samples->labels[sample];
    return rc;
}

static int make_samples(struct engine_probe_run *run, struct probe_set *set, struct err *err)
{
    struct dataset plain = *run->dataset;
    struct sample_maker *maker = NULL;
    int64_t *chosen = NULL, broken = 0;
    int rc = choose(run, set, &chosen, err);

    plain.job.augment = (struct job_augment){0};
    if (!rc)
        rc = sample_maker_open(&maker, &plain, err);
    for (int64_t i = 0; i < set->n && !rc; i++) {
        rc = probe_continue(run);
        if (!rc)
            rc = make_sample(run, set, maker, i, chosen[i], &broken, err);
    }
    if (!rc && broken > 0)
        probe_message(run, "files that could not be used: %lld; the next ones took their place",
                      (long long)broken);
    sample_maker_close(maker);
    free(chosen);
    set->read = !rc;
    return rc;
}

int probe_set_open(struct engine_probe_run *run, struct probe_set *set, enum split split,
                   bool batch_statistics, struct err *err)
{
    double image = (double)dataset_image_bytes(run->dataset), memory;

    *set =
        (struct probe_set){.split = split,
                           .batch_statistics = batch_statistics,
                           .label_smoothing = split == SPLIT_TRAIN ? run->job.label_smoothing : 0};
    choose_sizes(run, set);
    memory = (double)job_host_memory();
    if ((double)set->n * image > MEMORY_SHARE * memory)
        return err_set(err, ERR_INVALID,
                       "/samples: %lld images take %.1f GiB; there are %.1f GiB of memory",
                       (long long)set->n, (double)set->n * image / 0x1p30, memory / 0x1p30);
    set->pixels = malloc((size_t)set->n * (size_t)image);
    set->labels = calloc((size_t)set->n, sizeof *set->labels);
    set->images = calloc((size_t)set->batch_size * (size_t)image, real_bytes(run->class->real));
    return set->pixels && set->labels && set->images ? 0 : err_no_memory(err);
}

static void close_programs(struct engine_probe_run *run, struct size_programs *programs)
{
    for (int i = 0; i < programs->n; i++)
        run->class->program_close(programs->program[i]);
    programs->n = 0;
}

void probe_set_close(struct engine_probe_run *run, struct probe_set *set)
{
    close_programs(run, &set->forward);
    close_programs(run, &set->slope);
    free(set->pixels);
    free(set->labels);
    free(set->images);
    *set = (struct probe_set){0};
}

struct model_input probe_set_input(const struct engine_probe_run *run, const struct probe_set *set,
                                   int64_t batch)
{
    const struct dataset *dataset = run->dataset;

    return (struct model_input){.batch = probe_set_size(set, batch),
                                .channels = dataset->channels,
                                .height = dataset->height,
                                .width = dataset->width,
                                .classes = dataset->classes,
                                .label_smoothing = set->label_smoothing};
}

int64_t probe_set_size(const struct probe_set *set, int64_t batch)
{
    int64_t left = set->n - batch * set->batch_size;

    return left < set->batch_size ? left : set->batch_size;
}

static void load(const struct engine_probe_run *run, struct probe_set *set, int64_t batch,
                 const void *inputs[MODEL_INPUTS])
{
    size_t image = (size_t)dataset_image_bytes(run->dataset);
    int64_t n = probe_set_size(set, batch), first = batch * set->batch_size;
    struct normaliser normaliser;
    struct window nothing = {0};

    normaliser_make(&normaliser, run->dataset);
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *pixels = set->pixels + (size_t)(first + i) * image;
        size_t at = (size_t)i * image;

        if (run->class->real == REAL_F32)
            normalise_f32(&normaliser, pixels, &nothing, (float *)set->images + at);
        else
            normalise_f64(&normaliser, pixels, &nothing, (double *)set->images + at);
    }
    inputs[MODEL_INPUT_IMAGES] = set->images;
    inputs[MODEL_INPUT_LABELS] = set->labels + first;
}

int probe_set_load(struct engine_probe_run *run, struct probe_set *set, int64_t batch,
                   const void *inputs[MODEL_INPUTS], struct err *err)
{
    int rc = set->read ? 0 : make_samples(run, set, err);

    if (!rc)
        load(run, set, batch, inputs);
    return rc;
}
