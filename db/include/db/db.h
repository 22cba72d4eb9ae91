/* The database: everything that must survive. Two SQLite files in WAL mode in the state folder:
 * `rwpd.db` (jobs, losses, epochs, events) and `checkpoints.db` (checkpoints, a row a tensor).
 *
 * Writing: one writer thread owns the writing connections and commits in groups. Functions that
 * change something may be called from any thread. Those said to be *durable* return after the
 * commit is on disk; the others only queue, and block while the bounded queue is full, so that
 * nothing is dropped. What one thread queued is committed in that order, also across both files: a
 * checkpoint is committed only after all losses that were queued before it.
 *
 * When the disk is full or another process holds a lock, the writer keeps what it has, retries
 * each second and says so in `db_health`; callers of durable functions wait at most
 * `durable_wait_ms` and then get ERR_FULL or ERR_BUSY with nothing changed, except checkpoints and
 * queued rows, for which they wait until it goes through or the database is closing. A damaged file
 * is ERR_CORRUPT, at opening or later, and names the file.
 *
 * Reading: `struct db_reader`, one a thread, sees committed rows only. What is handed to an `each`
 * is valid during that call; the callback must not use the same reader, and not take long: what is
 * written meanwhile stays in a log beside the file.
 *
 * A job stays with what it recorded, but for checkpoints beyond those it keeps, until it is
 * deleted. A loss takes some 70 bytes on disk, an epoch 120. Probes are in db/probe.h.
 */
#ifndef DB_DB_H
#define DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/telemetry.h"
#include "base/tensor.h"

struct db;
struct db_reader;

enum job_state {
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_PAUSED,
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_STATES
};

/* "queued", "running", …; -1 for an unknown name. */
const char *job_state_name(enum job_state state);
int job_state_of(const char *name);

/* What somebody asked of a running job and has not happened yet; recorded, so that it outlives the
 * process. */
enum job_wish { WISH_NONE, WISH_PAUSE, WISH_CANCEL };

struct db_options {
    int64_t durable_wait_ms; /* 0: 5000 */
    size_t queue_rows;       /* 0: 65536 */
};

/* Opens, creates (folder too, mode 0700) or migrates; takes a lock on the folder, so that a second
 * daemon is refused (ERR_BUSY). ERR_CORRUPT, ERR_FULL, ERR_IO as they come; ERR_UNSUPPORTED when
 * the files were written by a newer version. What is damaged, missing beside its other half, of
 * another program or a newer version is refused before any file was changed. */
int db_open(struct db **out, const char *folder, const struct db_options *options, struct err *err);

/* From now on nobody waits for a disk that cannot be written: if the next attempt fails, waiting
 * and later calls return its error, and what is queued is given up with a line in the log. For a
 * daemon that has to stop while its workers wait in `db_checkpoint_add`; join them after this. */
void db_give_up(struct db *db);

/* Commits what is queued (waiting at most ten seconds for a disk that is full, then as
 * `db_give_up`) and closes. Readers must be closed before, and no other call may follow; calls
 * under way return first. */
void db_close(struct db *db);

struct db_health {
    bool writing;          /* the last commit went through */
    char problem[256];     /* what is wrong, "" if nothing */
    int64_t since_ms;      /* since when */
    size_t queued_rows;    /* waiting for the writer */
    int64_t commits, rows; /* since opening */
    int64_t bytes;         /* size of both files with their WALs */
    int64_t free_bytes;    /* left on the file system */
};

void db_health(const struct db *db, struct db_health *out);

/* `listener` is called by the writer thread after each commit that added events, with the highest
 * sequence number. One listener; NULL to remove it (returns when no call is under way). */
void db_listen(struct db *db, void (*listener)(void *context, int64_t sequence), void *context);

/* ---- Jobs ---- */

