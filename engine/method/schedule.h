/* The learning rate of each update. */
#ifndef ENGINE_METHOD_SCHEDULE_H
#define ENGINE_METHOD_SCHEDULE_H

#include <stdint.h>

#include "engine/job.h"

/* How long a run is. */
struct schedule_span {
    uint64_t total;              /* T: updates of the run */
    uint64_t updates_per_epoch;  /* N: also the batches of one pass over the data */
    uint64_t batches_per_update; /* B: passes over the data in an epoch */
};

/* W: updates of the warm-up; less than T. */
uint64_t schedule_warmup(const struct job_schedule *schedule, const struct schedule_span *span);

/* The learning rate of update u (from 0), which begins at lr:
 *   warm-up, u < W:     lr·(u + 1)/W
 *   cosine, per update: lr/2·(1 + cos(π (u − W)/(T − W)))
 *   cosine, per epoch:  lr/2·(1 + cos(π (p(u) − p(W))/(p(T) − p(W)))) with p(u) = ⌊u·B/N⌋, the pass
 *                       over the data, and p(T) rounded up
 *   step:               lr·gamma^⌊⌊u/N⌋/every_epochs⌋
 *   constant:           lr */
double schedule_lr(const struct job_schedule *schedule, double lr, const struct schedule_span *span,
                   uint64_t u);

#endif
