/* The states of jobs: changed in one function, `change_state`, by requests, claims and recovery. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "probe_inside.h"
#include "steps.h"

_Static_assert(JOB_QUEUED == 0 && JOB_RUNNING == 1,
               "indexes of the schema and statements here have them as numbers");

/* From → to, a bit a state. */
static const unsigned allowed[JOB_STATES] = {
    [JOB_QUEUED] = 1u << JOB_RUNNING | 1u << JOB_PAUSED | 1u << JOB_CANCELLED,
    [JOB_RUNNING] = 1u << JOB_SUCCEEDED | 1u << JOB_FAILED | 1u << JOB_CANCELLED |
                    1u << JOB_PAUSED | 1u << JOB_QUEUED,
    [JOB_PAUSED] = 1u << JOB_QUEUED | 1u << JOB_CANCELLED,
    [JOB_FAILED] = 1u << JOB_QUEUED,
};

struct change {
    int64_t job;
    enum job_state to;
    const char *reason;
    int64_t from_update; /* out, when `to` is running */
};

static bool has_ended(enum job_state state)
{
    return state == JOB_SUCCEEDED || state == JOB_FAILED || state == JOB_CANCELLED;
}

/* ERR_NOT_FOUND. */
static int read_state(struct db_writer *writer, int64_t job, enum job_state *out, struct err *err)
{
    static const char text[] = "SELECT state FROM job WHERE id = ? AND state >= 0";
    sqlite3_stmt *statement;
    int code = sql_first(&writer->rows, &statement, err, text, "i", job);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job %lld", (long long)job);
    *out = (enum job_state)sqlite3_column_int(statement, 0);
    sql_done(statement);
    if ((unsigned)*out >= JOB_STATES)
        return err_set(err, ERR_CORRUPT, "damaged file %.300s: job %lld has state %d",
                       writer->rows.path, (long long)job, (int)*out);
    return 0;
}

static int write_state(struct db_writer *writer, const struct change *change, int64_t now,
                       struct err *err)
{
    static const char text[] =
        "UPDATE job SET state = ?1, reason = ?2, wish = 0, starts = starts + ?3, "
        "started_ms = CASE WHEN ?3 AND started_ms = 0 THEN ?5 ELSE started_ms END, "
        "finished_ms = CASE WHEN ?4 THEN ?5 ELSE 0 END WHERE id = ?6";

    return sql_run(&writer->rows, err, text, "itiiii", (int64_t)change->to, change->reason,
                   (int64_t)(change->to == JOB_RUNNING), (int64_t)has_ended(change->to), now,
                   change->job);
}

/* A failed job is to be tried again: what it begins with has to be there still, and the ends of the
 * process under it are counted anew. */
static int begin_anew(struct db_writer *writer, int64_t job, struct err *err)
{
    static const char text[] = "SELECT init_job, init_update, init_upload FROM job WHERE id = ?";
    static const char forget[] = "DELETE FROM death WHERE job = ?";
    int64_t latest, from[3];
    sqlite3_stmt *row;
    int code = db_checkpoint_latest(writer, job, &latest, err);

    if (!code)
        code = sql_query(&writer->rows, &row, err, text, "i", job);
    if (!code)
        code = sql_step(&writer->rows, row, err);
    if (code <= 0)
        return code;
    for (int i = 0; i < 3; i++)
        from[i] = sqlite3_column_int64(row, i);
    sql_done(row);
    code = latest ? 0 : db_check_source(writer, from[0], from[1], err);
    if (!code && !latest)
        code = db_check_source(writer, -from[2], 0, err);
    return code ? code : sql_run(&writer->rows, err, forget, "i", job);
}