/* What a job is forecast to take. */
struct db_estimate {
    int64_t signature;    /* jobs of the same one do the same work; 0: not known */
    const char *device;   /* on this device; not read back */
    int64_t bytes;        /* of memory; 0: there is no forecast */
    int64_t device_bytes; /* what of it is a GPU's */
    double update_seconds, evaluation_seconds, run_seconds; /* 0: not known */
    bool earlier; /* whether the times come from an earlier job */
};

/* What a job's runs took. */
struct db_taken {
    int64_t bytes;                 /* most memory that they held; 0: not known */
    int64_t device_bytes;          /* what of it is a GPU's */
    char device[16], precision[8]; /* of its latest run; "": there was none */
};

struct db_new_job {
    const char *name;
    const char *spec; /* the job as normalised JSON */
    int64_t priority;
    uint64_t updates; /* in all */
    int64_t parameters;
    int threads;                   /* that the job asks for; 0: its first claim decides */
    const char *idempotency_key;   /* NULL: none */
    const char *fingerprint;       /* of the request's body, compared when a key comes again */
    int64_t init_job, init_update; /* the checkpoint that it begins with; 0: none */
    int64_t init_upload;           /* or the upload; 0: none */
    int64_t queue_limit;           /* most jobs that may be queued; ERR_LIMIT beyond; 0: no limit */
    struct db_estimate estimate;
};

/* Durable. With a known key and the same fingerprint *id is the first job's and *existing is set;
 * with another fingerprint ERR_CONFLICT. ERR_CONFLICT, too, when something is not there that the
 * job begins with, which then stays until the job has a checkpoint of its own or has ended, or that
 * a probe of its list needs, which stays until the job has ended. */
int db_job_insert(struct db *db, const struct db_new_job *job, int64_t *id, bool *existing,
                  struct err *err);

/* Durable. The one function that changes a state (see the machine over its body); ERR_CONFLICT for
 * a change that the machine does not have, with the present state in the message, ERR_NOT_FOUND.
 * `reason` (may be NULL) is kept and shown: why it failed, who cancelled. Clears the wish. From
 * failed to queued ERR_CONFLICT, too, when what the job begins with is no longer there. */
int db_job_set_state(struct db *db, int64_t id, enum job_state to, const char *reason,
                     struct err *err);

/* Durable. Takes the queued job of highest priority, oldest first (one of a sweep only while fewer
 * of its jobs run than may run at a time), makes it running and settles its thread count: the job's
 * own or the one of an earlier start, else `threads`, which is recorded. What was recorded beyond
 * its latest checkpoint is removed in the same transaction, so that there is one history.
 * ERR_NOT_FOUND: no job that may run is queued. */
struct db_claim {
    int64_t id;
    char *spec; /* the caller frees it */
    int threads;
    uint64_t from_update; /* of the latest checkpoint, 0: none */
};
int db_job_claim(struct db *db, int threads, struct db_claim *out, struct err *err);

/* Durable. Records a wish for a running job; ERR_CONFLICT if it is not running. */
int db_job_wish(struct db *db, int64_t id, enum job_wish wish, struct err *err);

/* Durable; once at start, before any claim. Jobs that a dead process left running become paused or
 * cancelled if that was wished, else queued again. But a job becomes failed when that happens for
 * the DB_CRASHES_MAXth time without a newer checkpoint than the time before, not counting the times
 * at which a probe was running, which may be what ended the process. *n: how many were running. */
#define DB_CRASHES_MAX 20
int db_recover(struct db *db, int *n, struct err *err);

/* Durable. The GPU of a running job was lost, and this process has to end. The job becomes queued,
 * or what was wished; *state says which. But instead of being queued it becomes failed when that
 * happens for the DB_LOSSES_MAXth time, of those that were `counted`, without a newer checkpoint
 * than the time before. */
#define DB_LOSSES_MAX 3
int db_job_lost(struct db *db, int64_t id, bool counted, const char *reason, enum job_state *state,
                struct err *err);

