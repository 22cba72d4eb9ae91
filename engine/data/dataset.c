/* Opens a dataset: its files, their normalisation, the training split's limit and wrong labels.
 * The pixels of `digits` stay where they are, in the program. */
#include "data/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/label_noise.h"
#include "data/sources.h"
#include "data/subset.h"

#define GREY_LEVELS 256

enum { OWNED_PIXELS = 0, OWNED_LABELS = SPLITS }; /* places in dataset.owned, one a split */

int dataset_describe(struct dataset_info *out, const struct job_dataset *job, struct err *err)
{
    struct sources sources;
    int rc = sources_open(&sources, job, err);

    if (!rc)
        *out = (struct dataset_info){
            .classes = sources.classes,
            .channels = 1,
            .height = (int)sources.header[SPLIT_TRAIN].height,
            .width = (int)sources.header[SPLIT_TRAIN].width,
            .n = {sources.header[SPLIT_TRAIN].n, sources.header[SPLIT_TEST].n}};
    sources_close(&sources);
    return rc;
}

static int take_split(struct dataset *dataset, struct sources *sources, int s, struct err *err)
{
    const struct idx_source *source = &sources->images[s];
    const struct idx_header *header = &sources->header[s];
    int64_t bytes = header->n * header->height * header->width;
    uint8_t *pixels;

    dataset->split[s].n = header->n;
    dataset->split[s].labels = dataset->owned[OWNED_LABELS + s] = sources->label[s];
    sources->label[s] = NULL;
    if (source->memory) {
        dataset->split[s].pixels = source->memory + header->data_offset;
        return 0;
    }
    pixels = malloc((size_t)bytes);
    if (!pixels)
        return err_no_memory(err);
    dataset->split[s].pixels = dataset->owned[OWNED_PIXELS + s] = pixels;
    return idx_source_read(source, header->data_offset, bytes, pixels, err);
}

/* From a histogram, so that the sums are exact whatever the order. */
static int measure_pixels(struct dataset *dataset, const char *name, struct err *err)
{
    const struct samples *train = &dataset->split[SPLIT_TRAIN];
    int64_t n = train->n * dataset->height * dataset->width;
    int64_t count[GREY_LEVELS] = {0}, sum = 0;
    double squares = 0;

    for (int64_t i = 0; i < n; i++)
        count[train->pixels[i]]++;
    for (int level = 0; level < GREY_LEVELS; level++)
        sum += level * count[level];
    dataset->mean = (double)sum / ((double)n * 255);
    for (int level = 0; level < GREY_LEVELS; level++) {
        double difference = level / 255.0 - dataset->mean;

        squares += (double)count[level] * difference * difference;
    }
    dataset->deviation = sqrt(squares / (double)n);
    if (dataset->deviation == 0)
        return err_set(err, ERR_CORRUPT, "%.380s: all pixels are the same", name);
    return 0;
}

static int normalisation(struct dataset *dataset, const struct job_dataset *job,
                         const struct sources *sources, struct err *err)
{
    if (job->kind == DATASET_DIGITS) {
        dataset->scale = 1.0 / 16;
        dataset->mean = 0.3053;
        dataset->deviation = 0.3760;
        return 0;
    }
    dataset->scale = 1.0 / 255;
    return measure_pixels(dataset, sources->images[SPLIT_TRAIN].name, err);
}

/* Copies the chosen samples' pixels; their labels, which are a copy already, move up. */
static int keep_samples(struct dataset *dataset, const int64_t *chosen, int64_t n, struct err *err)
{
    struct samples *train = &dataset->split[SPLIT_TRAIN];
    size_t image = (size_t)dataset->channels * (size_t)dataset->height * (size_t)dataset->width;
    uint8_t *pixels = malloc((size_t)n * image);
    uint8_t *labels = dataset->owned[OWNED_LABELS + SPLIT_TRAIN];

    if (!pixels)
        return err_no_memory(err);
    for (int64_t i = 0; i < n; i++) {
        memcpy(pixels + (size_t)i * image, train->pixels + (size_t)chosen[i] * image, image);
        labels[i] = labels[chosen[i]];
    }
    free(dataset->owned[OWNED_PIXELS + SPLIT_TRAIN]);
    train->pixels = dataset->owned[OWNED_PIXELS + SPLIT_TRAIN] = pixels;
    train->n = n;
    return 0;
}

static int limit_training(struct dataset *dataset, int64_t limit, uint64_t seed, struct err *err)
{
    int64_t *chosen;
    int rc = subset_choose(&chosen, dataset->split[SPLIT_TRAIN].n, limit, seed, err);

    if (rc)
        return rc;
    rc = keep_samples(dataset, chosen, limit, err);
    free(chosen);
    return rc;
}

static int restrict_training(struct dataset *dataset, const struct job_dataset *job, uint64_t seed,
                             struct err *err)
{
    struct samples *train = &dataset->split[SPLIT_TRAIN];

    if (job->train_limit > train->n)
        return err_set(err, ERR_INVALID, "train_limit %lld: there are only %lld training samples",
                       (long long)job->train_limit, (long long)train->n);
    if (job->train_limit > 0 && job->train_limit < train->n) {
        int rc = limit_training(dataset, job->train_limit, seed, err);

        if (rc)
            return rc;
    }
    return label_noise_apply(dataset->owned[OWNED_LABELS + SPLIT_TRAIN], train->n, dataset->classes,
                             job->label_noise, seed, err);
}

static int fill(struct dataset *dataset, struct sources *sources, const struct job_dataset *job,
                uint64_t seed, struct err *err)
{
    int rc = 0;

    dataset->classes = sources->classes;
    dataset->channels = 1;
    dataset->height = (int)sources->header[SPLIT_TRAIN].height;
    dataset->width = (int)sources->header[SPLIT_TRAIN].width;
    for (int s = 0; s < SPLITS && !rc; s++)
        rc = take_split(dataset, sources, s, err);
    if (!rc)
        rc = normalisation(dataset, job, sources, err);
    return rc ? rc : restrict_training(dataset, job, seed, err);
}

int dataset_open(struct dataset **out, const struct job_dataset *job, uint64_t seed,
                 struct err *err)
{
    struct dataset *dataset = calloc(1, sizeof *dataset);
    struct sources sources;
    int rc;

    if (!dataset)
        return err_no_memory(err);
    rc = sources_open(&sources, job, err);
    if (!rc)
        rc = fill(dataset, &sources, job, seed, err);
    sources_close(&sources);
    if (rc) {
        dataset_close(dataset);
        return rc;
    }
    *out = dataset;
    return 0;
}

void dataset_close(struct dataset *dataset)
{
    if (!dataset)
        return;
    for (int i = 0; i < 2 * SPLITS; i++)
        free(dataset->owned[i]);
    free(dataset);
}
