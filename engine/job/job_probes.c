/* The list of probes that is part of a job: when each is due, and what makes no sense. */

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
static void check_own_end(const struct engine_job *job, const struct engine_probe *probe,
                          int64_t samples, struct problems *problems)
{
    int64_t per_epoch = job_updates_per_epoch(job, samples), updates = job_updates(job, samples);
    int64_t end = probe->other.update, first = probe->every_epochs * per_epoch;

    if (!engine_probe_needs_other(probe) || probe->other.job || probe->other.upload || end == 0)
        return;
    first = first < updates ? first : updates;
    if (!has_checkpoint(job, per_epoch, updates, end))
        problems_add(problems, "/other/update", "the job writes no checkpoint after update %lld",
                     (long long)end);
    else if (end > first)
        problems_add(problems, "/other/update",
                     "the first line is drawn after update %lld, before that checkpoint is there",
                     (long long)first);
}

void job_check_probes(const struct engine_job *job, int64_t samples, struct problems *problems)
{
    int64_t epochs, runs = 0;

    if ((job->epochs > 0) == (job->updates > 0))
        return; /* how long the run is, is not known */
    epochs = (job_updates(job, samples) - 1) / job_updates_per_epoch(job, samples) + 1;
    for (int i = 0; i < job->probes.n && runs <= JOB_PROBE_RUNS_MAX; i++) {
        const struct engine_probe *probe = &job->probes.item[i];
        struct problems_item item = {problems, "/probes", i};
        struct problems own = {.tell = problems_tell_item, .to = &item};

        engine_probe_check(job, probe, &own);
        check_own_end(job, probe, samples, &own);
        runs += (epochs - 1) / probe->every_epochs + 1;
        if (runs > JOB_PROBE_RUNS_MAX)
            problems_add(&own, "/every_epochs", "the job would have more than %d probes in all",
                         JOB_PROBE_RUNS_MAX);
    }
}
