/* Pausing, resuming and cancelling: what is possible in which state.
 *
 *             pause        resume     cancel
 *   queued    → paused     conflict   → cancelled
 *   running   "pausing"    conflict   "cancelling"
 *   paused    conflict     → queued   → cancelled
 *   failed    conflict     → queued   conflict
 *   other     conflict     conflict   conflict
 *
 * A job that has ended can be deleted, which is the database's business alone.
 *
 * For a running job the wish is recorded first, so that it outlives this process; then the worker
 * is told. Asking again for what is under way is fine, and a pause that is under way may become a
 * cancellation, but not the other way round. A job that comes to its end before it sees the wish
 * has succeeded or failed, and that is its state.
 *
 * A probe can only be cancelled: at once while it is queued; while it is running, as a job is. */
#include "queue_inside.h"

#include "base/cleanup.h"
#include "db/probe.h"
#include "engine/run.h"

static struct slot *find_slot(struct queue *queue, int64_t id)
{
    for (int i = 0; i < queue->n_slots; i++)
        if (queue->slots[i].job == id)
            return &queue->slots[i];
    return NULL;
}

static int conflict(enum queue_action action, const struct db_job *job, struct err *err)
{
    static const char *const verbs[] = {"cancelled", "paused", "resumed"};
    static const char *const wishes[] = {"", " and being paused", " and being cancelled"};

    return err_set(err, ERR_CONFLICT, "job %lld is %s%s: it cannot be %s", (long long)job->id,
                   job_state_name(job->state), job->state == JOB_RUNNING ? wishes[job->wish] : "",
                   verbs[action]);
}

/* A running job without a slot is one whose end the database has refused to record: the wish
 * decides what becomes of it at the next start. */
static int wish_for(struct queue *queue, int64_t id, enum job_wish wish, struct err *err)
{
    struct slot *slot = find_slot(queue, id);
    int rc = db_job_wish(queue->db, id, wish, err);
    int expected = ENGINE_CONTINUE;

    if (rc || !slot)
        return rc;
    slot->wish = wish;
    if (wish == WISH_CANCEL)
        atomic_store(&slot->request, ENGINE_ABANDON);
    else
        atomic_compare_exchange_strong(&slot->request, &expected, ENGINE_STOP);
    return 0;
}

static int control_running(struct queue *queue, const struct db_job *job, enum queue_action action,
                           const char **what, struct err *err)
{
    enum job_wish wish = action == QUEUE_CANCEL ? WISH_CANCEL : WISH_PAUSE;

    if (action == QUEUE_RESUME || (wish == WISH_PAUSE && job->wish == WISH_CANCEL))
        return conflict(action, job, err);
    *what = wish == WISH_CANCEL ? "cancelling" : "pausing";
    return job->wish == wish ? 0 : wish_for(queue, job->id, wish, err);
}

int queue_stay_locked(struct queue *queue, int64_t id, struct err *err)
{
    struct slot *slot = find_slot(queue, id);
    int rc = db_job_wish(queue->db, id, WISH_NONE, err);

    if (!rc && slot)
        slot->wish = WISH_NONE;
    return rc;
}

/* The state that an action leads to from a state in which no worker has the job; -1: none. */
static int next_state(enum job_state state, enum queue_action action)
{
    if (action == QUEUE_RESUME)
        return state == JOB_PAUSED || state == JOB_FAILED ? JOB_QUEUED : -1;
    if (state != JOB_QUEUED && state != JOB_PAUSED)
        return -1;
    if (action == QUEUE_CANCEL)
        return JOB_CANCELLED;
    return state == JOB_QUEUED ? JOB_PAUSED : -1;
}

int queue_control_locked(struct queue *queue, int64_t id, enum queue_action action,
                         const char **what, struct err *err)
{
    struct db_job job;
    int to, rc = db_job_get(queue->reader, id, &job, err);

    if (rc)
        return rc;
    to = next_state(job.state, action);
    if (job.state == JOB_RUNNING) {
        rc = control_running(queue, &job, action, what, err);
    } else if (to < 0) {
        rc = conflict(action, &job, err);
    } else {
        *what = job_state_name((enum job_state)to);
        rc = db_job_set_state(queue->db, id, (enum job_state)to, NULL, err);
    }
    db_job_free(&job);
    return rc;
}

int queue_control(struct queue *queue, int64_t id, enum queue_action action, const char **what,
                  struct err *err)
{
    int rc;

    pthread_mutex_lock(&queue->lock);
    rc = queue_control_locked(queue, id, action, what, err);
    pthread_mutex_unlock(&queue->lock);
    if (!rc && action == QUEUE_RESUME)
        queue_post(queue);
    return rc;
}

int queue_delete(struct queue *queue, int64_t id, struct err *err)
{
    return db_job_delete(queue->db, id, err);
}

static int cancel_probe(struct queue *queue, const struct db_probe *probe, const char **what,
                        struct err *err)
{
    int rc;

    *what = "cancelled";
    if (probe->state == PROBE_QUEUED)
        return db_probe_set_state(queue->db, probe->id, PROBE_CANCELLED, NULL, err);
    if (probe->state != PROBE_RUNNING)
        return err_set(err, ERR_CONFLICT, "the probe is %s: it cannot be cancelled",
                       probe_state_name(probe->state));
    *what = "cancelling";
    rc = probe->cancelling ? 0 : db_probe_wish_cancel(queue->db, probe->id, err);
    for (int i = 0; !rc && i < queue->n_slots; i++)
        if (queue->slots[i].probe == probe->id) {
            queue->slots[i].wish = WISH_CANCEL;
            atomic_store(&queue->slots[i].request, ENGINE_ABANDON);
        }
    return rc;
}

int queue_cancel_probe(struct queue *queue, int64_t job, int64_t number, const char **what,
                       struct err *err)
{
    struct db_probe probe;
    int rc;

    pthread_mutex_lock(&queue->lock);
    rc = db_probe_get(queue->reader, job, number, &probe, err);
    if (!rc) {
        rc = cancel_probe(queue, &probe, what, err);
        db_probe_free(&probe);
    }
    pthread_mutex_unlock(&queue->lock);
    return rc;
}
