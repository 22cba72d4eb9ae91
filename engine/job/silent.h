/* What is refused of new jobs and probes only. */
#ifndef ENGINE_JOB_SILENT_H
#define ENGINE_JOB_SILENT_H

#include "engine/job.h"

/* Add each member that is set and says nothing. Parts of `engine_job_check` and
 * `engine_probe_check`. */
void job_check_silent(const struct engine_job *job, struct problems *problems);
/* Of a probe that is resolved. */
void probe_check_silent(const struct engine_probe *probe, struct problems *problems);

#endif
