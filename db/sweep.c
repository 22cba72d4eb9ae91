/* A new sweep, once however often its request comes, and what can be done to all of its jobs. Each
 * is one transaction: a sweep is there with all of its jobs or not at all. */
#include <string.h>

#include "base/clock.h"
#include "db/sweep.h"
#include "inside.h"
#include "steps.h"

/* ---- Inserting ---- */

struct insert_op {
    struct db_op op;
    const struct db_new_sweep *sweep;
    int64_t id, last_job;
    bool existing;
};

/* Whether all of it can be inserted; before anything is. */
static int check(struct db_writer *writer, const struct db_new_sweep *sweep, struct err *err)
{
    int code = db_queue_room(writer, sweep->queue_limit, sweep->n, err);

    for (int i = 0; !code && i < sweep->n; i++)
        code = db_job_source(writer, &sweep->jobs[i], err);
    return code;
}

static int put(struct db_writer *writer, struct insert_op *insert, struct err *err)
{
    static const char text[] = "INSERT INTO sweep (name, max_running, created_ms, points, "
                               "idempotency_key, fingerprint, spec) VALUES (?, ?, ?, ?, ?, ?, ?)";
    const struct db_new_sweep *sweep = insert->sweep;
    int code = sql_run(&writer->rows, err, text, "tiiittt", sweep->name, sweep->max_running,
                       clock_wall_ms(), (int64_t)sweep->n, sweep->idempotency_key,
                       sweep->fingerprint, sweep->spec);

    insert->id = sqlite3_last_insert_rowid(writer->rows.handle);
    for (int i = 0; !code && i < sweep->n; i++)
        code = db_job_put(writer, &sweep->jobs[i], insert->id, i + 1, &insert->last_job, err);
    return code;
}

static int apply_insert(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char known[] = "SELECT id, fingerprint IS ? FROM sweep WHERE idempotency_key = ?";
    struct insert_op *insert = (struct insert_op *)op;
    const struct db_new_sweep *sweep = insert->sweep;
    int code = db_sums_flush(writer, err);

    insert->existing = false;
    if (!code)
        code = db_key_find(writer, known, sweep->idempotency_key, sweep->fingerprint, "sweep",
                           &insert->id, err);
    insert->existing = code == 1;
    if (code)
        return code < 0 ? code : 0;
    code = check(writer, sweep, err);
    return code ? code : put(writer, insert, err);
}

static void inserted(struct db_queue *queue, struct db_op *op)
{
    struct insert_op *insert = (struct insert_op *)op;

    if (!insert->existing && insert->last_job > queue->last_job)
        queue->last_job = insert->last_job;
}

int db_sweep_insert(struct db *db, const struct db_new_sweep *sweep, int64_t *id, bool *existing,
                    struct err *err)
{
    struct insert_op insert = {
        .op = {.kind = OP_DURABLE, .apply = apply_insert, .committed = inserted}, .sweep = sweep};
    int code = 0;

    if (strlen(sweep->name) >= sizeof((struct db_sweep *)NULL)->name)
        return err_set(err, ERR_INVALID, "a sweep's name has at most 200 bytes");
    if (sweep->n < 1 || sweep->n > DB_SWEEP_JOBS_MAX)
        return err_set(err, ERR_INVALID, "a sweep has 1 to %d jobs", DB_SWEEP_JOBS_MAX);
    for (int i = 0; !code && i < sweep->n; i++)
        code = db_job_valid(&sweep->jobs[i], err);
    if (!code)
        code = db_queue_submit(db->queue, &insert.op, err);
    if (code)
        return code;
    *id = insert.id;
    if (existing)
        *existing = insert.existing;
    return 0;
}

/* ---- Changing all of its jobs ---- */

struct change_op {
    struct db_op op;
    int64_t sweep;
    enum db_sweep_action action;
    int64_t n;
};

/* From which states to which. A failed job is resumed by itself. */
static const struct {
    bool from[JOB_STATES];
    enum job_state to;
} changes[] = {
    [SWEEP_CANCEL] = {.from = {[JOB_QUEUED] = true, [JOB_PAUSED] = true}, .to = JOB_CANCELLED},
    [SWEEP_PAUSE] = {.from = {[JOB_QUEUED] = true}, .to = JOB_PAUSED},
    [SWEEP_RESUME] = {.from = {[JOB_PAUSED] = true}, .to = JOB_QUEUED},
};

static int exists(struct db_writer *writer, int64_t sweep, struct err *err)
{
    static const char text[] = "SELECT 1 FROM sweep WHERE id = ?";
    int code = sql_integer(&writer->rows, NULL, err, text, "i", sweep);

    if (code < 0)
        return code;
    return code ? 0 : err_set(err, ERR_NOT_FOUND, "there is no sweep %lld", (long long)sweep);
}

/* The jobs to change, in order. They are collected first, because a change must not be made under a
 * statement that still reads what it changes. */
static int collect(struct db_writer *writer, const struct change_op *change,
                   int64_t job[DB_SWEEP_JOBS_MAX], int *n, struct err *err)
{
    static const char text[] = "SELECT id, state FROM job INDEXED BY job_of_sweep "
                               "WHERE sweep <> 0 AND sweep = ? ORDER BY id";
    sqlite3_stmt *row;
    int code = sql_query(&writer->rows, &row, err, text, "i", change->sweep);

    *n = 0;
    while (!code && (code = sql_step(&writer->rows, row, err)) == 1) {
        unsigned state = (unsigned)sqlite3_column_int(row, 1);

        if (*n < DB_SWEEP_JOBS_MAX && state < JOB_STATES && changes[change->action].from[state])
            job[(*n)++] = sqlite3_column_int64(row, 0);
        code = 0;
    }
    return code;
}

static int apply_change(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct change_op *change = (struct change_op *)op;
    int64_t job[DB_SWEEP_JOBS_MAX];
    int n = 0, code = db_sums_flush(writer, err);

    if (!code)
        code = exists(writer, change->sweep, err);
    if (!code)
        code = collect(writer, change, job, &n, err);
    for (int i = 0; !code && i < n; i++)
        code = db_job_change(writer, job[i], changes[change->action].to, NULL, err);
    change->n = n;
    return code;
}

int db_sweep_change(struct db *db, int64_t id, enum db_sweep_action action, int64_t *n,
                    struct err *err)
{
    struct change_op change = {
        .op = {.kind = OP_DURABLE, .apply = apply_change}, .sweep = id, .action = action};
    int code = db_queue_submit(db->queue, &change.op, err);

    if (!code)
        *n = change.n;
    return code;
}
