/* Questions about sweeps. */
#include <stdio.h>
#include <stdlib.h>

#include "db/sweep.h"
#include "reader.h"

#define SWEEP_COLUMNS "id, name, spec, max_running, points, created_ms"

void db_sweep_free(struct db_sweep *sweep)
{
    if (!sweep)
        return;
    free(sweep->spec);
    sweep->spec = NULL;
}

/* The columns' numbers are those of SWEEP_COLUMNS. */
static int read_sweep(sqlite3_stmt *row, struct db_sweep *out, struct err *err)
{
    const char *name = (const char *)sqlite3_column_text(row, 1);

    *out = (struct db_sweep){.id = sqlite3_column_int64(row, 0),
                             .max_running = sqlite3_column_int64(row, 3),
                             .points = sqlite3_column_int64(row, 4),
                             .created_ms = sqlite3_column_int64(row, 5)};
    snprintf(out->name, sizeof out->name, "%s", name ? name : "");
    return sql_text(row, 2, &out->spec, err);
}

/* What its jobs come to. */
static int add_jobs(struct db_reader *reader, struct db_sweep *out, struct err *err)
{
    static const char text[] =
        "SELECT state, count(*), sum(updates + 0.0), sum(updates_done + 0.0), sum(seconds), "
        "sum(gradient_evaluations), max(finished_ms), max(starts) "
        "FROM job INDEXED BY job_of_sweep WHERE sweep <> 0 AND sweep = ? GROUP BY state";
    sqlite3_stmt *row;
    int64_t ended = 0, finished_ms = 0;
    int code = sql_query(&reader->rows, &row, err, text, "i", out->id);

    if (code)
        return code;
    while ((code = sql_step(&reader->rows, row, err)) == 1) {
        unsigned state = (unsigned)sqlite3_column_int(row, 0);
        int64_t n = sqlite3_column_int64(row, 1), at = sqlite3_column_int64(row, 6);

        if (state < JOB_STATES)
            out->jobs[state] = n;
        out->updates += sql_real(row, 2);
        out->updates_done += sql_real(row, 3);
        out->seconds += sql_real(row, 4);
        out->gradient_evaluations += sqlite3_column_int64(row, 5);
        out->begun = out->begun || at > 0 || sqlite3_column_int64(row, 7) > 0;
        ended += at > 0 ? n : 0;
        finished_ms = at > finished_ms ? at : finished_ms;
    }
    out->finished_ms = ended == out->points ? finished_ms : 0;
    return code;
}

int db_sweep_get(struct db_reader *reader, int64_t id, struct db_sweep *out, struct err *err)
{
    static const char text[] = "SELECT " SWEEP_COLUMNS " FROM sweep WHERE id = ?";
    sqlite3_stmt *row;
    int code = sql_first(&reader->rows, &row, err, text, "i", id);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no sweep %lld", (long long)id);
    code = read_sweep(row, out, err);
    sql_done(row);
    if (!code)
        code = add_jobs(reader, out, err);
    if (code)
        db_sweep_free(out);
    return code;
}

int db_sweeps_each(struct db_reader *reader, int64_t before, int64_t limit,
                   int (*each)(void *context, const struct db_sweep *sweep), void *context,
                   struct err *err)
{
    static const char text[] =
        "SELECT " SWEEP_COLUMNS " FROM sweep WHERE id < ? ORDER BY id DESC LIMIT ?";
    sqlite3_stmt *row;
    int stop = 0, code = sql_query(&reader->rows, &row, err, text, "ii",
                                   before > 0 ? before : INT64_MAX, limit > 0 ? limit : (int64_t)0);

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct db_sweep sweep;

        code = read_sweep(row, &sweep, err);
        if (!code)
            code = add_jobs(reader, &sweep, err);
        if (!code)
            stop = each(context, &sweep);
        db_sweep_free(&sweep);
        if (code)
            break;
    }
    sql_done(row);
    return code < 0 ? code : 0;
}

