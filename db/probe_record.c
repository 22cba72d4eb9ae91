/* What a probe tells: rows of its tables, how far it is, how its results came about, vectors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "probe_inside.h"

/* ---- Rows ---- */

struct row_op {
    struct db_op op;
    struct probe_row row;
};

static int apply_row(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] = "INSERT OR REPLACE INTO probe_row VALUES (?, ?, ?, ?)";
    const struct probe_row *row = &((struct row_op *)op)->row;
    sqlite3_stmt *statement;
    int code = sql_query(&writer->rows, &statement, err, text, "iii", -op->job, (int64_t)row->table,
                         row->number);

    if (code)
        return code;
    if (sqlite3_bind_blob(statement, 4, row->value, row->n * (int)sizeof *row->value,
                          SQLITE_STATIC) != SQLITE_OK)
        return sql_fail(&writer->rows, err);
    code = sql_step(&writer->rows, statement, err);
    sqlite3_bind_null(statement, 4);
    return code;
}

static int add(struct db *db, struct db_op *op, struct err *err)
{
    int code = db_queue_add(db->queue, op, err);

    if (code)
        free(op);
    return code;
}

int db_probe_row_add(struct db *db, int64_t id, const struct probe_row *row, struct err *err)
{
    struct row_op *op;

    if (row->table < 0 || row->table >= PROBE_TABLES_MAX || row->number < 0 || row->n < 1 ||
        row->n > PROBE_COLUMNS_MAX)
        return err_set(err, ERR_INVALID, "a probe has no row %lld of %d columns in a table %d",
                       (long long)row->number, row->n, row->table);
    op = malloc(sizeof *op);
    if (!op)
        return err_no_memory(err);
    *op = (struct row_op){
        .op = {.job = db_probe_run(id), .accept = db_queue_running, .apply = apply_row},
        .row = *row};
    return add(db, &op->op, err);
}

/* ---- Progress ---- */

struct progress_op {
    struct db_op op;
    double progress;
    int64_t wall_ms;
};

/* The event before goes: it is found by its sequence, because a job may have many. */
static int forget_event(struct db_writer *writer, int64_t id, struct db_event_row *event,
                        struct err *err)
{
    static const char find[] = "SELECT job, number, progress_event FROM probe WHERE id = ?";
    static const char forget[] = "DELETE FROM event WHERE sequence = ?";
    sqlite3_stmt *row;
    int64_t before;
    int code = sql_first(&writer->rows, &row, err, find, "i", id);

    if (code < 0)
        return code;
    event->job = sqlite3_column_int64(row, 0);
    event->number = sqlite3_column_int64(row, 1);
    before = sqlite3_column_int64(row, 2);
    sql_done(row);
    return before ? sql_run(&writer->rows, err, forget, "i", before) : 0;
}

static int apply_progress(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char set[] = "UPDATE probe SET progress = ?, progress_event = ? WHERE id = ?";
    const struct progress_op *own = (struct progress_op *)op;
    struct db_event_row event = {
        .kind = EVENT_PROBE_PROGRESS, .wall_ms = own->wall_ms, .state = PROBE_RUNNING};
    int code = forget_event(writer, -op->job, &event, err);

    if (!code)
        code = db_event_add(writer, &event, err);
    return code ? code
                : sql_run(&writer->rows, err, set, "rii", own->progress, writer->next_sequence,
                          -op->job);
}

int db_probe_progress(struct db *db, int64_t id, double progress, struct err *err)
{
    struct progress_op *op = malloc(sizeof *op);

    if (!op)
        return err_no_memory(err);
    *op = (struct progress_op){
        .op = {.job = db_probe_run(id), .accept = db_queue_running, .apply = apply_progress},
        .progress = isfinite(progress) ? fmin(fmax(progress, 0), 1) : 0,
        .wall_ms = clock_wall_ms()};
    return add(db, &op->op, err);
}

/* ---- Messages ---- */

struct message_op {
    struct db_op op;
    char text[];
};

/* At most some 8,000 bytes in all. */
static int apply_message(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] = "UPDATE probe SET message = CASE WHEN message IS NULL THEN ?1 "
                               "WHEN instr(message, ?1) OR length(message) > 7000 THEN message "
                               "ELSE message || char(10) || ?1 END WHERE id = ?2";

    return sql_run(&writer->rows, err, text, "ti", ((struct message_op *)op)->text, -op->job);
}

int db_probe_message(struct db *db, int64_t id, const char *text, struct err *err)
{
    size_t n = db_message_bytes(text);
    struct message_op *op = calloc(1, sizeof *op + n + 1);

    if (!op)
        return err_no_memory(err);
    op->op =
        (struct db_op){.job = db_probe_run(id), .accept = db_queue_running, .apply = apply_message};
    memcpy(op->text, text, n);
    return add(db, &op->op, err);
}

/* ---- Vectors ---- */

struct vectors_op {
    struct db_op op;
    struct db_stored stored;
    int64_t id;
    bool stored_already; /* an earlier try got them to the disk, but not the news of them */
};

static int put_vectors(struct db_writer *writer, void *context, struct err *err)
{
    static const char same[] = "DELETE FROM checkpoint WHERE job = ? AND updates = ?";
    struct vectors_op *own = context;
    int64_t checkpoint;
    int code = sql_run(&writer->checkpoints, err, same, "ii", (int64_t)DB_VECTORS_JOB, own->id);

    return code ? code : db_checkpoint_put(writer, DB_VECTORS_JOB, &own->stored, &checkpoint, err);
}

static int apply_vectors(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] = "UPDATE probe SET vectors = 1 WHERE id = ?";
    struct vectors_op *own = (struct vectors_op *)op;
    int code = own->stored_already ? 0 : db_checkpoints_change(writer, put_vectors, own, err);

    own->stored_already = !code;
    return code ? code : sql_run(&writer->rows, err, text, "i", own->id);
}

int db_probe_vectors_add(struct db *db, int64_t id, const struct checkpoint *vectors,
                         struct err *err)
{
    struct vectors_op own = {.op = {.kind = OP_DURABLE,
                                    .job = db_probe_run(id),
                                    .accept = db_queue_running,
                                    .apply = apply_vectors},
                             .id = id};
    struct checkpoint named = *vectors;
    int code;

    named.update = (uint64_t)id;
    code = db_stored_open(&own.stored, &named, err);
    if (code)
        return code;
    own.stored.final = true;
    code = db_queue_submit(db->queue, &own.op, err);
    free(own.stored.checksums);
    return code;
}
