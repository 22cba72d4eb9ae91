/* Vectors of a probe in host memory: laid out as the weights (graph/layout.h), gaps zero. Those
 * that are kept are float, those that are summed up double; sums run in one order, so that the
 * same calls give the same bits. */
#ifndef ENGINE_PROBE_VECTORS_H
#define ENGINE_PROBE_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include "graph/layout.h"

double vectors_dot(const float *a, const double *b, size_t n);
double vectors_dot_f32(const float *a, const float *b, size_t n);
double vectors_norm(const double *a, size_t n);
double vectors_norm_f32(const float *a, size_t n);
void vectors_add(double *to, double factor, const float *x, size_t n); /* to += factor·x */
void vectors_scale(float *to, double factor, const double *x, size_t n);

/* What is drawn: the term of RANDOM_PROBE. Of each there are many, by number: the step. */
enum probe_draw {
    DRAW_SAMPLES,   /* tensor 0; number: the split */
    DRAW_START,     /* of Lanczos runs */
    DRAW_TRACE,     /* random vectors of the trace */
    DRAW_SKETCH,    /* those that span hutch++'s subspace */
    DRAW_DIRECTION, /* of a landscape's axis */
    DRAW_PLAIN,     /* perturbations that know nothing of the weights */
};

/* Noise by PERTURB_NOISE has this term, which no term of a recipe has; update: number of the draw.
 */
#define PROBE_NOISE_TERM 255

enum probe_distribution {
    DRAW_RADEMACHER, /* ±1: element e is − where the highest bit of word e mod 4 of block ⌊e/4⌋ is
                        set */
    DRAW_NORMAL      /* random_normal4_f64's number e mod 4 of that block */
};

/* Fills all tensors of a layout, or only tensor `only` where that is not -1; the rest is 0. */
struct probe_drawing {
    uint64_t seed;
    enum probe_draw what;
    uint64_t number;
    enum probe_distribution distribution;
    int only;
};
void vectors_draw(const struct layout *layout, const struct probe_drawing *drawing, float *out);

#endif
