/* Sweeps: their jobs are queued together, and cancelled, paused and resumed together. How many of
 * them may run at a time is the database's business: db_job_claim passes over a sweep that is full.
 */
#include "queue_inside.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "db/sweep.h"

int queue_sweep_submit(struct queue *queue, const struct queue_sweep *sweep, int64_t *id,
                       bool *existing, struct err *err)
{
    cleanup_free struct db_new_job *rows = calloc((size_t)sweep->n, sizeof *rows);
    const struct db_new_sweep new = {.name = sweep->name,
                                     .spec = sweep->spec,
                                     .max_running = sweep->max_running,
                                     .idempotency_key = sweep->idempotency_key,
                                     .fingerprint = sweep->fingerprint,
                                     .queue_limit = queue->options.queue_limit,
                                     .n = sweep->n,
                                     .jobs = rows};
    struct engine_job_facts facts;
    int rc = rows ? 0 : err_no_memory(err);

    for (int i = 0; !rc && i < sweep->n; i++)
        rc = queue_row(sweep->jobs[i], sweep->specs[i], &facts, &rows[i], err);
    if (!rc)
        rc = db_sweep_insert(queue->db, &new, id, existing, err);
    if (!rc && !*existing)
        queue_post(queue);
    return rc;
}

struct running {
    int n;
    bool pausing; /* only those that are to be paused */
    int64_t id[DB_SWEEP_JOBS_MAX];
};

static int add_running(void *context, const struct db_job *job)
{
    struct running *running = context;

    if (!running->pausing || job->wish == WISH_PAUSE)
        running->id[running->n++] = job->id;
    return 0;
}

/* The sweep's jobs that run. *n: how many take the action; *what is what happens to those. */
static int control_running(struct queue *queue, int64_t sweep, enum queue_action action,
                           const char **what, int64_t *n, struct err *err)
{
    const struct db_job_query query = {
        .state = JOB_RUNNING, .sweep = sweep, .limit = DB_SWEEP_JOBS_MAX};
    struct running running = {.pausing = action == QUEUE_RESUME};
    int rc = db_jobs_each(queue->reader, &query, add_running, &running, err);

    *n = 0;
    for (int i = 0; !rc && i < running.n; i++) {
        if (action == QUEUE_RESUME)
            rc = queue_stay_locked(queue, running.id[i], err);
        else
            rc = queue_control_locked(queue, running.id[i], action, what, err);
        *n += !rc;
        rc = rc == ERR_CONFLICT ? 0 : rc; /* it is being cancelled already */
    }
    return rc;
}

/* Those that wait come first: none of them may be taken in the place of one that ends. */
static int control_locked(struct queue *queue, int64_t id, enum queue_action action,
                          const char **what, struct err *err)
{
    static const struct {
        enum db_sweep_action action;
        const char *what, *verb;
    } table[] = {[QUEUE_CANCEL] = {SWEEP_CANCEL, "cancelled", "cancelled"},
                 [QUEUE_PAUSE] = {SWEEP_PAUSE, "paused", "paused"},
                 [QUEUE_RESUME] = {SWEEP_RESUME, "queued", "resumed"}};
    int64_t changed, running = 0;
    int rc = db_sweep_change(queue->db, id, table[action].action, &changed, err);

    *what = table[action].what;
    if (!rc)
        rc = control_running(queue, id, action, what, &running, err);
    if (!rc && changed + running == 0)
        rc = err_set(err, ERR_CONFLICT, "sweep %lld has no job that could be %s", (long long)id,
                     table[action].verb);
    return rc;
}

int queue_sweep_control(struct queue *queue, int64_t id, enum queue_action action,
                        const char **what, struct err *err)
{
    int rc;

    pthread_mutex_lock(&queue->lock);
    rc = control_locked(queue, id, action, what, err);
    pthread_mutex_unlock(&queue->lock);
    if (!rc && action == QUEUE_RESUME)
        queue_post(queue);
    return rc;
}

int queue_sweep_delete(struct queue *queue, int64_t id, struct err *err)
{
    return db_sweep_delete(queue->db, id, err);
}
