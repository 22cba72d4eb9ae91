/* What a job will take, forecast before it runs.
 *
 * Memory is counted: the job's programs are compiled as its run would compile them, and everything
 * that the run would take is added up. (On a GPU, a convolution whose plans were not timed yet is
 * counted with the first plan that the library proposes; the run may choose one with another
 * workspace.)
 *
 * Time is measured on this machine with as many threads. For a small job whole updates are timed,
 * with made-up weights and images. For a large one each different operation of a pass is timed
 * once, on a part of the batch, and scaled up to the whole of it.
 *
 * Both are remembered by signature for the last jobs that were asked for.
 *
 * From any thread. */
#ifndef ENGINE_ESTIMATE_H
#define ENGINE_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/job.h"

struct engine_estimate {
    int64_t signature;         /* jobs that do the same work have the same one; never 0 */
    int64_t memory_bytes;      /* what engine_run_memory will say at the end */
    int64_t device_bytes;      /* what engine_run_device_memory will say; 0: not on a GPU */
    bool timed;                /* whether the rest is set */
    double seconds_per_update; /* mean over an epoch, whose last batch may be shorter */
    double evaluation_seconds; /* of the whole test set */
};

/* The signature and the memory of a job that was checked, with `threads` CPU threads. It compiles
 * the job's programs: tens of milliseconds, half a second for the deepest models. ERR_NO_MEMORY,
 * ERR_DEVICE, ERR_UNSUPPORTED, and errors of reading the dataset's files. */
int engine_estimate_memory(const struct engine_job *job, int threads, struct engine_estimate *out,
                           struct err *err);

/* Adds a problem, which says what would help, if a job that was checked needs more memory than its
 * GPU has in all, or than the machine has with its swap; what others use at the moment does not
 * matter. There is none, too, where memory cannot be forecast, and while such forecasts have taken
 * a quarter of the time. */
void engine_estimate_check(const struct engine_job *job, int threads, struct problems *problems);

/* Adds the time to what engine_estimate_memory has filled in. Takes about a second at most, of all
 * `threads`, and a fraction of the run's memory. One job is timed at a time, and in the long run a
 * tenth of the time goes into it at most. *out stays untimed, which is no error, while another job
 * is timed, when that tenth is used up, and on a GPU, which is not timed. */
int engine_estimate_time(const struct engine_job *job, int threads, struct engine_estimate *out,
                         struct err *err);

#endif
