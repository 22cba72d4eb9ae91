/* A method is a recipe, as data: the gradient terms of one update. */
#ifndef ENGINE_METHOD_RECIPE_H
#define ENGINE_METHOD_RECIPE_H

#include <stdbool.h>

#include "backend/backend.h"
#include "engine/job.h"

#define RECIPE_TERMS_MAX (JOB_SAMPLES_MAX + 1)

struct recipe_term {
    enum perturbation_kind perturbation; /* noise, and dropout's masks in any term, are drawn for
                                            the term's number in the recipe */
    int batch;                           /* which of the update's batches */
    int part, parts;                     /* which part of it, of how many */
    double weight;                       /* in the mix, of a whole batch; 0: only other terms need
                                            its gradient */
    bool move_statistics;                /* moves batch norm's running statistics */
    bool feeds_fisher;
    bool forward_only; /* its gradient is not wanted */
    int needs; /* earlier term that must be done, whose gradient a direction is; or -1. Terms that
                  both move the statistics are never of one wave */
};

struct recipe {
    int n_terms, n_batches; /* batches read by one update */
    struct recipe_term term[RECIPE_TERMS_MAX];
    int loss_term;      /* whose loss is reported as `loss`: it and the other parts of its batch */
    int perturbed_term; /* whose loss is `perturbed_loss`, likewise, or -1 */
    bool has_fisher;    /* some term feeds it, and the noise is adapted by eta */
};

void recipe_of(struct recipe *out, const struct job_method *method);

/* The samples of a batch of n that a term reads: `recipe_part` of them from *begin on. */
int64_t recipe_part(const struct recipe_term *term, int64_t n, int64_t *begin);

/* Gradients of a whole batch that an update takes. */
int recipe_gradients(const struct recipe *recipe);

/* Terms fall into waves: those of one wave need nothing of each other and may run side by side;
 * a term's wave comes after the one that it needs. Waves count from 0. */
int recipe_wave(const struct recipe *recipe, int term);
int recipe_waves(const struct recipe *recipe);
/* Most terms in one wave. */
int recipe_width(const struct recipe *recipe);

/* sigma of update `u` (from 0) of `total`: sigma·[1 + ramp·(1 − cos(π u/total))/2]. 0 for methods
 * without noise. */
double recipe_sigma(const struct job_method *method, uint64_t u, uint64_t total);

#endif
