/* What deleted jobs (delete.c) have recorded goes piece by piece, so that nobody waits for the end
 * of a million losses: a piece is a row of the queue that removes for PIECE_SECONDS and queues the
 * next one, which lets others gather as a loss does. First go the checkpoints, which are in the
 * other file, then probe by probe, a job's row last. Each piece looks for what is left, so that
 * after a crash the next start simply goes on, and makes it less, whatever the time. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "db/probe.h"
#include "inside.h"
#include "steps.h"

#define PIECE_SECONDS 0.03
#define RETRY_SECONDS 1.0 /* after trouble: a try may wait for a lock, and others for it */
/* Between two looks at the clock. */
#define ROWS          1000

struct removal_op {
    struct db_op op;
    bool more;
};

struct piece {
    int64_t job;
    double until;
    int64_t owner, first, last; /* remove_checkpoints */
    int64_t checkpoint;         /* the next of them; 0: none is left */
};

static bool time_is_over(const struct piece *piece)
{
    return clock_seconds() >= piece->until;
}

/* ---- checkpoints.db ---- */

/* One that a piece has begun goes before others. */
static int find_checkpoint(struct db_writer *writer, struct piece *piece, struct err *err)
{
    static const char begun[] = "SELECT id FROM checkpoint WHERE job = ? LIMIT 1";
    static const char text[] =
        "SELECT id FROM checkpoint WHERE job = ? AND updates BETWEEN ? AND ? LIMIT 1";
    struct sql *sql = &writer->checkpoints;
    int code = sql_integer(sql, &piece->checkpoint, err, begun, "i", DB_REMOVED_JOB);

    if (code == 0)
        code = sql_integer(sql, &piece->checkpoint, err, text, "iii", piece->owner, piece->first,
                           piece->last);
    if (code <= 0)
        piece->checkpoint = 0;
    return code < 0 ? code : 0;
}

/* A reader would take one that lacks a tensor for a damaged one. */
static int hide(struct sql *sql, int64_t checkpoint, struct err *err)
{
    static const char text[] = "UPDATE checkpoint SET job = ? WHERE id = ?";

    return sql_run(sql, err, text, "ii", DB_REMOVED_JOB, checkpoint);
}

/* A tensor may be large, so each is a step of its own. */
static int remove_tensors(struct db_writer *writer, void *context, struct err *err)
{
    static const char tensor[] =
        "DELETE FROM tensor WHERE id = (SELECT id FROM tensor WHERE checkpoint = ? LIMIT 1)";
    static const char checkpoint[] = "DELETE FROM checkpoint WHERE id = ?";
    struct sql *sql = &writer->checkpoints;
    struct piece *piece = context;
    int code = hide(sql, piece->checkpoint, err);

    while (!code && piece->checkpoint) {
        code = sql_run(sql, err, tensor, "i", piece->checkpoint);
        if (!code && !sqlite3_changes64(sql->handle)) {
            code = sql_run(sql, err, checkpoint, "i", piece->checkpoint);
            if (!code)
                code = find_checkpoint(writer, piece, err);
            if (!code && piece->checkpoint)
                code = hide(sql, piece->checkpoint, err);
        }
        if (time_is_over(piece))
            break;
    }
    return code;
}

/* Those of `owner` at `first` to `last` updates. *done: none of them is left. */
static int remove_checkpoints(struct db_writer *writer, struct piece *piece, int64_t owner,
                              int64_t first, int64_t last, bool *done, struct err *err)
{
    int code;

    piece->owner = owner;
    piece->first = first;
    piece->last = last;
    code = find_checkpoint(writer, piece, err);
    if (!code && piece->checkpoint)
        code = db_checkpoints_change(writer, remove_tensors, piece, err);
    *done = !code && !piece->checkpoint;
    return code;
}

/* ---- rwpd.db ---- */

/* *n: how many rows `text` has removed, ROWS at most. */
static int remove_some(struct db_writer *writer, const char *text, int64_t of, int64_t *n,
                       struct err *err)
{
    int code = sql_run(&writer->rows, err, text, "ii", of, (int64_t)ROWS);

    *n = code ? 0 : sqlite3_changes64(writer->rows.handle);
    return code;
}

/* Events first: they tell of what the others are. *done: nothing is left of the job but probes and
 * its own row. */
static int remove_rows(struct db_writer *writer, const struct piece *piece, bool *done,
                       struct err *err)
{
    static const char losses[] = "DELETE FROM loss WHERE job = ?1 AND updates IN "
                                 "(SELECT updates FROM loss WHERE job = ?1 LIMIT ?2)";
    static const char *const texts[] = {
        "DELETE FROM event WHERE sequence IN (SELECT sequence FROM event WHERE job = ?1 LIMIT ?2)",
        losses,
        "DELETE FROM span WHERE job = ?1 AND number IN "
        "(SELECT number FROM span WHERE job = ?1 LIMIT ?2)",
        "DELETE FROM telemetry WHERE job = ?1 AND updates IN "
        "(SELECT updates FROM telemetry WHERE job = ?1 LIMIT ?2)",
        "DELETE FROM epoch WHERE job = ?1 AND epoch IN "
        "(SELECT epoch FROM epoch WHERE job = ?1 LIMIT ?2)",
    };
    int code = 0;
    size_t i = 0;

