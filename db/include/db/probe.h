/* Probes: measurements of the loss surface at a job's checkpoint, their rows and vectors. See db.h
 * for what *durable* and *queued* mean. A probe stays as long as its job does. */
#ifndef DB_PROBE_H
#define DB_PROBE_H

#include "base/probe.h"
#include "db/db.h"

enum probe_state {
    PROBE_QUEUED,
    PROBE_RUNNING,
    PROBE_SUCCEEDED,
    PROBE_FAILED,
    PROBE_CANCELLED,
    PROBE_STATES
};

/* "queued", "running", …; "unknown" for any other value. */
const char *probe_state_name(enum probe_state state);

/* What is to be measured. */
struct db_probe_plan {
    const char *kind;
    const char *request; /* as normalised JSON */
    int64_t priority;
    int64_t other_job, other_update; /* a second checkpoint that it needs; 0: none */
    int64_t upload;                  /* and an upload; 0: none */
};

struct db_new_probe {
    struct db_probe_plan plan;
    int64_t job;
    uint64_t update;                           /* of the checkpoint that is looked at */
    const char *idempotency_key, *fingerprint; /* as a job's */
    int64_t queue_limit; /* most probes that may be queued; ERR_LIMIT beyond; 0: no limit */
    int64_t job_limit;   /* most probes of a job; likewise */
};

/* Durable. *number counts the job's probes from 1. Keys as with `db_job_insert`. ERR_NOT_FOUND:
 * there is no such job. ERR_CONFLICT, too, when a checkpoint or an upload that the probe needs is
 * not there. If it is, it stays until the probe has ended. */
int db_probe_insert(struct db *db, const struct db_new_probe *probe, int64_t *number,
                    bool *existing, struct err *err);

/* A probe that a job wants of one of its checkpoints. */
struct db_due {
    int place; /* in the job's list */
    struct db_probe_plan plan;
};

/* As `db_checkpoint_add`, and queues these probes of the checkpoint, each only once however often
 * the checkpoint is written. A crash leaves both or none. */
int db_checkpoint_add_due(struct db *db, int64_t job, const struct checkpoint *checkpoint,
                          bool final, int64_t keep, const struct db_due *due, int n_due,
                          struct err *err);

/* Durable. The one function that changes a state (see the machine over its body); ERR_CONFLICT for
 * a change that the machine does not have, ERR_NOT_FOUND. A final state lets go of checkpoints that
 * were kept for this probe alone. */
int db_probe_set_state(struct db *db, int64_t id, enum probe_state to, const char *reason,
                       struct err *err);

/* Durable. Takes the queued probe of highest priority, oldest first, unless a job of higher
 * priority is queued, and makes it running. Thread count: that of its first start, else its job's,
 * else `threads`. ERR_NOT_FOUND: none. */
struct db_probe_claim {
    int64_t id, job, number;
    uint64_t update;
    char *request, *spec; /* the probe's and the job's; db_probe_claim_free */
    int threads;
};
int db_probe_claim(struct db *db, int threads, struct db_probe_claim *out, struct err *err);
void db_probe_claim_free(struct db_probe_claim *claim);

/* Durable. Records that a running probe is to be cancelled; ERR_CONFLICT if it is not running. */
int db_probe_wish_cancel(struct db *db, int64_t id, struct err *err);

/* Durable. A running probe is queued again, with this reason, but not to be claimed until
 * `db_probes_go_on` or the next start: its GPU is set aside. ERR_CONFLICT if it is not running. */
int db_probe_wait(struct db *db, int64_t id, const char *reason, struct err *err);
/* Durable. All that wait may be claimed again. *n: how many. */
int db_probes_go_on(struct db *db, int *n, struct err *err);

/* Durable. Counts that a probe's GPU was lost. *again: whether the probe is to be queued once more,
 * which it is not at the DB_LOSSES_MAXth time. */
int db_probe_lost(struct db *db, int64_t id, bool *again, struct err *err);

/* Durable; once at start, after `db_recover`. Probes that a dead process left running become
 * cancelled if that was wished, else queued again; but failed at the DB_PROBE_CRASHES_MAXth time in
 * which they had told no new row since the time before. None waits any longer. */
#define DB_PROBE_CRASHES_MAX 5
int db_probe_recover(struct db *db, int *n, struct err *err);

/* Queued. Of a running probe only (ERR_CONFLICT). */
int db_probe_row_add(struct db *db, int64_t id, const struct probe_row *row, struct err *err);
/* Becomes an event, which replaces the one before. */
int db_probe_progress(struct db *db, int64_t id, double progress, struct err *err);
/* Becomes a new line of the probe's message, unless that contains the text already. */
int db_probe_message(struct db *db, int64_t id, const char *text, struct err *err);

/* Durable, whole or not at all; replaces what was there. vectors->update is not looked at. */
int db_probe_vectors_add(struct db *db, int64_t id, const struct checkpoint *vectors,
                         struct err *err);
/* For the functions that read checkpoints, a probe's vectors are the checkpoint of the update `id`
 * of this job. */
#define DB_VECTORS_JOB 0

/* ---- Reading ---- */

struct db_probe {
    int64_t id, job, number;
    uint64_t update;
    bool planned; /* one of the job's own */
    enum probe_state state;
    bool cancelling, vectors;
    double progress;
    char kind[32];
    char *request, *reason, *message; /* freed by db_probe_free; the latter two may be NULL */
    int64_t priority;
    int threads, starts;
    int64_t created_ms, started_ms, finished_ms; /* 0: not yet */
};

void db_probe_free(struct db_probe *probe);
int db_probe_get(struct db_reader *reader, int64_t job, int64_t number, struct db_probe *out,
                 struct err *err);

struct db_probe_query {
    int64_t job;
    int state;      /* enum probe_state, or -1: any */
    int64_t before; /* only numbers below this; 0: from the newest */
    int limit;
};
/* Newest first. */
int db_probes_each(struct db_reader *reader, const struct db_probe_query *query,
                   int (*each)(void *context, const struct db_probe *probe), void *context,
                   struct err *err);

/* *n: how many rows of a table have a number above `after`; with −1 that is all of them. */
int db_probe_rows_count(struct db_reader *reader, int64_t id, int table, int64_t after, int64_t *n,
                        struct err *err);
/* In order, from number `after` + 1 on, at most `limit`. */
int db_probe_rows_each(struct db_reader *reader, int64_t id, int table, int64_t after,
                       int64_t limit, int (*each)(void *context, const struct probe_row *row),
                       void *context, struct err *err);
/* All rows of all tables. The caller frees *rows. */
int db_probe_rows_load(struct db_reader *reader, int64_t id, struct probe_row **rows, int64_t *n,
                       struct err *err);

/* *n: how many probes of a job are queued or running. */
int db_probes_active(struct db_reader *reader, int64_t job, int64_t *n, struct err *err);

/* Probes by state: for /metrics. */
int db_probe_totals(struct db_reader *reader, int64_t out[PROBE_STATES], struct err *err);

#endif
