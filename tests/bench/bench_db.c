/* What the database costs, one JSON line a measurement: questions to a large one, and recording.
 * A stopwatch, not a test. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "db/db.h"

#define WORKERS 2

#define RATE    2000 /* losses a second and worker */
#define SECONDS 3

struct bench {
    struct db *db;
    struct db_reader *reader;
};

struct worker {
    struct bench *bench;
    int64_t job;
    uint64_t updates;
    double cpu;    /* seconds of its thread */
    double adding; /* seconds within db_loss_add */
    double worst;  /* longest of them */
};

static void check(int code, const struct err *err)
{
    if (code) {
        fprintf(stderr, "bench_db: %s\n", err->message);
        exit(1);
    }
}

static volatile double sink;

/* Stands for training: arithmetic that keeps a core busy. */
static void unit_of_work(void)
{
    double x = 1;

    for (int i = 0; i < 2000; i++)
        x = x * 0.999999 + 1e-6;
    sink = x;
}

static double cpu_seconds(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void add_loss(struct worker *worker)
{
    const struct db_loss loss = {.update = ++worker->updates,
                                 .epoch = 1,
                                 .loss = 0.123456789,
                                 .has_perturbed = true,
                                 .perturbed_loss = 0.234567891,
                                 .lr = 0.1,
                                 .sigma = 0.01,
                                 .seconds = 0.0005};
    double before = clock_seconds(), took;
    struct err err;

    check(db_loss_add(worker->bench->db, worker->job, &loss, &err), &err);
    took = clock_seconds() - before;
    worker->adding += took;
    worker->worst = took > worker->worst ? took : worker->worst;
}

static void *work(void *context)
{
    struct worker *worker = context;
    double start = clock_seconds(), now;

    while ((now = clock_seconds()) - start < SECONDS) {
        unit_of_work();
        if ((double)worker->updates < (now - start) * RATE)
            add_loss(worker);
    }
    worker->cpu = cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static int64_t start_job(struct bench *bench)
{
    const struct db_new_job job = {.name = "measured", .spec = "{}", .priority = 1};
    struct db_claim claim;
    struct err err;
    int64_t id;

    check(db_job_insert(bench->db, &job, &id, NULL, &err), &err);
    check(db_job_claim(bench->db, 1, &claim, &err), &err);
    free(claim.spec);
    return claim.id;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Workers that keep their cores busy and record as they go. What the process spends beyond their
 * own time is the writer's; that and the time within db_loss_add is what training loses. In CPU
 * time, so that other work on the machine does not count. */
static void measure_recording(struct bench *bench)
{
    double writer = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID), adding = 0, worst = 0, all;
    struct worker worker[WORKERS];
    struct db_health before, after;
    pthread_t thread[WORKERS];
    uint64_t rows = 0;

    for (int i = 0; i < WORKERS; i++)
        worker[i] = (struct worker){.bench = bench, .job = start_job(bench)};
    db_health(bench->db, &before);
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&thread[i], NULL, work, &worker[i]);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(thread[i], NULL);
    all = writer = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - writer;
    db_health(bench->db, &after);
    for (int i = 0; i < WORKERS; i++) {
        rows += worker[i].updates;
        writer -= worker[i].cpu;
        adding += worker[i].adding;
        worst = worker[i].worst > worst ? worker[i].worst : worst;
    }
    printf("{\"what\": \"recording\", \"workers\": %d, \"rows_per_second\": %.0f, \"commits\": "
           "%lld, \"share_of_cpu\": %.5f, \"writer_us_per_row\": %.3f, \"add_us_mean\": %.3f, "
           "\"add_us_worst\": %.1f}\n",
           WORKERS, (double)rows / SECONDS, (long long)(after.commits - before.commits),
           (writer + adding) / all, writer / (double)rows * 1e6, adding / (double)rows * 1e6,
           worst * 1e6);
}

static int ignore_job(void *context, const struct db_job *job)
{
    (void)context, (void)job;
    return 0;
}

static int ignore_event(void *context, const struct db_event *event)
{
    (void)context, (void)event;
    return 0;
}

enum question { GET, PAGE, PAGE_OF_STATE, TOTALS, EVENTS_JOB, EVENTS_ALL, EVENTS_BACK, QUESTIONS };

static const char *const question_names[QUESTIONS] = {
    "db_job_get",
    "db_jobs_each, 50",
    "db_jobs_each of a state, 50",
    "db_totals",
    "db_events_each of a job, nothing new",
    "db_events_each of all, nothing new",
    "db_events_each of a job, 100 from the middle",
};

static void ask(struct bench *bench, enum question question, int64_t jobs, int i)
{
    struct db_job_query query = {.state = question == PAGE ? -1 : JOB_SUCCEEDED,
                                 .before = 1 + (i * 7919) % jobs,
                                 .limit = 50};
    int64_t id = 1 + (i * 7919) % jobs, last = INT64_MAX;
    struct db_totals totals;
    struct db_job job;
    struct err err;
    int code;

    if (question == GET) {
        code = db_job_get(bench->reader, id, &job, &err);
        db_job_free(&job);
    } else if (question == PAGE || question == PAGE_OF_STATE) {
        code = db_jobs_each(bench->reader, &query, ignore_job, NULL, &err);
    } else if (question == TOTALS) {
        code = db_totals(bench->reader, &totals, &err);
    } else {
        code = db_events_last(bench->reader, &last, &err);
        if (!code)
            code = db_events_each(bench->reader, question == EVENTS_ALL ? 0 : id,
                                  question == EVENTS_BACK ? last / 2 : last, 100, ignore_event,
                                  NULL, &err);
    }
    check(code, &err);
}

static void measure_questions(struct bench *bench, int64_t jobs)
{
    enum { TIMES = 501 };
    static double took[TIMES];

    for (int question = 0; question < QUESTIONS; question++) {
        for (int i = 0; i < TIMES; i++) {
            double start = clock_seconds();

            ask(bench, (enum question)question, jobs, i);
            took[i] = clock_seconds() - start;
        }
        qsort(took, TIMES, sizeof *took, by_value);
        printf("{\"what\": \"%s\", \"jobs\": %lld, \"median_us\": %.1f, \"p99_us\": %.1f}\n",
               question_names[question], (long long)jobs, took[TIMES / 2] * 1e6,
               took[TIMES * 99 / 100] * 1e6);
    }
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    struct db_totals totals;
    struct err err;
    int64_t jobs = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: bench_db FOLDER\n"
                        "A state folder that no daemon uses, best one from fill_database; it is "
                        "added to.\n");
        return 2;
    }
    check(db_open(&bench.db, argv[1], NULL, &err), &err);
    check(db_reader_open(&bench.reader, bench.db, &err), &err);
    check(db_totals(bench.reader, &totals, &err), &err);
    for (int i = 0; i < JOB_STATES; i++)
        jobs += totals.jobs[i];
    if (jobs)
        measure_questions(&bench, jobs);
    measure_recording(&bench);
    db_reader_close(bench.reader);
    db_close(bench.db);
    return 0;
}
