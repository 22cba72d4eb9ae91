/* What the files of the queue share.
 *
 * A worker takes one job or probe at a time; its slot says which. The slot's `job`, `probe` and
 * `wish` change only under `lock`, together with the state in the database: taking a job or probe,
 * each control action and the end of one exclude each other, so none of them sees a job that is
 * half in one state. The lock is held over durable writes; whoever must answer at once (queue_live)
 * does not take it.
 */
#ifndef DAEMON_QUEUE_INSIDE_H
#define DAEMON_QUEUE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/run.h"
#include "queue.h"
#include "rate.h"

struct slot {
    struct queue *queue;
    struct db_reader *reader; /* this worker's own */
    pthread_t thread;
    bool started;
    int64_t job;       /* 0: none */
    int64_t probe;     /* 0: none */
    unsigned gpu_runs; /* the queue's, when the probe was taken */
    enum job_wish wish;
    atomic_int request; /* enum engine_request, read by the engine */
    struct rate rate;   /* has a lock of its own */
};

struct queue {
    struct queue_options options;
    struct db *db;
    struct db_reader *reader; /* for control, under `lock` */
    struct slot *slots;
    int n_slots;
    pthread_mutex_t lock;
    atomic_bool stopping, giving_up, lost;
    atomic_bool probes_wait; /* for a GPU that is set aside */
    atomic_uint gpu_runs;    /* how often something ran on a GPU */

    /* Idle workers sleep here until something is posted. */
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    uint64_t posts; /* under wake_lock */
    int at_work;    /* worker threads that have not ended, under wake_lock */
};

/* queue.c. What the database keeps of a job; the key and the limit are left out. */
int queue_row(const struct engine_job *job, const char *spec, struct engine_job_facts *facts,
              struct db_new_job *out, struct err *err);
/* There may be something to take. */
void queue_post(struct queue *queue);
uint64_t queue_posts(struct queue *queue);
/* Sleeps until something was posted after `seen`, the queue stops, or (seconds > 0) time is up. */
void queue_sleep(struct queue *queue, uint64_t seen, double seconds);

/* control.c: queue_control under `lock`. A job that was resumed is to be posted. */
int queue_control_locked(struct queue *queue, int64_t id, enum queue_action action,
                         const char **what, struct err *err);

/* Takes the wish to pause a running job back, under `lock`: it is queued when it has stopped. */
int queue_stay_locked(struct queue *queue, int64_t id, struct err *err);

/* The threads of a worker: of a job that does not ask for a number of its own. */
int queue_thread_share(const struct queue *queue);
/* A GPU is lost to this process. True for the first who says so: nothing else had gone wrong
 * before. */
bool queue_lose(struct queue *queue);
/* Something runs on a GPU: probes that wait for theirs may try again. */
void queue_gpu_runs(struct queue *queue);
/* They may try again. */
void queue_probes_go_on(struct queue *queue);

/* job.c: a stored description. */
int job_parse_spec(const char *spec, struct engine_job *job, struct err *err);
/* job.c: tells of a failure of a job or probe on its job's device. What a device does not say
 * clearly its test does: then *err becomes what that found. *aside: the device is set aside.
 * Returns the code of *err. */
int job_device_failed(const struct engine_job *job, bool *aside, struct err *err);

/* How the work on a job or probe ended. */
struct work_result {
    int rc; /* of err, 0: it ended as `outcome` says */
    enum engine_outcome outcome;
    bool database_failed; /* what it told could not be recorded */
    bool data_failed;     /* of a job: what it needs (the dataset, the checkpoint, its GPU) may be
                             had another time */
    bool counted;         /* of a job: its GPU was lost to this process, and first of all here */
    bool again;           /* of a probe: its GPU was lost, not too often yet */
    bool aside;           /* of a probe: its GPU is set aside */
    struct err err;
};

/* job.c: trains a job that was taken, to its end or until it is told to stop. */
void job_run(struct slot *slot, const struct db_claim *claim, struct work_result *out);

/* worker.c: a worker thread; its argument is the slot. */
void *worker_main(void *slot);

/* Takes a job or probe for the slot, unless the queue stops (ERR_NOT_FOUND). `claim` is called
 * under the lock; it fills `out` and says in the slot what it took. */
int worker_take(struct slot *slot, int (*claim)(struct slot *slot, void *out, struct err *err),
                void *out, struct err *err);

/* Records how the slot's job or probe ended and frees the slot; tries again as long as it takes,
 * unless the queue gives up. `name` is for the log. True: it is recorded.
 * `record` is called under the lock: it makes the change of the state that follows from the result
 * and from the slot's wish. *end is the state's name, set in any case. */
typedef int work_record(struct slot *slot, const struct work_result *result, const char **end,
                        struct err *err);
bool worker_end(struct slot *slot, const char *name, const struct work_result *result,
                work_record *record);

/* Whether it stopped because the disk is full, or away, which passes: the work can go on. */
bool worker_disk_failed(const struct work_result *result);
/* What is told as the reason of the state in which it ends; NULL: nothing went wrong with it. */
const char *worker_reason(const struct work_result *result);

/* job_work.c: takes the next job, if there is one (else ERR_NOT_FOUND), for `job_work`, which
 * trains it and records how it ended. */
int job_take(struct slot *slot, struct db_claim *claim, struct err *err);
void job_work(struct slot *slot, const struct db_claim *claim);

#endif
