/* Weights of all shapes that matter to the kernels which change them, on the reference backend and
 * as those kernels want them: filters in every order, padded, short and long. */
#ifndef TESTS_ENGINE_CUDA_WEIGHT_BANK_H
#define TESTS_ENGINE_CUDA_WEIGHT_BANK_H

#include "backend/cuda/kernels/update.h"
#include "kernel_arrays.h"
#include "support.h"

#define BANK_TERMS 3

struct bank {
    struct graph *graph;
    struct layout *layout;
    struct weight_tensor *tensor;
    struct weight_row *row;
    struct weight_table table;
    size_t cast_bytes, gradient_bytes;

    /* the reference backend's, and what they began with as floats */
    struct backend *backend;
    struct vector *weights, *m, *v, *fisher, *gradient[BANK_TERMS];
    float *w32, *m32, *v32, *fisher32;
    void *packed[BANK_TERMS]; /* gradients in their forms */
};

/* Casts and gradients of tensors with more than one dimension are of `type`; with `plain`, all are
 * floats in the layout's order. */
struct bank *bank_open(enum element type, bool plain);
void bank_close(struct bank *bank);

/* The layout's order of a cast, whose padding must be zero. `out` is as long as the layout. */
void bank_read_cast(const struct bank *bank, const void *cast, double *out);

/* Each tensor of got, in the layout's order, against the reference backend's vector. */
void bank_compare(const struct bank *bank, const char *what, const double *got,
                  const struct vector *want, double tolerance);
void bank_compare_floats(const struct bank *bank, const char *what, const float *got,
                         const struct vector *want, double tolerance);

#endif
