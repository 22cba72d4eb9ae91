/* What a job that is being submitted will take, for its row. */
#ifndef DAEMON_ESTIMATE_H
#define DAEMON_ESTIMATE_H

#include "db/db.h"
#include "engine/job.h"

/* With `threads` CPU threads. Times of an earlier job that did the same work go before those that
 * are measured now. What cannot be forecast stays 0: that keeps no job from being submitted. Takes
 * about a second at most. */
void estimate_job(struct db *db, const struct engine_job *job, const struct engine_job_facts *facts,
                  int threads, struct db_estimate *out);

#endif