    while (!code && i < ARRAY_LENGTH(texts)) {
        int64_t n;

        code = remove_some(writer, texts[i], piece->job, &n, err);
        if (texts[i] == losses)
            writer->losses -= n;
        if (n < ROWS)
            i++;
        if (n > 0 && time_is_over(piece))
            break;
    }
    *done = !code && i == ARRAY_LENGTH(texts);
    return code;
}

/* Its vectors, its rows, itself. */
static int remove_probe(struct db_writer *writer, struct piece *piece, int64_t probe,
                        struct err *err)
{
    static const char rows[] =
        "DELETE FROM probe_row WHERE (probe, part, number) IN "
        "(SELECT probe, part, number FROM probe_row WHERE probe = ?1 LIMIT ?2)";
    static const char itself[] = "DELETE FROM probe WHERE id = ?";
    bool done;
    int64_t n;
    int code = remove_checkpoints(writer, piece, DB_VECTORS_JOB, probe, probe, &done, err);

    if (code || !done)
        return code;
    code = remove_some(writer, rows, probe, &n, err);
    if (code || n == ROWS)
        return code;
    return sql_run(&writer->rows, err, itself, "i", probe);
}

/* *done: none is left. */
static int remove_probes(struct db_writer *writer, struct piece *piece, bool *done, struct err *err)
{
    static const char first[] = "SELECT id FROM probe WHERE job = ? LIMIT 1";
    int64_t probe;
    int code;

    *done = false;
    do {
        code = sql_integer(&writer->rows, &probe, err, first, "i", piece->job);
        *done = code == 0;
        if (code > 0)
            code = remove_probe(writer, piece, probe, err);
    } while (!code && !*done && !time_is_over(piece));
    return code;
}

/* ---- A piece ---- */

/* Whatever the time: what is left is less afterwards. */
static int remove_of_job(struct db_writer *writer, struct piece *piece, struct err *err)
{
    static const char itself[] = "DELETE FROM job WHERE id = ?";
    bool done;
    int code = remove_checkpoints(writer, piece, piece->job, 0, INT64_MAX, &done, err);

    if (!code && done)
        code = remove_rows(writer, piece, &done, err);
    if (!code && done)
        code = remove_probes(writer, piece, &done, err);
    if (!code && done)
        code = sql_run(&writer->rows, err, itself, "i", piece->job);
    return code;
}

/* *job: the first of those of which something is left; 0: none. */
static int find_job(struct db_writer *writer, int64_t *job, struct err *err)
{
    static const char text[] = "SELECT id FROM job WHERE state = ? ORDER BY id LIMIT 1";
    int code = sql_integer(&writer->rows, job, err, text, "i", (int64_t)DB_JOB_GONE);

    if (code <= 0)
        *job = 0;
    return code < 0 ? code : 0;
}

static int remove_piece(struct db_writer *writer, struct removal_op *own, struct err *err)
{
    struct piece piece = {.until = clock_seconds() + PIECE_SECONDS};
    int code;

    do {
        code = find_job(writer, &piece.job, err);
        if (!code && piece.job)
            code = remove_of_job(writer, &piece, err);
    } while (!code && piece.job && !time_is_over(&piece));
    own->more = piece.job != 0;
    return code;
}

/* Several jobs that were deleted at once have a piece each; one goes on, for all of them. */
static int apply_removal(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct removal_op *own = (struct removal_op *)op;
    struct err local = {0};
    bool waits;
    int code;

    own->more = false;
    if (writer->removing)
        return 0;
    writer->removing = own->more = true;
    if (clock_seconds() < writer->removal_retry)
        return 0;
    code = remove_piece(writer, own, &local);
    waits = code && !writer->rows.failed && db_worth_a_retry(code);
    if (code && !writer->rows.failed && writer->removal_retry == 0)
        log_warning("what deleted jobs have recorded stays %s: %s",
                    waits ? "for now" : "until the next deletion or start", local.message);
    writer->removal_retry = waits ? clock_seconds() + RETRY_SECONDS : 0;
    if (waits)
        return 0;
    *err = local;
    return code;
}

static void removed(struct db_queue *queue, struct db_op *op)
{
    if (((struct removal_op *)op)->more)
        db_removal_go_on(queue);
}

void db_removal_go_on(struct db_queue *queue)
{
    struct removal_op *own = queue->closing ? NULL : calloc(1, sizeof *own);

    if (!own) /* the next start goes on */
        return;
    own->op = (struct db_op){.apply = apply_removal, .committed = removed};
    db_queue_push(queue, &own->op);
}

int db_removal_resume(struct db *db, struct err *err)
{
    int64_t job;
    int code = find_job(db->writer, &job, err);

    if (!code && job) {
        pthread_mutex_lock(&db->queue->lock);
        db_removal_go_on(db->queue);
        pthread_mutex_unlock(&db->queue->lock);
    }
    return code;
}
