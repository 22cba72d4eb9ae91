/* A worker: takes the next job, trains it, records how it ended, over and over; but first the next
 * probe (probe_work.c), unless a job of higher priority waits.
 *
 * A job's end in the database is what the run came to; only a run that stopped because it was asked
 * to has a choice:
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
#include "probe.h"
#include "queue_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/run.h"

/* The engine's threads inherit it. The API's threads then run as soon as they have something to
 * do. */
#define TRAINING_NICE 5

#define RETRY_SECONDS 1.0

static void lower_priority(void)
{
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), TRAINING_NICE))
        log_debug("cannot lower the priority of a worker: %s", strerror(errno));
}

bool queue_passes_by_itself(int rc)
{
    return rc == ERR_FULL || rc == ERR_BUSY || rc == ERR_IO || rc == ERR_NO_MEMORY;
}

static int take_job(struct slot *slot, struct db_claim *claim, struct err *err)
{
    struct queue *queue = slot->queue;
    int expected = ENGINE_CONTINUE, rc;

    pthread_mutex_lock(&queue->lock);
    atomic_store(&slot->request, ENGINE_CONTINUE);
    if (atomic_load(&queue->stopping)) {
        pthread_mutex_unlock(&queue->lock);
        return ERR_NOT_FOUND;
    }
    rc = db_job_claim(queue->db, queue_thread_share(queue), claim, err);
    if (!rc) {
        slot->job = claim->id;
        slot->wish = WISH_NONE;
    }
    pthread_mutex_unlock(&queue->lock);
    /* A stop that came before the claim may have found nothing to stop. */
    if (atomic_load(&queue->stopping))
        atomic_compare_exchange_strong(&slot->request, &expected, ENGINE_STOP);
    return rc;
}

static bool disk_failed(const struct job_result *result)
{
    return result->database_failed && queue_passes_by_itself(result->rc);
}

/* Of a run that did not come to an end of its own. */
static enum job_state state_of_stopped(const struct slot *slot, enum job_state without_wish)
{
    if (slot->wish == WISH_CANCEL)
        return JOB_CANCELLED;
    return slot->wish == WISH_PAUSE ? JOB_PAUSED : without_wish;
}

static enum job_state end_state(const struct slot *slot, const struct job_result *result)
{
    if (disk_failed(result) || result->rc == ERR_DEVICE_LOST)
        return state_of_stopped(slot, JOB_QUEUED);
    if (result->rc)
        return result->data_failed ? state_of_stopped(slot, JOB_PAUSED) : JOB_FAILED;
    if (result->outcome == ENGINE_FINISHED)
        return JOB_SUCCEEDED;
    return result->outcome == ENGINE_ABANDONED ? JOB_CANCELLED : state_of_stopped(slot, JOB_QUEUED);
}

static int try_to_end(struct slot *slot, const struct job_result *result, enum job_state *state,
                      struct err *err)
{
    struct queue *queue = slot->queue;
    int rc;

    pthread_mutex_lock(&queue->lock);
    *state = end_state(slot, result);
    if (result->rc == ERR_DEVICE_LOST)
        rc = db_job_lost(queue->db, slot->job, result->counted, result->err.message, state, err);
    else
        rc = db_job_set_state(queue->db, slot->job, *state,
                              result->rc && !disk_failed(result) ? result->err.message : NULL, err);
    if (!queue_passes_by_itself(rc))
        slot->job = 0;
    pthread_mutex_unlock(&queue->lock);
    return rc;
}

static void leave_job(struct slot *slot)
{
    pthread_mutex_lock(&slot->queue->lock);
    slot->job = 0;
    pthread_mutex_unlock(&slot->queue->lock);
}

static void end_job(struct slot *slot, const struct job_result *result)
{
    struct queue *queue = slot->queue;
    long long id = slot->job;
    enum job_state state;
    struct err err;
    bool told = false;

    for (;;) {
        uint64_t seen = queue_posts(queue);
        int rc = try_to_end(slot, result, &state, &err);

        if (!rc) {
            log_info("job %lld: %s%s%s", id, job_state_name(state), result->rc ? ": " : "",
                     result->rc ? result->err.message : "");
            queue_post(queue); /* its sweep may have room now, for workers that sleep */
            return;
        }
        if (!told || !queue_passes_by_itself(rc))
            log_error("job %lld: cannot record that it is %s: %s", id, job_state_name(state),
                      err.message);
        told = true;
        if (!queue_passes_by_itself(rc))
            return;
        if (atomic_load(&queue->giving_up)) {
            leave_job(slot);
            return;
        }
        queue_sleep(queue, seen, RETRY_SECONDS);
    }
}

static void work_on(struct slot *slot, const struct db_claim *claim)
{
    struct job_result result;

    job_run(slot, claim, &result);
    if (result.rc == ERR_DEVICE_LOST)
        result.counted = queue_lose(slot->queue);
    /* Otherwise, for example, a checkpoint that is too large for a row: no start will do better. */
    if (!result.database_failed ||
        (result.rc != ERR_CORRUPT && !atomic_load(&slot->queue->giving_up))) {
        end_job(slot, &result);
        return;
    }
    log_error("job %lld: stopped, because the database failed: %s; it goes on from its last "
              "checkpoint at the next start",
              (long long)claim->id, result.err.message);
    leave_job(slot);
}

/* Waits where no job could be had: for one to be posted, or for the database to recover. A damaged
 * database does not: nothing more is taken, and /readyz says why. */
static void wait_after(struct queue *queue, int rc, uint64_t seen, const struct err *err,
                       int *last_rc)
{
    if (rc != ERR_NOT_FOUND && rc != *last_rc)
        log_error("cannot take a job or probe: %s", err->message);
    *last_rc = rc;
    queue_sleep(queue, seen, rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? 0 : RETRY_SECONDS);
}

static void work(struct slot *slot)
{
    struct queue *queue = slot->queue;
    int last_rc = 0;

    for (;;) {
        /* Before the look at `stopping`, so that no post is slept through. */
        uint64_t seen = queue_posts(queue);
        struct db_probe_claim probe = {0};
        struct db_claim claim = {0};
        struct err err = {0};
        int rc;

        if (atomic_load(&queue->stopping))
            return;
        rc = probe_take(slot, &probe, &err);
        if (rc == 0)
            probe_work(slot, &probe);
        else if (rc == ERR_NOT_FOUND)
            rc = take_job(slot, &claim, &err);
        if (rc) {
            wait_after(queue, rc, seen, &err, &last_rc);
            continue;
        }
        last_rc = 0;
        if (claim.id)
            work_on(slot, &claim);
        free(claim.spec);
    }
}

void *worker_main(void *argument)
{
    struct slot *slot = argument;
    struct queue *queue = slot->queue;

    lower_priority();
    work(slot);
    pthread_mutex_lock(&queue->wake_lock);
    queue->at_work--;
    pthread_cond_broadcast(&queue->wake);
    pthread_mutex_unlock(&queue->wake_lock);
    return NULL;
}
