/* Probes in the daemon: checked and made whole when they are asked for, queued with a job's
 * checkpoints, run by the workers. */
#ifndef DAEMON_PROBE_H
#define DAEMON_PROBE_H

#include "db/probe.h"
#include "engine/job.h"

struct slot;

/* Most probes of a job, its own and those that were asked for. */
#define PROBES_PER_JOB 2000

/* A VARIANT: a probe that is asked for by itself. Each stored request is of this form. Static. */
const struct spec_field *probe_field(void);

/* Makes the probe of a job whole: which checkpoint is meant, what a preset says; and adds what
 * makes no sense or is not there. ERR_NOT_FOUND: no such job; ERR_CONFLICT: it has no checkpoint.
 */
int probe_prepare(struct db *db, int64_t job, struct engine_probe *probe, struct problems *problems,
                  struct err *err);

/* The same for the list of a job that is being submitted. */
int probe_prepare_list(struct db *db, struct engine_job *job, struct problems *problems,
                       struct err *err);

/* Durable. `request` is *probe, which was prepared, as normalised JSON. */
int probe_submit(struct db *db, const struct db_new_probe *limits, const struct engine_probe *probe,
                 const char *request, int64_t *number, bool *existing, struct err *err);

/* How a prepared probe is stored: `request`, which it points to, is *probe as normalised JSON. */
struct db_probe_plan probe_plan(const struct engine_probe *probe, const char *request,
                                int64_t priority);

/* Those of the job's list that are due after `update`: at most JOB_PROBES_MAX, whose requests
 * probe_due_free frees. */
int probe_due(int64_t id, const struct engine_job *job, const struct engine_job_facts *facts,
              uint64_t update, struct db_due *due, int *n, struct err *err);
void probe_due_free(struct db_due *due, int n);

/* Takes the next probe, if there is one that comes before the jobs (else ERR_NOT_FOUND), for
 * `probe_work`, which runs it and records how it ended. */
int probe_take(struct slot *slot, struct db_probe_claim *claim, struct err *err);
void probe_work(struct slot *slot, struct db_probe_claim *claim);

#endif
