/* What is refused of new probes only; of new jobs, engine_job_check_silent. */
#ifndef ENGINE_JOB_SILENT_H
#define ENGINE_JOB_SILENT_H

#include "engine/job.h"

/* Adds each member that is set and says nothing, of a probe that is resolved. A part of
 * `engine_probe_check`. */
void probe_check_silent(const struct engine_probe *probe, struct problems *problems);

#endif
