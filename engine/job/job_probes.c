/* The list of probes that is part of a job: when each is due, and what makes no sense. */
#include <stdio.h>

#include "job/resolve.h"

bool engine_job_probe_due(const struct engine_job *job, int i, int64_t updates_per_epoch,
                          int64_t updates, uint64_t update)
{
    uint64_t per_epoch = (uint64_t)updates_per_epoch;

    if (update == 0)
        return false;
    return update == (uint64_t)updates ||
           (update % per_epoch == 0 &&
            update / per_epoch % (uint64_t)job->probes.item[i].every_epochs == 0);
}

/* What is wrong within one of them is told with its place in front. */
struct within {
    int i;
    void (*problem)(void *context, const char *pointer, const char *message);
    void *context;
};

static void tell(void *context, const char *pointer, const char *message)
{
    const struct within *within = context;
    char whole[96];

    snprintf(whole, sizeof whole, "/probes/%d%s", within->i, pointer);
    within->problem(within->context, whole, message);
}

/* Whether the run writes a checkpoint after so many updates whatever happens; those by time are
 * nobody's to name before. */
static bool has_checkpoint(const struct engine_job *job, int64_t per_epoch, int64_t updates,
                           int64_t update)
{
    int64_t every = job->checkpoint.every_epochs;

    if (update == updates || (every > 0 && update < updates && update % (every * per_epoch) == 0))
        return true;
    for (int i = 0; i < job->probes.n && update < updates; i++)
        if (engine_job_probe_due(job, i, per_epoch, updates, (uint64_t)update))
            return true;
    return false;
}

/* The other end of a line that is a checkpoint of the job itself. */
static int check_own_end(const struct engine_job *job, int64_t samples, struct within *within)
{
    const struct engine_probe *probe = &job->probes.item[within->i];
    int64_t per_epoch = job_updates_per_epoch(job, samples), updates = job_updates(job, samples);
    int64_t end = probe->other.update, first = probe->every_epochs * per_epoch;
    char said[160];

    if (!engine_probe_needs_other(probe) || probe->other.job || probe->other.upload || end == 0)
        return 0;
    first = first < updates ? first : updates;
    if (!has_checkpoint(job, per_epoch, updates, end))
        snprintf(said, sizeof said, "the job writes no checkpoint after update %lld",
                 (long long)end);
    else if (end > first)
        snprintf(said, sizeof said,
                 "the first line is drawn after update %lld, before that checkpoint is there",
                 (long long)first);
    else
        return 0;
    tell(within, "/other/update", said);
    return 1;
}

int job_check_probes(const struct engine_job *job, int64_t samples,
                     void (*problem)(void *context, const char *pointer, const char *message),
                     void *context)
{
    int64_t epochs, runs = 0;
    char said[96];
    int n = 0;

    if ((job->epochs > 0) == (job->updates > 0))
        return 0; /* how long the run is, is not known */
    epochs = (job_updates(job, samples) - 1) / job_updates_per_epoch(job, samples) + 1;
    for (int i = 0; i < job->probes.n; i++) {
        const struct engine_probe *probe = &job->probes.item[i];
        struct within within = {i, problem, context};

        n += engine_probe_check(job, probe, tell, &within);
        n += check_own_end(job, samples, &within);
        runs += (epochs - 1) / probe->every_epochs + 1;
        if (runs <= JOB_PROBE_RUNS_MAX)
            continue;
        snprintf(said, sizeof said, "the job would have more than %d probes in all",
                 JOB_PROBE_RUNS_MAX);
        tell(&within, "/every_epochs", said);
        return n + 1;
    }
    return n;
}
