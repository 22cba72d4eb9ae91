/* One job on one worker: from its stored description to the end of its run. */
#include <stdio.h>
#include <string.h>

#include "api/spec_json.h"
#include "base/clock.h"
#include "base/log.h"
#include "initial.h"
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

static bool on_gpu(const struct engine_job_facts *facts)
{
    return strncmp(facts->device, "cuda", strlen("cuda")) == 0;
}

/* Whether it is the job's GPU that failed, and not what the job reads. */
static bool says_of_device(int rc, const struct engine_job_facts *facts)
{
    return on_gpu(facts) && (rc == ERR_DEVICE || rc == ERR_DEVICE_LOST || rc == ERR_NO_MEMORY);
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

/* A job that leaves its device open goes where it can when its GPU has failed the test. */
static int follow_device(struct slot *slot, int64_t id, const struct engine_job *job,
                         struct engine_job_facts *facts, struct err *err)
{
    const char *before = facts->device;
    struct device_health health;
    char text[700];
    int rc;

    engine_device_health(before, &health);
    if (health.state != STATE_ASIDE)
        return 0;
    rc = engine_job_facts(job, facts, err);
    if (rc)
        return rc;
    snprintf(text, sizeof text, "on %s in %s instead of %s, which is set aside: %s", facts->device,
             facts->precision, before, health.reason);
    log_warning("job %lld: %s", (long long)id, text);
    db_message_add(slot->queue->db, id, text, NULL);
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
    if (rc)
        err_set(err, rc, "cannot go on from the checkpoint of update %llu: %s",
                (unsigned long long)claim->from_update, cause.message);
    return rc;
}

static void measure(struct slot *slot, const struct engine_job *job,
                    const struct engine_job_facts *facts, const struct db_job *row,
                    uint64_t from_update)
{
    struct rate_plan plan = {.updates = row->updates,
                             .updates_per_epoch = (uint64_t)facts->updates_per_epoch,
                             .evaluate_every_epochs = job->evaluate.every_epochs};

    rate_start(&slot->rate, row->id, &plan, from_update, clock_seconds());
}

static void wake_workers(void *queue)
{
    queue_post(queue);
}

/* Where it goes on from: its own checkpoint, or what it begins with. */
static int go_on(struct slot *slot, struct engine_run *run, const struct db_claim *claim,
                 const struct engine_job *job, struct work_result *out)
{
    int rc = claim->from_update ? restore(slot, run, claim, &out->err)
                                : initial_load(slot->reader, job, run, &out->err);

    /* A damaged checkpoint stays damaged, and weights that do not fit never will. */
    out->data_failed = rc == ERR_IO || rc == ERR_NO_MEMORY;
    return rc;
}

static int train(struct slot *slot, const struct db_claim *claim, const struct engine_job *job,
                 const struct engine_job_facts *facts, const struct db_job *row,
                 struct work_result *out)
{
    struct recorder recorder = {.db = slot->queue->db,
                                .job = claim->id,
                                .spec = job,
                                .facts = facts,
                                .wake = wake_workers,
                                .wake_context = slot->queue,
                                .seconds = row->seconds,
                                .rate = &slot->rate};
    struct engine_sink sink = record_sink(&recorder);
    enum engine_outcome outcome = ENGINE_ABANDONED;
    struct engine_run *run = NULL;
    int rc = engine_run_open(&run, job, claim->threads, &sink, &out->err);

    out->data_failed = rc != 0 && !says_of_device(rc, facts);
    if (!rc)
        rc = go_on(slot, run, claim, job, out);
    if (!rc) {
        measure(slot, job, facts, row, claim->from_update);
        rc = engine_run_train(run, &slot->request, &outcome, &out->err);
        /* No image of many could be read, or none be opened: a file system may come back. */
        out->data_failed = !recorder.failed && !says_of_device(rc, facts) &&
                           (rc == ERR_CORRUPT || rc == ERR_IO || rc == ERR_NO_MEMORY);
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

void job_run(struct slot *slot, const struct db_claim *claim, struct work_result *out)
{
    struct engine_job job = {0}; /* what its kinds do not have stays 0 */
    struct engine_job_facts facts;
    struct db_job row;

    *out = (struct work_result){0};
    out->rc = db_job_get(slot->reader, claim->id, &row, &out->err);
    out->database_failed = out->rc != 0;
    if (out->rc)
        return;
    out->rc = job_parse_spec(claim->spec, &job, &out->err);
    if (!out->rc) {
        out->rc = check_length(&job, &row, &facts, &out->err);
        out->data_failed = out->rc != 0;
    }
    if (!out->rc) {
        out->rc = engine_device_ready(&job, &out->err);
        out->data_failed = out->rc == ERR_DEVICE;
    }
    if (!out->rc)
        out->rc = follow_device(slot, claim->id, &job, &facts, &out->err);
    if (!out->rc) {
        bool aside = false;

        out->rc = train(slot, claim, &job, &facts, &row, out);
        if (out->rc && !out->database_failed)
            out->rc = job_device_failed(&job, &aside, &out->err);
        out->data_failed = out->data_failed || aside;
    }
    db_job_free(&row);
}