/*              .------------------------ resume ------------------------.
 *              |  .-------- stop, recovery --------.                    |
 *              v  v                                |                    |
 *   insert -> QUEUED ----------- claim --------> RUNNING -- error --> FAILED
 *              | ^  \                             / | \
 *        pause | |   '-- cancel --.    .- cancel -'  |  '-- finished --> SUCCEEDED
 *              | | resume         v    v             |
 *              | |               CANCELLED           |
 *              v |                   ^               |
 *             PAUSED ---- cancel ----'               |
 *                ^----------------- pause -----------'
 *
 * A run that cannot read its data pauses itself. SUCCEEDED and CANCELLED are final. Each change
 * that is not drawn is ERR_CONFLICT.
 *
 *   db_job_insert     the first state
 *   db_job_claim      QUEUED → RUNNING
 *   db_recover        RUNNING → QUEUED, PAUSED, CANCELLED or FAILED, after a daemon that was killed
 *   db_job_lost       RUNNING → the same, when the daemon has to end because of a GPU
 *   db_job_set_state  each of these; it alone FAILED → QUEUED
 *   db_sweep_change   those between QUEUED, PAUSED and CANCELLED, of all of a sweep's jobs
 *
 * Becoming RUNNING removes what is recorded beyond the latest checkpoint, so that the run that
 * starts now continues the one history.
 */
static int change_state(struct db_writer *writer, struct change *change, struct err *err)
{
    struct db_event_row event = {.job = change->job,
                                 .kind = EVENT_STATE,
                                 .wall_ms = clock_wall_ms(),
                                 .state = (int)change->to,
                                 .number = -1,
                                 .text = change->reason};
    enum job_state from = JOB_QUEUED;
    int64_t latest;
    int code = read_state(writer, change->job, &from, err);

    if (code)
        return code;
    if (!(allowed[from] & 1u << change->to))
        return err_set(err, ERR_CONFLICT, "job %lld is %s and cannot become %s",
                       (long long)change->job, job_state_name(from), job_state_name(change->to));
    if (change->to == JOB_RUNNING) {
        if (writer->queue->n_runs + writer->n_starting == DB_RUNS_MAX)
            return err_set(err, ERR_LIMIT, "%d jobs run already", DB_RUNS_MAX);
        /* Read before anything is changed: it fails when the other file is damaged. */
        code = db_checkpoint_latest(writer, change->job, &latest, err);
        writer->n_starting++;
        if (!code)
            code = db_rewind(writer, change->job, latest, err);
        if (!code)
            code = db_checkpoint_adopt(writer, change->job, latest, err);
        change->from_update = event.number = latest;
    }
    if (from == JOB_FAILED)
        code = begin_anew(writer, change->job, err);
    if (!code)
        code = write_state(writer, change, event.wall_ms, err);
    return code ? code : db_event_add(writer, &event, err);
}

int db_job_change(struct db_writer *writer, int64_t job, enum job_state to, const char *reason,
                  struct err *err)
{
    struct change change = {.job = job, .to = to, .reason = reason};

    return change_state(writer, &change, err);
}

/* Under the queue's lock: whether the job records from now on. */
static void note_run(struct db_queue *queue, const struct change *change)
{
    if (change->to == JOB_RUNNING)
        db_queue_run_start(queue, change->job, change->from_update);
    else
        db_queue_run_end(queue, change->job);
}

/* ---- By request ---- */

struct state_op {
    struct db_op op;
    struct change change;
};

static int apply_state(struct db_writer *writer, struct db_op *op, struct err *err)
{
    int code = db_sums_flush(writer, err);

    return code ? code : change_state(writer, &((struct state_op *)op)->change, err);
}

static void state_committed(struct db_queue *queue, struct db_op *op)
{
    note_run(queue, &((struct state_op *)op)->change);
}

int db_job_set_state(struct db *db, int64_t id, enum job_state to, const char *reason,
                     struct err *err)
{
    struct state_op op = {
        .op = {.kind = OP_DURABLE, .job = id, .apply = apply_state, .committed = state_committed},
        .change = {.job = id, .to = to, .reason = reason}};

    return db_queue_submit(db->queue, &op.op, err);
}

/* ---- By a worker that is free ---- */

struct claim_op {
    struct db_op op;
    struct change change;
    int threads;
    char *spec;
};

