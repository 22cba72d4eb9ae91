/* New probes: by request, once however often it comes; and those that a job wants of its own
 * checkpoints, once for each checkpoint. The latter are written into checkpoints.db with their
 * checkpoint and queued in rwpd.db with the news of it, so that none is lost between the two. */
#include "base/clock.h"
#include "probe_inside.h"
#include "reader.h"

int db_probe_event(struct db_writer *writer, int64_t job, int64_t number, enum probe_state state,
                   const char *reason, struct err *err)
{
    const struct db_event_row event = {.job = job,
                                       .kind = EVENT_PROBE,
                                       .wall_ms = clock_wall_ms(),
                                       .state = (int)state,
                                       .number = number,
                                       .text = reason};

    return db_event_add(writer, &event, err);
}

/* ---- By request ---- */

struct insert_op {
    struct db_op op;
    const struct db_new_probe *probe;
    int64_t number;
    bool existing;
};

/* 1: the key is known and the request the same. */
static int find_key(struct db_writer *writer, struct insert_op *insert, struct err *err)
{
    static const char text[] =
        "SELECT number, job, fingerprint IS ? AND job = ? FROM probe WHERE idempotency_key = ?";
    const struct db_new_probe *probe = insert->probe;
    sqlite3_stmt *row;
    int64_t job;
    bool same;
    int code;

    if (!probe->idempotency_key)
        return 0;
    code = sql_first(&writer->rows, &row, err, text, "tit", probe->fingerprint, probe->job,
                     probe->idempotency_key);
    if (code <= 0)
        return code;
    insert->number = sqlite3_column_int64(row, 0);
    job = sqlite3_column_int64(row, 1);
    same = sqlite3_column_int(row, 2);
    sql_done(row);
    if (!same)
        return err_set(
            err, ERR_CONFLICT,
            "this idempotency key belongs to another request, which became probe %lld of "
            "job %lld",
            (long long)insert->number, (long long)job);
    insert->existing = true;
    return 1;
}

static int check_job(struct db_writer *writer, int64_t job, struct err *err)
{
    static const char text[] = "SELECT 1 FROM job WHERE id = ? AND state >= 0";
    int code = sql_integer(&writer->rows, NULL, err, text, "i", job);

    if (code < 0)
        return code;
    return code ? 0 : err_set(err, ERR_NOT_FOUND, "there is no job %lld", (long long)job);
}

/* ERR_LIMIT if `text`, whose last parameter is the limit, counts that many. */
static int check_limit(struct db_writer *writer, const char *text, int64_t job, int64_t limit,
                       const char *what, struct err *err)
{
    int64_t n;
    int code;

    if (limit <= 0)
        return 0;
    code = sql_integer(&writer->rows, &n, err, text, "ii", job, limit);
    if (code < 0)
        return code;
    return n < limit ? 0
                     : err_set(err, ERR_LIMIT, "%s, which is the limit: %lld", what, (long long)n);
}

static int check_limits(struct db_writer *writer, const struct db_new_probe *probe, struct err *err)
{
    static const char queued[] =
        "SELECT count(*) FROM (SELECT 1 FROM probe WHERE state = 0 AND ?1 > 0 LIMIT ?2)";
    static const char of_job[] =
        "SELECT count(*) FROM (SELECT 1 FROM probe WHERE job = ?1 LIMIT ?2)";
    int code = check_limit(writer, queued, probe->job, probe->queue_limit,
                           "as many probes are queued as may", err);

    return code ? code
                : check_limit(writer, of_job, probe->job, probe->job_limit,
                              "the job has as many probes as it may", err);
}

static int check_sources(struct db_writer *writer, const struct db_new_probe *probe,
                         struct err *err)
{
    int code = db_check_source(writer, probe->job, (int64_t)probe->update, err);

    if (!code)
        code = db_check_source(writer, probe->plan.other_job, probe->plan.other_update, err);
    return code ? code : db_check_source(writer, -probe->plan.upload, 0, err);
}

