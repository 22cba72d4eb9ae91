/* How fast a run goes and how long it still takes, as others may ask at any time. Evaluations are
 * kept apart from training: they come in lumps, so a mean over the last seconds would jump. */
#ifndef DAEMON_RATE_H
#define DAEMON_RATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The window: at most so many marks, none closer together than RATE_STEP_SECONDS, none older than
 * RATE_WINDOW_SECONDS unless there would be fewer than two. */
#define RATE_MARKS          40
#define RATE_STEP_SECONDS   0.25
#define RATE_WINDOW_SECONDS 10.0

struct rate_mark {
    double seconds; /* of training, evaluations left out */
    uint64_t updates;
};

/* What is left to do is known from these. */
struct rate_plan {
    uint64_t updates; /* of the whole run */
    uint64_t updates_per_epoch;
    int64_t evaluate_every_epochs;
};

struct rate {
    pthread_mutex_t lock;
    int64_t job; /* 0: none is running */
    struct rate_plan plan;
    struct rate_mark mark[RATE_MARKS]; /* a ring */
    int first, n;
    uint64_t updates; /* done */
    int64_t epochs;   /* reported */
    double evaluating_seconds, last_evaluation_seconds;
};

void rate_open(struct rate *rate);
void rate_close(struct rate *rate);

/* `now` is clock_seconds(). */
void rate_start(struct rate *rate, int64_t job, const struct rate_plan *plan, uint64_t updates,
                double now);
void rate_update(struct rate *rate, uint64_t updates, double now);
/* An epoch was reported; its evaluation took `seconds` (0: it had none). */
void rate_epoch(struct rate *rate, int64_t epoch, double seconds);
void rate_stop(struct rate *rate);

/* False if it does not measure `job`. *eta_seconds is negative while not known. */
bool rate_read(struct rate *rate, int64_t job, double *updates_per_second, double *eta_seconds);

#endif
