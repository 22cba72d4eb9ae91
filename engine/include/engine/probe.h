/* One probe of a model at a checkpoint: its spectrum, its landscape, … Opened from the job that
 * trained the model and the checkpoint's tensors, run to its end or until it is told to stop,
 * resumed from the rows that it has reported. All it says goes to the sink, from the thread that
 * called `engine_probe_measure`.
 *
 * The same probe, checkpoint, thread count and machine give the same bits, however often it was
 * stopped and resumed on its way. A Lanczos run, a draw of the trace or of a perturbation, or a
 * point of a grid is not measured again once its rows were reported. A Lanczos run that was
 * interrupted begins anew: to keep its vectors would take the size of the weights for each of its
 * steps.
 */
#ifndef ENGINE_PROBE_H
#define ENGINE_PROBE_H

#include <stdatomic.h>

#include "base/probe.h"
#include "base/tensor.h"
#include "engine/job.h"
#include "engine/run.h"

struct engine_probe_run;

/* The tables that a kind of probe fills. Static. */
const struct probe_table *engine_probe_tables(int kind, int *n);

struct engine_probe_progress {
    double done; /* 0 … 1 */
};

/* Each call may fail: the probe then ends with that error. */
struct engine_probe_sink {
    void *context;
    int (*row)(void *context, const struct probe_row *row, struct err *err);
    int (*progress)(void *context, const struct engine_probe_progress *progress, struct err *err);
    /* Eigenvectors or directions, once, at the end, from probes with `save_vectors`: tensors of the
     * model's shapes, named "<vector>/<parameter>". Valid during the call only. */
    int (*vectors)(void *context, const struct checkpoint *vectors, struct err *err);
    /* One sentence or a few on how a result came about (what is suggested, and why). */
    void (*message)(void *context, const char *text);
};

/* What a probe begins with. What is pointed to belongs to the caller and is read during
 * `engine_probe_open` only. */
struct engine_probe_start {
    const struct checkpoint *weights; /* parameters and running statistics */
    const struct checkpoint *other;   /* the other end of a line, or NULL */
    const struct checkpoint *vectors; /* given ones, or NULL. Names and shapes are the parameters',
                                         the names with "start/" (a spectrum's), "x/" or "y/" (a
                                         landscape's) before them, or nothing where there is only
                                         one vector */
    const struct probe_row *rows;     /* reported before it was stopped, in any order */
    int64_t n_rows;
};

/* `threads` ≥ 1. Copies *job, *probe and *sink. Runs where the job does, GPUs in fp32. Errors as
 * `engine_run_open`; ERR_INVALID, with a message that names the tensor, when what it begins with
 * does not fit the model; ERR_CONFLICT when the weights were trained with another dataset. */
int engine_probe_open(struct engine_probe_run **out, const struct engine_job *job,
                      const struct engine_probe *probe, int threads,
                      const struct engine_probe_start *start, const struct engine_probe_sink *sink,
                      struct err *err);
void engine_probe_close(struct engine_probe_run *run);

/* Measures until the end or until `request` (read between two batches, two samples that are read,
 * two vectors that are made orthogonal, two bins) says otherwise. */
int engine_probe_measure(struct engine_probe_run *run, const atomic_int *request,
                         enum engine_outcome *outcome, struct err *err);

#endif
