/* See sweep_table.h: what was read, and what a row of it comes to. */
#include "sweep_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is measured of a job. False: it is not known. */
struct measure {
    const char *name;
    bool (*of)(const struct db_sweep_job *job, double *out);
};

static bool train_loss(const struct db_sweep_job *job, double *out)
{
    *out = job->train_loss;
    return job->has_train;
}

static bool train_top1(const struct db_sweep_job *job, double *out)
{
    *out = job->train_top1;
    return job->has_train;
}

static bool test_top1(const struct db_sweep_job *job, double *out)
{
    *out = job->test_top1;
    return job->has_test;
}

static bool best_top1(const struct db_sweep_job *job, double *out)
{
    *out = job->best_top1;
    return job->has_test;
}

static bool generalization_gap(const struct db_sweep_job *job, double *out)
{
    *out = job->train_top1 - job->test_top1;
    return job->has_train && job->has_test;
}

static bool gradient_evaluations(const struct db_sweep_job *job, double *out)
{
    *out = (double)job->gradient_evaluations;
    return true;
}

static bool seconds(const struct db_sweep_job *job, double *out)
{
    *out = job->seconds;
    return true;
}

static const struct measure measures[SWEEP_MEASURES] = {
    {"train_loss", train_loss},
    {"train_top1", train_top1},
    {"test_top1", test_top1},
    {"best_top1", best_top1},
    {"generalization_gap", generalization_gap},
    {"gradient_evaluations", gradient_evaluations},
    {"seconds", seconds},
};

const char *sweep_measure_name(int measure)
{
    return measures[measure].name;
}

int sweep_table_open(struct sweep_table **out, const struct api_service *service, struct err *err)
{
    struct sweep_table *table = calloc(1, sizeof *table);
    size_t kinds = (size_t)service->probe_spec->n_kinds;

    if (!table)
        return err_no_memory(err);
    table->service = service;
    table->n_kinds = (int)kinds;
    table->probed = calloc(kinds, sizeof *table->probed);
    table->summary = calloc(DB_SWEEP_JOBS_MAX * kinds, sizeof *table->summary);
    if (!table->probed || !table->summary) {
        sweep_table_close(table);
        return err_no_memory(err);
    }
    *out = table;
    return 0;
}

void sweep_table_close(struct sweep_table *table)
{
    if (!table)
        return;
    free(table->probed);
    free(table->summary);
    free(table);
}

/* ---- Reading ---- */

int sweep_table_add(void *context, const struct db_sweep_job *job)
{
    struct sweep_table *table = context;

    if (job->point >= 1 && job->point <= DB_SWEEP_JOBS_MAX)
        table->job[job->point - 1] = *job;
    return 0;
}

static struct sweep_summary *summary_at(const struct sweep_table *table, int64_t point, int kind)
{
    return &table->summary[(point - 1) * table->n_kinds + kind];
}

int sweep_table_add_probe(void *context, int64_t point, const char *kind,
                          const struct probe_row *row)
{
    struct sweep_table *table = context;

    for (int k = 0; point >= 1 && point <= DB_SWEEP_JOBS_MAX && k < table->n_kinds; k++)
        if (strcmp(table->service->probe_spec->kinds[k].name, kind) == 0) {
            struct sweep_summary *summary = summary_at(table, point, k);

            summary->n = row->n;
            memcpy(summary->value, row->value, sizeof summary->value);
            table->probed[k] = true;
        }
    return 0;
}

/* ---- Rows ---- */

const struct db_sweep_job *sweep_table_job(const struct sweep_table *table, int row, int seed)
{
    return &table->job[sweep_grid_at(table->grid, row, seed) - 1];
}

static void count(struct sweep_statistic *statistic, double value)
{
    double from = value - statistic->mean;

    statistic->n++;
    statistic->mean += from / statistic->n;
    statistic->squares += from * (value - statistic->mean);
}

void sweep_table_row(const struct sweep_table *table, int row, struct sweep_row *out)
{
    *out = (struct sweep_row){0};
    for (int seed = 0; seed < sweep_grid_seeds(table->grid); seed++) {
        const struct db_sweep_job *job = sweep_table_job(table, row, seed);
        double value;

        if ((unsigned)job->state < JOB_STATES)
            out->in[job->state]++;
        for (int m = 0; job->state == JOB_SUCCEEDED && m < SWEEP_MEASURES; m++)
            if (measures[m].of(job, &value))
                count(&out->measure[m], value);
    }
}

void sweep_table_probe(const struct sweep_table *table, int row, int kind, int column,
                       struct sweep_statistic *out)
{
    *out = (struct sweep_statistic){0};
    for (int seed = 0; seed < sweep_grid_seeds(table->grid); seed++) {
        int point = sweep_grid_at(table->grid, row, seed);
        const struct sweep_summary *summary = summary_at(table, point, kind);

        /* What is not known is NaN. */
        if (table->job[point - 1].state == JOB_SUCCEEDED && column < summary->n &&
            !isnan(summary->value[column]))
            count(out, summary->value[column]);
    }
}

double sweep_deviation(const struct sweep_statistic *statistic)
{
    return sqrt(statistic->squares / (statistic->n - 1));
}
