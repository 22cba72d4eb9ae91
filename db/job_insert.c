/* A new job, once however often its request comes. */
#include <string.h>

#include "base/clock.h"
#include "inside.h"

struct insert_op {
    struct db_op op;
    const struct db_new_job *job;
    int64_t id;
    bool existing;
};

/* 1: the key is known and the request the same. */
static int find_key(struct db_writer *writer, struct insert_op *insert, struct err *err)
{
    static const char text[] = "SELECT id, fingerprint IS ? FROM job WHERE idempotency_key = ?";
    const struct db_new_job *job = insert->job;
    sqlite3_stmt *statement;
    bool same;
    int code;

    if (!job->idempotency_key)
        return 0;
    code = sql_query(&writer->rows, &statement, err, text, "tt", job->fingerprint,
                     job->idempotency_key);
    if (!code)
        code = sql_step(&writer->rows, statement, err);
    if (code <= 0)
        return code;
    insert->id = sqlite3_column_int64(statement, 0);
    same = sqlite3_column_int(statement, 1);
    sql_done(statement);
    if (!same)
        return err_set(err, ERR_CONFLICT,
                       "this idempotency key belongs to another request, which became job %lld",
                       (long long)insert->id);
    insert->existing = true;
    return 1;
}

static int check_limit(struct db_writer *writer, int64_t limit, struct err *err)
{
    static const char text[] = "SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 0 LIMIT ?)";
    sqlite3_stmt *statement;
    int64_t queued;
    int code;

    if (limit <= 0)
        return 0;
    code = sql_query(&writer->rows, &statement, err, text, "i", limit);
    if (!code)
        code = sql_step(&writer->rows, statement, err);
    if (code < 0)
        return code;
    queued = sqlite3_column_int64(statement, 0);
    sql_done(statement);
    if (queued >= limit)
        return err_set(err, ERR_LIMIT, "%lld jobs are queued, which is the limit",
                       (long long)queued);
    return 0;
}

static int check_source(struct db_writer *writer, const struct db_new_job *job, struct err *err)
{
    static const char text[] = "SELECT 1 FROM checkpoint WHERE job = ? AND updates = ?";
    int64_t owner = job->init_job ? job->init_job : -job->init_upload;
    sqlite3_stmt *statement;
    int code;

    if (owner == 0)
        return 0;
    code = sql_query(&writer->checkpoints, &statement, err, text, "ii", owner,
                     job->init_job ? job->init_update : (int64_t)DB_UPLOAD_UPDATE);
    if (!code)
        code = sql_step(&writer->checkpoints, statement, err);
    if (code < 0)
        return code;
    sql_done(statement);
    if (code == 1)
        return 0;
    if (job->init_upload)
        return err_set(err, ERR_CONFLICT, "upload %lld is no longer there",
                       (long long)job->init_upload);
    return err_set(err, ERR_CONFLICT, "job %lld no longer has a checkpoint of update %lld",
                   (long long)job->init_job, (long long)job->init_update);
}

static int insert_row(struct db_writer *writer, struct insert_op *insert, struct err *err)
{
    static const char text[] =
        "INSERT INTO job (name, state, priority, parameters, threads, created_ms, updates, "
        "idempotency_key, fingerprint, spec, init_job, init_update, init_upload) "
        "VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    const struct db_new_job *job = insert->job;
    struct db_event_row event = {
        .kind = EVENT_STATE, .wall_ms = clock_wall_ms(), .state = JOB_QUEUED, .number = -1};
    int code =
        sql_run(&writer->rows, err, text, "tiiiiitttiii", job->name, job->priority, job->parameters,
                (int64_t)job->threads, event.wall_ms, (int64_t)job->updates, job->idempotency_key,
                job->fingerprint, job->spec, job->init_job, job->init_update, job->init_upload);

    if (code)
        return code;
    insert->id = event.job = sqlite3_last_insert_rowid(writer->rows.handle);
    return db_event_add(writer, &event, err);
}

static int apply_insert(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct insert_op *insert = (struct insert_op *)op;
    int code;

    insert->existing = false;
    code = db_sums_flush(writer, err);
    if (!code)
        code = find_key(writer, insert, err);
    if (code)
        return code < 0 ? code : 0;
    code = check_limit(writer, insert->job->queue_limit, err);
    if (!code)
        code = check_source(writer, insert->job, err);
    return code ? code : insert_row(writer, insert, err);
}

static void inserted(struct db_queue *queue, struct db_op *op)
{
    struct insert_op *insert = (struct insert_op *)op;

    if (insert->id > queue->last_job)
        queue->last_job = insert->id;
}

int db_job_insert(struct db *db, const struct db_new_job *job, int64_t *id, bool *existing,
                  struct err *err)
{
    struct insert_op insert = {
        .op = {.kind = OP_DURABLE, .apply = apply_insert, .committed = inserted}, .job = job};
    int code;

    if (strlen(job->name) >= sizeof((struct db_job *)NULL)->name)
        return err_set(err, ERR_INVALID, "a job's name has at most 200 bytes");
    if (job->updates > INT64_MAX)
        return err_set(err, ERR_INVALID, "a job has at most %lld updates", (long long)INT64_MAX);
    code = db_queue_submit(db->queue, &insert.op, err);
    if (code)
        return code;
    *id = insert.id;
    if (existing)
        *existing = insert.existing;
    return 0;
}