static int jobs_each(struct db_reader *reader, int64_t sweep,
                     int (*each)(void *context, const struct db_sweep_job *job), void *context,
                     struct err *err)
{
    static const char text[] =
        "SELECT id, point, state, train_loss, train_top1, test_top1, best_top1, "
        "gradient_evaluations, seconds FROM job INDEXED BY job_of_sweep "
        "WHERE sweep <> 0 AND sweep = ? ORDER BY id";
    sqlite3_stmt *row;
    int stop = 0, code = sql_query(&reader->rows, &row, err, text, "i", sweep);

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct db_sweep_job job = {.id = sqlite3_column_int64(row, 0),
                                   .point = sqlite3_column_int64(row, 1),
                                   .state = (enum job_state)sqlite3_column_int(row, 2),
                                   .has_train = sql_has(row, 3),
                                   .train_loss = sql_real(row, 3),
                                   .train_top1 = sql_real(row, 4),
                                   .has_test = sql_has(row, 5),
                                   .test_top1 = sql_real(row, 5),
                                   .best_top1 = sql_real(row, 6),
                                   .gradient_evaluations = sqlite3_column_int64(row, 7),
                                   .seconds = sql_real(row, 8)};

        stop = each(context, &job);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}

static int probes_each(struct db_reader *reader, int64_t sweep,
                       int (*each)(void *context, int64_t point, const char *kind,
                                   const struct probe_row *summary),
                       void *context, struct err *err)
{
    static const char text[] =
        "SELECT part, probe_row.number, data, job.point, kind FROM job INDEXED BY job_of_sweep "
        "JOIN probe ON probe.job = job.id JOIN probe_row ON probe_row.probe = probe.id "
        "WHERE job.sweep <> 0 AND job.sweep = ? AND probe.state = ? AND part = 0 AND "
        "probe_row.number = 0 ORDER BY job.id, probe.updates, probe.number";
    sqlite3_stmt *row;
    int stop = 0,
        code = sql_query(&reader->rows, &row, err, text, "ii", sweep, (int64_t)PROBE_SUCCEEDED);

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct probe_row summary;

        code = db_read_probe_row(reader, row, &summary, err);
        if (code)
            break;
        stop = each(context, sqlite3_column_int64(row, 3),
                    (const char *)sqlite3_column_text(row, 4), &summary);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}

static int count_probes(struct db_reader *reader, struct db_sweep *out, struct err *err)
{
    static const char text[] =
        "SELECT probe.state, count(*) FROM job INDEXED BY job_of_sweep JOIN probe "
        "ON probe.job = job.id WHERE job.sweep <> 0 AND job.sweep = ? GROUP BY probe.state";
    sqlite3_stmt *row;
    int code = sql_query(&reader->rows, &row, err, text, "i", out->id);

    if (code)
        return code;
    while ((code = sql_step(&reader->rows, row, err)) == 1) {
        unsigned state = (unsigned)sqlite3_column_int(row, 0);

        if (state < PROBE_STATES)
            out->probes[state] = sqlite3_column_int64(row, 1);
    }
    return code;
}

int db_sweep_read(struct db_reader *reader, int64_t id, struct db_sweep *out,
                  int (*each)(void *context, const struct db_sweep_job *job),
                  int (*probe)(void *context, int64_t point, const char *kind,
                               const struct probe_row *summary),
                  void *context, struct err *err)
{
    int code = db_read_begin(&reader->rows, err);

    if (code)
        return code;
    code = db_sweep_get(reader, id, out, err);
    if (!code) {
        code = jobs_each(reader, id, each, context, err);
        if (!code)
            code = probes_each(reader, id, probe, context, err);
        if (!code)
            code = count_probes(reader, out, err);
        if (code)
            db_sweep_free(out);
    }
    return db_read_end(&reader->rows, code);
}
