/* Questions about probes and their rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "db/probe.h"
#include "reader.h"

#define PROBE_COLUMNS                                                                              \
    "id, job, number, updates, place, kind, request, state, cancelling, progress, reason, "        \
    "message, priority, threads, starts, created_ms, started_ms, finished_ms, vectors"

void db_probe_free(struct db_probe *probe)
{
    if (!probe)
        return;
    free(probe->request);
    free(probe->reason);
    free(probe->message);
    probe->request = probe->reason = probe->message = NULL;
}

/* The columns' numbers are those of PROBE_COLUMNS. */
static int read_probe(sqlite3_stmt *row, struct db_probe *out, struct err *err)
{
    const char *kind = (const char *)sqlite3_column_text(row, 5);
    int code;

    *out = (struct db_probe){
        .id = sqlite3_column_int64(row, 0),
        .job = sqlite3_column_int64(row, 1),
        .number = sqlite3_column_int64(row, 2),
        .update = (uint64_t)sqlite3_column_int64(row, 3),
        .planned = sql_has(row, 4),
        .state = (enum probe_state)sqlite3_column_int(row, 7),
        .cancelling = sqlite3_column_int(row, 8) != 0,
        .progress = sql_real(row, 9),
        .priority = sqlite3_column_int64(row, 12),
        .threads = sqlite3_column_int(row, 13),
        .starts = sqlite3_column_int(row, 14),
        .created_ms = sqlite3_column_int64(row, 15),
        .started_ms = sqlite3_column_int64(row, 16),
        .finished_ms = sqlite3_column_int64(row, 17),
        .vectors = sqlite3_column_int(row, 18) != 0,
    };
    snprintf(out->kind, sizeof out->kind, "%s", kind ? kind : "");
    code = sql_text(row, 6, &out->request, err);
    if (!code)
        code = sql_text(row, 10, &out->reason, err);
    if (!code)
        code = sql_text(row, 11, &out->message, err);
    if (code)
        db_probe_free(out);
    return code;
}

int db_probe_get(struct db_reader *reader, int64_t job, int64_t number, struct db_probe *out,
                 struct err *err)
{
    static const char text[] =
        "SELECT " PROBE_COLUMNS " FROM probe WHERE job = ?1 AND number = ?2 "
        "AND EXISTS (SELECT 1 FROM job WHERE job.id = ?1 AND job.state >= 0)";
    sqlite3_stmt *row;
    int code = sql_first(&reader->rows, &row, err, text, "ii", job, number);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "job %lld has no probe %lld", (long long)job,
                       (long long)number);
    code = read_probe(row, out, err);
    sql_done(row);
    return code;
}

int db_probes_each(struct db_reader *reader, const struct db_probe_query *query,
                   int (*each)(void *context, const struct db_probe *probe), void *context,
                   struct err *err)
{
    static const char text[] =
        "SELECT " PROBE_COLUMNS " FROM probe WHERE job = ?1 AND number < ?2 AND (?3 < 0 OR state = "
        "?3) ORDER BY number DESC LIMIT ?4";
    sqlite3_stmt *row;
    int stop = 0, code = sql_query(&reader->rows, &row, err, text, "iiii", query->job,
                                   query->before > 0 ? query->before : INT64_MAX,
                                   (int64_t)query->state, (int64_t)query->limit);

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct db_probe probe;

        code = read_probe(row, &probe, err);
        if (code)
            break;
        stop = each(context, &probe);
        db_probe_free(&probe);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}

/* ---- Rows ---- */

int db_probe_rows_count(struct db_reader *reader, int64_t id, int table, int64_t after, int64_t *n,
                        struct err *err)
{
    static const char text[] =
        "SELECT count(*) FROM probe_row WHERE probe = ? AND part = ? AND number > ?";
    int code = sql_integer(&reader->rows, n, err, text, "iii", id, (int64_t)table, after);

    return code < 0 ? code : 0;
}

int db_read_probe_row(struct db_reader *reader, sqlite3_stmt *row, struct probe_row *out,
                      struct err *err)
{
    int bytes = sqlite3_column_bytes(row, 2);
    const void *data = sqlite3_column_blob(row, 2);

    *out = (struct probe_row){.table = sqlite3_column_int(row, 0),
                              .number = sqlite3_column_int64(row, 1),
                              .n = bytes / (int)sizeof out->value[0]};
    if (!data || bytes % (int)sizeof out->value[0] || out->n > PROBE_COLUMNS_MAX)
        return err_set(err, ERR_CORRUPT, "damaged file %.300s: a row of a probe",
                       reader->rows.path);
    memcpy(out->value, data, (size_t)bytes);
    return 0;
}

int db_probe_rows_each(struct db_reader *reader, int64_t id, int table, int64_t after,
                       int64_t limit, int (*each)(void *context, const struct probe_row *row),
                       void *context, struct err *err)
{
    static const char text[] = "SELECT part, number, data FROM probe_row WHERE probe = ? AND part "
                               "= ? AND number > ? ORDER BY number LIMIT ?";
    sqlite3_stmt *row;
    int stop = 0, code = sql_query(&reader->rows, &row, err, text, "iiii", id, (int64_t)table,
                                   after, limit > 0 ? limit : (int64_t)0);

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct probe_row one;

        code = db_read_probe_row(reader, row, &one, err);
        if (code)
            break;
        stop = each(context, &one);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}

int db_probe_rows_load(struct db_reader *reader, int64_t id, struct probe_row **rows, int64_t *n,
                       struct err *err)
{
    static const char text[] =
        "SELECT part, number, data FROM probe_row WHERE probe = ? ORDER BY part, number";
    struct probe_row *all = NULL;
    int64_t used = 0;
    sqlite3_stmt *row;
    int code = sql_query(&reader->rows, &row, err, text, "i", id);

    if (code)
        return code;
    while ((code = sql_step(&reader->rows, row, err)) == 1) {
        struct probe_row *next = array_grow(&all, (size_t)used, sizeof *next);

        code = next ? db_read_probe_row(reader, row, next, err) : err_no_memory(err);
        if (code)
            break;
        used++;
    }
    sql_done(row);
    if (code) {
        free(all);
        return code;
    }
    *rows = all;
    *n = used;
    return 0;
}

/* ---- Numbers of probes ---- */

int db_probes_active(struct db_reader *reader, int64_t job, int64_t *n, struct err *err)
{
    static const char text[] = "SELECT count(*) FROM probe WHERE job = ? AND state IN (?, ?)";
    int code = sql_integer(&reader->rows, n, err, text, "iii", job, (int64_t)PROBE_QUEUED,
                           (int64_t)PROBE_RUNNING);

    return code < 0 ? code : 0;
}

int db_probe_totals(struct db_reader *reader, int64_t out[PROBE_STATES], struct err *err)
{
    static const char text[] = "SELECT state, count(*) FROM probe GROUP BY state";
    sqlite3_stmt *row;
    int code = sql_query(&reader->rows, &row, err, text, "");

    memset(out, 0, PROBE_STATES * sizeof *out);
    if (code)
        return code;
    while ((code = sql_step(&reader->rows, row, err)) == 1) {
        unsigned state = (unsigned)sqlite3_column_int(row, 0);

        if (state < PROBE_STATES)
            out[state] = sqlite3_column_int64(row, 1);
    }
    return code;
}
