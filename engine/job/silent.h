/* What is refused of new jobs and probes only. */
#ifndef ENGINE_JOB_SILENT_H
#define ENGINE_JOB_SILENT_H

#include "engine/job.h"

/* Call `problem` for each member that is set and says nothing, and return how many there are; as
 * `engine_job_check` and `engine_probe_check`, of which they are a part. */
int job_check_silent(const struct engine_job *job,
                     void (*problem)(void *context, const char *pointer, const char *message),
                     void *context);
/* Of a probe that is resolved. */
int probe_check_silent(const struct engine_probe *probe,
                       void (*problem)(void *context, const char *pointer, const char *message),
                       void *context);

#endif
