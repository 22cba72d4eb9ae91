/* The inside of a run, shared by the files of this folder.
 *
 * Everything that a run needs is allocated when it is opened; an update, an evaluation and a
 * checkpoint allocate nothing. What decides the bits of the rest of a run is: `update`,
 * `progress`, and the vectors weights, momentum, fisher and states. A checkpoint holds just that.
 */
#ifndef ENGINE_RUN_STATE_H
#define ENGINE_RUN_STATE_H

#include "backend/backend.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/sampler.h"
#include "engine/run.h"
#include "method/recipe.h"
#include "method/schedule.h"
#include "model/model.h"

/* A graph compiled for each size that a pass over the data meets. */
struct program_set {
    int64_t batch; /* samples in a full batch */
    struct program *full;
    struct program *tail; /* NULL where all batches are full */
};

/* Host memory for one batch. */
struct run_batch {
    int64_t n;
    void *images;    /* [n,C,H,W] of the backend's real type */
    int32_t *labels; /* [n] */
};

/* Sums over the part of the running epoch that is done, from the term whose loss is reported.
 * Doubles, so that they travel in a checkpoint as one tensor. All 0 once the epoch was reported. */
struct run_progress {
    double loss;    /* batch mean · samples of the batch */
    double right;   /* samples classified right */
    double samples; /* seen */
};

/* Host memory for a checkpoint, laid out like the vectors it mirrors. */
struct snapshot {
    struct checkpoint checkpoint;
    void **at; /* where each tensor of `checkpoint` lies below */
    unsigned char *weights, *momentum, *fisher, *states;
    int64_t batches_tracked; /* how often batch norm's statistics were moved */
    struct run_progress progress;
};

struct engine_run {
    struct engine_job job;
    struct engine_sink sink;
    int threads;
    struct recipe recipe;
    struct schedule_span span;
    uint64_t total; /* updates of the whole run */

    struct dataset *dataset;
    struct sampler *sampler; /* asked for sizes only: its batches are the loader's */
    struct loader *loader;
    struct graph *graph; /* of training: names, shapes and starts of what is trained */
    struct layout *params, *states_layout;

    const struct backend_class *class;
    struct backend *backend;
    struct vector *weights, *momentum, *fisher, *states; /* fisher: NULL for most methods */
    struct vector *gradient[RECIPE_TERMS_MAX];           /* one a term */
    struct program_set training[RECIPE_TERMS_MAX];       /* one a term of the widest wave */
    struct program_set evaluation;

    struct run_batch batch[RECIPE_TERMS_MAX]; /* one a batch of an update; [0] also evaluates */
    double result[RECIPE_TERMS_MAX][MODEL_OUTPUTS]; /* raw room for outputs of either type */
    struct snapshot snapshot;

    uint64_t update; /* done */
    struct run_progress progress;
    double checkpoint_seconds; /* clock at the last checkpoint */
};

/* A number that a program has written into raw room. */
static inline double run_real(const struct engine_run *run, const void *raw)
{
    return run->class->real == REAL_F32 ? (double)*(const float *)raw : *(const double *)raw;
}

static inline struct program *program_of(const struct program_set *set, int64_t n)
{
    return n == set->batch ? set->full : set->tail;
}

/* programs.c */
int run_programs_open(struct engine_run *run, struct err *err);
void run_programs_close(struct engine_run *run);

/* initial.c: weights and states as their graph says, from the job's seed:
 * INIT_UNIFORM: element e of parameter i is random_symmetric(word e mod 4 of block ⌊e/4⌋ of
 * RANDOM_INIT, tensor i)·bound in double, rounded to float whatever the backend's type, so that
 * all precisions start from the same numbers. INIT_NORMAL: the same with random_normal4_f64's
 * number e mod 4 of that block, times deviation. Momentum and Fisher start at 0. */
int run_initialise(struct engine_run *run, struct err *err);

/* snapshot.c */
int snapshot_open(struct engine_run *run, struct err *err);
void snapshot_close(struct engine_run *run);
int snapshot_load(struct engine_run *run, struct err *err); /* room → vectors */
int run_write_checkpoint(struct engine_run *run, bool final, struct err *err);

/* update.c: gather, pass, step, tell. A loss that is not finite: ERR_DIVERGED. */
int run_update(struct engine_run *run, struct err *err);
/* Loads batch b of a split into *batch. Tells the sink of files that cannot be used. */
int run_load(struct engine_run *run, enum split split, uint64_t b, struct run_batch *batch,
             struct err *err);

/* evaluate.c: fills the test members of *epoch from the whole test set. *interrupted is set, and
 * nothing filled, when `request` asked for an end on the way. */
int run_evaluate(struct engine_run *run, const atomic_int *request, struct engine_epoch *epoch,
                 bool *interrupted, struct err *err);

#endif
