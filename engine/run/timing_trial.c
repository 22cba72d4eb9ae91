/* Small jobs, timed as they are: a few updates of a run with made-up weights and images. */
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "run/timing.h"

#define TRIAL_UPDATES 25   /* at most */
#define TRIAL_LEAST   3    /* timed ones, */
#define TRIAL_MOST    1.0  /* unless they take so long */
#define TRIAL_SPEND   0.25 /* seconds, once there are so many */

static void fill_images(struct engine_run *run)
{
    for (int b = 0; b < run->recipe.n_batches; b++) {
        size_t n = (size_t)run->job.batch_size * run->image_bytes / real_bytes(run->class->real);

        for (size_t i = 0; i < n; i++)
            if (run->class->real == REAL_F32)
                ((float *)run->batch[b].images)[i] = (float)(i % 17) * 0.1f - 0.8f;
            else
                ((double *)run->batch[b].images)[i] = (double)(i % 17) * 0.1 - 0.8;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Of this thread. */
static double processor_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Where something else has the processor for much of an update, the clock says little. */
#define CROWDED 1.5

static int time_update(struct engine_run *run, double *out, struct err *err)
{
    double start = clock_seconds(), own = processor_seconds();
    int rc = run_update(run, err);

    if (!rc)
        rc = run_settle(run, 0, err);
    *out = clock_seconds() - start;
    own = processor_seconds() - own;
    if (*out > CROWDED * own && !run->ranks) /* who waits for other ranks has none either */
        *out = own;
    return rc;
}

static bool is_enough(int n, double spent)
{
    if (n < TRIAL_LEAST)
        return n > 0 && spent >= TRIAL_MOST;
    return n == TRIAL_UPDATES || spent >= TRIAL_SPEND;
}

/* The lower quartile, after one to warm up: what else the machine does only ever adds. */
static int time_updates(struct engine_run *run, double *out, struct err *err)
{
    double seconds[TRIAL_UPDATES], begin = clock_seconds();
    int n = -1, rc = 0;

    while (!rc && !is_enough(n, clock_seconds() - begin)) {
        double took;

        run->update = (uint64_t)(n + 1) % run->total;
        rc = time_update(run, &took, err);
        if (n >= 0)
            seconds[n] = took;
        n++;
    }
    if (rc)
        return rc;
    qsort(seconds, (size_t)n, sizeof *seconds, by_value);
    *out = seconds[n / 4];
    return 0;
}

/* One full batch, twice. */
static int time_evaluation(struct engine_run *run, double *out, struct err *err)
{
    struct samples *test = &run->dataset->split[SPLIT_TEST];
    int64_t all = test->n;
    struct engine_epoch epoch;
    bool interrupted;
    atomic_int request;
    int rc = 0;

    atomic_init(&request, ENGINE_CONTINUE);
    test->n = run->evaluation_batch;
    for (int i = 0; i < 2 && !rc; i++)
        rc = run_evaluate(run, &request, &epoch, &interrupted, err);
    test->n = all;
    if (!rc)
        *out = epoch.seconds * (double)all / (double)run->evaluation_batch;
    return rc;
}

/* Weights stay as they are, so that no loss ends it. */
int timing_trial(const struct engine_run *plan, struct engine_estimate *out, struct err *err)
{
    const struct engine_sink sink = {0};
    struct engine_job job = plan->job;
    struct engine_run *run;
    double update = 0;
    int rc;

    job.optimizer.lr = 0;
    rc = run_open(&run, &job, plan->threads, &sink, &plan->info, RUN_TRIAL, err);
    if (rc)
        return rc;
    fill_images(run);
    rc = timing_fill(run, run->weights, run->params->size, -0.1f, 0.1f, err);
    if (!rc)
        rc = timing_fill(run, run->states, run->states_layout->size, 0.5f, 1.5f, err);
    if (!rc)
        rc = run_share_state(run, err);
    if (!rc)
        rc = time_updates(run, &update, err);
    if (!rc)
        rc = time_evaluation(run, &out->evaluation_seconds, err);
    out->seconds_per_update = update * timing_fullness(run);
    engine_run_close(run);
    return rc;
}
