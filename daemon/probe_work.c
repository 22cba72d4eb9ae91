/* One probe on one worker: from its stored request to the end of its measurement.
 *
 *   finished                  → succeeded
 *   stopped, to be cancelled  → cancelled
 *   stopped                   → queued: the daemon stops; it goes on from the rows that were told
 *   abandoned                 → cancelled
 *   error                     → failed, with its message as the reason
 *   its GPU is set aside      → queued, with that as the reason; it waits until something else runs
 *                               on a GPU, or for the next start
 *   its GPU is lost           → queued: the daemon ends to be started again; the third time failed
 *   disk failed               → as if stopped
 *   database failed           → left as it is: the next start puts it right (db_probe_recover) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/spec_json.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/probe.h"
#include "probe.h"
#include "queue_inside.h"

#define PROGRESS_SECONDS 1.0 /* between two that are recorded */

static int claim_probe(struct slot *slot, void *out, struct err *err)
{
    struct queue *queue = slot->queue;
    struct db_probe_claim *claim = out;
    int rc = db_probe_claim(queue->db, queue_thread_share(queue), claim, err);

    if (!rc)
        slot->probe = claim->id;
    return rc;
}

int probe_take(struct slot *slot, struct db_probe_claim *claim, struct err *err)
{
    return worker_take(slot, claim_probe, claim, err);
}

/* ---- What it tells ---- */

struct recorder {
    struct db *db;
    const struct db_probe_claim *claim;
    double told; /* when progress was recorded last */
    bool failed; /* the database took something not */
};

static int note(struct recorder *recorder, int rc)
{
    recorder->failed = recorder->failed || rc != 0;
    return rc;
}

static int record_row(void *context, const struct probe_row *row, struct err *err)
{
    struct recorder *recorder = context;

    return note(recorder, db_probe_row_add(recorder->db, recorder->claim->id, row, err));
}

static int record_progress(void *context, const struct engine_probe_progress *progress,
                           struct err *err)
{
    struct recorder *recorder = context;
    double now = clock_seconds();

    if (now - recorder->told < PROGRESS_SECONDS)
        return 0;
    recorder->told = now;
    return note(recorder,
                db_probe_progress(recorder->db, recorder->claim->id, progress->done, err));
}

static int record_vectors(void *context, const struct checkpoint *vectors, struct err *err)
{
    struct recorder *recorder = context;

    return note(recorder, db_probe_vectors_add(recorder->db, recorder->claim->id, vectors, err));
}

static void record_message(void *context, const char *text)
{
    struct recorder *recorder = context;

    log_info("probe %lld of job %lld: %s", (long long)recorder->claim->number,
             (long long)recorder->claim->job, text);
    db_probe_message(recorder->db, recorder->claim->id, text, NULL);
}

/* ---- What it begins with ---- */

struct material {
    struct engine_job job;
    struct engine_probe probe;
    struct checkpoint *weights, *other, *vectors;
    struct probe_row *rows;
    int64_t n_rows;
};

static void material_free(struct material *material)
{
    db_checkpoint_free(material->weights);
    db_checkpoint_free(material->other);
    db_checkpoint_free(material->vectors);
    free(material->rows);
}

static int parse(const struct db_probe_claim *claim, struct material *out, struct err *err)
{
    struct spec_problems problems = {0};
    int rc = job_parse_spec(claim->spec, &out->job, err);

    if (rc)
        return rc;
    rc = spec_json_parse_variant(probe_field(), claim->request, strlen(claim->request), &out->probe,
                                 &problems, err);
    if (rc && problems.n)
        err_set(err, rc, "the stored probe is not valid: %s %s", problems.item[0].pointer,
                problems.item[0].message);
    return rc;
}

static int load_other(struct db_reader *reader, const struct probe_other *other,
                      struct checkpoint **out, struct err *err)
{
    if (other->upload)
        return db_checkpoint_load(reader, -other->upload, DB_UPLOAD_UPDATE, out, err);
    return db_checkpoint_load(reader, other->job, (uint64_t)other->update, out, err);
}

static int load(struct db_reader *reader, const struct db_probe_claim *claim, struct material *out,
                struct err *err)
{
    int rc = parse(claim, out, err);

