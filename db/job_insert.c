/* A new job, once however often its request comes. */
#include <string.h>

#include "base/clock.h"
#include "probe_inside.h"
#include "steps.h"

struct insert_op {
    struct db_op op;
    const struct db_new_job *job;
    int64_t id;
    bool existing;
};

int db_key_find(struct db_writer *writer, const char *text, const char *key,
                const char *fingerprint, const char *noun, int64_t *id, struct err *err)
{
    sqlite3_stmt *statement;
    bool same;
    int code;

    if (!key)
        return 0;
    code = sql_first(&writer->rows, &statement, err, text, "tt", fingerprint, key);
    if (code <= 0)
        return code;
    *id = sqlite3_column_int64(statement, 0);
    same = sqlite3_column_int(statement, 1);
    sql_done(statement);
    if (!same)
        return err_set(err, ERR_CONFLICT,
                       "this idempotency key belongs to another request, which became %s %lld",
                       noun, (long long)*id);
    return 1;
}

int db_queue_room(struct db_writer *writer, int64_t limit, int64_t n, struct err *err)
{
    static const char text[] = "SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 0 LIMIT ?)";
    int64_t queued;
    int code;

    if (limit <= 0)
        return 0;
    code = sql_integer(&writer->rows, &queued, err, text, "i", limit);
    if (code < 0)
        return code;
    if (queued >= limit)
        return err_set(err, ERR_LIMIT, "%lld jobs are queued, which is the limit",
                       (long long)queued);
    if (n > limit - queued)
        return err_set(err, ERR_LIMIT, "%lld jobs are queued and %lld may be: no room for %lld",
                       (long long)queued, (long long)limit, (long long)n);
    return 0;
}

int db_check_source(struct db_writer *writer, int64_t owner, int64_t updates, struct err *err)
{
    static const char text[] = "SELECT 1 FROM checkpoint WHERE job = ? AND updates = ?";
    static const char gone[] = "SELECT 1 FROM job WHERE id = ? AND state < 0";
    int code;

    if (owner == 0)
        return 0;
    code = sql_integer(&writer->checkpoints, NULL, err, text, "ii", owner,
                       owner > 0 ? updates : (int64_t)DB_UPLOAD_UPDATE);
    if (code < 0)
        return code;
    /* Those of a deleted job may be there for a while. */
    if (code == 1) {
        code = sql_integer(&writer->rows, NULL, err, gone, "i", owner);
        if (code <= 0)
            return code;
    }
    if (owner < 0)
        return err_set(err, ERR_CONFLICT, "upload %lld is no longer there", (long long)-owner);
    return err_set(err, ERR_CONFLICT, "job %lld no longer has a checkpoint of update %lld",
                   (long long)owner, (long long)updates);
}

/* What the probes of the job's own list need, but for checkpoints of its own. */
static int check_probes(struct db_writer *writer, const char *spec, struct err *err)
{
    static const char text[] =
        "SELECT coalesce(json_extract(value, '$.other.job'), 0), "
        "coalesce(json_extract(value, '$.other.update'), 0), "
        "coalesce(json_extract(value, '$.other.upload'), 0), "
        "coalesce(json_extract(value, '$.upload'), 0) FROM json_each(?, '$.probes')";
    sqlite3_stmt *row;
    int code = sql_query(&writer->rows, &row, err, text, "t", spec);

    while (!code && (code = sql_step(&writer->rows, row, err)) == 1) {
        code = db_check_source(writer, sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1),
                               err);
        for (int column = 2; !code && column <= 3; column++)
            code = db_check_source(writer, -sqlite3_column_int64(row, column), 0, err);
        if (code)
            sql_done(row);
    }
    return code;
}

int db_job_source(struct db_writer *writer, const struct db_new_job *job, struct err *err)
{
    int code = db_check_source(writer, job->init_job, job->init_update, err);

    if (!code)
        code = db_check_source(writer, -job->init_upload, 0, err);
    return code ? code : check_probes(writer, job->spec, err);
}

int db_job_put(struct db_writer *writer, const struct db_new_job *job, int64_t sweep, int64_t point,
               int64_t *id, struct err *err)
{
    static const char text[] =
        "INSERT INTO job (name, state, priority, parameters, threads, created_ms, updates, "
        "idempotency_key, fingerprint, spec, init_job, init_update, init_upload, sweep, point) "
        "VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    struct db_event_row event = {
        .kind = EVENT_STATE, .wall_ms = clock_wall_ms(), .state = JOB_QUEUED, .number = -1};
    int code = sql_run(&writer->rows, err, text, "tiiiiitttiiiii", job->name, job->priority,
                       job->parameters, (int64_t)job->threads, event.wall_ms, (int64_t)job->updates,
                       sweep ? NULL : job->idempotency_key, sweep ? NULL : job->fingerprint,
                       job->spec, job->init_job, job->init_update, job->init_upload, sweep, point);

    if (code)
        return code;
    *id = event.job = sqlite3_last_insert_rowid(writer->rows.handle);
    code = db_estimate_insert(writer, *id, &job->estimate, err);
    return code ? code : db_event_add(writer, &event, err);
}

static int apply_insert(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char known[] = "SELECT id, fingerprint IS ? FROM job WHERE idempotency_key = ?";
    struct insert_op *insert = (struct insert_op *)op;
    const struct db_new_job *job = insert->job;
    int code = db_sums_flush(writer, err);

    insert->existing = false;
    if (!code)
        code = db_key_find(writer, known, job->idempotency_key, job->fingerprint, "job",
                           &insert->id, err);
    insert->existing = code == 1;
    if (code)
        return code < 0 ? code : 0;
    code = db_queue_room(writer, job->queue_limit, 1, err);
    if (!code)
        code = db_job_source(writer, job, err);
    return code ? code : db_job_put(writer, job, 0, 0, &insert->id, err);
}

static void inserted(struct db_queue *queue, struct db_op *op)
{
    struct insert_op *insert = (struct insert_op *)op;

    if (insert->id > queue->last_job)
        queue->last_job = insert->id;
}

int db_job_valid(const struct db_new_job *job, struct err *err)
{
    if (strlen(job->name) >= sizeof((struct db_job *)NULL)->name)
        return err_set(err, ERR_INVALID, "a job's name has at most 200 bytes");
    if (job->updates > INT64_MAX)
        return err_set(err, ERR_INVALID, "a job has at most %lld updates", (long long)INT64_MAX);
    return 0;
}

int db_job_insert(struct db *db, const struct db_new_job *job, int64_t *id, bool *existing,
                  struct err *err)
{
    struct insert_op insert = {
        .op = {.kind = OP_DURABLE, .apply = apply_insert, .committed = inserted}, .job = job};
    int code;

    code = db_job_valid(job, err);
    if (code)
        return code;
    code = db_queue_submit(db->queue, &insert.op, err);
    if (code)
        return code;
    *id = insert.id;
    if (existing)
        *existing = insert.existing;
    return 0;
}
