/* The inside of a run, shared by the files of this folder.
 *
 * Everything that a run needs is allocated when it is opened; an update, an evaluation and a
 * checkpoint allocate nothing. What decides the bits of the rest of a run is: `update`,
 * `progress`, and the vectors weights, momentum, squares, fisher and states. A checkpoint holds
 * just that, and what the dataset is known by.
 *
 * A device may still be busy with updates that were begun (`pending`). Who reads `progress` or what
 * a sink was told, or ends the run, settles them first.
 */
#ifndef ENGINE_RUN_STATE_H
#define ENGINE_RUN_STATE_H

#include "backend/backend.h"
#include "data/dataset.h"
#include "data/digest.h"
#include "data/loader.h"
#include "data/sampler.h"
#include "engine/run.h"
#include "job/resolve.h"
#include "method/recipe.h"
#include "method/schedule.h"
#include "model/model.h"

/* A full batch and the last one of a pass over the data, whole and in parts of two sizes. */
#define PROGRAM_SIZES_MAX 6

/* A graph compiled for each number of samples that passes meet. */
struct program_set {
    int n;
    int64_t samples[PROGRAM_SIZES_MAX];
    struct program *program[PROGRAM_SIZES_MAX];
};

#define RUN_ROOMS 2

/* One batch of an update or, the first of them, of an evaluation. */
struct run_batch {
    int64_t n;
    struct data_batch there; /* in the device's memory; data NULL: it is in host memory, */
    void *images;            /* [n,C,H,W] of the backend's real type */
    int32_t *labels;         /* [n] */
    void *room[RUN_ROOMS];   /* host memory for both, of which they are */
    int in;                  /* this one */
};

/* Sums over the part of the running epoch that is done, from the term whose loss is reported.
 * Doubles, so that they travel in a checkpoint as one tensor. All 0 once the epoch was reported. */
struct run_progress {
    double loss;    /* batch mean · samples of the batch */
    double right;   /* samples classified right */
    double samples; /* seen */
};

/* Updates that were begun and not yet told of, at most: as many as a device may be behind. */
#define RUN_PENDING_MAX 8

/* An update that was begun. */
struct run_report {
    struct engine_update update;       /* but for losses and seconds */
    double begun;                      /* clock */
    bool measured;                     /* telemetry goes with it */
    int64_t samples[RECIPE_TERMS_MAX]; /* of each of its batches */
    /* Raw room for outputs of either type. */
    double result[RECIPE_RANKS_MAX][RECIPE_TERMS_MAX][MODEL_OUTPUTS];
};

/* A ring of them, the oldest first. */
struct run_pending {
    struct run_report report[RUN_PENDING_MAX];
    int first, n;
    double told;    /* clock, when the last one was done */
    double seconds; /* that it took; 0: there was none */
    int left;       /* unfinished updates of this rank's backend, as it said last */
};

/* Host memory for a checkpoint, laid out like the vectors it mirrors. */
struct snapshot {
    struct checkpoint checkpoint;
    void **at; /* where each tensor of `checkpoint` lies below */
    unsigned char *weights, *momentum, *squares, *fisher, *states;
    int64_t batches_tracked; /* how often batch norm's statistics were moved */
    struct run_progress progress;
    struct dataset_digest dataset;
};

/* What a run is opened for. */
enum run_purpose {
    RUN_TRAIN,
    RUN_COUNT, /* its memory is counted and not taken; no data */
    RUN_TRIAL /* updates are timed; weights and images are made up, so that it has no data either */
};

struct engine_run {
    enum run_purpose purpose;
    struct dataset_info info; /* of the job's dataset */
    struct engine_job job;
    struct engine_sink sink;
    int threads;
    struct recipe recipe;
    struct schedule_span span;
    uint64_t total; /* updates of the whole run */

    struct dataset *dataset;
    /* NULL, both, without data. Where a loader takes its batches from the sampler, the run asks
     * the sampler for sizes only. */
    struct sampler *sampler;
    struct loader *loader; /* NULL, too, where all data is the device's */
    struct graph *graph;   /* of training: names, shapes and starts of what is trained */
    struct layout *params, *states_layout;

    struct job_place place;
    const struct backend_class *class; /* place's */
    struct backend *backend;
    struct vector *weights, *momentum, *states;
    struct vector *squares;                        /* NULL but for Adam's kin */
    struct vector *fisher;                         /* NULL for most methods */
    struct vector *gradient[RECIPE_TERMS_MAX];     /* one a term that has one */
    struct program_set training[RECIPE_TERMS_MAX]; /* one a term of the widest wave */
    struct program_set evaluation;

    struct recipe_rank rank;           /* this one's; the first is the run itself */
    struct run_ranks *ranks;           /* NULL where there is but one */
    struct communicator *communicator; /* likewise, and where memory is only counted */

    struct device_data *data[SPLITS]; /* NULL: the split's batches are loaded */
    uint64_t order_given[2]; /* to the device, of an even and an odd pass: its number + 1 */
    struct run_batch batch[RECIPE_TERMS_MAX]; /* one a batch of an update; [0] also evaluates */
    int64_t evaluation_batch;                 /* samples of a full one */
    size_t image_bytes;                       /* of one in a batch */
    struct run_pending pending;
    struct snapshot snapshot;

    struct vector *perturbed; /* for telemetry; NULL where there is none */
    double *fisher_scales;    /* one a filter, and raw room; NULL likewise */
    struct telemetry telemetry;

    uint64_t update; /* begun; done but for `pending` */
    struct run_progress progress;
    double checkpoint_seconds; /* clock at the last checkpoint */
};

