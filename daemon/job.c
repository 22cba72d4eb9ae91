/* One job on one worker: from its stored description to the end of its run. */
#include <stdio.h>
#include <string.h>

#include "api/spec_json.h"
#include "base/clock.h"
#include "base/log.h"
#include "init_from.h"
#include "queue_inside.h"
#include "record.h"

/* It was checked when it was submitted; another version of this program may see it otherwise. */
int job_parse_spec(const char *spec, struct engine_job *job, struct err *err)
{
    struct spec_problems problems = {0};
    int rc = spec_json_parse(engine_job_spec(), spec, strlen(spec), job, &problems, err);

    if (rc && problems.n)
        err_set(err, rc, "the stored job is not valid: %s %s", problems.item[0].pointer,
                problems.item[0].message);
    return rc;
}

/* A folder with other data than at submission would give other bits, or a history that ends
 * elsewhere. */
static int check_length(const struct engine_job *job, const struct db_job *row,
                        struct engine_job_facts *facts, struct err *err)
{
    int rc = engine_job_facts(job, facts, err);

    if (!rc && (uint64_t)facts->updates != row->updates)
        rc = err_set(err, ERR_INVALID,
                     "the dataset has changed since the job was submitted: it now makes %lld "
                     "updates, not %llu",
                     (long long)facts->updates, (unsigned long long)row->updates);
    return rc;
}

/* What a run of a job needs, and how far it has come. */
struct attempt {
    struct slot *slot;
    const struct db_claim *claim;
    struct engine_job job;
    struct engine_job_facts facts;
    struct db_job row;
    enum { PARSING, LOOKING, TAKING, OPENING, LOADING, TRAINING } stage;
    bool aside; /* its GPU is set aside */
};

static bool on_gpu(const struct engine_job_facts *facts)
{
    return strncmp(facts->device, "cuda", strlen("cuda")) == 0;
}

/* Whether it is the job's GPU that failed, and not what the job reads. */
static bool says_of_gpu(int rc, const struct engine_job_facts *facts)
{
    return on_gpu(facts) && (rc == ERR_DEVICE || rc == ERR_DEVICE_LOST || rc == ERR_NO_MEMORY);
}

/* Whether what it failed for may be had another time, so that the job waits instead of failing. */
static bool may_pass(const struct attempt *attempt, const struct work_result *result)
{
    int rc = result->rc;

    if (!rc || result->database_failed)
        return false;
    if (attempt->aside)
        return true;
    switch (attempt->stage) {
    case PARSING: /* the description stays as it is */
        return false;
    case LOOKING: /* at the dataset, which is gone or has changed */
        return true;
    case TAKING: /* a GPU that is set aside or gone */
        return rc == ERR_DEVICE;
    case OPENING: /* the dataset, too, but for what is the GPU's */
        return !says_of_gpu(rc, &attempt->facts);
    case LOADING: /* a damaged checkpoint stays so, and weights that do not fit never will; a
                     dataset that has changed may be what it was */
        return rc == ERR_IO || rc == ERR_NO_MEMORY || rc == ERR_CONFLICT;
    case TRAINING: /* no image of many could be read, or none be opened */
        return !says_of_gpu(rc, &attempt->facts) &&
               (rc == ERR_CORRUPT || rc == ERR_IO || rc == ERR_NO_MEMORY);
    }
    return false;
}

int job_device_failed(const struct engine_job *job, bool *aside, struct err *err)
{
    struct err found = {0};

    *aside = false;
    if (err->code != ERR_DEVICE && err->code != ERR_DEVICE_LOST)
        return err->code;
    engine_device_failed(job, err);
    if (err->code == ERR_DEVICE && engine_device_ready(job, &found)) {
        *aside = found.code == ERR_DEVICE;
        *err = found;
    }
    return err->code;
}

/* The device that the job was given may be another one than it was said to be; that is told where
 * a GPU has failed its test. */
static int follow_device(struct attempt *attempt, struct err *err)
{
    struct engine_job_facts *facts = &attempt->facts;
    const char *before = facts->device;
    int64_t id = attempt->claim->id;
    struct device_health health;
    char text[700];
    int rc;

    rc = engine_job_facts(&attempt->job, facts, err);
    engine_device_health(before, &health);
    if (rc || health.state != DEVICE_STATE_ASIDE)
        return rc;
    snprintf(text, sizeof text, "on %s in %s instead of %s, which is set aside: %s", facts->device,
             facts->precision, before, health.reason);
    log_warning("job %lld: %s", (long long)id, text);
    db_message_add(attempt->slot->queue->db, id, text, NULL);
    return 0;
}

