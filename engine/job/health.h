/* Which GPUs can be given a job: see base/device.h for the states, engine/job.h for who asks. */
#ifndef ENGINE_JOB_HEALTH_H
#define ENGINE_JOB_HEALTH_H

#include <stdbool.h>

struct err;

/* Whether a job that may choose its GPU can be given this one. */
bool health_usable(int gpu);

/* engine_device_ready and engine_device_failed, of one GPU. */
int health_ready(int gpu, struct err *err);
void health_failed(int gpu, const struct err *err);

#endif
