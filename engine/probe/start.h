/* start.c: what a probe begins with, from tensors to numbers. All of it is checked first. */
#ifndef ENGINE_PROBE_START_H
#define ENGINE_PROBE_START_H

#include "probe/state.h"

int probe_take_start(struct engine_probe_run *run, const struct engine_probe_start *start,
                     struct err *err);

#endif