/* `place` −1: none. *number is 0 where the job's list has queued it already. */
static int put_row(struct db_writer *writer, const struct db_new_probe *probe, int place,
                   int64_t *number, struct err *err)
{
    static const char text[] =
        "INSERT INTO probe (job, number, updates, place, kind, request, priority, created_ms, "
        "other_job, other_update, upload, idempotency_key, fingerprint) "
        "SELECT ?1, (SELECT coalesce(max(number), 0) + 1 FROM probe WHERE job = ?1), ?2, "
        "nullif(?3, -1), ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 WHERE NOT EXISTS "
        "(SELECT 1 FROM probe WHERE job = ?1 AND updates = ?2 AND place = ?3) RETURNING number";
    const struct db_probe_plan *plan = &probe->plan;
    sqlite3_stmt *row;
    int code = sql_first(&writer->rows, &row, err, text, "iiittiiiiitt", probe->job,
                         (int64_t)probe->update, (int64_t)place, plan->kind, plan->request,
                         plan->priority, clock_wall_ms(), plan->other_job, plan->other_update,
                         plan->upload, probe->idempotency_key, probe->fingerprint);

    *number = 0;
    if (code <= 0)
        return code;
    *number = sqlite3_column_int64(row, 0);
    sql_done(row);
    return db_probe_event(writer, probe->job, *number, PROBE_QUEUED, NULL, err);
}

static int apply_insert(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct insert_op *insert = (struct insert_op *)op;
    const struct db_new_probe *probe = insert->probe;
    int code;

    insert->existing = false;
    code = find_key(writer, insert, err);
    if (code)
        return code < 0 ? code : 0;
    code = check_job(writer, probe->job, err);
    if (!code)
        code = check_limits(writer, probe, err);
    if (!code)
        code = check_sources(writer, probe, err);
    return code ? code : put_row(writer, probe, -1, &insert->number, err);
}

int db_probe_insert(struct db *db, const struct db_new_probe *probe, int64_t *number,
                    bool *existing, struct err *err)
{
    struct insert_op insert = {.op = {.kind = OP_DURABLE, .apply = apply_insert}, .probe = probe};
    int code;

    if (probe->update < 1 || probe->update > INT64_MAX)
        return err_set(err, ERR_INVALID, "there is no checkpoint of update %llu",
                       (unsigned long long)probe->update);
    code = db_queue_submit(db->queue, &insert.op, err);
    if (code)
        return code;
    *number = insert.number;
    if (existing)
        *existing = insert.existing;
    return 0;
}

/* ---- By a job's own list ---- */

int db_probe_put_due(struct db_writer *writer, int64_t job, int64_t updates,
                     const struct db_due *due, struct err *err)
{
    const struct db_new_probe probe = {.plan = due->plan, .job = job, .update = (uint64_t)updates};
    int64_t number;

    return put_row(writer, &probe, due->place, &number, err);
}

int db_probe_store_due(struct db_writer *writer, int64_t checkpoint, const struct db_due *due,
                       int n, struct err *err)
{
    static const char text[] = "INSERT INTO due VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    int code = 0;

    for (int i = 0; !code && i < n; i++)
        code =
            sql_run(&writer->checkpoints, err, text, "iittiiii", checkpoint, (int64_t)due[i].place,
                    due[i].plan.kind, due[i].plan.request, due[i].plan.priority,
                    due[i].plan.other_job, due[i].plan.other_update, due[i].plan.upload);
    return code;
}

int db_probe_adopt_due(struct db_writer *writer, int64_t job, int64_t updates, struct err *err)
{
    static const char text[] =
        "SELECT place, kind, request, priority, other_job, other_update, upload FROM due WHERE "
        "checkpoint = (SELECT id FROM checkpoint WHERE job = ? AND updates = ?) ORDER BY place";
    sqlite3_stmt *row;
    int code = sql_query(&writer->checkpoints, &row, err, text, "ii", job, updates);

    if (code)
        return code;
    while ((code = sql_step(&writer->checkpoints, row, err)) == 1) {
        const struct db_due due = {.place = sqlite3_column_int(row, 0),
                                   .plan = {.kind = (const char *)sqlite3_column_text(row, 1),
                                            .request = (const char *)sqlite3_column_text(row, 2),
                                            .priority = sqlite3_column_int64(row, 3),
                                            .other_job = sqlite3_column_int64(row, 4),
                                            .other_update = sqlite3_column_int64(row, 5),
                                            .upload = sqlite3_column_int64(row, 6)}};

        code = db_probe_put_due(writer, job, updates, &due, err);
        if (code)
            break;
    }
    sql_done(row);
    return code;
}
