/* A run of updates for a stopwatch: a model with random images, the recipe of a method, a backend.
 * What engine/run does around an update (reading data, telling the sink) is left out. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include "backend/backend.h"
#include "method/recipe.h"
#include "model/model.h"

struct bench_options {
    struct engine_job job; /* model, method, optimizer, batch size */
    struct model_input input;
    const struct backend_class *class;
    int threads;
    bool exact;
    int updates; /* that are timed, a round */
    int warm;    /* that come first, once */
    bool rounds; /* one round for each line read from standard input, until its end */
    bool profile;
};

/* From the command line; 0, or an error that says what is wrong with it. */
int bench_options_read(struct bench_options *out, int argc, char **argv, struct err *err);
extern const char bench_usage[];

/* fill.c: tensors as models start, and random images with labels, which the caller frees even
 * after an error. */
int bench_fill_vector(const struct backend_class *class, struct vector *to,
                      const struct graph_tensor *tensors, const struct layout *layout,
                      struct err *err);
int bench_fill_batch(void **images, int32_t **labels, const struct bench_options *options,
                     int batch, struct err *err);

struct bench;

int bench_open(struct bench **out, const struct bench_options *options, struct err *err);
void bench_close(struct bench *bench);
int bench_update(struct bench *bench, struct err *err);
/* The programs of an update's passes; false past the last one. */
bool bench_program(const struct bench *bench, int i, struct program **out);
/* Billions of operations of an update's convolutions and products, a multiply-add two, as the plain
 * algorithms do them. */
double bench_gflop(const struct bench *bench);
/* The last update's loss: it must go down, or what was timed is no training. */
double bench_loss(const struct bench *bench);

#endif
