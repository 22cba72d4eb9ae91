/* Weights that a job begins with: looked up when it is submitted, loaded when it starts. */
#ifndef DAEMON_INIT_FROM_H
#define DAEMON_INIT_FROM_H

#include "db/db.h"
#include "engine/run.h"

/* Fills in which checkpoint is the newest, and adds what is wrong with what is asked for. */
int init_from_prepare(struct db *db, struct engine_job *job, struct problems *problems,
                      struct err *err);

/* Gives a new run its weights; nothing to do where the job asks for none. */
int init_from_load(struct db_reader *reader, const struct engine_job *job, struct engine_run *run,
                   struct err *err);

#endif