/* Durable. Deletes a job that has ended: from now on there is none of this number, nor anything
 * that it recorded, and its idempotency key is free. ERR_NOT_FOUND; ERR_CONFLICT when it has not
 * ended, is one of a sweep's, or when a probe that has not ended, or a job that is to begin with
 * one of its checkpoints, needs it. Its rows and tensors are removed afterwards, a piece with each
 * of the next commits, and the rest after the next `db_open`; their space is used again. */
int db_job_delete(struct db *db, int64_t id, struct err *err);

/* ---- What a run records ---- */

struct db_loss {
    uint64_t update; /* updates done, from 1 */
    int64_t epoch;
    double loss; /* may be NaN or infinite: stored and given back as such */
    bool has_perturbed;
    double perturbed_loss;
    double lr, sigma, seconds;
};

struct db_epoch {
    int64_t epoch;
    uint64_t update;
    double train_loss, train_top1;
    bool evaluated;
    double test_loss, test_top1, test_top5;
    int64_t gradient_evaluations;
    double seconds; /* of training so far, over all starts */
    int64_t wall_ms;
};

/* Queued, see above. They also bring the job's summary (progress, last losses, best accuracy) up to
 * date. ERR_CONFLICT if the job is not running, or if a loss has no higher `update` than the one
 * before. An epoch that was recorded before is replaced. */
int db_loss_add(struct db *db, int64_t job, const struct db_loss *loss, struct err *err);
int db_epoch_add(struct db *db, int64_t job, const struct db_epoch *epoch, struct err *err);
/* Memory that the job's run holds, and how much of it is a GPU's; the most of all its runs counts.
 */
int db_held_add(struct db *db, int64_t job, int64_t bytes, int64_t device_bytes, struct err *err);
/* Where a run of the job begins to compute: "cuda:0", "tf32". */
int db_place_add(struct db *db, int64_t job, const char *device, const char *precision,
                 struct err *err);
/* Becomes an event, too; one that was recorded before is replaced. */
int db_telemetry_add(struct db *db, int64_t job, const struct telemetry *telemetry,
                     struct err *err);
/* A message becomes an event, of a job in any state; longer than 1,000 bytes is cut. */
int db_message_add(struct db *db, int64_t job, const char *text, struct err *err);

/* Durable, whole or not at all. The job must be running. The newest `keep` (≥ 1, this one among
 * them) stay, older ones are removed with it; one of the same update is replaced; one of update 0
 * is not stored, because a run begins there anyway. A tensor has at most 1e9 bytes (ERR_LIMIT). */
int db_checkpoint_add(struct db *db, int64_t job, const struct checkpoint *checkpoint, bool final,
                      int64_t keep, struct err *err);

/* ---- Uploads ---- */

/* An upload's tensors are the checkpoint of this update of the job −id, for the functions that read
 * checkpoints. */
#define DB_UPLOAD_UPDATE 1

struct db_upload {
    int64_t id;
    char name[201];
    char sha256[65]; /* of the file, in hexadecimal */
    int64_t wall_ms, file_bytes;
    int tensors;
};

/* Durable, whole or not at all; tensors->update is not looked at. A file that was uploaded before
 * is not stored twice: *id is that of the first upload and *existing is set. ERR_LIMIT as for
 * checkpoints. */
int db_upload_add(struct db *db, const struct db_upload *upload, const struct checkpoint *tensors,
                  int64_t *id, bool *existing, struct err *err);
/* Durable. ERR_CONFLICT while a job or a probe needs it, ERR_NOT_FOUND. */
int db_upload_delete(struct db *db, int64_t id, struct err *err);

/* ---- Reading ---- */

int db_upload_get(struct db_reader *reader, int64_t id, struct db_upload *out, struct err *err);
/* Oldest first. */
int db_uploads_each(struct db_reader *reader,
                    int (*each)(void *context, const struct db_upload *upload), void *context,
                    struct err *err);

int db_reader_open(struct db_reader **out, const struct db *db, struct err *err);
void db_reader_close(struct db_reader *reader);

