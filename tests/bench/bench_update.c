/* Seconds an update, as one JSON line a round. compare.py runs it beside PyTorch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/profile.h"
#include "base/clock.h"
#include "bench.h"
#include "job/tables.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static const char *const methods[] = {"sgd", "sam", "rwp", "arwp", "m-rwp", "m-arwp"};

static void print_round(const struct bench *bench, const struct bench_options *o,
                        const double *seconds)
{
    const struct job_model *model = &o->job.model;

    printf("{\"model\":\"%s\",\"width\":%lld,\"blocks\":[", job_model_kinds[model->kind].name,
           (long long)model->width);
    for (int i = 0; i < model->blocks.n; i++)
        printf("%s%lld", i ? "," : "", (long long)model->blocks.item[i]);
    printf("],\"method\":\"%s\",\"batch\":%lld,\"image\":[%lld,%lld,%lld],\"backend\":\"%s\","
           "\"exact\":%s,\"threads\":%d,\"updates\":%d,\"seconds_per_update\":%.6g,"
           "\"seconds_min\":%.6g,\"gflop\":%.6g,\"loss\":%.6g}\n",
           methods[o->job.method.kind], (long long)o->input.batch, (long long)o->input.channels,
           (long long)o->input.height, (long long)o->input.width, o->class->name,
           o->exact ? "true" : "false", o->threads, o->updates, seconds[o->updates / 2], seconds[0],
           bench_gflop(bench), bench_loss(bench));
    fflush(stdout);
}

static int run_round(struct bench *bench, const struct bench_options *o, double *seconds,
                     struct err *err)
{
    for (int i = 0; i < o->updates; i++) {
        double start = clock_seconds();
        int rc = bench_update(bench, err);

        if (rc)
            return rc;
        seconds[i] = clock_seconds() - start;
    }
    if (!isfinite(bench_loss(bench)))
        return err_set(err, ERR_DIVERGED, "the loss is %f", bench_loss(bench));
    qsort(seconds, (size_t)o->updates, sizeof *seconds, by_value);
    return 0;
}

static void print_profile(const struct bench *bench, int updates)
{
    struct program *program;
    struct cpu_profile_row row;

    for (int p = 0; bench_program(bench, p, &program); p++)
        for (int i = 0; cpu_profile_row(program, i, &row); i++) {
            printf("{\"program\":%d,\"what\":\"%s\",\"algorithm\":\"%s\",\"shape\":[", p, row.what,
                   row.algorithm ? row.algorithm : "");
            for (int k = 0; k < row.shape.rank; k++)
                printf("%s%lld", k ? "," : "", (long long)row.shape.dim[k]);
            printf("],\"ms\":%.4f}\n", row.seconds / updates * 1e3);
        }
}

static int start_profile(const struct bench *bench, struct err *err)
{
    struct program *program;
    int rc = 0;

    for (int p = 0; bench_program(bench, p, &program) && !rc; p++)
        rc = cpu_profile_start(program, err);
    return rc;
}

static int measure(struct bench *bench, const struct bench_options *o, struct err *err)
{
    double *seconds = calloc((size_t)o->updates + 1, sizeof *seconds);
    char line[16];
    int rc = seconds ? 0 : err_no_memory(err);

    for (int i = 0; i < o->warm && !rc; i++)
        rc = bench_update(bench, err);
    if (!rc && o->profile && o->class == &backend_cpu)
        rc = start_profile(bench, err);
    while (!rc && (!o->rounds || fgets(line, sizeof line, stdin))) {
        rc = run_round(bench, o, seconds, err);
        if (!rc)
            print_round(bench, o, seconds);
        if (!o->rounds)
            break;
    }
    if (!rc && o->profile && o->class == &backend_cpu)
        print_profile(bench, o->updates);
    free(seconds);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    struct bench *bench = NULL;
    struct err err = {0};
    int rc = bench_options_read(&options, argc, argv, &err);

    if (rc) {
        fprintf(stderr, "bench_update: %s\n%s", err.message, bench_usage);
        return 2;
    }
    rc = bench_open(&bench, &options, &err);
    if (!rc)
        rc = measure(bench, &options, &err);
    bench_close(bench);
    if (rc)
        fprintf(stderr, "bench_update: %s\n", err.message);
    return rc ? 1 : 0;
}
