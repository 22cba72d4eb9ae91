#include "rate.h"

#include <string.h>

void rate_open(struct rate *rate)
{
    memset(rate, 0, sizeof *rate);
    pthread_mutex_init(&rate->lock, NULL);
}

void rate_close(struct rate *rate)
{
    pthread_mutex_destroy(&rate->lock);
}

static const struct rate_mark *mark_at(const struct rate *rate, int place)
{
    return &rate->mark[(rate->first + place) % RATE_MARKS];
}

static void drop_oldest(struct rate *rate)
{
    rate->first = (rate->first + 1) % RATE_MARKS;
    rate->n--;
}

static void append(struct rate *rate, uint64_t updates, double seconds)
{
    if (rate->n == RATE_MARKS)
        drop_oldest(rate);
    rate->mark[(rate->first + rate->n++) % RATE_MARKS] = (struct rate_mark){seconds, updates};
    while (rate->n > 2 && seconds - mark_at(rate, 0)->seconds > RATE_WINDOW_SECONDS)
        drop_oldest(rate);
}

void rate_start(struct rate *rate, int64_t job, const struct rate_plan *plan, uint64_t updates,
                double now)
{
    pthread_mutex_lock(&rate->lock);
    rate->job = job;
    rate->plan = *plan;
    rate->first = rate->n = 0;
    rate->updates = updates;
    rate->epochs = (int64_t)(updates / plan->updates_per_epoch);
    rate->evaluating_seconds = rate->last_evaluation_seconds = 0;
    append(rate, updates, now);
    pthread_mutex_unlock(&rate->lock);
}

void rate_update(struct rate *rate, uint64_t updates, double now)
{
    double seconds;

    pthread_mutex_lock(&rate->lock);
    seconds = now - rate->evaluating_seconds;
    rate->updates = updates;
    if (seconds - mark_at(rate, rate->n - 1)->seconds >= RATE_STEP_SECONDS)
        append(rate, updates, seconds);
    pthread_mutex_unlock(&rate->lock);
}

void rate_epoch(struct rate *rate, int64_t epoch, double seconds)
{
    pthread_mutex_lock(&rate->lock);
    rate->epochs = epoch;
    rate->evaluating_seconds += seconds;
    if (seconds > 0)
        rate->last_evaluation_seconds = seconds;
    pthread_mutex_unlock(&rate->lock);
}

void rate_stop(struct rate *rate)
{
    pthread_mutex_lock(&rate->lock);
    rate->job = 0;
    pthread_mutex_unlock(&rate->lock);
}

/* Those among epochs done + 1 … all; the last one always is evaluated. */
static int64_t evaluations_left(const struct rate *rate)
{
    uint64_t per_epoch = rate->plan.updates_per_epoch;
    int64_t all = (int64_t)((rate->plan.updates + per_epoch - 1) / per_epoch);
    int64_t every = rate->plan.evaluate_every_epochs;

    if (rate->epochs >= all)
        return 0;
    return all / every - rate->epochs / every + (all % every != 0);
}

static double window_rate(const struct rate *rate)
{
    const struct rate_mark *oldest = mark_at(rate, 0), *newest = mark_at(rate, rate->n - 1);

    if (newest->seconds <= oldest->seconds)
        return 0;
    return (double)(newest->updates - oldest->updates) / (newest->seconds - oldest->seconds);
}

bool rate_read(struct rate *rate, int64_t job, double *updates_per_second, double *eta_seconds)
{
    bool found;

    pthread_mutex_lock(&rate->lock);
    found = job != 0 && rate->job == job;
    if (found) {
        double speed = window_rate(rate);
        uint64_t left = rate->plan.updates - rate->updates;

        *updates_per_second = speed;
        *eta_seconds = -1;
        if (speed > 0)
            *eta_seconds = (double)left / speed +
                           (double)evaluations_left(rate) * rate->last_evaluation_seconds;
    }
    pthread_mutex_unlock(&rate->lock);
    return found;
}
