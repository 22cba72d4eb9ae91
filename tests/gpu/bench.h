/* What gpu_bench is made of. */
#ifndef TESTS_GPU_BENCH_H
#define TESTS_GPU_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/job.h"
#include "model/model.h"

/* What is measured, as words of a line: "model=resnet18 method=sgd precision=bf16 batch=256". */
struct bench_words {
    char model[32], method[32], precision[32];
    int64_t batch, side, classes;
    int64_t updates;             /* an epoch: of that many whole batches */
    int64_t augment;             /* whether images are varied as a job's are by default */
    int64_t width, depth, widen; /* 0: the model's own */
    int64_t patch, heads, mlp;
    double tflops, gbps; /* what the device does at most, for the roof; 0: not known */
};

/* Zeros become defaults. */
int bench_words_read(struct bench_words *out, char *line, struct err *err);
/* The job that they ask for, on the GPU; whose dataset images.c has. */
int bench_words_job(const struct bench_words *words, struct engine_job *out, struct err *err);

/* images.c: random images take the place of a dataset's files, whatever the job says of them. The
 * linker puts it before the functions that read them (--wrap). */
void images_are(int64_t samples, int64_t test_samples, int64_t side, int classes);

/* Least work of an update, and the seconds that it takes at the least where each operation either
 * computes or moves memory as fast as the device can: operations one after the other, with what is
 * made element by element done on the way. */
struct roof {
    double gflop, gbyte, seconds; /* seconds 0: the device's rates are not known */
};
int roof_of(const struct bench_words *words, const struct engine_job *job, struct roof *out,
            struct err *err);

#endif
