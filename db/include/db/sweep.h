/* Sweeps: jobs that were made together, of a base job and a grid of changes, and how far they are.
 * A sweep has no state of its own in the database: it is what its jobs are. */
#ifndef DB_SWEEP_H
#define DB_SWEEP_H

#include "db/db.h"
#include "db/probe.h"

#define DB_SWEEP_JOBS_MAX 1000

struct db_new_sweep {
    const char *name;
    const char *spec;              /* the base job and the grid, as JSON */
    int64_t max_running;           /* most of its jobs that run at a time; 0: any number */
    const char *idempotency_key;   /* NULL: none; apart from those of jobs */
    const char *fingerprint;       /* of the request, compared when a key comes again */
    int64_t queue_limit;           /* most jobs that may be queued with these; 0: no limit */
    int n;                         /* 1 to DB_SWEEP_JOBS_MAX */
    const struct db_new_job *jobs; /* in order; their keys and limits are not looked at */
};

/* Durable: the sweep and all of its jobs, or nothing. The key, its fingerprint and what the jobs
 * begin with as with db_job_insert. ERR_LIMIT when the queue has no room for all of them. */
int db_sweep_insert(struct db *db, const struct db_new_sweep *sweep, int64_t *id, bool *existing,
                    struct err *err);

enum db_sweep_action { SWEEP_CANCEL, SWEEP_PAUSE, SWEEP_RESUME };

/* Durable, in one transaction: cancels the sweep's queued and paused jobs, pauses the queued ones
 * or queues the paused ones. Those that run are left alone. *n: how many were changed. */
int db_sweep_change(struct db *db, int64_t id, enum db_sweep_action action, int64_t *n,
                    struct err *err);

/* Durable. Deletes a sweep whose jobs have all ended, with them: see db_job_delete. */
int db_sweep_delete(struct db *db, int64_t id, struct err *err);

struct db_sweep {
    int64_t id;
    char name[201];
    char *spec; /* freed by db_sweep_free */
    int64_t max_running, points, created_ms;
    int64_t jobs[JOB_STATES];
    int64_t finished_ms;          /* when the last job ended; 0: not all have */
    double updates, updates_done; /* of all jobs together */
    double seconds;
    int64_t gradient_evaluations;
    bool begun;                   /* a job of it was started or has ended */
    int64_t probes[PROBE_STATES]; /* of its jobs; by db_sweep_read alone */
};

void db_sweep_free(struct db_sweep *sweep);
int db_sweep_get(struct db_reader *reader, int64_t id, struct db_sweep *out, struct err *err);

/* Newest first, of ids below `before` (0: from the newest), at most `limit`. Return non-zero from
 * `each` to stop; what it is given is freed afterwards. */
int db_sweeps_each(struct db_reader *reader, int64_t before, int64_t limit,
                   int (*each)(void *context, const struct db_sweep *sweep), void *context,
                   struct err *err);

/* What a sweep's table is made of. */
struct db_sweep_job {
    int64_t id, point;
    enum job_state state;
    bool has_train, has_test;
    double train_loss, train_top1; /* of the last epoch */
    double test_top1, best_top1;
    int64_t gradient_evaluations;
    double seconds;
};

/* A sweep and its jobs in the order of points, as of one moment. With each job the summaries (row 0
 * of table 0) of its probes that have succeeded, by kind: of several of a kind the newest comes
 * last. */
int db_sweep_read(struct db_reader *reader, int64_t id, struct db_sweep *out,
                  int (*each)(void *context, const struct db_sweep_job *job),
                  int (*probe)(void *context, int64_t point, const char *kind,
                               const struct probe_row *summary),
                  void *context, struct err *err);

#endif
