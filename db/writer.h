/* The writer thread: owns the two writing connections, commits in groups. What follows is for the
 * `apply` functions, which it calls in a transaction of rwpd.db. */
#ifndef DB_WRITER_H
#define DB_WRITER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "db/db.h"
#include "queue.h"
#include "sql.h"

/* How long a try waits for a lock of another process, before the next one a second later. */
#define DB_WRITER_BUSY_MS 200

/* What the losses of one job in the present group add up to. */
struct db_sum {
    int64_t job;
    int64_t updates_done;
    double loss, perturbed_loss, seconds;
    bool has_perturbed;
};

struct db_writer {
    struct db_queue *queue;
    struct sql rows, checkpoints;
    pthread_t thread;
    int64_t sequence;       /* highest one committed */
    int64_t next_sequence;  /* highest one given in this transaction */
    int64_t losses;         /* rows added less rows removed in this transaction */
    int n_starting;         /* jobs that become running in this transaction */
    bool removing;          /* a piece of what deleted jobs recorded goes in this transaction */
    double removal_retry;   /* when, after trouble with checkpoints.db, which was logged; 0: none */
    bool checkpoints_moved; /* checkpoints.db's WAL holds what can go to the file */
    int wal_pages;          /* in that of rwpd.db, after the last commit */
    int wal_patience;       /* from so many pages on, readers are waited for */
    int n_sums;
    struct db_sum sum[DB_RUNS_MAX];
    pthread_mutex_t listening; /* held while the listener is called */
    void (*listener)(void *context, int64_t sequence);
    void *listener_context;
};

/* Starts the thread; the connections are open. */
int db_writer_start(struct db_writer *writer, struct err *err);
/* After db_queue_drain. */
void db_writer_join(struct db_writer *writer);

/* ---- For apply functions ---- */

/* `state` -1, `number` -1, `text` NULL: none. */
struct db_event_row {
    int64_t job;
    enum db_event_kind kind;
    int64_t wall_ms;
    int state;
    int64_t number;
    const char *text;
};
int db_event_add(struct db_writer *writer, const struct db_event_row *event, struct err *err);

/* Writes the sums into the jobs' rows; before anything else reads or changes those. */
int db_sums_flush(struct db_writer *writer, struct err *err);

/* The latest checkpoint's update, 0: none. From checkpoints.db, which has the truth. */
int db_checkpoint_latest(struct db_writer *writer, int64_t job, int64_t *updates, struct err *err);

/* Makes job and events agree with that, where a crash came between the commits of the two files. */
int db_checkpoint_adopt(struct db_writer *writer, int64_t job, int64_t updates, struct err *err);

/* A checkpoint as it is stored. */
struct db_stored {
    const struct checkpoint *checkpoint;
    int64_t *checksums; /* one a tensor; allocated */
    bool final;
    int64_t wall_ms, bytes;
};

/* Checks the tensors and sums them up; for the caller's thread. */
int db_stored_open(struct db_stored *out, const struct checkpoint *checkpoint, struct err *err);
/* Into checkpoints.db, within a transaction of it. *id: its row's. */
int db_checkpoint_put(struct db_writer *writer, int64_t job, const struct db_stored *stored,
                      int64_t *id, struct err *err);

/* Runs `change` in a transaction of checkpoints.db. */
int db_checkpoints_change(struct db_writer *writer,
                          int (*change)(struct db_writer *writer, void *context, struct err *err),
                          void *context, struct err *err);

/* Removes checkpoints of a job beyond the newest `keep` (0: as many as the job keeps) that nothing
 * needs, within a transaction of checkpoints.db. */
int db_checkpoints_trim(struct db_writer *writer, int64_t job, int64_t keep, struct err *err);

/* Writes a checkpoint's op to checkpoints.db, in a transaction of its own. */
int db_checkpoint_write(struct db_writer *writer, struct db_op *op, struct err *err);

/* Removes what is recorded beyond `updates` and makes the summary true again. */
int db_rewind(struct db_writer *writer, int64_t job, int64_t updates, struct err *err);

/* The job's best epoch anew, from all of them. */
int db_best_again(struct db_writer *writer, int64_t job, struct err *err);

/* estimate.c: the forecast of a new job, if it has one. */
int db_estimate_insert(struct db_writer *writer, int64_t job, const struct db_estimate *estimate,
                       struct err *err);

#endif
