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

/* ---- Ranks: an update spread over several devices ----
 *
 * The terms of a wave, one after the other, are a line that is cut into as many equal stretches as
 * there are ranks; a rank computes what lies in its own. So two terms on two ranks are a term each,
 * and one term is cut like a batch in data parallelism. What a rank has of a term is a piece of it;
 * the term's gradient is the mean of its pieces', each weighed by its samples. All pieces of a term
 * have its noise. */
#define RECIPE_RANKS_MAX 8

struct recipe_rank {
    int rank, ranks; /* 0 … ranks − 1, of so many */
};

struct recipe_piece {
    int number;             /* of the piece in its term, from 0 */
    int64_t begin, samples; /* of the batch; the last batch of a pass may leave a rank none */
};

/* A rank's piece of a term, of a batch of n. False: it has none, however large the batch is. */
bool recipe_piece(struct recipe_piece *out, const struct recipe *recipe, int term,
                  struct recipe_rank rank, int64_t n);

/* The first rank that has samples of this term of a batch of n ≥ 1: where the term moves the
 * running statistics, its piece does. */
int recipe_owner(const struct recipe *recipe, int term, int ranks, int64_t n);

/* Most terms in one wave that a rank has a piece of; at least 1. */
int recipe_rank_width(const struct recipe *recipe, struct recipe_rank rank);

/* What the masks of a piece are drawn for (struct pass_draws): no two pieces of an update have the
 * same. The first piece's are the term's. */
uint32_t recipe_draws(int term, int piece);

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
