/* Checkpoints and uploads that a request names: what there is not is one of its problems. */
#ifndef DAEMON_FIND_H
#define DAEMON_FIND_H

#include "base/problems.h"
#include "db/db.h"

/* The job's checkpoint of *update, or its newest where that is 0, which it then is no more.
 * Problems are told of `place`/job and `place`/update; found->id is 0 then. */
int find_checkpoint(struct db_reader *reader, int64_t job, int64_t *update, const char *place,
                    struct problems *problems, struct db_checkpoint *found, struct err *err);

/* A problem is told of `pointer`; found->id is 0 then. */
int find_upload(struct db_reader *reader, int64_t upload, const char *pointer,
                struct problems *problems, struct db_checkpoint *found, struct err *err);

#endif
