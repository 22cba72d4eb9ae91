/* One training run: opened from a job, fed to its end or until it is told to stop, resumed from a
 * checkpoint. All it says goes to the sink, from the thread that called `engine_run_train`.
 *
 * The same job, thread count and machine give the same bits, however often the run was stopped
 * and resumed from a checkpoint on its way.
 */
#ifndef ENGINE_RUN_H
#define ENGINE_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/telemetry.h"
#include "base/tensor.h"
#include "engine/job.h"

struct err;
struct engine_run;

/* One update of the weights, just done. */
struct engine_update {
    uint64_t update; /* updates done, from 1 */
    int64_t epoch;   /* the epoch that it belongs to, from 1 */
    double loss;     /* mean over the clean batch; where there is none (RWP): the perturbed */
    bool has_perturbed;
    double perturbed_loss; /* mean over the perturbed batch, at the perturbed weights */
    double lr, sigma;      /* as used in it; sigma 0 for methods without */
    double seconds;        /* what it took; on a device that is behind the host by some updates:
                              since the one before it was done */
};

/* One epoch, just done. */
struct engine_epoch {
    int64_t epoch;     /* from 1 */
    uint64_t update;   /* updates done */
    double train_loss; /* mean of `loss` over the epoch's samples */
    double train_top1; /* share of the samples of those same passes that were classified right */
    bool evaluated;    /* whether the rest is set */
    double test_loss;  /* mean over the whole test set */
    double test_top1, test_top5;  /* shares, 0 … 1 */
    int64_t gradient_evaluations; /* so far, over the whole run */
    double seconds;               /* that the evaluation took */
};

/* Each call that returns an error (the disk is full, say) ends the run with that error. A callback
 * that nobody needs may be NULL. */
struct engine_sink {
    void *context;
    int (*update)(void *context, const struct engine_update *update, struct err *err);
    /* Every job.telemetry.every_updates updates, after `update` was called for the one it is of. */
    int (*telemetry)(void *context, const struct telemetry *telemetry, struct err *err);
    int (*epoch)(void *context, const struct engine_epoch *epoch, struct err *err);
    /* `checkpoint` is the run's and valid during the call only. `final`: the run is finished. */
    int (*checkpoint)(void *context, const struct checkpoint *checkpoint, bool final,
                      struct err *err);
    void (*message)(void *context, const char *text);
};

enum engine_request {
    ENGINE_CONTINUE,
    ENGINE_STOP,   /* write a checkpoint, then return */
    ENGINE_ABANDON /* return at once */
};

enum engine_outcome { ENGINE_FINISHED, ENGINE_STOPPED, ENGINE_ABANDONED };

/* `threads` ≥ 1 CPU threads. Copies *job and *sink. Errors: ERR_INVALID, ERR_NO_MEMORY,
 * ERR_DEVICE, ERR_IO and ERR_CORRUPT (dataset files). */
int engine_run_open(struct engine_run **out, const struct engine_job *job, int threads,
                    const struct engine_sink *sink, struct err *err);

void engine_run_close(struct engine_run *run);

/* Bytes that the run holds, or has held, at most: weights and the optimizer's state, gradients,
 * activations and scratch memory on its device; batches, the checkpoint under way and the dataset
 * on the host. All of it is there after the first update. Not counted: the program's code and
 * tables, threads' stacks, what JPEG and PNG decoders use, and what a sink keeps. */
int64_t engine_run_memory(const struct engine_run *run);
/* How much of that is a GPU's memory; 0 on the CPU. CUDA and its libraries take some more there. */
int64_t engine_run_device_memory(const struct engine_run *run);

/* Replaces the initial state; before `engine_run_train`. Names, shapes and types must be those
 * that this job's checkpoints have, else ERR_CORRUPT and the run is unchanged; likewise
 * ERR_CONFLICT, with what has changed, where it was made with another dataset than the run's. */
int engine_run_restore(struct engine_run *run, const struct checkpoint *checkpoint,
                       struct err *err);

/* Replaces the initial weights and running statistics, from tensors of any precision; before
 * `engine_run_train`, in place of a restore. ERR_INVALID, and the run is unchanged, where
 * `engine_job_check_weights` would find a problem, or for a value that is not finite or a negative
 * variance. */
int engine_run_begin_from(struct engine_run *run, const struct checkpoint *checkpoint,
                          struct err *err);

/* Trains until the end or until `request` (read between two updates, and between two batches of
 * an evaluation) says otherwise. An epoch whose evaluation was interrupted is evaluated and
 * reported when the run goes on. The final checkpoint is written, after the last epoch's report,
 * before it returns ENGINE_FINISHED; a run that was restored from it writes it once more. Returns
 * 0 with *outcome set, or an error: ERR_DIVERGED when a training or test loss is not finite (that
 * update or epoch has been given to the sink), ERR_DEVICE, or what the sink returned. */
int engine_run_train(struct engine_run *run, const atomic_int *request,
                     enum engine_outcome *outcome, struct err *err);

#endif
