/* What changes of one job and of a sweep's jobs are made of, for apply functions. */
#ifndef DB_STEPS_H
#define DB_STEPS_H

#include "writer.h"

/* 1: the key is known and the request the same, *id is what became of it then. ERR_CONFLICT: it was
 * another request. `text` asks for the id and whether the fingerprint (the first parameter) is that
 * of the key (the second); `noun` is what the request became. */
int db_key_find(struct db_writer *writer, const char *text, const char *key,
                const char *fingerprint, const char *noun, int64_t *id, struct err *err);

/* ERR_LIMIT if more than `limit` jobs would be queued with `n` more; 0: there is no limit. */
int db_queue_room(struct db_writer *writer, int64_t limit, int64_t n, struct err *err);

/* 1: the job that is claimed next, and its priority. 0: none is queued that may run. */
int db_job_first(struct db_writer *writer, int64_t *job, int64_t *priority, struct err *err);

/* ERR_CONFLICT if what the job begins with, or what its own probes need, is not there. */
int db_job_source(struct db_writer *writer, const struct db_new_job *job, struct err *err);

/* ERR_INVALID for what cannot be stored. From any thread. */
int db_job_valid(const struct db_new_job *job, struct err *err);

/* The row and the event of a new job, which is point `point` of `sweep`; 0, 0: of none. */
int db_job_put(struct db_writer *writer, const struct db_new_job *job, int64_t sweep, int64_t point,
               int64_t *id, struct err *err);

/* The one function that changes a state (job_state.c), for jobs that are not to run. `reason` may
 * be NULL. Whoever stops a running job ends its run in the queue, too. */
int db_job_change(struct db_writer *writer, int64_t job, enum job_state to, const char *reason,
                  struct err *err);

/* death.c: the process has ended under a running job whose latest checkpoint is of `updates`. *n:
 * how often for this reason, a GPU that was `lost` or else a crash, since there was a newer one. */
int db_death_count(struct db_writer *writer, int64_t job, int64_t updates, bool lost, int64_t *n,
                   struct err *err);

/* removal.c: under the queue's lock; what deleted jobs have recorded is removed, piece by piece. */
void db_removal_go_on(struct db_queue *queue);

/* The same, where there is any, for whoever opens the database; before the writer starts. */
int db_removal_resume(struct db *db, struct err *err);

#endif
