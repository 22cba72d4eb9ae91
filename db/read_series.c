/* A job's losses and epochs, in order. */
#include <stdlib.h>

#include "reader.h"

void db_read_loss(sqlite3_stmt *row, int column, struct db_loss *out)
{
    *out = (struct db_loss){
        .update = (uint64_t)sqlite3_column_int64(row, column),
        .epoch = sqlite3_column_int64(row, column + 1),
        .loss = sql_real(row, column + 2),
        .has_perturbed = sql_has(row, column + 3),
        .perturbed_loss = sql_real(row, column + 3),
        .lr = sql_real(row, column + 4),
        .sigma = sql_real(row, column + 5),
        .seconds = sql_real(row, column + 6),
    };
}

void db_read_epoch(sqlite3_stmt *row, int column, struct db_epoch *out)
{
    *out = (struct db_epoch){
        .epoch = sqlite3_column_int64(row, column),
        .update = (uint64_t)sqlite3_column_int64(row, column + 1),
        .train_loss = sql_real(row, column + 2),
        .train_top1 = sql_real(row, column + 3),
        .evaluated = sql_has(row, column + 4),
        .test_loss = sql_real(row, column + 4),
        .test_top1 = sql_real(row, column + 5),
        .test_top5 = sql_real(row, column + 6),
        .gradient_evaluations = sqlite3_column_int64(row, column + 7),
        .seconds = sql_real(row, column + 8),
        .wall_ms = sqlite3_column_int64(row, column + 9),
    };
}

int db_losses_each(struct db_reader *reader, int64_t job, uint64_t after, int64_t limit,
                   int (*each)(void *context, const struct db_loss *loss), void *context,
                   struct err *err)
{
    static const char text[] = "SELECT " DB_LOSS_COLUMNS
                               " FROM loss WHERE job = ? AND updates > ? ORDER BY updates LIMIT ?";
    int64_t from = after > INT64_MAX ? INT64_MAX : (int64_t)after;
    sqlite3_stmt *row;
    int stop = 0, code = sql_query(&reader->rows, &row, err, text, "iii", job, from,
                                   limit > 0 ? limit : (int64_t)0);

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct db_loss loss;

        db_read_loss(row, 0, &loss);
        stop = each(context, &loss);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}

int db_epochs_each(struct db_reader *reader, int64_t job, int64_t after, int64_t limit,
                   int (*each)(void *context, const struct db_epoch *epoch), void *context,
                   struct err *err)
{
    static const char text[] =
        "SELECT " DB_EPOCH_COLUMNS " FROM epoch WHERE job = ? AND epoch > ? ORDER BY epoch LIMIT ?";
    sqlite3_stmt *row;
    int stop = 0, code = sql_query(&reader->rows, &row, err, text, "iii", job, after,
                                   limit > 0 ? limit : (int64_t)0);

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct db_epoch epoch;

        db_read_epoch(row, 0, &epoch);
        stop = each(context, &epoch);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}
