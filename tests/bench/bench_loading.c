/* Loads a folder of images, once for each line on standard input; seconds and images on standard
 * output. Each time with a new loader, so that nothing is loaded ahead between two of them.
 *
 *   bench_loading FOLDER SIZE RESIZE BATCH THREADS [train|val] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "data/loader.h"

struct bench {
    struct dataset *dataset;
    struct sampler *sampler;
    struct loader_options options;
    enum split split;
    uint64_t batches, next;
    float *images;
    int32_t *labels;
};

static int open_bench(struct bench *bench, char **argv, struct err *err)
{
    struct job_dataset job = {
        .kind = DATASET_IMAGE_FOLDER,
        .size = atoi(argv[2]),
        .resize = atoi(argv[3]),
        .augment = {.crop = CROP_RANDOM_RESIZED, .crop_area_min = 0.08, .flip = true}};
    int batch = atoi(argv[4]), rc;

    snprintf(job.path, sizeof job.path, "%s", argv[1]);
    rc = dataset_open(&bench->dataset, &job, 1, err);
    if (rc)
        return rc;
    bench->options = (struct loader_options){.dataset = bench->dataset,
                                             .batch_size = batch,
                                             .test_batch_size = batch,
                                             .batches_an_update = 1,
                                             .threads = atoi(argv[5])};
    bench->batches = (uint64_t)((bench->dataset->split[bench->split].n + batch - 1) / batch);
    bench->images =
        calloc((size_t)batch * (size_t)dataset_image_bytes(bench->dataset), sizeof *bench->images);
    bench->labels = calloc((size_t)batch, sizeof *bench->labels);
    if (!bench->images || !bench->labels)
        return err_no_memory(err);
    return sampler_open(&bench->sampler, 1, bench->dataset->split[SPLIT_TRAIN].n, batch, err);
}

static int64_t load_all(struct bench *bench, struct err *err)
{
    struct loader *loader;
    int64_t samples = 0, n = 0;
    int rc;

    bench->options.sampler = bench->sampler;
    rc = loader_open(&loader, &bench->options, err);
    if (rc)
        return rc;
    for (uint64_t b = 0; b < bench->batches && n >= 0; b++) {
        n = loader_take_f32(loader, bench->split, bench->next++, bench->images, bench->labels, err);
        samples += n;
    }
    loader_close(loader);
    return n < 0 ? n : samples;
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    struct err err = {0};
    char line[64];
    int64_t n = 0;

    if (argc < 6) {
        fprintf(stderr, "usage: bench_loading FOLDER SIZE RESIZE BATCH THREADS [train|val]\n");
        return 2;
    }
    bench.split = argc > 6 && !strcmp(argv[6], "val") ? SPLIT_TEST : SPLIT_TRAIN;
    if (!open_bench(&bench, argv, &err))
        while (n >= 0 && fgets(line, sizeof line, stdin)) {
            double start = clock_seconds();

            n = load_all(&bench, &err);
            printf("%.6f %lld\n", clock_seconds() - start, (long long)n);
            fflush(stdout);
        }
    sampler_close(bench.sampler);
    dataset_close(bench.dataset);
    free(bench.images);
    free(bench.labels);
    if (err.code)
        fprintf(stderr, "%s\n", err.message);
    return err.code ? 1 : 0;
}
