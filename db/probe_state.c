/* The states of probes: changed in one function, `change_state`, by requests, claims and recovery.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "probe_inside.h"
#include "reader.h"
#include "steps.h"

_Static_assert(PROBE_QUEUED == 0 && JOB_QUEUED == 0, "the statements here have it as a number");

/* From → to, a bit a state. */
static const unsigned allowed[PROBE_STATES] = {
    [PROBE_QUEUED] = 1u << PROBE_RUNNING | 1u << PROBE_CANCELLED,
    [PROBE_RUNNING] =
        1u << PROBE_SUCCEEDED | 1u << PROBE_FAILED | 1u << PROBE_CANCELLED | 1u << PROBE_QUEUED,
};

struct change {
    int64_t id;
    enum probe_state to;
    const char *reason;
    bool waits;          /* queued, and not to be claimed yet */
    int64_t job, number; /* out */
};

const char *probe_state_name(enum probe_state state)
{
    static const char *const names[PROBE_STATES] = {[PROBE_QUEUED] = "queued",
                                                    [PROBE_RUNNING] = "running",
                                                    [PROBE_SUCCEEDED] = "succeeded",
                                                    [PROBE_FAILED] = "failed",
                                                    [PROBE_CANCELLED] = "cancelled"};

    return (unsigned)state < PROBE_STATES ? names[state] : "unknown";
}

/* ERR_NOT_FOUND. Fills in what the probe is. */
static int read_state(struct db_writer *writer, struct change *change, enum probe_state *out,
                      struct err *err)
{
    static const char text[] = "SELECT state, job, number FROM probe WHERE id = ?";
    sqlite3_stmt *row;
    int code = sql_first(&writer->rows, &row, err, text, "i", change->id);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no such probe");
    *out = (enum probe_state)sqlite3_column_int(row, 0);
    change->job = sqlite3_column_int64(row, 1);
    change->number = sqlite3_column_int64(row, 2);
    sql_done(row);
    if ((unsigned)*out >= PROBE_STATES)
        return err_set(err, ERR_CORRUPT, "damaged file %.300s: probe %lld of job %lld has state %d",
                       writer->rows.path, (long long)change->number, (long long)change->job,
                       (int)*out);
    return 0;
}

static int write_state(struct db_writer *writer, const struct change *change, struct err *err)
{
    static const char text[] =
        "UPDATE probe SET state = ?1, reason = ?2, cancelling = 0, starts = starts + ?3, "
        "started_ms = CASE WHEN ?3 AND started_ms = 0 THEN ?5 ELSE started_ms END, "
        "finished_ms = CASE WHEN ?4 THEN ?5 ELSE 0 END, "
        "progress = CASE WHEN ?6 THEN 1 ELSE progress END, waits = ?8 WHERE id = ?7";

    return sql_run(&writer->rows, err, text, "itiiiiii", (int64_t)change->to, change->reason,
                   (int64_t)(change->to == PROBE_RUNNING), (int64_t)(allowed[change->to] == 0),
                   clock_wall_ms(), (int64_t)(change->to == PROBE_SUCCEEDED), change->id,
                   (int64_t)change->waits);
}

/*              .-------- stop, recovery --------.
 *              v                                |
 *   insert -> QUEUED --------- claim -------> RUNNING -- finished --> SUCCEEDED
 *               \                             /   \
 *                '-- cancel -> CANCELLED <- cancel '-- error -------> FAILED
 *
 * SUCCEEDED, FAILED and CANCELLED are final. Each change that is not drawn is ERR_CONFLICT.
 *   db_probe_insert, db_checkpoint_add_due   the first state
 *   db_probe_claim                           QUEUED → RUNNING
 *   db_probe_recover                         RUNNING → QUEUED, CANCELLED or FAILED
 *   db_probe_set_state                       each of these
 *   db_probe_wait                            RUNNING → QUEUED, and db_probe_claim passes it over
 * Rows that were told stay in each state: a probe that runs again goes on from them.
 */
static int change_state(struct db_writer *writer, struct change *change, struct err *err)
{
    enum probe_state from = PROBE_QUEUED;
    int code = read_state(writer, change, &from, err);

    if (code)
        return code;
    if (!(allowed[from] & 1u << change->to))
        return err_set(err, ERR_CONFLICT, "probe %lld of job %lld is %s and cannot become %s",
                       (long long)change->number, (long long)change->job, probe_state_name(from),
                       probe_state_name(change->to));
    if (change->to == PROBE_RUNNING) {
        if (writer->queue->n_runs + writer->n_starting == DB_RUNS_MAX)
            return err_set(err, ERR_LIMIT, "%d jobs and probes run already", DB_RUNS_MAX);
        writer->n_starting++;
    }
    code = write_state(writer, change, err);
    return code ? code
                : db_probe_event(writer, change->job, change->number, change->to, change->reason,
                                 err);
}

