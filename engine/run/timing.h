/* How long the work of a run takes on this machine, measured without its data. */
#ifndef ENGINE_RUN_TIMING_H
#define ENGINE_RUN_TIMING_H

#include "engine/estimate.h"
#include "run/state.h"

/* Fills the times of *out, whose memory is known, for a job that was checked. Leaves it untimed
 * where the device cannot say. */
int run_time(const struct engine_job *job, const struct dataset_info *info, int threads,
             struct engine_estimate *out, struct err *err);

/* ---- Parts of it; `plan` is the job's run, opened to be counted ---- */

/* Samples of a mean update over those of a full one: the last one of an epoch may have fewer. */
double timing_fullness(const struct engine_run *plan);
/* Fills a vector of n with made-up numbers. */
int timing_fill(const struct engine_run *run, struct vector *vector, size_t n, float low,
                float high, struct err *err);
/* timing_trial.c: a small job's times without loading. */
int timing_trial(const struct engine_run *plan, struct engine_estimate *out, struct err *err);
/* timing_loading.c: adds what loading takes. */
int timing_add_loading(const struct engine_run *plan, struct engine_estimate *out, struct err *err);

#endif
