/* All that a probe says: to the sink, and rows to its own memory as well. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "probe/state.h"
#include "probe/tables.h"

int probe_continue(const struct engine_probe_run *run)
{
    return atomic_load(run->request) == ENGINE_CONTINUE ? 0 : PROBE_STOPPED;
}

int probe_go_on(const void *run)
{
    return probe_continue(run);
}

int probe_tell(struct engine_probe_run *run, int table, int64_t number, const double *values,
               struct err *err)
{
    int n_tables, rc;
    struct probe_row row = {.table = table, .number = number};

    row.n = engine_probe_tables(run->probe.kind, &n_tables)[table].n_columns;
    for (int i = 0; i < row.n; i++)
        row.value[i] = values[i];
    rc = rows_put(run->rows, &row, err);
    if (!rc && run->sink.row)
        rc = run->sink.row(run->sink.context, &row, err);
    return rc;
}

int probe_tell_summary(struct engine_probe_run *run, struct err *err)
{
    return probe_tell(run, TABLE_SUMMARY, 0, run->summary, err);
}

int probe_progress(struct engine_probe_run *run, double cost, struct err *err)
{
    struct engine_probe_progress progress;

    run->cost += cost;
    progress.done = run->total_cost > 0 ? fmin(1, run->cost / run->total_cost) : 0;
    return run->sink.progress ? run->sink.progress(run->sink.context, &progress, err) : 0;
}

void probe_message(struct engine_probe_run *run, const char *format, ...)
{
    char text[2048];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (run->sink.message)
        run->sink.message(run->sink.context, text);
}

double *probe_numbers(int64_t n)
{
    return calloc((size_t)n, sizeof(double));
}

struct probe_mean probe_mean_of(const double *values, int64_t n)
{
    struct probe_mean out = {.standard_error = NAN};
    double sum = 0, squares = 0;

    for (int64_t i = 0; i < n; i++)
        sum += values[i];
    out.mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (values[i] - out.mean) * (values[i] - out.mean);
    if (n > 1)
        out.standard_error = sqrt(squares / (double)(n - 1) / (double)n);
    return out;
}
