/* How the GPUs are shared out; see engine_device_take in engine/job.h. */
#ifndef ENGINE_JOB_TAKE_H
#define ENGINE_JOB_TAKE_H

/* How many jobs and probes compute on this GPU now. */
int take_jobs_on(int gpu);

#endif