struct db_job {
    int64_t id;
    char name[201];
    enum job_state state;
    enum job_wish wish;
    char *spec;   /* freed by db_job_free */
    char *reason; /* NULL: none; freed by db_job_free */
    int64_t priority, parameters;
    int64_t sweep, point;                        /* which point of which sweep; 0: of none */
    int threads;                                 /* 0: not started yet */
    int starts;                                  /* how often a worker took it */
    int64_t created_ms, started_ms, finished_ms; /* 0: not yet */
    uint64_t updates, updates_done;
    double seconds;               /* of training: the sum over the recorded updates */
    int64_t gradient_evaluations; /* up to the last finished epoch */
    bool has_loss, has_perturbed;
    double loss, perturbed_loss;   /* of the last update */
    int64_t epoch;                 /* last finished one, 0: none */
    double train_loss, train_top1; /* of it */
    bool has_test;
    double test_loss, test_top1, test_top5; /* of the last evaluation */
    double best_top1;
    int64_t best_epoch;
    uint64_t checkpoint_update; /* of the latest checkpoint, 0: none */
    struct db_estimate estimate;
    struct db_taken taken;
};

struct db_key {
    enum { DB_KEY_JOB, DB_KEY_SWEEP, DB_KEY_PROBE } of;
    const char *key, *fingerprint;
    int64_t job; /* of a probe */
};
/* *id: of the job or sweep, or the number of the probe, that a request with this key and this
 * fingerprint has made; 0: none. */
int db_key_known(struct db_reader *reader, const struct db_key *key, int64_t *id, struct err *err);

void db_job_free(struct db_job *job);
int db_job_get(struct db_reader *reader, int64_t id, struct db_job *out, struct err *err);

/* The newest job of this signature that trained for a while. ERR_NOT_FOUND. */
struct db_earlier {
    double update_seconds;                       /* mean of an update */
    double forecast_update, forecast_evaluation; /* seconds; 0: there was no forecast */
};
int db_estimate_earlier(struct db_reader *reader, int64_t signature, struct db_earlier *out,
                        struct err *err);

struct db_job_query {
    int state;      /* enum job_state, or -1: any */
    int64_t sweep;  /* only its jobs; 0: any */
    int64_t before; /* only ids below this; 0: from the newest */
    int limit;
};
/* Newest first. Return non-zero from `each` to stop; what it is given is freed afterwards. */
int db_jobs_each(struct db_reader *reader, const struct db_job_query *query,
                 int (*each)(void *context, const struct db_job *job), void *context,
                 struct err *err);

/* Of all jobs, by state. */
int db_jobs_count(struct db_reader *reader, int64_t out[JOB_STATES], struct err *err);

/* Jobs by state, and the sum of recorded updates: for /metrics. */
struct db_totals {
    int64_t jobs[JOB_STATES];
    int64_t losses, checkpoints;
};
int db_totals(struct db_reader *reader, struct db_totals *out, struct err *err);

/* In order, from `after` + 1 on, at most `limit`. */
int db_losses_each(struct db_reader *reader, int64_t job, uint64_t after, int64_t limit,
                   int (*each)(void *context, const struct db_loss *loss), void *context,
                   struct err *err);

/* Of the losses of updates `after` + 1 … `upto`: how many there are, and if there is one, those
 * with the lowest and the highest `loss` (NaN is higher than infinity; the first of equals) and the
 * last. Sixteen times cheaper than reading them all where `after` and `upto` are multiples of
 * DB_SPAN_ROWS. */
#define DB_SPAN_ROWS 16
struct db_extremes {
    int64_t rows;
    struct db_loss low, high, last;
};
int db_losses_extremes(struct db_reader *reader, int64_t job, uint64_t after, uint64_t upto,
                       struct db_extremes *out, struct err *err);
int db_epochs_each(struct db_reader *reader, int64_t job, int64_t after, int64_t limit,
                   int (*each)(void *context, const struct db_epoch *epoch), void *context,
                   struct err *err);

/* *n: how many there are after `after`. */
int db_telemetry_count(struct db_reader *reader, int64_t job, uint64_t after, int64_t *n,
                       struct err *err);
