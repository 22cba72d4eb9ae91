/* A dataset of random bytes. Only what training reads of it is there. */
#include <stdlib.h>

#include "bench.h"
#include "data/dataset.h"
#include "data/formats.h"
#include "random/philox.h"

enum { CHANNELS = 3 };

static struct {
    int64_t samples, test_samples, side;
    int classes;
} images;

void images_are(int64_t samples, int64_t test_samples, int64_t side, int classes)
{
    images.samples = samples;
    images.test_samples = test_samples;
    images.side = side;
    images.classes = classes;
}

static struct dataset_info describe(void)
{
    return (struct dataset_info){.classes = images.classes,
                                 .channels = CHANNELS,
                                 .height = (int)images.side,
                                 .width = (int)images.side,
                                 .n = {images.samples, images.test_samples}};
}

static int fill(struct dataset *dataset, int split, int64_t n, struct err *err)
{
    size_t bytes = (size_t)(n * CHANNELS * images.side * images.side);
    uint8_t *pixels = malloc(bytes + 16);
    int32_t *labels = malloc((size_t)n * sizeof *labels);

    dataset->own_pixels[split] = pixels;
    dataset->own_labels[split] = labels;
    if (!pixels || !labels)
        return err_no_memory(err);
    for (size_t i = 0; i < bytes; i += 16) {
        struct philox draw = philox(7, (uint32_t)(i / 16), (uint32_t)split, 0);

        for (int b = 0; b < 16; b++)
            pixels[i + (size_t)b] = (uint8_t)(draw.word[b / 4] >> 8 * (b % 4));
    }
    for (int64_t i = 0; i < n; i++)
        labels[i] = (int32_t)(philox(8, (uint32_t)i, (uint32_t)split, 0).word[0] %
                              (uint32_t)images.classes);
    dataset->split[split] = (struct samples){.n = n, .pixels = pixels, .labels = labels};
    return 0;
}

int __wrap_dataset_describe(struct dataset_info *out, const struct job_dataset *job,
                            struct err *err);
int __wrap_dataset_open(struct dataset **out, const struct job_dataset *job, uint64_t seed,
                        struct err *err);

int __wrap_dataset_describe(struct dataset_info *out, const struct job_dataset *job,
                            struct err *err)
{
    (void)job;
    (void)err;
    *out = describe();
    return 0;
}

int __wrap_dataset_open(struct dataset **out, const struct job_dataset *job, uint64_t seed,
                        struct err *err)
{
    static const double mean[] = {0.5, 0.5, 0.5}, deviation[] = {0.29, 0.29, 0.29};
    struct dataset_info info = describe();
    struct dataset *dataset;
    int rc = dataset_outline(&dataset, job, &info, err);

    if (rc)
        return rc;
    dataset->seed = seed;
    format_normalise(dataset, mean, deviation);
    rc = fill(dataset, SPLIT_TRAIN, info.n[SPLIT_TRAIN], err);
    if (!rc)
        rc = fill(dataset, SPLIT_TEST, info.n[SPLIT_TEST], err);
    if (rc)
        dataset_close(dataset);
    else
        *out = dataset;
    return rc;
}
