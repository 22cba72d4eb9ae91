/* Jobs on a worker: which one it takes, and what its run's end makes of it in the database.
 *
 * That is what the run came to; only a run that stopped because it was asked to has a choice:
 *
 *   finished                → succeeded, whatever was wished meanwhile
 *   stopped, wish to pause  → paused
 *   stopped, wish to cancel → cancelled (it came after the pause)
 *   stopped, no wish        → queued: the daemon stops
 *   abandoned               → cancelled
 *   data cannot be read     → paused, with that as the reason: a file system may come back
 *   its GPU is set aside    → paused likewise
 *   its GPU is lost         → as if stopped: the daemon ends to be started again; the third time in
 *                             a row failed
 *   other error             → failed, with its message as the reason
 *   disk failed             → as if stopped: it goes on from its last checkpoint
 *   database failed         → left as it is: the next start puts it right (db_recover) */
#include <stdio.h>

#include "queue_inside.h"

static int claim_job(struct slot *slot, void *out, struct err *err)
{
    struct queue *queue = slot->queue;
    struct db_claim *claim = out;
    int rc = db_job_claim(queue->db, queue_thread_share(queue), claim, err);

    if (!rc)
        slot->job = claim->id;
    return rc;
}

int job_take(struct slot *slot, struct db_claim *claim, struct err *err)
{
    return worker_take(slot, claim_job, claim, err);
}

/* Of a run that did not come to an end of its own. */
static enum job_state state_of_stopped(const struct slot *slot, enum job_state without_wish)
{
    if (slot->wish == WISH_CANCEL)
        return JOB_CANCELLED;
    return slot->wish == WISH_PAUSE ? JOB_PAUSED : without_wish;
}

static enum job_state end_state(const struct slot *slot, const struct work_result *result)
{
    if (worker_disk_failed(result) || result->rc == ERR_DEVICE_LOST)
        return state_of_stopped(slot, JOB_QUEUED);
    if (result->rc)
        return result->data_failed ? state_of_stopped(slot, JOB_PAUSED) : JOB_FAILED;
    if (result->outcome == ENGINE_FINISHED)
        return JOB_SUCCEEDED;
    return result->outcome == ENGINE_ABANDONED ? JOB_CANCELLED : state_of_stopped(slot, JOB_QUEUED);
}

static int record_end(struct slot *slot, const struct work_result *result, const char **end,
                      struct err *err)
{
    struct db *db = slot->queue->db;
    enum job_state state = end_state(slot, result);
    int rc;

    if (result->rc == ERR_DEVICE_LOST)
        rc = db_job_lost(db, slot->job, result->counted, result->err.message, &state, err);
    else
        rc = db_job_set_state(db, slot->job, state, worker_reason(result), err);
    *end = job_state_name(state);
    return rc;
}

void job_work(struct slot *slot, const struct db_claim *claim)
{
    struct work_result result;
    char name[32];

    snprintf(name, sizeof name, "job %lld", (long long)claim->id);
    job_run(slot, claim, &result);
    if (result.rc == ERR_DEVICE_LOST)
        result.counted = queue_lose(slot->queue);
    if (worker_end(slot, name, &result, record_end))
        queue_post(slot->queue); /* its sweep may have room now, for workers that sleep */
}
