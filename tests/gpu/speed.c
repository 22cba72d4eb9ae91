/* Images a second of whole updates, whose batches come from host memory. Medians of 50 updates
 * after 10. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bench.h"
#include "harness.h"

enum { WARM = 10, UPDATES = 50 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int median_update(const struct bench_options *options, double *out, struct err *err)
{
    double seconds[UPDATES];
    struct bench *bench;
    int rc = bench_open(&bench, options, err);

    if (rc)
        return rc;
    for (int i = -WARM; i < UPDATES && !rc; i++) {
        double start = clock_seconds();

        rc = bench_update(bench, err);
        if (i >= 0)
            seconds[i] = clock_seconds() - start;
    }
    bench_close(bench);
    if (!rc) {
        qsort(seconds, UPDATES, sizeof *seconds, compare);
        *out = seconds[UPDATES / 2];
    }
    return rc;
}

void measure_speed(void)
{
    static const struct {
        const char *name;
        int kind, side, classes;
    } models[] = {{"resnet18", MODEL_RESNET18, 32, 10},
                  {"vgg16_bn", MODEL_VGG16_BN, 32, 10},
                  {"wrn28_10", MODEL_WRN28_10, 32, 10},
                  {"vit", MODEL_VIT, 32, 10},
                  {"resnet50", MODEL_RESNET50, 224, 1000}};
    static const struct {
        const char *name;
        int kind;
    } methods[] = {{"sgd", METHOD_SGD},
                   {"sam", METHOD_SAM},
                   {"m-rwp", METHOD_M_RWP},
                   {"m-arwp", METHOD_M_ARWP}};

    for (size_t m = 0; m < ARRAY_LENGTH(models); m++)
        for (size_t k = 0; k < ARRAY_LENGTH(methods); k++)
            for (int compute = COMPUTE_TF32; compute <= COMPUTE_BF16; compute++) {
                struct bench_options o = {.class = gpu_backend((enum compute)compute),
                                          .threads = 1};
                struct err err = {0};
                char json[300];
                double seconds;

                engine_job_defaults(&o.job, models[m].kind, DATASET_CIFAR10, methods[k].kind);
                o.input =
                    (struct model_input){256, 3, models[m].side, models[m].side, models[m].classes};
                if (median_update(&o, &seconds, &err))
                    snprintf(json, sizeof json,
                             "\"model\": \"%s\", \"method\": \"%s\", \"precision\": \"%s\", "
                             "\"failed\": %d",
                             models[m].name, methods[k].name, compute_name((enum compute)compute),
                             err.code);
                else
                    snprintf(json, sizeof json,
                             "\"model\": \"%s\", \"method\": \"%s\", \"precision\": \"%s\", "
                             "\"batch\": 256, \"ms\": %.3f, \"images_per_second\": %.0f",
                             models[m].name, methods[k].name, compute_name((enum compute)compute),
                             seconds * 1e3, 256 / seconds);
                harness_measured(json);
            }
}
