/* What jobs are forecast to take, and what they took. */
#include <stdio.h>
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
                               "evaluation_seconds, run_seconds, earlier, device_bytes, device) "
                               "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlite3_stmt *statement;
    int code;

    if (estimate->bytes == 0)
        return 0;
    code = sql_query(&writer->rows, &statement, err, text, "iiirrriit", job, estimate->signature,
                     estimate->bytes, 0.0, 0.0, 0.0, (int64_t)estimate->earlier,
                     estimate->device_bytes, estimate->device);
    if (code)
        return code;
    bind_known(statement, 4, estimate->update_seconds > 0, estimate->update_seconds);
    bind_known(statement, 5, estimate->evaluation_seconds > 0, estimate->evaluation_seconds);
    bind_known(statement, 6, estimate->run_seconds > 0, estimate->run_seconds);
    return sql_step(&writer->rows, statement, err);
}

static void copy_text(sqlite3_stmt *row, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(row, column);

    snprintf(out, size, "%s", text ? text : "");
}

void db_read_estimate(sqlite3_stmt *row, int column, struct db_estimate *out,
                      struct db_taken *taken)
{
    *out = (struct db_estimate){.signature = sqlite3_column_int64(row, column),
                                .bytes = sqlite3_column_int64(row, column + 1),
                                .update_seconds = sql_real(row, column + 2),
                                .evaluation_seconds = sql_real(row, column + 3),
                                .run_seconds = sql_real(row, column + 4),
                                .earlier = sqlite3_column_int(row, column + 5) != 0,
                                .device_bytes = sqlite3_column_int64(row, column + 7)};
    *taken = (struct db_taken){.bytes = sqlite3_column_int64(row, column + 6),
                               .device_bytes = sqlite3_column_int64(row, column + 8)};
    copy_text(row, column + 9, taken->device, sizeof taken->device);
    copy_text(row, column + 10, taken->precision, sizeof taken->precision);
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

/* ---- Where a run computes ---- */

struct place_op {
    struct db_op op;
    char device[16], precision[8];
};

/* A job that runs elsewhere than was forecast, not just on another GPU ("cuda:1"), tells nothing of
 * others like it. */
static int apply_place(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] =
        "INSERT INTO estimate (job, signature, bytes, earlier, ran_device, ran_precision) "
        "VALUES (?1, 0, 0, 0, ?2, ?3) ON CONFLICT (job) DO UPDATE SET ran_device = ?2, "
        "ran_precision = ?3, signature = iif(substr(device, 1, 4) <> substr(?2, 1, 4), "
        "0, signature)";
    const struct place_op *own = (const struct place_op *)op;

    return sql_run(&writer->rows, err, text, "itt", op->job, own->device, own->precision);
}

int db_place_add(struct db *db, int64_t job, const char *device, const char *precision,
                 struct err *err)
{
    struct place_op *op = malloc(sizeof *op);
    int code;

    if (!op)
        return err_no_memory(err);
    *op = (struct place_op){.op = {.job = job, .accept = db_queue_running, .apply = apply_place}};
    snprintf(op->device, sizeof op->device, "%s", device);
    snprintf(op->precision, sizeof op->precision, "%s", precision);
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
