/* suggest.c: which sigma to train with, as a radius probe suggests it. Fills its part of the
 * summary and says how it came to it. */
#ifndef ENGINE_PROBE_RADIUS_H
#define ENGINE_PROBE_RADIUS_H

#include "probe/state.h"

double suggest_cost(const struct engine_probe_run *run); /* at most */
int suggest_measure(struct engine_probe_run *run, struct err *err);

#endif
