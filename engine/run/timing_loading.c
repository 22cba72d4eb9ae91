/* How long loading takes a sample, by one thread. */
#include <stdlib.h>

#include "base/clock.h"
#include "data/sample.h"
#include "run/timing.h"

enum { SAMPLES = 256, LOADED_AT_ONCE = 16 };
#define LOADING_SPEND 0.05

/* A few samples, made up unless they are files. */
static int open_samples(struct dataset **out, const struct engine_job *job,
                        const struct dataset_info *info, struct err *err)
{
    struct job_dataset few = job->dataset;
    struct dataset_info less = *info;
    struct dataset *dataset;
    int rc;

    few.label_noise = 0;
    if (job->dataset.kind == DATASET_IMAGE_FOLDER)
        return dataset_open(out, &few, (uint64_t)job->seed, err);
    few.train_limit = 0;
    less.n[SPLIT_TRAIN] = less.n[SPLIT_TEST] = SAMPLES;
    rc = dataset_outline(&dataset, &few, &less, err);
    for (int s = 0; s < SPLITS && !rc; s++) {
        dataset->own_pixels[s] = calloc(SAMPLES, (size_t)dataset_image_bytes(dataset));
        dataset->own_labels[s] = calloc(SAMPLES, sizeof(int32_t));
        dataset->split[s].pixels = dataset->own_pixels[s];
        dataset->split[s].labels = dataset->own_labels[s];
        if (!dataset->own_pixels[s] || !dataset->own_labels[s])
            rc = err_no_memory(err);
    }
    if (rc)
        dataset_close(dataset);
    else
        *out = dataset;
    return rc;
}

static int64_t take(struct loader *loader, enum real_type real, enum split split, uint64_t b,
                    void *images, struct err *err)
{
    int32_t labels[LOADED_AT_ONCE];

    return real == REAL_F32 ? loader_take_f32(loader, split, b, images, labels, err)
                            : loader_take_f64(loader, split, b, images, labels, err);
}

/* Seconds a sample, of one thread. */
static int time_split(struct loader *loader, enum real_type real, enum split split, void *images,
                      double *out, struct err *err)
{
    int64_t n = take(loader, real, split, 0, images, err), samples = 0;
    double start = clock_seconds(), now = start;

    for (uint64_t b = 1; n >= 0 && (samples == 0 || now - start < LOADING_SPEND); b++) {
        n = take(loader, real, split, b, images, err);
        samples += n;
        now = clock_seconds();
    }
    *out = (now - start) / (double)(samples > 0 ? samples : 1);
    return n < 0 ? (int)n : 0;
}

static int time_loader(const struct dataset *dataset, enum real_type real, double seconds[SPLITS],
                       struct err *err)
{
    struct loader_options options = {.dataset = dataset,
                                     .batch_size = LOADED_AT_ONCE,
                                     .test_batch_size = LOADED_AT_ONCE,
                                     .batches_an_update = 1,
                                     .threads = 1};
    struct sampler *sampler = NULL;
    struct loader *loader = NULL;
    void *images = calloc(LOADED_AT_ONCE, (size_t)dataset_image_bytes(dataset) * real_bytes(real));
    int rc = images ? sampler_open(&sampler, 1, dataset->split[SPLIT_TRAIN].n, LOADED_AT_ONCE, err)
                    : err_no_memory(err);

    options.sampler = sampler;
    if (!rc)
        rc = loader_open(&loader, &options, err);
    for (int s = 0; s < SPLITS && !rc; s++)
        rc = time_split(loader, real, (enum split)s, images, &seconds[s], err);
    loader_close(loader);
    sampler_close(sampler);
    free(images);
    return rc;
}

/* Where making samples takes long, all threads share it with computing. What the device makes takes
 * next to nothing. */
int timing_add_loading(const struct engine_run *run, struct engine_estimate *out, struct err *err)
{
    struct dataset *dataset;
    double seconds[SPLITS], share;
    int rc = open_samples(&dataset, &run->job, &run->info, err);

    if (rc)
        return rc;
    share = sample_is_costly(dataset) ? 1.0 / run->threads : 1;
    rc = time_loader(dataset, run->class->real, seconds, err);
    dataset_close(dataset);
    if (rc)
        return rc;
    for (int s = 0; s < SPLITS; s++)
        seconds[s] *= run->data[s] ? 0 : 1;
    out->seconds_per_update += share * seconds[SPLIT_TRAIN] * timing_fullness(run) *
                               (double)(run->job.batch_size * run->recipe.n_batches);
    out->evaluation_seconds += share * seconds[SPLIT_TEST] * (double)run->info.n[SPLIT_TEST];
    return 0;
}
