/* What several engine tests share. All of it fails the running cmocka test instead of returning
 * an error. Numbers are double on this side, whatever the backend computes in; random ones are
 * rounded to float, so that each backend is given the same. */
#ifndef TESTS_ENGINE_SUPPORT_H
#define TESTS_ENGINE_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../assert_err.h"
#include "backend/backend.h"

/* Uniform in (low, high), the same on every machine. */
void fill_uniform(uint64_t seed, double low, double high, double *out, size_t n);

/* max |got − want| / max |want|; infinite if either has a NaN or the largest |want| is 0 and got's
 * is not. */
double relative_error(const double *got, const double *want, size_t n);

/* relative_error ≤ tolerance; else says what, where and by how much. */
void assert_close(const char *what, const double *got, const double *want, size_t n,
                  double tolerance);

struct support_options {
    int threads; /* 0: 1 */
    bool exact, keep_primal;
};

/* A graph on a backend of its own, with host memory for all that a pass takes and gives. Fill
 * it, run it, look at the results; as often as wanted. */
struct trial {
    const struct graph *graph; /* the caller's; outlives the trial */
    struct layout *params, *states;
    const struct backend_class *class;
    struct backend *backend;
    struct program *program;
    struct vector *device_weights, *device_states, *device_gradient;
    struct vector *device_direction, *device_product;

    /* Given to each pass */
    double **input;                 /* one a graph input; NULL for labels */
    int32_t **labels;               /* one a graph input; NULL for reals */
    double *weights, *state;        /* flat, in the layouts; `state` is also read back */
    double *direction;              /* likewise; for graphs with tangents */
    bool primal_kept, no_direction; /* this pass: with what the last one left; without tangents */
    struct perturbation perturbation;
    bool move_statistics; /* with momentum 0.1 */
    struct pass_draws draws;

    /* Results */
    double **output;  /* one a graph output */
    double *gradient; /* flat, in params' layout */
    double *product;  /* likewise; for graphs with tangents */
};

/* `options` may be NULL. The graph must be without a mistake. */
struct trial *trial_open(const struct graph *graph, const struct backend_class *class,
                         const struct support_options *options);
void trial_close(struct trial *trial);

/* Random inputs, labels, weights and directions; running variances in (0.5, 1.5). The same seed
 * gives the same on each backend. */
void trial_fill(struct trial *trial, uint64_t seed);

/* One pass. The gradient and the product are read back where the graph has them. */
void trial_run(struct trial *trial);
/* The same; what `execute` returns, instead of failing the test. */
int trial_try(struct trial *trial, struct err *err);

size_t trial_output_size(const struct trial *trial, int output);

/* Weights of a vector on the device, and back, converted. n is the vector's size. */
void device_write(const struct backend_class *class, struct vector *vector, const double *from,
                  size_t n);
void device_read(const struct backend_class *class, const struct vector *vector, double *to,
                 size_t n);

#endif
