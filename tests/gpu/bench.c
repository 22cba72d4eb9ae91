/* gpu_bench [--threads N]: a stopwatch for whole updates on the GPU, through the same function that
 * a job is trained with (engine/run.h), on random images.
 *
 * Reads lines and answers each with a line of JSON:
 *
 *   open WORD=VALUE…   (bench.h) opens a run and trains one epoch of it, in which algorithms are
 *                      chosen and updates captured  → {"ready": …}
 *   round N            trains N epochs more          → {"seconds": …, "updates": …}
 *   close              abandons it                   → {"closed": true}
 *
 * An epoch's end is when all that was given to the device is done and its losses are read: between
 * two of them lie just those updates. What goes wrong is {"failed": …}, and ends the run. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench.h"
#include "engine/run.h"

static struct {
    struct bench_words words;
    struct roof roof;
    struct engine_run *run;
    atomic_int request;
    double opened; /* when `open` was read */
    bool ready;
    long epochs, asked; /* of the round under way */
    double start, processor;
    double loss;
    bool ended; /* no more lines */
} bench;

static double processor_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void say_failed(const struct err *err)
{
    fputs("{\"failed\": \"", stdout);
    for (const char *at = err->message; *at; at++)
        if (*at == '"' || *at == '\\')
            printf("\\%c", *at);
        else
            putchar((unsigned char)*at < ' ' ? ' ' : *at);
    printf("\", \"code\": %d}\n", err->code);
    fflush(stdout);
}

static void say_ready(void)
{
    printf("{\"ready\": true, \"seconds\": %.3f, \"memory_bytes\": %lld, \"gflop\": %.4f, "
           "\"gbyte\": %.4f, \"roof_seconds\": %.6g}\n",
           clock_seconds() - bench.opened, (long long)engine_run_memory(bench.run),
           bench.roof.gflop, bench.roof.gbyte, bench.roof.seconds);
    fflush(stdout);
}

static void say_round(void)
{
    double seconds = clock_seconds() - bench.start;

    printf(
        "{\"seconds\": %.6f, \"updates\": %lld, \"processor_seconds\": %.6f, \"loss\": ", seconds,
        (long long)(bench.asked * bench.words.updates), processor_seconds() - bench.processor);
    printf(isfinite(bench.loss) ? "%.6g}\n" : "\"%g\"}\n", bench.loss);
    fflush(stdout);
}

/* Waits for a line that says how the run goes on. */
static void obey(void)
{
    char line[200];

    if (!fgets(line, sizeof line, stdin)) {
        bench.ended = true;
        atomic_store(&bench.request, ENGINE_ABANDON);
    } else if (sscanf(line, "round %ld", &bench.asked) == 1 && bench.asked > 0) {
        bench.epochs = 0;
        bench.processor = processor_seconds();
        bench.start = clock_seconds();
    } else {
        atomic_store(&bench.request, ENGINE_ABANDON);
    }
}

static int on_update(void *context, const struct engine_update *update, struct err *err)
{
    (void)context;
    (void)err;
    bench.loss = update->loss;
    return 0;
}

static int on_epoch(void *context, const struct engine_epoch *epoch, struct err *err)
{
    (void)context;
    (void)epoch;
    (void)err;
    if (bench.ready && ++bench.epochs < bench.asked)
        return 0;
    if (bench.ready)
        say_round();
    else
        say_ready();
    bench.ready = true;
    obey();
    return 0;
}

/* Opens, trains until it is told to stop, closes. */
static int train(int threads, struct err *err)
{
    struct engine_sink sink = {.update = on_update, .epoch = on_epoch};
    const struct bench_words *words = &bench.words;
    enum engine_outcome outcome;
    struct engine_job job;
    int rc = bench_words_job(words, &job, err);

    if (!rc)
        rc = roof_of(words, &job, &bench.roof, err);
    if (rc)
        return rc;
    /* a test batch like those that are trained: no other plans are looked for */
    images_are(words->batch * words->updates, words->batch, words->side, (int)words->classes);
    bench.ready = false;
    atomic_store(&bench.request, ENGINE_CONTINUE);
    rc = engine_run_open(&bench.run, &job, threads, &sink, err);
    if (rc)
        return rc;
    rc = engine_run_train(bench.run, &bench.request, &outcome, err);
    engine_run_close(bench.run);
    return rc;
}

static void handle(char *line, int threads)
{
    struct err err = {0};
    int rc = 0;

    if (!strncmp(line, "close", 5)) /* of a run that has failed */
        ;
    else if (strncmp(line, "open ", 5))
        rc = err_set(&err, ERR_INVALID, "nothing is open");
    else
        rc = bench_words_read(&bench.words, line + 5, &err);
    if (!rc && line[0] == 'o') {
        bench.opened = clock_seconds();
        rc = train(threads, &err);
    }
    if (rc)
        say_failed(&err);
    else if (!bench.ended)
        puts("{\"closed\": true}");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"threads", required_argument, NULL, 't'}, {0}};
    int option, threads = 4;
    char line[1000];

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 't' || atoi(optarg) < 1) {
            fputs("usage: gpu_bench [--threads N]\n", stderr);
            return 2;
        }
        threads = atoi(optarg);
    }
    while (!bench.ended && fgets(line, sizeof line, stdin))
        handle(line, threads);
    return 0;
}
