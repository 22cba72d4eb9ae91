/* The learning rate of each update. */
#ifndef ENGINE_METHOD_SCHEDULE_H
#define ENGINE_METHOD_SCHEDULE_H

#include <stdint.h>

#include "engine/job.h"

/* How long a run is. */
struct schedule_span {
    uint64_t epochs;             /* E */
    uint64_t updates_per_epoch;  /* N: also the batches of one pass over the data */
    uint64_t batches_per_update; /* B: passes over the data in an epoch */
};

/* The learning rate of update u (from 0), which begins at lr:
 *   cosine, per update: lr/2·(1 + cos(π u/(E·N)))
 *   cosine, per epoch:  lr/2·(1 + cos(π p/(E·B))) with p = ⌊u·B/N⌋, the pass over the data
 *   step:               lr·gamma^⌊⌊u/N⌋/every_epochs⌋
 *   constant:           lr */
double schedule_lr(const struct job_schedule *schedule, double lr, const struct schedule_span *span,
                   uint64_t u);

#endif
