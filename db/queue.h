/* The changes that wait for the writer, in order, and who waits for them.
 *
 * A change is a `struct db_op`, the first member of whatever its function needs. There are rows
 * (allocated, freed here once they are committed), durable ones (on the stack of a caller that
 * waits) and checkpoints, which go through their own file first and then, as a row of a kind,
 * through rwpd.db. Checkpoints have a list of their own, so that one that does not fit on the disk
 * holds up nobody but the run that made it.
 *
 * `rows` and `checkpoints` hold what no transaction under way has taken. The writer takes them, and
 * either commits and answers them or puts them back at the front: an op is always in one list or in
 * the writer's hands, never lost and never in two.
 */
#ifndef DB_QUEUE_H
#define DB_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct db_queue;
struct db_writer;

enum db_op_kind { OP_ROW, OP_DURABLE, OP_CHECKPOINT };

struct db_op {
    struct db_op *next;
    enum db_op_kind kind;
    int64_t job; /* whose change it is; below 0: the probe's −job; 0: no one job's */
    /* Under the queue's lock: may it be queued? NULL: yes. */
    int (*accept)(struct db_queue *queue, struct db_op *op, struct err *err);
    /* By the writer, in a transaction of rwpd.db; again when that transaction fails. An error that
     * is not SQLite's must leave everything unchanged: it is answered when the others commit. */
    int (*apply)(struct db_writer *writer, struct db_op *op, struct err *err);
    /* Under the queue's lock, after the commit of an op that succeeded. May be NULL. */
    void (*committed)(struct db_queue *queue, struct db_op *op);
    double time; /* ROW: when it was queued; DURABLE: how long its caller waits */
    bool done;   /* not for rows */
    int code;
    struct err *err; /* the caller's; NULL for rows */
};

struct db_list {
    struct db_op *head, *tail;
};

/* A file that cannot be written at present. */
struct db_trouble {
    int code; /* 0: there is none */
    bool permanent;
    char text[256];
    int64_t since_ms;
    double retry; /* when it is tried again */
};

/* A running job or probe, as far as recording needs it. */
struct db_run {
    int64_t job; /* as in struct db_op */
    int64_t last_update;
    struct err lost; /* code ≠ 0: a row of it could not be recorded, through a mistake of ours */
};

#define DB_RUNS_MAX 256

struct db_queue {
    pthread_mutex_t lock;
    pthread_cond_t work, room, answered; /* writer; those with rows; those who wait for an answer */
    struct db_list rows, checkpoints;
    size_t n_rows, limit; /* of kind OP_ROW, including those in the writer's hands */
    int n_urgent;         /* not of that kind, in `rows` */
    int inside;           /* callers within db_queue_add and db_queue_submit */
    bool closing, gave_up;
    double durable_wait;
    struct db_trouble rows_trouble, checkpoints_trouble;
    int64_t commits, committed_rows, last_job;
    int n_runs;
    struct db_run run[DB_RUNS_MAX];
};

int db_queue_open(struct db_queue **out, size_t limit, double durable_wait, struct err *err);
void db_queue_free(struct db_queue *queue);

/* ---- For callers ---- */

/* Takes an allocated row over, unless it fails. Blocks while the queue is full. */
int db_queue_add(struct db_queue *queue, struct db_op *op, struct err *err);

/* Under the lock, by the writer: the same for a row of no job, which may not wait. */
void db_queue_push(struct db_queue *queue, struct db_op *op);

/* Returns when the op is on disk or refused. */
int db_queue_submit(struct db_queue *queue, struct db_op *op, struct err *err);

/* No more retries: a failed attempt is the answer. */
void db_queue_give_up(struct db_queue *queue);

/* Waits until all is written, at most `seconds`, then gives up; returns when nobody is inside. */
void db_queue_drain(struct db_queue *queue, double seconds);

/* ---- Running jobs; under the lock ---- */

/* NULL if it is not running. */
struct db_run *db_queue_run(struct db_queue *queue, int64_t job);
void db_queue_run_start(struct db_queue *queue, int64_t job, int64_t last_update);
void db_queue_run_end(struct db_queue *queue, int64_t job);
/* For `accept`: ERR_CONFLICT if the op's job is not running, or what it lost. */
int db_queue_running(struct db_queue *queue, struct db_op *op, struct err *err);

/* ---- For the writer ---- */

struct db_batch {
    bool rows_due; /* even if there are none: a try whether the disk is well again */
    struct db_list rows, checkpoints;
};

/* Waits until there is something to do. False: closing, and all is done. */
bool db_queue_take(struct db_queue *queue, struct db_batch *batch);

/* The rows are on disk: answers and frees them. */
void db_queue_committed(struct db_queue *queue, struct db_list *rows);

/* A full disk, a lock or an i/o error may pass. */
bool db_worth_a_retry(int code);

/* They are not. `culprit` (may be NULL) is the op at which it failed. Puts back what can be tried
 * again, answers the rest. */
void db_queue_failed(struct db_queue *queue, struct db_list *rows, struct db_op *culprit,
                     const struct err *why);

/* A checkpoint is in its file; its row goes to the front of the others. */
void db_queue_forward(struct db_queue *queue, struct db_op *checkpoint);

/* It is not: put back, or answered. */
void db_queue_checkpoint_failed(struct db_queue *queue, struct db_op *checkpoint,
                                const struct err *why);

/* Puts checkpoints back whose turn has not come. */
void db_queue_return(struct db_queue *queue, struct db_list *checkpoints);

#endif
