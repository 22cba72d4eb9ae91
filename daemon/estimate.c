#include "estimate.h"

#include "base/log.h"
#include "engine/estimate.h"

/* The last epoch is evaluated whatever its number. */
static int64_t evaluations(const struct engine_job *job, const struct engine_job_facts *facts)
{
    int64_t epochs = (facts->updates + facts->updates_per_epoch - 1) / facts->updates_per_epoch;
    int64_t every = job->evaluate.every_epochs;

    return epochs / every + (epochs % every != 0);
}

/* An evaluation is longer or shorter than was forecast then as the updates were. */
static bool find_earlier(struct db *db, struct db_estimate *out)
{
    struct db_reader *reader;
    struct db_earlier found;
    struct err ignored;
    int rc = db_reader_open(&reader, db, &ignored);

    if (rc)
        return false;
    rc = db_estimate_earlier(reader, out->signature, &found, &ignored);
    db_reader_close(reader);
    if (rc || found.update_seconds <= 0)
        return false;
    out->earlier = true;
    out->update_seconds = found.update_seconds;
    if (found.forecast_update > 0)
        out->evaluation_seconds =
            found.forecast_evaluation * found.update_seconds / found.forecast_update;
    return true;
}

void estimate_job(struct db *db, const struct engine_job *job, const struct engine_job_facts *facts,
                  int threads, struct db_estimate *out)
{
    struct engine_estimate made;
    struct err err = {0};
    int rc = engine_estimate_memory(job, threads, &made, &err);

    *out = (struct db_estimate){0};
    if (!rc) {
        out->signature = made.signature;
        out->device = facts->device;
        out->bytes = made.memory_bytes;
        out->device_bytes = made.device_bytes;
        if (!find_earlier(db, out))
            rc = engine_estimate_time(job, threads, &made, &err);
    }
    if (rc)
        log_warning("cannot say what a job will take: %s", err.message);
    if (!rc && !out->earlier && made.timed) {
        out->update_seconds = made.seconds_per_update;
        out->evaluation_seconds = made.evaluation_seconds;
    }
    if (out->update_seconds > 0 && out->evaluation_seconds > 0)
        out->run_seconds = (double)facts->updates * out->update_seconds +
                           (double)evaluations(job, facts) * out->evaluation_seconds;
}
