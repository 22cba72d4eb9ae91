/* Pausing, resuming and cancelling: what is possible in which state.
 *
 *             pause        resume     cancel
 *   queued    → paused     conflict   → cancelled
 *   running   "pausing"    conflict   "cancelling"
 *   paused    conflict     → queued   → cancelled
 *   ended     conflict     conflict   conflict
 *
 * For a running job the wish is recorded first, so that it outlives this process; then the worker
 * is told. Asking again for what is under way is fine, and a pause that is under way may become a
 * cancellation, but not the other way round. A job that comes to its end before it sees the wish
 * has succeeded or failed, and that is its state. */
#include "queue_inside.h"

#include "base/cleanup.h"
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

/* The state that an action leads to from a state in which no worker has the job; -1: none. */
static int next_state(enum job_state state, enum queue_action action)
{
    if (state != JOB_QUEUED && state != JOB_PAUSED)
        return -1;
    if (action == QUEUE_CANCEL)
        return JOB_CANCELLED;
    if (action == QUEUE_PAUSE)
        return state == JOB_QUEUED ? JOB_PAUSED : -1;
    return state == JOB_PAUSED ? JOB_QUEUED : -1;
}

static int control_locked(struct queue *queue, int64_t id, enum queue_action action,
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
    rc = control_locked(queue, id, action, what, err);
    pthread_mutex_unlock(&queue->lock);
    if (!rc && action == QUEUE_RESUME)
        queue_post(queue);
    return rc;
}