/* Under the queue's lock: whether the probe records from now on. */
static void note_run(struct db_queue *queue, const struct change *change)
{
    if (change->to == PROBE_RUNNING)
        db_queue_run_start(queue, db_probe_run(change->id), 0);
    else
        db_queue_run_end(queue, db_probe_run(change->id));
}

/* ---- By request ---- */

struct state_op {
    struct db_op op;
    struct change change;
};

static int apply_state(struct db_writer *writer, struct db_op *op, struct err *err)
{
    return change_state(writer, &((struct state_op *)op)->change, err);
}

static void state_committed(struct db_queue *queue, struct db_op *op)
{
    note_run(queue, &((struct state_op *)op)->change);
}

static int trim(struct db_writer *writer, void *context, struct err *err)
{
    return db_checkpoints_trim(writer, *(int64_t *)context, 0, err);
}

struct trim_op {
    struct db_op op;
    int64_t id;
};

/* Checkpoints of the probe's job, and of the other one that it needed. */
static int apply_trim(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] = "SELECT job, other_job FROM probe WHERE id = ?";
    int64_t jobs[2];
    sqlite3_stmt *row;
    int code = sql_first(&writer->rows, &row, err, text, "i", ((struct trim_op *)op)->id);

    if (code <= 0)
        return code;
    jobs[0] = sqlite3_column_int64(row, 0);
    jobs[1] = sqlite3_column_int64(row, 1);
    sql_done(row);
    code = db_checkpoints_change(writer, trim, &jobs[0], err);
    if (!code && jobs[1] && jobs[1] != jobs[0])
        code = db_checkpoints_change(writer, trim, &jobs[1], err);
    return code;
}

int db_probe_set_state(struct db *db, int64_t id, enum probe_state to, const char *reason,
                       struct err *err)
{
    struct state_op op = {
        .op = {.kind = OP_DURABLE, .apply = apply_state, .committed = state_committed},
        .change = {.id = id, .to = to, .reason = reason}};
    struct trim_op after = {.op = {.kind = OP_DURABLE, .apply = apply_trim}, .id = id};
    int code = db_queue_submit(db->queue, &op.op, err);

    /* Only now that nobody can come back to it. What fails here is done with the next checkpoint,
     * or the next probe. */
    if (!code && allowed[to] == 0)
        (void)db_queue_submit(db->queue, &after.op, NULL);
    return code;
}

int db_probe_wait(struct db *db, int64_t id, const char *reason, struct err *err)
{
    struct state_op op = {
        .op = {.kind = OP_DURABLE, .apply = apply_state, .committed = state_committed},
        .change = {.id = id, .to = PROBE_QUEUED, .reason = reason, .waits = true}};

    return db_queue_submit(db->queue, &op.op, err);
}

struct count_op {
    struct db_op op;
    int n;
};

static int go_on(struct db_writer *writer, int *n, struct err *err)
{
    static const char text[] = "UPDATE probe SET waits = 0 WHERE state = 0 AND waits <> 0";
    int code = sql_run(&writer->rows, err, text, "");

    *n = code ? 0 : sqlite3_changes(writer->rows.handle);
    return code;
}

static int apply_go_on(struct db_writer *writer, struct db_op *op, struct err *err)
{
    return go_on(writer, &((struct count_op *)op)->n, err);
}

int db_probes_go_on(struct db *db, int *n, struct err *err)
{
    struct count_op op = {.op = {.kind = OP_DURABLE, .apply = apply_go_on}};
    int code = db_queue_submit(db->queue, &op.op, err);

    *n = op.n;
    return code;
}

/* ---- By a worker that is free ---- */

struct claim_op {
    struct db_op op;
    struct change change;
    struct db_probe_claim claim;
    int threads;
};

static int pick(struct db_writer *writer, struct claim_op *own, struct err *err)
{
    static const char text[] =
        "SELECT probe.id, job.id, probe.number, probe.updates, probe.request, job.spec, "
        "probe.threads, job.threads FROM probe INDEXED BY probe_queue JOIN job ON job.id = "
        "probe.job WHERE probe.state = 0 AND probe.waits = 0 AND probe.priority >= ? "
        "ORDER BY probe.priority DESC, probe.id LIMIT 1";
    struct db_probe_claim *claim = &own->claim;
    int64_t job, priority = INT64_MIN;
    sqlite3_stmt *row;
    int code = db_job_first(writer, &job, &priority, err);

    if (code >= 0)
        code = sql_first(&writer->rows, &row, err, text, "i", priority);
    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "no probe is queued that comes before the jobs");
    db_probe_claim_free(claim); /* of an attempt that could not be committed */
    *claim = (struct db_probe_claim){.id = sqlite3_column_int64(row, 0),
                                     .job = sqlite3_column_int64(row, 1),
                                     .number = sqlite3_column_int64(row, 2),
                                     .update = (uint64_t)sqlite3_column_int64(row, 3),
                                     .threads = sqlite3_column_int(row, 6)};
    if (!claim->threads)
        claim->threads = sqlite3_column_int(row, 7);
    if (!claim->threads)
        claim->threads = own->threads;
    code = sql_text(row, 4, &claim->request, err);
    if (!code)
        code = sql_text(row, 5, &claim->spec, err);
    sql_done(row);
    return code;
}