/* The first of the queue: highest priority, oldest first; of a sweep only while fewer of its jobs
 * run than may. `active` are the sweeps that have queued jobs, 0 for jobs of none; of each the
 * first job is looked at, so that a long sweep that is full costs no more than a short one. The
 * indexes are named because SQLite would rather read the whole queue by job_of_state and sort it.
 */
int db_job_first(struct db_writer *writer, int64_t *job, int64_t *priority, struct err *err)
{
    static const char text[] =
        "WITH RECURSIVE active (sweep) AS ("
        "SELECT min(sweep) FROM job INDEXED BY job_queue WHERE state = 0 "
        "UNION ALL SELECT (SELECT min(sweep) FROM job INDEXED BY job_queue "
        "WHERE state = 0 AND sweep > active.sweep) FROM active WHERE active.sweep IS NOT NULL) "
        "SELECT job.id, job.priority FROM active CROSS JOIN job ON job.id = (SELECT id FROM job AS "
        "first "
        "INDEXED BY job_queue WHERE first.state = 0 AND first.sweep = active.sweep "
        "ORDER BY first.priority DESC, first.id LIMIT 1) "
        "WHERE active.sweep = 0 OR EXISTS (SELECT 1 FROM sweep WHERE sweep.id = active.sweep AND "
        "(max_running = 0 OR max_running > (SELECT count(*) FROM job AS other "
        "INDEXED BY job_running WHERE other.state = 1 AND other.sweep = active.sweep))) "
        "ORDER BY job.priority DESC, job.id LIMIT 1";
    sqlite3_stmt *statement;
    int code = sql_first(&writer->rows, &statement, err, text, "");

    if (code <= 0)
        return code;
    *job = sqlite3_column_int64(statement, 0);
    *priority = sqlite3_column_int64(statement, 1);
    sql_done(statement);
    return 1;
}

/* ERR_NOT_FOUND: nothing is queued. */
static int pick(struct db_writer *writer, struct claim_op *claim, struct err *err)
{
    static const char text[] = "SELECT threads, spec FROM job WHERE id = ?";
    sqlite3_stmt *statement;
    int64_t priority;
    int chosen, code = db_job_first(writer, &claim->change.job, &priority, err);

    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "no job is queued that may run now");
    if (code > 0)
        code = sql_first(&writer->rows, &statement, err, text, "i", claim->change.job);
    if (code < 0)
        return code;
    chosen = sqlite3_column_int(statement, 0);
    if (chosen)
        claim->threads = chosen;
    free(claim->spec); /* of an attempt that could not be committed */
    code = sql_text(statement, 1, &claim->spec, err);
    sql_done(statement);
    return code;
}

static int apply_claim(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] = "UPDATE job SET threads = ? WHERE id = ?";
    struct claim_op *claim = (struct claim_op *)op;
    int code = db_sums_flush(writer, err);

    if (!code)
        code = pick(writer, claim, err);
    if (!code)
        code = change_state(writer, &claim->change, err);
    if (!code)
        code = sql_run(&writer->rows, err, text, "ii", (int64_t)claim->threads, claim->change.job);
    return code;
}

static void claim_committed(struct db_queue *queue, struct db_op *op)
{
    note_run(queue, &((struct claim_op *)op)->change);
}

int db_job_claim(struct db *db, int threads, struct db_claim *out, struct err *err)
{
    struct claim_op claim = {
        .op = {.kind = OP_DURABLE, .apply = apply_claim, .committed = claim_committed},
        .change = {.to = JOB_RUNNING},
        .threads = threads};
    int code;

    if (threads < 1)
        return err_set(err, ERR_INVALID, "a job needs at least one thread");
    code = db_queue_submit(db->queue, &claim.op, err);
    if (code) {
        free(claim.spec);
        return code;
    }
    *out = (struct db_claim){.id = claim.change.job,
                             .spec = claim.spec,
                             .threads = claim.threads,
                             .from_update = (uint64_t)claim.change.from_update};
    return 0;
}