/* A number that a program has written into raw room. */
static inline double run_real(const struct engine_run *run, const void *raw)
{
    return run->class->real == REAL_F32 ? (double)*(const float *)raw : *(const double *)raw;
}

/* NULL: there is none of this size. */
static inline struct program *program_of(const struct program_set *set, int64_t n)
{
    for (int i = 0; i < set->n; i++)
        if (set->samples[i] == n)
            return set->program[i];
    return NULL;
}

static inline enum step_rule run_step_rule(const struct engine_run *run)
{
    static const enum step_rule rules[] = {
        [OPTIMIZER_SGD] = STEP_SGD, [OPTIMIZER_ADAM] = STEP_ADAM, [OPTIMIZER_ADAMW] = STEP_ADAMW};

    return rules[run->job.optimizer.kind];
}

/* open.c; what is not RUN_TRAIN is opened for jobs that were checked, and takes *info as it is. */
int run_open(struct engine_run **out, const struct engine_job *job, int threads,
             const struct engine_sink *sink, const struct dataset_info *info,
             enum run_purpose purpose, struct err *err);

/* A rank's backend with all that it has; takes half-open ones. */
void run_device_close(struct engine_run *run);
/* The vectors of weights, gradients and the optimizer; likewise. */
int run_vectors_open(struct engine_run *run, struct err *err);
void run_vectors_close(struct engine_run *run);

/* batches.c: data on the device or host memory for batches and, with data, their loader; after all
 * else that the device holds. Closing takes half-open ones. */
int run_batches_open(struct engine_run *run, struct err *err);
void run_batches_close(struct engine_run *run);
/* Host memory that they take. */
size_t run_batches_bytes(const struct engine_run *run);
/* Loads batch b of a split into *batch, or says where on the device it is. Tells the sink of files
 * that cannot be used. */
int run_load(struct engine_run *run, enum split split, uint64_t b, struct run_batch *batch,
             struct err *err);
/* Writes to *pass that its samples are those of the batch from `begin` on; `inputs` is room. */
void run_name_batch(const struct engine_run *run, const struct run_batch *batch, int64_t begin,
                    const void *inputs[MODEL_INPUTS], struct pass *pass);

/* memory.c: one update and one evaluation of a run that counts. */
int run_count(struct engine_run *run, struct err *err);

/* ranks.c: starts the job's other ranks, which have no device yet. A run with one rank has none to
 * start, and all of this is then the plain thing. Closing ends them and closes their devices. */
int run_ranks_open(struct engine_run *run, struct err *err);
void run_ranks_close(struct engine_run *run);
/* Does the same on all ranks, each on its thread, after the update's number and batches are all
 * theirs. Returns when all have done it: 0, or the failure that came first. A rank that fails ends
 * the exchanges of the others; after that the run is only closed. */
typedef int (*run_work)(struct engine_run *run, const void *context, struct err *err);
int run_each(struct engine_run *run, run_work work, const void *context, struct err *err);
struct engine_run *run_rank(struct engine_run *run, int rank);
/* The first rank's weights, optimizer and statistics for all. */
int run_share_state(struct engine_run *run, struct err *err);
/* Of the job's threads, a rank's. */
int run_rank_threads(const struct engine_run *run);
/* Most bytes that backends have held: of all ranks together where they share the host's memory,
 * else of the device that has held most. */
size_t run_device_bytes(const struct engine_run *run);

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
int snapshot_tensors(const struct engine_run *run); /* of a checkpoint */
int snapshot_open(struct engine_run *run, struct err *err);
void snapshot_close(struct engine_run *run);
int snapshot_load(struct engine_run *run, struct err *err); /* room → vectors */
int run_write_checkpoint(struct engine_run *run, bool final, struct err *err);

/* telemetry.c */
int telemetry_open(struct engine_run *run, struct err *err);
void telemetry_close(struct engine_run *run);
/* Whether the update under way is measured. */
bool telemetry_due(const struct engine_run *run);
/* Measures the passes that were run, before the weights are changed; losses are added later. */
int telemetry_measure(struct engine_run *run, double sigma, struct err *err);

/* update.c: the perturbation of a term's pass in the update under way. */
struct perturbation run_perturbation(const struct engine_run *run, int term, double sigma);
/* A term's share of the samples of its batch: 1 unless it is a part. Whatever the rank. */
double run_share(const struct engine_run *run, int term);
/* update.c, for one rank: the passes of a wave with what the ranks exchange after it, and the
 * change of the weights that follows from all of them. */
int run_execute_wave(struct engine_run *run, int wave, double sigma, struct err *err);
int run_change_weights(struct engine_run *run, double lr, struct err *err);
/* update.c: gathers and begins an update, and tells of those that are done. One that ends an epoch
 * is done, as are all before it. A loss that is not finite: ERR_DIVERGED. */
int run_update(struct engine_run *run, struct err *err);

/* report.c: room for the update that is being begun. */
struct run_report *run_report_new(struct engine_run *run);
/* It was begun. */
void run_report_add(struct engine_run *run);
/* Waits until no more than `in_flight` updates are pending, fewer where they take long, and tells
 * of the others, in their order. After an error nobody hears of later ones. */
int run_settle(struct engine_run *run, int in_flight, struct err *err);

/* evaluate.c: fills the test members of *epoch from the whole test set. *interrupted is set, and
 * nothing filled, when `request` asked for an end on the way. */
int run_evaluate(struct engine_run *run, const atomic_int *request, struct engine_epoch *epoch,
                 bool *interrupted, struct err *err);

#endif
