/* Datasets of grey images in IDX files. The pixels of `digits` stay where they are, in the
 * program. */
#include <math.h>
#include <stdlib.h>

#include "data/formats.h"
#include "data/sources.h"

#define GREY_LEVELS 256

static int describe(struct dataset_info *out, const struct job_dataset *job, struct err *err)
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
    const struct data_file *file = &sources->images[s];
    const struct idx_header *header = &sources->header[s];
    int64_t bytes = header->n * header->height * header->width;
    uint8_t *pixels;

    dataset->split[s].n = header->n;
    dataset->split[s].labels = dataset->own_labels[s] = sources->label[s];
    sources->label[s] = NULL;
    if (file->memory) {
        dataset->split[s].pixels = file->memory + header->data_offset;
        return 0;
    }
    pixels = malloc((size_t)bytes);
    if (!pixels)
        return err_no_memory(err);
    dataset->split[s].pixels = dataset->own_pixels[s] = pixels;
    return data_file_read(file, header->data_offset, bytes, pixels, err);
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
    dataset->mean[0] = (double)sum / ((double)n * 255);
    for (int level = 0; level < GREY_LEVELS; level++) {
        double difference = level / 255.0 - dataset->mean[0];

        squares += (double)count[level] * difference * difference;
    }
    dataset->deviation[0] = sqrt(squares / (double)n);
    if (dataset->deviation[0] == 0)
        return err_set(err, ERR_CORRUPT, "%.380s: all pixels are the same", name);
    return 0;
}

static int normalisation(struct dataset *dataset, const struct job_dataset *job,
                         const struct sources *sources, struct err *err)
{
    if (job->kind == DATASET_DIGITS) {
        /* Of all 1,797 samples, not the training set's alone; results depend on these numbers. */
        dataset->scale = 1.0 / 16;
        dataset->mean[0] = 0.3053;
        dataset->deviation[0] = 0.3760;
        return 0;
    }
    dataset->scale = 1.0 / 255;
    return measure_pixels(dataset, sources->images[SPLIT_TRAIN].name, err);
}

static int fill(struct dataset *dataset, struct sources *sources, const struct job_dataset *job,
                struct err *err)
{
    int rc = 0;

    dataset->classes = sources->classes;
    dataset->channels = 1;
    dataset->height = (int)sources->header[SPLIT_TRAIN].height;
    dataset->width = (int)sources->header[SPLIT_TRAIN].width;
    for (int s = 0; s < SPLITS && !rc; s++)
        rc = take_split(dataset, sources, s, err);
    return rc ? rc : normalisation(dataset, job, sources, err);
}

static int load(struct dataset *dataset, const struct job_dataset *job, struct err *err)
{
    struct sources sources;
    int rc = sources_open(&sources, job, err);

    if (!rc)
        rc = fill(dataset, &sources, job, err);
    sources_close(&sources);
    return rc;
}

const struct dataset_format format_idx = {.describe = describe, .load = load};