/* ---- Wishes ---- */

struct wish_op {
    struct db_op op;
    enum job_wish wish;
};

static int apply_wish(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] = "UPDATE job SET wish = ? WHERE id = ?";
    enum job_state state = JOB_QUEUED;
    int code = db_sums_flush(writer, err);

    if (!code)
        code = read_state(writer, op->job, &state, err);
    if (code)
        return code;
    if (state != JOB_RUNNING)
        return err_set(err, ERR_CONFLICT, "job %lld is %s, not running", (long long)op->job,
                       job_state_name(state));
    return sql_run(&writer->rows, err, text, "ii", (int64_t)((struct wish_op *)op)->wish, op->job);
}

int db_job_wish(struct db *db, int64_t id, enum job_wish wish, struct err *err)
{
    struct wish_op op = {.op = {.kind = OP_DURABLE, .job = id, .apply = apply_wish}, .wish = wish};

    return db_queue_submit(db->queue, &op.op, err);
}

/* ---- After a daemon that was killed ---- */

struct recover_op {
    struct db_op op;
    int n;
};

/* 1: *job was running when its daemon died, *wish is what had been asked of it. */
static int find_left(struct db_writer *writer, int64_t *job, enum job_wish *wish, struct err *err)
{
    static const char text[] = "SELECT id, wish FROM job WHERE state = ? ORDER BY id LIMIT 1";
    sqlite3_stmt *statement;
    int code = sql_first(&writer->rows, &statement, err, text, "i", (int64_t)JOB_RUNNING);

    if (code <= 0)
        return code;
    *job = sqlite3_column_int64(statement, 0);
    *wish = (enum job_wish)sqlite3_column_int(statement, 1);
    sql_done(statement);
    return 1;
}

/* `beside`: a probe ran, too, and may be what ended the process. The probe is counted, and no
 * longer there after a few times. */
static int recover_one(struct db_writer *writer, int64_t job, enum job_wish wish, bool beside,
                       struct err *err)
{
    static const enum job_state after[] = {
        [WISH_NONE] = JOB_QUEUED, [WISH_PAUSE] = JOB_PAUSED, [WISH_CANCEL] = JOB_CANCELLED};
    bool wished = wish == WISH_PAUSE || wish == WISH_CANCEL;
    struct change change = {.job = job,
                            .to = after[wished ? wish : WISH_NONE],
                            .reason = wished ? "as asked before the daemon ended"
                                             : "the daemon ended while it was running"};
    char often[128];
    int64_t latest, n = 0;
    int code = db_checkpoint_latest(writer, job, &latest, err);

    if (!code)
        code = db_checkpoint_adopt(writer, job, latest, err);
    if (!code && !beside)
        code = db_death_count(writer, job, latest, false, &n, err);
    if (n >= DB_CRASHES_MAX && !wished) {
        snprintf(often, sizeof often,
                 "the daemon ended %lld times while it was running, without a new checkpoint of it",
                 (long long)n);
        change.to = JOB_FAILED;
        change.reason = often;
    }
    return code ? code : change_state(writer, &change, err);
}

/* Where it fails, the jobs before are recovered, and so they stay. */
static int apply_recover(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct recover_op *recover = (struct recover_op *)op;
    enum job_wish wish;
    bool beside = false;
    int64_t job;
    int code;

    recover->n = 0;
    code = db_sums_flush(writer, err);
    if (!code)
        code = db_probe_running(writer, &beside, err);
    if (code)
        return code;
    while ((code = find_left(writer, &job, &wish, err)) == 1) {
        code = recover_one(writer, job, wish, beside, err);
        if (code)
            return code;
        recover->n++;
    }
    return code;
}

int db_recover(struct db *db, int *n, struct err *err)
{
    struct recover_op op = {.op = {.kind = OP_DURABLE, .apply = apply_recover}};
    int code = db_queue_submit(db->queue, &op.op, err);

    if (!code && n)
        *n = op.n;
    return code;
}
