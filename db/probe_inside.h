/* What the files about probes share, for `apply` functions. */
#ifndef DB_PROBE_INSIDE_H
#define DB_PROBE_INSIDE_H

#include "db/probe.h"
#include "inside.h"

/* Rows of a probe are queued as a run's of this number; the jobs' runs have theirs above 0. */
static inline int64_t db_probe_run(int64_t id)
{
    return -id;
}

/* ERR_CONFLICT unless the checkpoint of this job (or, with −id, this upload) is there. */
int db_check_source(struct db_writer *writer, int64_t owner, int64_t updates, struct err *err);

/* A change of state as an event. */
int db_probe_event(struct db_writer *writer, int64_t job, int64_t number, enum probe_state state,
                   const char *reason, struct err *err);

/* death.c: whether a probe was running when the process ended, before they are recovered. */
int db_probe_running(struct db_writer *writer, bool *any, struct err *err);

/* death.c: the process has crashed under a running probe. *n: how often since it last told rows. */
int db_probe_death_count(struct db_writer *writer, int64_t id, int *n, struct err *err);

/* Queues a probe that the job wants of its checkpoint of this update, unless it was before. */
int db_probe_put_due(struct db_writer *writer, int64_t job, int64_t updates,
                     const struct db_due *due, struct err *err);

/* Those that checkpoints.db has with the checkpoint. */
int db_probe_adopt_due(struct db_writer *writer, int64_t job, int64_t updates, struct err *err);

/* Into checkpoints.db, behind the checkpoint `id`, within a transaction of it. */
int db_probe_store_due(struct db_writer *writer, int64_t checkpoint, const struct db_due *due,
                       int n, struct err *err);

#endif
