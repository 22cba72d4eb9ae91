/* Jobs and probes under which the process ends. One that was stopped by a GPU that was lost, or by
 * a crash, is queued again, but not for ever: it may be what ends the process. */
#include <stdio.h>

#include "probe_inside.h"
#include "steps.h"

int db_death_count(struct db_writer *writer, int64_t job, int64_t updates, bool lost, int64_t *n,
                   struct err *err)
{
    static const char add[] =
        "INSERT INTO death VALUES (?1, ?2, ?3, NOT ?3) ON CONFLICT (job) DO UPDATE SET "
        "lost = CASE WHEN updates < ?2 THEN 0 ELSE lost END + ?3, "
        "crashed = CASE WHEN updates < ?2 THEN 0 ELSE crashed END + (NOT ?3), updates = ?2";
    static const char count[] =
        "SELECT CASE WHEN ?2 THEN lost ELSE crashed END FROM death WHERE job = ?1";
    int code = sql_run(&writer->rows, err, add, "iii", job, updates, (int64_t)lost);

    if (!code)
        code = sql_integer(&writer->rows, n, err, count, "ii", job, (int64_t)lost);
    return code < 0 ? code : 0;
}

int db_probe_running(struct db_writer *writer, bool *any, struct err *err)
{
    static const char text[] = "SELECT 1 FROM probe WHERE state = ? LIMIT 1";
    sqlite3_stmt *row;
    int code = sql_query(&writer->rows, &row, err, text, "i", (int64_t)PROBE_RUNNING);

    if (!code)
        code = sql_step(&writer->rows, row, err);
    if (code < 0)
        return code;
    *any = code == 1;
    sql_done(row);
    return 0;
}

int db_probe_death_count(struct db_writer *writer, int64_t id, int *n, struct err *err)
{
    static const char text[] =
        "UPDATE probe SET crashed = CASE WHEN crashed_rows < told.n THEN 0 ELSE crashed END + 1, "
        "crashed_rows = told.n FROM (SELECT count(*) AS n FROM probe_row WHERE probe = ?1) AS told "
        "WHERE id = ?1 RETURNING crashed";
    sqlite3_stmt *row;
    int code = sql_query(&writer->rows, &row, err, text, "i", id);

    if (!code)
        code = sql_step(&writer->rows, row, err);
    if (code <= 0)
        return code < 0 ? code : err_set(err, ERR_NOT_FOUND, "there is no such probe");
    *n = sqlite3_column_int(row, 0);
    sql_done(row);
    return 0;
}

struct lost_op {
    struct db_op op;
    bool counted;
    const char *reason;
    enum job_state stopped, to;
};

static int accept_lost(struct db_queue *queue, struct db_op *op, struct err *err)
{
    if (db_queue_run(queue, op->job))
        return 0;
    return err_set(err, ERR_CONFLICT, "job %lld is not running", (long long)op->job);
}

static int apply_lost(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct lost_op *own = (struct lost_op *)op;
    char reason[768];
    int64_t latest, n = 0;
    int code = db_sums_flush(writer, err);

    own->to = own->stopped;
    if (!code)
        code = db_checkpoint_latest(writer, op->job, &latest, err);
    if (!code && own->counted)
        code = db_death_count(writer, op->job, latest, true, &n, err);
    if (code)
        return code;
    if (own->stopped != JOB_QUEUED) {
        snprintf(reason, sizeof reason, "%s", own->reason);
    } else if (n < DB_LOSSES_MAX) {
        snprintf(reason, sizeof reason, "its GPU was lost, and it goes on from update %lld: %s",
                 (long long)latest, own->reason);
    } else {
        snprintf(reason, sizeof reason,
                 "its GPU was lost %lld times without a new checkpoint of it; the last time: %s",
                 (long long)n, own->reason);
        own->to = JOB_FAILED;
    }
    return db_job_change(writer, op->job, own->to, reason, err);
}

static void lost_committed(struct db_queue *queue, struct db_op *op)
{
    db_queue_run_end(queue, op->job);
}

int db_job_lost(struct db *db, int64_t id, bool counted, const char *reason, enum job_state *state,
                struct err *err)
{
    struct lost_op own = {.op = {.kind = OP_DURABLE,
                                 .job = id,
                                 .accept = accept_lost,
                                 .apply = apply_lost,
                                 .committed = lost_committed},
                          .counted = counted,
                          .reason = reason,
                          .stopped = *state};
    int code = db_queue_submit(db->queue, &own.op, err);

    if (!code)
        *state = own.to;
    return code;
}

struct probe_op {
    struct db_op op;
    int64_t id, n;
};

static int apply_probe(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char add[] = "UPDATE probe SET lost = lost + 1 WHERE id = ?";
    static const char count[] = "SELECT lost FROM probe WHERE id = ?";
    struct probe_op *own = (struct probe_op *)op;
    int code = sql_run(&writer->rows, err, add, "i", own->id);

    if (!code)
        code = sql_integer(&writer->rows, &own->n, err, count, "i", own->id);
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no such probe");
    return code < 0 ? code : 0;
}

int db_probe_lost(struct db *db, int64_t id, bool *again, struct err *err)
{
    struct probe_op own = {.op = {.kind = OP_DURABLE, .apply = apply_probe}, .id = id};
    int code = db_queue_submit(db->queue, &own.op, err);

    *again = code || own.n < DB_LOSSES_MAX;
    return code;
}