    if (!rc)
        rc = db_checkpoint_load(reader, claim->job, claim->update, &out->weights, err);
    if (!rc && engine_probe_needs_other(&out->probe))
        rc = load_other(reader, &out->probe.other, &out->other, err);
    if (!rc && engine_probe_needs_vectors(&out->probe))
        rc = db_checkpoint_load(reader, -out->probe.upload, DB_UPLOAD_UPDATE, &out->vectors, err);
    if (!rc)
        rc = db_probe_rows_load(reader, claim->id, &out->rows, &out->n_rows, err);
    return rc;
}

/* ---- The run ---- */

/* On the device that the job was given. */
static int run_probe(struct slot *slot, int threads, const struct material *material,
                     struct recorder *recorder, enum engine_outcome *outcome, struct err *err)
{
    const struct engine_probe_sink sink = {.context = recorder,
                                           .row = record_row,
                                           .progress = record_progress,
                                           .vectors = record_vectors,
                                           .message = record_message};
    const struct engine_probe_start start = {.weights = material->weights,
                                             .other = material->other,
                                             .vectors = material->vectors,
                                             .rows = material->rows,
                                             .n_rows = material->n_rows};
    struct engine_probe_run *run = NULL;
    int rc;

    engine_look_begin(); /* the dataset's folder is listed once for all checks */
    rc = engine_probe_open(&run, &material->job, &material->probe, threads, &start, &sink, err);
    engine_look_end();
    if (!rc)
        rc = engine_probe_measure(run, &slot->request, outcome, err);
    if (rc != ERR_DEVICE_LOST) /* which may never answer again; the process ends soon */
        engine_probe_close(run);
    return rc;
}

static int measure(struct slot *slot, const struct db_probe_claim *claim, struct recorder *recorder,
                   enum engine_outcome *outcome, bool *aside, struct err *err)
{
    struct material material = {0};
    int rc = load(slot->reader, claim, &material, err);

    if (!rc) {
        rc = engine_device_take(&material.job, err);
        *aside = rc == ERR_DEVICE;
    }
    if (!rc) {
        rc = run_probe(slot, claim->threads, &material, recorder, outcome, err);
        if (rc && !recorder->failed)
            rc = job_device_failed(&material.job, aside, err);
        if (!rc && material.job.device >= DEVICE_CUDA)
            queue_gpu_runs(slot->queue);
        engine_device_release(&material.job);
    }
    material_free(&material);
    return rc;
}

static enum probe_state end_state(const struct slot *slot, const struct work_result *result)
{
    enum probe_state stopped = slot->wish == WISH_CANCEL ? PROBE_CANCELLED : PROBE_QUEUED;

    if (worker_disk_failed(result) || result->again || result->aside)
        return stopped;
    if (result->rc)
        return PROBE_FAILED;
    if (result->outcome == ENGINE_FINISHED)
        return PROBE_SUCCEEDED;
    return result->outcome == ENGINE_ABANDONED ? PROBE_CANCELLED : stopped;
}

static int record_end(struct slot *slot, const struct work_result *result, const char **end,
                      struct err *err)
{
    enum probe_state state = end_state(slot, result);
    struct queue *queue = slot->queue;
    int rc;

    *end = probe_state_name(state);
    if (!result->aside || state != PROBE_QUEUED)
        return db_probe_set_state(queue->db, slot->probe, state, worker_reason(result), err);
    rc = db_probe_wait(queue->db, slot->probe, result->err.message, err);
    if (rc)
        return rc;
    atomic_store(&queue->probes_wait, true);
    if (atomic_load(&queue->gpu_runs) != slot->gpu_runs) /* it would have been woken meanwhile */
        queue_probes_go_on(queue);
    return 0;
}

void probe_work(struct slot *slot, struct db_probe_claim *claim)
{
    struct recorder recorder = {.db = slot->queue->db, .claim = claim, .told = clock_seconds()};
    struct work_result result = {.outcome = ENGINE_ABANDONED};
    char name[64];

    snprintf(name, sizeof name, "probe %lld of job %lld", (long long)claim->number,
             (long long)claim->job);
    slot->gpu_runs = atomic_load(&slot->queue->gpu_runs);
    result.rc = measure(slot, claim, &recorder, &result.outcome, &result.aside, &result.err);
    result.database_failed = recorder.failed;
    if (result.rc == ERR_DEVICE_LOST) {
        result.again = true;
        if (queue_lose(slot->queue)) /* else it was stopped by what another one did */
            db_probe_lost(slot->queue->db, claim->id, &result.again, NULL);
    }
    db_probe_claim_free(claim);
    worker_end(slot, name, &result, record_end);
}
