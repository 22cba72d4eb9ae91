/* What a job will take, forecast before it runs.
 *
 * Memory is counted: the job's programs are compiled as its run would compile them, and everything
 * that the run would take is added up. (On a GPU, a convolution's plan that was not timed yet is
 * taken to be the first that the library proposes, so that its workspace may come to be another.)
 * Time is measured, on this machine and with as many threads:
 * of small jobs, whole updates with made-up weights and images; of large ones, each different
 * operation of a pass once, on a part of the batch, and what it takes for all of it follows from
 * its sizes. Both are remembered by signature for the last jobs that were asked for.
 *
 * From any thread. */
#ifndef ENGINE_ESTIMATE_H
#define ENGINE_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/job.h"

struct engine_estimate {
    int64_t signature;         /* jobs that do the same work have the same one; never 0 */
    int64_t memory_bytes;      /* as engine_run_memory will have it at the end */
    int64_t device_bytes;      /* of it, on a GPU, as engine_run_device_memory will; 0: on none */
    bool timed;                /* whether the rest is set */
    double seconds_per_update; /* mean over an epoch, whose last batch may be shorter */
    double evaluation_seconds; /* of the whole test set */
};

/* The signature and the memory of a job that was checked, with `threads` CPU threads. Compiles:
 * tens of milliseconds, half a second for the deepest models. ERR_NO_MEMORY, ERR_DEVICE,
 * ERR_UNSUPPORTED, and what a dataset's files give. */
int engine_estimate_memory(const struct engine_job *job, int threads, struct engine_estimate *out,
                           struct err *err);

/* Calls `problem`, with a pointer into the job and what would help, if a job that was checked needs
 * more memory than its GPU ever has room for, or the machine with its swap; what others have there
 * now does not count. Returns how many problems there were: none, either, where memory cannot be
 * forecast, and where a quarter of the time went into such forecasts already. */
int engine_estimate_check(const struct engine_job *job, int threads,
                          void (*problem)(void *context, const char *pointer, const char *message),
                          void *context);

/* Adds the time to what engine_estimate_memory has filled in. Takes about a second at most, of all
 * `threads`, and memory of a fraction of the run's. One job is timed at a time, and in the long run
 * that takes a tenth of the time at most: while another one is timed, after many of them, and for a
 * device that cannot say, which a GPU is, *out stays untimed, which is no error. */
int engine_estimate_time(const struct engine_job *job, int threads, struct engine_estimate *out,
                         struct err *err);

#endif
