/* Batches out of a dataset. A pixel has 256 values only, so each is normalised once a call. */
#include "data/dataset.h"

#define GREY_LEVELS 256

static double normalised(const struct dataset *dataset, int level)
{
    return (level * dataset->scale - dataset->mean) / dataset->deviation;
}

static int64_t pixels_per_image(const struct dataset *dataset)
{
    return (int64_t)dataset->channels * dataset->height * dataset->width;
}

void dataset_gather_f32(const struct dataset *dataset, enum split split, const int64_t *index,
                        int64_t n, float *images, int32_t *labels)
{
    const struct samples *samples = &dataset->split[split];
    int64_t size = pixels_per_image(dataset);
    float value[GREY_LEVELS];

    for (int level = 0; level < GREY_LEVELS; level++)
        value[level] = (float)normalised(dataset, level);
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *pixels = samples->pixels + index[i] * size;

        for (int64_t p = 0; p < size; p++)
            images[i * size + p] = value[pixels[p]];
        labels[i] = samples->labels[index[i]];
    }
}

void dataset_gather_f64(const struct dataset *dataset, enum split split, const int64_t *index,
                        int64_t n, double *images, int32_t *labels)
{
    const struct samples *samples = &dataset->split[split];
    int64_t size = pixels_per_image(dataset);
    double value[GREY_LEVELS];

    for (int level = 0; level < GREY_LEVELS; level++)
        value[level] = normalised(dataset, level);
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *pixels = samples->pixels + index[i] * size;

        for (int64_t p = 0; p < size; p++)
            images[i * size + p] = value[pixels[p]];
        labels[i] = samples->labels[index[i]];
    }
}