int db_telemetry_each(struct db_reader *reader, int64_t job, uint64_t after, int64_t limit,
                      int (*each)(void *context, const struct telemetry *telemetry), void *context,
                      struct err *err);

/* Events: one sequence of numbers over all jobs, growing in the order of commits. */
enum db_event_kind {
    EVENT_STATE,
    EVENT_LOSS,
    EVENT_EPOCH,
    EVENT_CHECKPOINT,
    EVENT_MESSAGE,
    EVENT_TELEMETRY,
    EVENT_PROBE,          /* a probe's state has changed */
    EVENT_PROBE_PROGRESS, /* of each probe only the last one is kept */
    EVENT_DELETED         /* the job is gone; all other events of it, too, or soon */
};

/* Of the probe that an event is about. */
struct db_event_probe {
    int64_t number; /* within the job */
    char kind[32];
    uint64_t update; /* of the checkpoint that is looked at */
    int state;       /* enum probe_state; PROBE: the one that it got */
    double progress; /* PROBE_PROGRESS: 0 to 1 */
};

struct db_event {
    int64_t sequence, job, wall_ms; /* wall_ms 0 for losses */
    enum db_event_kind kind;
    enum job_state state;        /* STATE */
    const char *text;            /* STATE and PROBE: reason, MESSAGE; may be NULL */
    struct db_loss loss;         /* LOSS */
    struct db_epoch epoch;       /* EPOCH */
    struct telemetry telemetry;  /* TELEMETRY */
    struct db_event_probe probe; /* PROBE, PROBE_PROGRESS */
    /* CHECKPOINT: its update. STATE running: the update that the job goes on from; what was
     * recorded beyond it is gone */
    uint64_t checkpoint_update;
};

/* Events after `sequence` in order, at most `limit`: of one job, or (job 0) of all jobs without
 * their losses and telemetry. Cheap when nothing is new, and when the reader is up to date with a
 * job of many losses. */
int db_events_each(struct db_reader *reader, int64_t job, int64_t sequence, int64_t limit,
                   int (*each)(void *context, const struct db_event *event), void *context,
                   struct err *err);

/* The messages of a job, newest first, at most `limit`. Reads through the job's events, but for its
 * losses. */
int db_messages_each(struct db_reader *reader, int64_t job, int64_t limit,
                     int (*each)(void *context, const struct db_event *event), void *context,
                     struct err *err);
/* The highest sequence number so far. */
int db_events_last(struct db_reader *reader, int64_t *sequence, struct err *err);

struct db_checkpoint {
    int64_t id;
    uint64_t update;
    bool final;
    int64_t wall_ms, bytes;
};
/* Oldest first. */
int db_checkpoints_each(struct db_reader *reader, int64_t job,
                        int (*each)(void *context, const struct db_checkpoint *checkpoint),
                        void *context, struct err *err);
int db_checkpoint_get(struct db_reader *reader, int64_t job, uint64_t update,
                      struct db_checkpoint *out, struct err *err);
/* ERR_NOT_FOUND: there is none. What the job says of its latest one may be older. */
int db_checkpoint_newest(struct db_reader *reader, int64_t job, struct db_checkpoint *out,
                         struct err *err);
/* Its tensors without their data (`data` is NULL), in order. The caller frees *tensors. */
int db_checkpoint_tensors(struct db_reader *reader, int64_t checkpoint, struct tensor **tensors,
                          int *n, struct err *err);
/* Bytes of tensor `number` (its place in that order). ERR_NOT_FOUND when it was removed meanwhile.
 */
int db_checkpoint_read(struct db_reader *reader, int64_t checkpoint, int number, size_t offset,
                       size_t n, void *out, struct err *err);
/* A whole checkpoint in memory, to resume from; db_checkpoint_free frees it. */
int db_checkpoint_load(struct db_reader *reader, int64_t job, uint64_t update,
                       struct checkpoint **out, struct err *err);
void db_checkpoint_free(struct checkpoint *checkpoint);

#endif
