/* A sweep's table: what its jobs and their probes came to, mean and standard deviation over the
 * seeds. Only jobs that have succeeded count in those. */
#ifndef API_SWEEP_TABLE_H
#define API_SWEEP_TABLE_H

#include "db/sweep.h"
#include "http.h"
#include "sweep_grid.h"

#define SWEEP_MEASURES 7

struct sweep_statistic {
    int n;
    double mean, squares; /* squares: of the distances from the mean, summed up (Welford) */
};

/* A row: a combination of values of all axes but the seed's. */
struct sweep_row {
    int in[JOB_STATES];
    struct sweep_statistic measure[SWEEP_MEASURES];
};

/* The summary of a job's newest probe of one kind. */
struct sweep_summary {
    int n; /* columns; 0: there is none */
    double value[PROBE_COLUMNS_MAX];
};

struct sweep_table {
    const struct api_service *service;
    const struct sweep_grid *grid;              /* once it is known */
    int n_kinds;                                /* of probes */
    bool *probed;                               /* by kind: some job has one */
    struct sweep_summary *summary;              /* by point, from 0, and kind */
    struct db_sweep_job job[DB_SWEEP_JOBS_MAX]; /* by point, from 0; id 0: it was not there */
};

int sweep_table_open(struct sweep_table **out, const struct api_service *service, struct err *err);
void sweep_table_close(struct sweep_table *table);

/* For db_sweep_read. */
int sweep_table_add(void *table, const struct db_sweep_job *job);
int sweep_table_add_probe(void *table, int64_t point, const char *kind,
                          const struct probe_row *summary);

/* "train_loss", …; they stand in the schema SweepRow, too. */
const char *sweep_measure_name(int measure);

const struct db_sweep_job *sweep_table_job(const struct sweep_table *table, int row, int seed);
void sweep_table_row(const struct sweep_table *table, int row, struct sweep_row *out);
/* Of a column of the summaries of the row's probes of a kind. */
void sweep_table_probe(const struct sweep_table *table, int row, int kind, int column,
                       struct sweep_statistic *out);
/* Of the sample: divided by n − 1. */
double sweep_deviation(const struct sweep_statistic *statistic);

/* sweep_table_write.c: the rows as a list of objects, or all as CSV. */
void sweep_table_json(struct text *out, const struct sweep_table *table);
void sweep_table_csv(struct text *out, const struct sweep_table *table);

#endif
