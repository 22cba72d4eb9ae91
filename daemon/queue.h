/* The queue of jobs and the workers that train them. The jobs themselves stand in the database;
 * here is only what runs at this moment. */
#ifndef DAEMON_QUEUE_H
#define DAEMON_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "db/db.h"
#include "engine/job.h"

struct queue;

struct queue_options {
    int workers;
    int threads; /* CPU threads of all workers together; each gets an equal share, at least 1 */
    int64_t queue_limit;
    /* Called once, by a worker, when a GPU was lost and the process has to end; from then on no job
     * is taken and running ones stop, as by `queue_stop`. */
    void (*lost)(void *context);
    void *context;
};

int queue_open(struct queue **out, const struct queue_options *options, struct db *db,
               struct err *err);

/* Starts the workers: from now on jobs are taken. */
int queue_start(struct queue *queue, struct err *err);

/* No job is taken any more; running ones write a checkpoint and are queued again. Returns at once.
 */
void queue_stop(struct queue *queue);

/* Whether the queue has stopped because a GPU was lost. */
bool queue_lost(const struct queue *queue);

/* Waits until no worker is at work any more, at most so long; returns how many still are. */
int queue_wait(struct queue *queue, double seconds);

/* Ends the waiting for a database that does not take a state's change: the job stays as the
 * database knows it, and `db_recover` puts it right at the next start. */
void queue_give_up(struct queue *queue);

/* After `queue_stop`; joins the workers. NULL is fine. */
void queue_close(struct queue *queue);

/* ---- For the API, from any thread ---- */

enum queue_action { QUEUE_CANCEL, QUEUE_PAUSE, QUEUE_RESUME };

/* Fills in which checkpoint is the newest where a job begins with another one's weights; tells what
 * is wrong with what it begins with, whether it wants more threads than all workers have together,
 * and whether its GPU is too small for it. */
int queue_prepare(struct queue *queue, struct engine_job *job, struct problems *problems,
                  struct err *err);

/* Durable. `spec` is *job as normalised JSON. */
int queue_submit(struct queue *queue, const struct engine_job *job, const char *spec,
                 const char *idempotency_key, const char *fingerprint, int64_t *id, bool *existing,
                 struct err *err);

/* Durable. *what says what happened (static text): "cancelled", "paused" or "queued" when it is
 * done, "cancelling" or "pausing" when a worker will see to it. ERR_CONFLICT with the present state
 * in the message, ERR_NOT_FOUND. */
int queue_control(struct queue *queue, int64_t id, enum queue_action action, const char **what,
                  struct err *err);

/* Durable: see db_job_delete. */
int queue_delete(struct queue *queue, int64_t id, struct err *err);

/* A probe of a job: see probe_prepare and probe_submit. Durable. */
int queue_prepare_probe(struct queue *queue, int64_t job, struct engine_probe *probe,
                        struct problems *problems, struct err *err);
int queue_submit_probe(struct queue *queue, int64_t job, const struct engine_probe *probe,
                       const char *request, const char *idempotency_key, const char *fingerprint,
                       int64_t *number, bool *existing, struct err *err);

/* Durable. *what as above. ERR_CONFLICT if it has ended. */
int queue_cancel_probe(struct queue *queue, int64_t job, int64_t number, const char **what,
                       struct err *err);

/* Weights that jobs and probes may begin with: as db_upload_add and db_upload_delete. */
int queue_add_upload(struct queue *queue, const struct db_upload *upload,
                     const struct checkpoint *tensors, int64_t *id, bool *existing,
                     struct err *err);
int queue_delete_upload(struct queue *queue, int64_t id, struct err *err);

/* A base job and a grid of changes, as jobs. */
struct queue_sweep {
    const char *name, *spec; /* spec: the base job and the grid, as JSON */
    int64_t max_running;     /* most of its jobs that run at a time; 0: any number */
    const char *idempotency_key, *fingerprint;
    int n;
    const struct engine_job *const *jobs;
    const char *const *specs; /* the jobs as normalised JSON */
};

/* Durable: all of it or nothing. */
int queue_sweep_submit(struct queue *queue, const struct queue_sweep *sweep, int64_t *id,
                       bool *existing, struct err *err);

/* As queue_control, of all of a sweep's jobs that take it; ERR_CONFLICT when none does. Resuming
 * takes a pause back that is under way, and leaves failed jobs as they are: of a grid many may have
 * failed for its values. */
int queue_sweep_control(struct queue *queue, int64_t id, enum queue_action action,
                        const char **what, struct err *err);

/* Durable: see db_sweep_delete. */
int queue_sweep_delete(struct queue *queue, int64_t id, struct err *err);

/* False if the job is not running. *eta_seconds is negative while not known. */
bool queue_live(struct queue *queue, int64_t id, double *updates_per_second, double *eta_seconds);

#endif
