/* A forecast beside what then comes: for each round the job is forecast anew, and then trained for
 * a few updates, of which the fastest and the median count. A JSON line a round. estimate.py makes
 * the jobs and runs it.
 *
 *   bench_estimate JOB THREADS ROUNDS UPDATES
 *
 * JOB is a job as it is posted; its `updates` and `epochs` are not looked at. Memory is the peak of
 * the process, less what it was before the run, beside what was forecast and what the run counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/spec_json.h"
#include "base/clock.h"
#include "run/timing.h"

#define UPDATES_MAX 1000

struct bench {
    struct engine_job job;
    struct dataset_info info;
    int threads, updates;
    double seconds[UPDATES_MAX], processor[UPDATES_MAX], evaluation, begun;
    int n;
    int64_t counted, grown;
};

/* Of this thread: on a busy machine, what an update needs more nearly than a clock does. */
static double processor_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int take_update(void *context, const struct engine_update *update, struct err *err)
{
    struct bench *bench = context;

    (void)err;
    if (bench->n < UPDATES_MAX) {
        bench->seconds[bench->n] = update->seconds;
        bench->processor[bench->n++] = processor_seconds() - bench->begun;
    }
    bench->begun = processor_seconds();
    return 0;
}

static int take_epoch(void *context, const struct engine_epoch *epoch, struct err *err)
{
    (void)err;
    ((struct bench *)context)->evaluation = epoch->seconds;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* A line of /proc/self/status, in bytes. */
static int64_t status(const char *name)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    int64_t kilobytes = 0;

    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            kilobytes = strtoll(line + strlen(name) + 1, NULL, 10);
    if (file)
        fclose(file);
    return kilobytes * 1024;
}

/* From here on VmHWM is the peak of what follows. */
static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");

    if (file) {
        fputs("5", file);
        fclose(file);
    }
}

static int train(struct bench *bench, struct err *err)
{
    struct engine_sink sink = {.context = bench, .update = take_update, .epoch = take_epoch};
    enum engine_outcome outcome;
    struct engine_run *run;
    atomic_int request;
    int64_t before;
    int rc;

    atomic_init(&request, ENGINE_CONTINUE);
    bench->n = 0;
    bench->begun = processor_seconds();
    forget_peak();
    before = status("VmRSS");
    rc = engine_run_open(&run, &bench->job, bench->threads, &sink, err);
    if (!rc)
        rc = engine_run_train(run, &request, &outcome, err);
    if (!rc) {
        bench->counted = engine_run_memory(run);
        bench->grown = status("VmHWM") - before;
        qsort(bench->seconds, (size_t)bench->n, sizeof *bench->seconds, by_value);
        qsort(bench->processor, (size_t)bench->n, sizeof *bench->processor, by_value);
    }
    engine_run_close(run);
    return rc;
}

static int run_round(struct bench *bench, struct err *err)
{
    struct engine_estimate estimate = {0};
    double start = clock_seconds(), counting, timing;
    int rc = engine_estimate_memory(&bench->job, bench->threads, &estimate, err);

    counting = clock_seconds() - start;
    start = clock_seconds();
    if (!rc)
        rc = run_time(&bench->job, &bench->info, bench->threads, &estimate, err);
    timing = clock_seconds() - start;
    if (!rc)
        rc = train(bench, err);
    if (rc)
        return rc;
    printf("{\"forecast_seconds\":%.6g,\"fastest_seconds\":%.6g,\"median_seconds\":%.6g,"
           "\"processor_seconds\":%.6g,"
           "\"forecast_evaluation\":%.6g,\"evaluation\":%.6g,\"forecast_bytes\":%lld,"
           "\"counted_bytes\":%lld,\"grown_bytes\":%lld,\"counting\":%.3f,\"timing\":%.3f}\n",
           estimate.seconds_per_update, bench->seconds[0], bench->seconds[bench->n / 2],
           bench->processor[0], estimate.evaluation_seconds, bench->evaluation,
           (long long)estimate.memory_bytes, (long long)bench->counted, (long long)bench->grown,
           counting, timing);
    fflush(stdout);
    return 0;
}

static int read_job(struct bench *bench, const char *text, struct err *err)
{
    static struct spec_problems problems;
    int rc = spec_json_parse(engine_job_spec(), text, strlen(text), &bench->job, &problems, err);

    if (rc && problems.n)
        err_set(err, rc, "%s %s", problems.item[0].pointer, problems.item[0].message);
    bench->job.epochs = 0;
    bench->job.updates = bench->updates;
    return rc ? rc : dataset_describe(&bench->info, &bench->job.dataset, err);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    struct err err = {0};
    int rc;

    if (argc != 5) {
        fprintf(stderr, "usage: bench_estimate JOB THREADS ROUNDS UPDATES\n");
        return 2;
    }
    bench.threads = atoi(argv[2]);
    bench.updates = atoi(argv[4]);
    rc = read_job(&bench, argv[1], &err);
    for (int i = 0; i < atoi(argv[3]) && !rc; i++)
        rc = run_round(&bench, &err);
    if (rc)
        fprintf(stderr, "bench_estimate: %s\n", err.message);
    return rc ? 1 : 0;
}