static int apply_claim(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] = "UPDATE probe SET threads = ? WHERE id = ?";
    struct claim_op *own = (struct claim_op *)op;
    int code = pick(writer, own, err);

    own->change.id = own->claim.id;
    if (!code)
        code = change_state(writer, &own->change, err);
    if (!code)
        code = sql_run(&writer->rows, err, text, "ii", (int64_t)own->claim.threads, own->claim.id);
    return code;
}

static void claim_committed(struct db_queue *queue, struct db_op *op)
{
    note_run(queue, &((struct claim_op *)op)->change);
}

void db_probe_claim_free(struct db_probe_claim *claim)
{
    free(claim->request);
    free(claim->spec);
    claim->request = claim->spec = NULL;
}

int db_probe_claim(struct db *db, int threads, struct db_probe_claim *out, struct err *err)
{
    struct claim_op own = {
        .op = {.kind = OP_DURABLE, .apply = apply_claim, .committed = claim_committed},
        .change = {.to = PROBE_RUNNING},
        .threads = threads};
    int code;

    if (threads < 1)
        return err_set(err, ERR_INVALID, "a probe needs at least one thread");
    code = db_queue_submit(db->queue, &own.op, err);
    if (code)
        db_probe_claim_free(&own.claim);
    else
        *out = own.claim;
    return code;
}

/* ---- Wishes ---- */

static int apply_wish(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] = "UPDATE probe SET cancelling = 1 WHERE id = ?";
    struct change change = {.id = ((struct state_op *)op)->change.id};
    enum probe_state state = PROBE_QUEUED;
    int code = read_state(writer, &change, &state, err);

    if (code)
        return code;
    if (state != PROBE_RUNNING)
        return err_set(err, ERR_CONFLICT, "probe %lld of job %lld is %s, not running",
                       (long long)change.number, (long long)change.job, probe_state_name(state));
    return sql_run(&writer->rows, err, text, "i", change.id);
}

int db_probe_wish_cancel(struct db *db, int64_t id, struct err *err)
{
    struct state_op op = {.op = {.kind = OP_DURABLE, .apply = apply_wish}, .change = {.id = id}};

    return db_queue_submit(db->queue, &op.op, err);
}

/* ---- After a daemon that was killed ---- */

/* 1: *id was running when its daemon died; *cancelling: that it be cancelled was asked. */
static int find_left(struct db_writer *writer, int64_t *id, bool *cancelling, struct err *err)
{
    static const char text[] =
        "SELECT id, cancelling FROM probe WHERE state = ? ORDER BY id LIMIT 1";
    sqlite3_stmt *row;
    int code = sql_first(&writer->rows, &row, err, text, "i", (int64_t)PROBE_RUNNING);

    if (code <= 0)
        return code;
    *id = sqlite3_column_int64(row, 0);
    *cancelling = sqlite3_column_int(row, 1);
    sql_done(row);
    return 1;
}

static int recover_one(struct db_writer *writer, int64_t id, bool cancelling, struct err *err)
{
    struct change change = {.id = id,
                            .to = cancelling ? PROBE_CANCELLED : PROBE_QUEUED,
                            .reason = cancelling ? "as asked before the daemon ended"
                                                 : "the daemon ended while it was running"};
    char often[128];
    int n, code = db_probe_death_count(writer, id, &n, err);

    if (code)
        return code;
    if (n >= DB_PROBE_CRASHES_MAX && !cancelling) {
        snprintf(often, sizeof often,
                 "the daemon ended %d times while it was running, without a new row of it", n);
        change.to = PROBE_FAILED;
        change.reason = often;
    }
    return change_state(writer, &change, err);
}

static int apply_recover(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct count_op *recover = (struct count_op *)op;
    bool cancelling;
    int64_t id;
    int n, code = go_on(writer, &n, err);

    recover->n = 0;
    while (!code && (code = find_left(writer, &id, &cancelling, err)) == 1) {
        code = recover_one(writer, id, cancelling, err);
        if (code)
            return code;
        recover->n++;
    }
    return code;
}

int db_probe_recover(struct db *db, int *n, struct err *err)
{
    struct count_op op = {.op = {.kind = OP_DURABLE, .apply = apply_recover}};
    int code = db_queue_submit(db->queue, &op.op, err);

    if (!code && n)
        *n = op.n;
    return code;
}
