/* Questions about jobs. */
#include <stdio.h>
#include <stdlib.h>

#include "reader.h"

#define JOB_COLUMNS                                                                                \
    "id, name, state, wish, spec, reason, priority, parameters, threads, starts, created_ms, "     \
    "started_ms, finished_ms, updates, updates_done, seconds, gradient_evaluations, loss, "        \
    "perturbed_loss, epoch, train_loss, train_top1, test_loss, test_top1, test_top5, best_top1, "  \
    "best_epoch, checkpoint_updates, sweep, point, " DB_ESTIMATE_COLUMNS

/* A job of a sweep has no estimate of its own. */
#define ESTIMATE   " LEFT JOIN estimate ON estimate.job = job.id "
#define JOB_TABLES "job" ESTIMATE

void db_job_free(struct db_job *job)
{
    if (!job)
        return;
    free(job->spec);
    free(job->reason);
    job->spec = job->reason = NULL;
}

/* The columns' numbers are those of JOB_COLUMNS. */
static int read_job(sqlite3_stmt *row, struct db_job *out, struct err *err)
{
    const char *name = (const char *)sqlite3_column_text(row, 1);
    int code;

    *out = (struct db_job){
        .id = sqlite3_column_int64(row, 0),
        .state = (enum job_state)sqlite3_column_int(row, 2),
        .wish = (enum job_wish)sqlite3_column_int(row, 3),
        .priority = sqlite3_column_int64(row, 6),
        .parameters = sqlite3_column_int64(row, 7),
        .threads = sqlite3_column_int(row, 8),
        .starts = sqlite3_column_int(row, 9),
        .created_ms = sqlite3_column_int64(row, 10),
        .started_ms = sqlite3_column_int64(row, 11),
        .finished_ms = sqlite3_column_int64(row, 12),
        .updates = (uint64_t)sqlite3_column_int64(row, 13),
        .updates_done = (uint64_t)sqlite3_column_int64(row, 14),
        .seconds = sql_real(row, 15),
        .gradient_evaluations = sqlite3_column_int64(row, 16),
        .has_loss = sql_has(row, 17),
        .loss = sql_real(row, 17),
        .has_perturbed = sql_has(row, 18),
        .perturbed_loss = sql_real(row, 18),
        .epoch = sqlite3_column_int64(row, 19),
        .train_loss = sql_real(row, 20),
        .train_top1 = sql_real(row, 21),
        .has_test = sql_has(row, 22),
        .test_loss = sql_real(row, 22),
        .test_top1 = sql_real(row, 23),
        .test_top5 = sql_real(row, 24),
        .best_top1 = sql_real(row, 25),
        .best_epoch = sqlite3_column_int64(row, 26),
        .checkpoint_update = (uint64_t)sqlite3_column_int64(row, 27),
        .sweep = sqlite3_column_int64(row, 28),
        .point = sqlite3_column_int64(row, 29),
    };
    db_read_estimate(row, 30, &out->estimate, &out->taken);
    snprintf(out->name, sizeof out->name, "%s", name ? name : "");
    code = sql_text(row, 4, &out->spec, err);
    if (!code)
        code = sql_text(row, 5, &out->reason, err);
    if (code)
        db_job_free(out);
    return code;
}

int db_job_get(struct db_reader *reader, int64_t id, struct db_job *out, struct err *err)
{
    static const char text[] =
        "SELECT " JOB_COLUMNS " FROM " JOB_TABLES " WHERE id = ? AND state >= 0";
    sqlite3_stmt *row;
    int code = sql_first(&reader->rows, &row, err, text, "i", id);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job %lld", (long long)id);
    code = read_job(row, out, err);
    sql_done(row);
    return code;
}

/* The statement of a list, with its parameters. Partial indexes are only used where their condition
 * is spelled out, "sweep <> 0". */
static int list_jobs(struct db_reader *reader, const struct db_job_query *query, sqlite3_stmt **row,
                     struct err *err)
{
    static const char any[] = "SELECT " JOB_COLUMNS " FROM " JOB_TABLES
                              " WHERE id < ?1 AND state >= 0 ORDER BY id DESC LIMIT ?2";
    static const char of_state[] = "SELECT " JOB_COLUMNS " FROM " JOB_TABLES
                                   " WHERE id < ?1 AND state = ?3 ORDER BY id DESC LIMIT ?2";
    static const char of_sweep[] =
        "SELECT " JOB_COLUMNS " FROM job INDEXED BY job_of_sweep" ESTIMATE "WHERE sweep <> 0 AND "
        "sweep = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2";
    static const char of_both[] = "SELECT " JOB_COLUMNS " FROM job INDEXED BY job_of_sweep" ESTIMATE
                                  "WHERE sweep <> 0 AND sweep = ?3 AND id < ?1 AND "
                                  "state = ?4 ORDER BY id DESC LIMIT ?2";
    int64_t before = query->before > 0 ? query->before : INT64_MAX;
    int64_t limit = query->limit > 0 ? query->limit : 0, state = query->state;

    if (query->sweep && state >= 0)
        return sql_query(&reader->rows, row, err, of_both, "iiii", before, limit, query->sweep,
                         state);
    if (query->sweep)
        return sql_query(&reader->rows, row, err, of_sweep, "iii", before, limit, query->sweep);
    if (state >= 0)
        return sql_query(&reader->rows, row, err, of_state, "iii", before, limit, state);
    return sql_query(&reader->rows, row, err, any, "ii", before, limit);
}

int db_jobs_each(struct db_reader *reader, const struct db_job_query *query,
                 int (*each)(void *context, const struct db_job *job), void *context,
                 struct err *err)
{
    sqlite3_stmt *row;
    int stop = 0, code = list_jobs(reader, query, &row, err);

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct db_job job;

        code = read_job(row, &job, err);
        if (code)
            break;
        stop = each(context, &job);
        db_job_free(&job);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}

int db_jobs_count(struct db_reader *reader, int64_t out[JOB_STATES], struct err *err)
{
    static const char text[] = "SELECT state, count(*) FROM job GROUP BY state";
    sqlite3_stmt *row;
    int code = sql_query(&reader->rows, &row, err, text, "");

    if (code)
        return code;
    for (int state = 0; state < JOB_STATES; state++)
        out[state] = 0;
    while ((code = sql_step(&reader->rows, row, err)) == 1) {
        unsigned state = (unsigned)sqlite3_column_int(row, 0);

        if (state < JOB_STATES)
            out[state] = sqlite3_column_int64(row, 1);
    }
    return code;
}

static int count(struct sql *sql, const char *text, int64_t *out, struct err *err)
{
    sqlite3_stmt *row;
    int code = sql_first(sql, &row, err, text, "");

    if (code < 0)
        return code;
    *out = sqlite3_column_int64(row, 0);
    sql_done(row);
    return 0;
}

int db_totals(struct db_reader *reader, struct db_totals *out, struct err *err)
{
    static const char losses[] = "SELECT losses FROM store";
    static const char checkpoints[] = "SELECT count(*) FROM checkpoint WHERE job > 0";
    struct sql *files;
    int code;

    *out = (struct db_totals){0};
    code = db_jobs_count(reader, out->jobs, err);
    if (!code)
        code = count(&reader->rows, losses, &out->losses, err);
    if (!code)
        code = db_reader_checkpoints(reader, &files, err);
    if (!code)
        code = count(files, checkpoints, &out->checkpoints, err);
    return code;
}

int db_events_last(struct db_reader *reader, int64_t *sequence, struct err *err)
{
    static const char text[] = "SELECT sequence FROM store";

    return count(&reader->rows, text, sequence, err);
}
