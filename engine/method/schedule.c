#include "method/schedule.h"

#include <math.h>

static double cosine(double lr, uint64_t position, uint64_t end)
{
    return lr / 2 * (1 + cos(M_PI * ((double)position / (double)end)));
}

double schedule_lr(const struct job_schedule *schedule, double lr, const struct schedule_span *span,
                   uint64_t u)
{
    uint64_t epoch = u / span->updates_per_epoch;
    uint64_t pass = u * span->batches_per_update / span->updates_per_epoch;

    switch (schedule->kind) {
    case SCHEDULE_COSINE:
        if (schedule->step == SCHEDULE_PER_EPOCH)
            return cosine(lr, pass, span->epochs * span->batches_per_update);
        return cosine(lr, u, span->epochs * span->updates_per_epoch);
    case SCHEDULE_STEP:
        return lr * pow(schedule->gamma, (double)(epoch / (uint64_t)schedule->every_epochs));
    default:
        return lr;
    }
}
