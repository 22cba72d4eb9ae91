#include "method/schedule.h"

#include <math.h>

/* Passes over the data that are done before update u. */
static uint64_t passes(const struct schedule_span *span, uint64_t u)
{
    return u * span->batches_per_update / span->updates_per_epoch;
}

static double cosine(double lr, uint64_t position, uint64_t end)
{
    return lr / 2 * (1 + cos(M_PI * ((double)position / (double)end)));
}

static double cosine_by_pass(double lr, const struct schedule_span *span, uint64_t warmup,
                             uint64_t u)
{
    uint64_t begun = passes(span, span->total);

    /* One that the end cuts short counts. */
    if (span->total * span->batches_per_update % span->updates_per_epoch)
        begun++;
    return cosine(lr, passes(span, u) - passes(span, warmup), begun - passes(span, warmup));
}

uint64_t schedule_warmup(const struct job_schedule *schedule, const struct schedule_span *span)
{
    if (schedule->warmup_updates)
        return (uint64_t)schedule->warmup_updates;
    return (uint64_t)schedule->warmup_epochs * span->updates_per_epoch;
}

double schedule_lr(const struct job_schedule *schedule, double lr, const struct schedule_span *span,
                   uint64_t u)
{
    uint64_t epoch = u / span->updates_per_epoch, warmup = schedule_warmup(schedule, span);

    if (u < warmup)
        return lr * ((double)(u + 1) / (double)warmup);
    switch (schedule->kind) {
    case SCHEDULE_COSINE:
        if (schedule->step == SCHEDULE_PER_EPOCH)
            return cosine_by_pass(lr, span, warmup, u);
        return cosine(lr, u - warmup, span->total - warmup);
    case SCHEDULE_STEP:
        return lr * pow(schedule->gamma, (double)(epoch / (uint64_t)schedule->every_epochs));
    default:
        return lr;
    }
}
