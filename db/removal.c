/* What deleted jobs (delete.c) have recorded goes piece by piece, so that nobody waits for the end
 * of a million losses: a piece is a row of the queue that removes for PIECE_SECONDS and queues the
 * next one, which lets others gather as a loss does. First go the checkpoints, which are in the
 * other file, a job's row last. Each piece looks for what is left, so that after a crash the next
 * start simply goes on. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/probe.h"
#include "inside.h"
#include "steps.h"

#define PIECE_SECONDS 0.03
/* Between two looks at the clock. */
#define ROWS          1000

struct removal_op {
    struct db_op op;
    bool more;
};

struct piece {
    int64_t job;
    double until;
    int64_t checkpoint; /* 0: none is left */
};

static bool time_is_over(const struct piece *piece)
{
    return clock_seconds() >= piece->until;
}

/* *out: the first number of the first row; 0: there is none. */
static int ask(struct sql *sql, const char *text, const char *types, int64_t first, int64_t second,
               int64_t *out, struct err *err)
{
    sqlite3_stmt *row;
    int code = sql_query(sql, &row, err, text, types, first, second);

    *out = 0;
    if (!code)
        code = sql_step(sql, row, err);
    if (code <= 0)
        return code;
    *out = sqlite3_column_int64(row, 0);
    sql_done(row);
    return 0;
}

/* ---- checkpoints.db ---- */

/* A checkpoint of the job, or the vectors of one of its probes. */
static int find_checkpoint(struct db_writer *writer, struct piece *piece, struct err *err)
{
    static const char own[] = "SELECT id FROM checkpoint WHERE job = ? LIMIT 1";
    static const char vectors[] = "SELECT id FROM checkpoint WHERE job = ? AND updates = ?";
    static const char next[] = "SELECT id FROM probe WHERE job = ? AND id > ? ORDER BY id LIMIT 1";
    struct sql *rows = &writer->rows, *checkpoints = &writer->checkpoints;
    int64_t probe = 0;
    int code = ask(checkpoints, own, "i", piece->job, 0, &piece->checkpoint, err);

    while (!code && !piece->checkpoint) {
        code = ask(rows, next, "ii", piece->job, probe, &probe, err);
        if (code || !probe)
            break;
        code = ask(checkpoints, vectors, "ii", DB_VECTORS_JOB, probe, &piece->checkpoint, err);
    }
    return code;
}

/* A tensor may be large, so each is a step of its own. */
static int remove_tensors(struct db_writer *writer, void *context, struct err *err)
{
    static const char tensor[] =
        "DELETE FROM tensor WHERE id = (SELECT id FROM tensor WHERE checkpoint = ? LIMIT 1)";
    static const char checkpoint[] = "DELETE FROM checkpoint WHERE id = ?";
    struct sql *sql = &writer->checkpoints;
    struct piece *piece = context;
    int code = 0;

    while (!code && piece->checkpoint && !time_is_over(piece)) {
        code = sql_run(sql, err, tensor, "i", piece->checkpoint);
        if (code || sqlite3_changes64(sql->handle))
            continue;
        code = sql_run(sql, err, checkpoint, "i", piece->checkpoint);
        if (!code)
            code = find_checkpoint(writer, piece, err);
    }
    return code;
}

/* ---- rwpd.db ---- */

/* Events first: they tell of what the others are. A row refers to what comes after it. */
static const char *const texts[] = {
    "DELETE FROM event WHERE sequence IN (SELECT sequence FROM event WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM loss WHERE job = ?1 AND updates IN "
    "(SELECT updates FROM loss WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM span WHERE job = ?1 AND number IN "
    "(SELECT number FROM span WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM telemetry WHERE job = ?1 AND updates IN "
    "(SELECT updates FROM telemetry WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM epoch WHERE job = ?1 AND epoch IN "
    "(SELECT epoch FROM epoch WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM probe_row WHERE (probe, part, number) IN (SELECT probe, part, number FROM "
    "probe_row WHERE probe IN (SELECT id FROM probe WHERE job = ?1) LIMIT ?2)",
    "DELETE FROM probe WHERE id IN (SELECT id FROM probe WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM job WHERE id = ?1 AND ?2 > 0",
};
enum { TEXT_LOSSES = 1, TEXTS = sizeof texts / sizeof *texts };

/* The job's row goes only when there was time for all before. */
static int remove_rows(struct db_writer *writer, const struct piece *piece, struct err *err)
{
    int code = 0;

    for (int i = 0; !code && i < TEXTS && !time_is_over(piece);) {
        int64_t n;

        code = sql_run(&writer->rows, err, texts[i], "ii", piece->job, (int64_t)ROWS);
        n = code ? 0 : sqlite3_changes64(writer->rows.handle);
        if (i == TEXT_LOSSES)
            writer->losses -= n;
        if (n < ROWS)
            i++;
    }
    return code;
}

/* ---- A piece ---- */

/* *job: the first of those whose rows are left; 0: none. */
static int find_job(struct db_writer *writer, int64_t *job, struct err *err)
{
    static const char text[] = "SELECT id FROM job WHERE state = ? ORDER BY id LIMIT 1";

    return ask(&writer->rows, text, "i", DB_JOB_GONE, 0, job, err);
}

static int remove_piece(struct db_writer *writer, struct removal_op *own, struct err *err)
{
    struct piece piece = {.until = clock_seconds() + PIECE_SECONDS};
    int code = find_job(writer, &piece.job, err);

    while (!code && piece.job && !time_is_over(&piece)) {
        code = find_checkpoint(writer, &piece, err);
        if (!code && piece.checkpoint)
            code = db_checkpoints_change(writer, remove_tensors, &piece, err);
        if (!code && !piece.checkpoint)
            code = remove_rows(writer, &piece, err);
        if (!code)
            code = find_job(writer, &piece.job, err);
    }
    own->more = piece.job != 0;
    return code;
}

/* Several jobs that were deleted at once have a piece each; one goes on, for all of them. */
static int apply_removal(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct removal_op *own = (struct removal_op *)op;
    struct err local = {0};
    int code;

    own->more = false;
    if (writer->removing)
        return 0;
    writer->removing = true;
    code = remove_piece(writer, own, &local);
    if (code && !writer->rows.failed)
        log_warning("what deleted jobs have recorded stays until the next deletion or start: %s",
                    local.message);
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