static int restore(struct slot *slot, struct engine_run *run, const struct db_claim *claim,
                   struct err *err)
{
    struct checkpoint *checkpoint;
    struct err cause = {0};
    int rc = db_checkpoint_load(slot->reader, claim->id, claim->from_update, &checkpoint, &cause);

    if (!rc) {
        rc = engine_run_restore(run, checkpoint, &cause);
        db_checkpoint_free(checkpoint);
    }
    if (rc == ERR_CONFLICT)
        *err = cause;
    else if (rc)
        err_set(err, rc, "cannot go on from the checkpoint of update %llu: %s",
                (unsigned long long)claim->from_update, cause.message);
    return rc;
}

static void measure(const struct attempt *attempt)
{
    struct rate_plan plan = {.updates = attempt->row.updates,
                             .updates_per_epoch = (uint64_t)attempt->facts.updates_per_epoch,
                             .evaluate_every_epochs = attempt->job.evaluate.every_epochs};

    rate_start(&attempt->slot->rate, attempt->row.id, &plan, attempt->claim->from_update,
               clock_seconds());
}

static void wake_workers(void *queue)
{
    queue_post(queue);
}

/* Gives the run what it begins with. */
static int load(const struct attempt *attempt, struct engine_run *run, struct err *err)
{
    return attempt->claim->from_update
               ? restore(attempt->slot, run, attempt->claim, err)
               : init_from_load(attempt->slot->reader, &attempt->job, run, err);
}

static int train(struct attempt *attempt, struct work_result *out)
{
    struct slot *slot = attempt->slot;
    const struct db_claim *claim = attempt->claim;
    struct recorder recorder = {.db = slot->queue->db,
                                .job = claim->id,
                                .spec = &attempt->job,
                                .facts = &attempt->facts,
                                .wake = wake_workers,
                                .wake_context = slot->queue,
                                .seconds = attempt->row.seconds,
                                .rate = &slot->rate};
    struct engine_sink sink = record_sink(&recorder);
    enum engine_outcome outcome = ENGINE_ABANDONED;
    struct engine_run *run = NULL;
    int rc;

    attempt->stage = OPENING;
    rc = engine_run_open(&run, &attempt->job, claim->threads, &sink, &out->err);
    if (!rc) {
        attempt->stage = LOADING;
        rc = load(attempt, run, &out->err);
    }
    if (!rc) {
        attempt->stage = TRAINING;
        measure(attempt);
        rc = engine_run_train(run, &slot->request, &outcome, &out->err);
        rate_stop(&slot->rate);
        /* One that is lost harms nothing. */
        db_held_add(slot->queue->db, claim->id, engine_run_memory(run),
                    engine_run_device_memory(run), NULL);
    }
    if (rc != ERR_DEVICE_LOST) /* which may never answer again; the process ends soon */
        engine_run_close(run);
    out->outcome = outcome;
    out->database_failed = recorder.failed;
    return rc;
}

static int run_on_device(struct attempt *attempt, struct work_result *out)
{
    struct engine_job *job = &attempt->job;
    int rc;

    attempt->stage = TAKING;
    rc = engine_device_take(job, &out->err);
    if (rc)
        return rc;
    attempt->stage = LOOKING; /* once more */
    rc = follow_device(attempt, &out->err);
    if (!rc) {
        /* One that is lost harms nothing. */
        db_place_add(attempt->slot->queue->db, attempt->claim->id, attempt->facts.device,
                     attempt->facts.precision, NULL);
        if (on_gpu(&attempt->facts))
            queue_gpu_runs(attempt->slot->queue);
        rc = train(attempt, out);
        if (rc && !out->database_failed)
            rc = job_device_failed(job, &attempt->aside, &out->err);
    }
    engine_device_release(job);
    return rc;
}

void job_run(struct slot *slot, const struct db_claim *claim, struct work_result *out)
{
    struct attempt attempt = {.slot = slot, .claim = claim, .stage = PARSING};

    *out = (struct work_result){0};
    out->rc = db_job_get(slot->reader, claim->id, &attempt.row, &out->err);
    out->database_failed = out->rc != 0;
    if (out->rc)
        return;
    out->rc = job_parse_spec(claim->spec, &attempt.job, &out->err);
    if (!out->rc) {
        attempt.stage = LOOKING;
        out->rc = check_length(&attempt.job, &attempt.row, &attempt.facts, &out->err);
    }
    if (!out->rc)
        out->rc = run_on_device(&attempt, out);
    out->data_failed = may_pass(&attempt, out);
    db_job_free(&attempt.row);
}
