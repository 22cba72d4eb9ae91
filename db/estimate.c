/* What jobs are forecast to take, and what they took. */
#include <stdlib.h>

#include "inside.h"
#include "reader.h"

/* An earlier run counts when it has so many updates and so many seconds of training. */
#define EARLIER_UPDATES 10
#define EARLIER_SECONDS 1.0

static int bind_known(sqlite3_stmt *statement, int parameter, bool known, double value)
{
    return known ? sqlite3_bind_double(statement, parameter, value)
                 : sqlite3_bind_null(statement, parameter);
}

int db_estimate_insert(struct db_writer *writer, int64_t job, const struct db_estimate *estimate,
                       struct err *err)
{
    static const char text[] = "INSERT INTO estimate (job, signature, bytes, update_seconds, "
                               "evaluation_seconds, run_seconds, earlier, device_bytes) "
                               "VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    sqlite3_stmt *statement;
    int code;

    if (estimate->bytes == 0)
        return 0;
    code = sql_query(&writer->rows, &statement, err, text, "iiirrrii", job, estimate->signature,
                     estimate->bytes, 0.0, 0.0, 0.0, (int64_t)estimate->earlier,
                     estimate->device_bytes);
    if (code)
        return code;
    bind_known(statement, 4, estimate->update_seconds > 0, estimate->update_seconds);
    bind_known(statement, 5, estimate->evaluation_seconds > 0, estimate->evaluation_seconds);
    bind_known(statement, 6, estimate->run_seconds > 0, estimate->run_seconds);
    return sql_step(&writer->rows, statement, err);
}

void db_read_estimate(sqlite3_stmt *row, int column, struct db_estimate *out, int64_t *held,
                      int64_t *held_device)
{
    *out = (struct db_estimate){.signature = sqlite3_column_int64(row, column),
                                .bytes = sqlite3_column_int64(row, column + 1),
                                .update_seconds = sql_real(row, column + 2),
                                .evaluation_seconds = sql_real(row, column + 3),
                                .run_seconds = sql_real(row, column + 4),
                                .earlier = sqlite3_column_int(row, column + 5) != 0,
                                .device_bytes = sqlite3_column_int64(row, column + 7)};
    *held = sqlite3_column_int64(row, column + 6);
    *held_device = sqlite3_column_int64(row, column + 8);
}

/* ---- What a run holds ---- */

struct held_op {
    struct db_op op;
    int64_t bytes, device_bytes;
};

static int apply_held(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] =
        "INSERT INTO estimate (job, signature, bytes, earlier, held_bytes, held_device_bytes) "
        "VALUES (?1, 0, 0, 0, ?2, ?3) ON CONFLICT (job) DO UPDATE SET "
        "held_bytes = max(held_bytes, ?2), held_device_bytes = max(held_device_bytes, ?3)";
    const struct held_op *own = (const struct held_op *)op;

    return sql_run(&writer->rows, err, text, "iii", op->job, own->bytes, own->device_bytes);
}

int db_held_add(struct db *db, int64_t job, int64_t bytes, int64_t device_bytes, struct err *err)
{
    struct held_op *op = malloc(sizeof *op);
    int code;

    if (!op)
        return err_no_memory(err);
    *op = (struct held_op){.op = {.job = job, .accept = db_queue_running, .apply = apply_held},
                           .bytes = bytes,
                           .device_bytes = device_bytes};
    code = db_queue_add(db->queue, &op->op, err);
    if (code)
        free(op);
    return code;
}

/* ---- Earlier jobs ---- */

int db_estimate_earlier(struct db_reader *reader, int64_t signature, struct db_earlier *out,
                        struct err *err)
{
    static const char text[] =
        "SELECT seconds / updates_done, update_seconds, evaluation_seconds "
        "FROM estimate INDEXED BY estimate_of_signature JOIN job ON job.id = estimate.job "
        "WHERE signature = ?1 AND signature <> 0 AND updates_done >= ?2 AND seconds >= ?3 "
        "ORDER BY estimate.job DESC LIMIT 1";
    sqlite3_stmt *row;
    int code = sql_first(&reader->rows, &row, err, text, "iir", signature, (int64_t)EARLIER_UPDATES,
                         EARLIER_SECONDS);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "no job did the same work before");
    *out = (struct db_earlier){.update_seconds = sql_real(row, 0),
                               .forecast_update = sql_real(row, 1),
                               .forecast_evaluation = sql_real(row, 2)};
    sql_done(row);
    return 0;
}
