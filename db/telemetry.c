/* Measurements of the perturbation: recorded, counted, read. */
#include <stdlib.h>

#include "base/clock.h"
#include "inside.h"
#include "reader.h"

struct telemetry_op {
    struct db_op op;
    int64_t wall_ms;
    struct telemetry telemetry;
};

static int accept(struct db_queue *queue, struct db_op *op, struct err *err)
{
    const struct telemetry *telemetry = &((struct telemetry_op *)op)->telemetry;

    if (telemetry->update < 1 || telemetry->update > INT64_MAX)
        return err_set(err, ERR_INVALID, "there is no update %llu",
                       (unsigned long long)telemetry->update);
    return db_queue_running(queue, op, err);
}

/* A run that goes on from before it may measure it again: one row, one event. */
static int forget(struct db_writer *writer, int64_t job, const struct telemetry *telemetry,
                  struct err *err)
{
    static const char row[] = "DELETE FROM telemetry WHERE job = ? AND updates = ?";
    static const char event[] = "DELETE FROM event WHERE job = ? AND kind = ? AND number = ?";
    int code = sql_run(&writer->rows, err, row, "ii", job, (int64_t)telemetry->update);

    if (code || sqlite3_changes64(writer->rows.handle) == 0)
        return code;
    return sql_run(&writer->rows, err, event, "iii", job, (int64_t)EVENT_TELEMETRY,
                   (int64_t)telemetry->update);
}

static int put(struct db_writer *writer, int64_t job, const struct telemetry *telemetry,
               struct err *err)
{
    static const char text[] = "INSERT INTO telemetry (job, " DB_TELEMETRY_COLUMNS
                               ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    const double *v = telemetry->value;
    sqlite3_stmt *statement;
    int code = sql_query(&writer->rows, &statement, err, text, "iiirrrrrrrrr", job,
                         (int64_t)telemetry->update, telemetry->epoch, v[0], v[1], v[2], v[3], v[4],
                         v[5], v[6], v[7], v[8]);

    _Static_assert(TELEMETRY_VALUES == 9, "as many as above");
    if (code)
        return code;
    for (int i = 0; i < TELEMETRY_VALUES; i++)
        if (!telemetry->known[i])
            sqlite3_bind_null(statement, 4 + i);
    return sql_step(&writer->rows, statement, err);
}

static int apply(struct db_writer *writer, struct db_op *op, struct err *err)
{
    const struct telemetry_op *own = (struct telemetry_op *)op;
    const struct db_event_row event = {.job = op->job,
                                       .kind = EVENT_TELEMETRY,
                                       .wall_ms = own->wall_ms,
                                       .state = -1,
                                       .number = (int64_t)own->telemetry.update};
    int code = forget(writer, op->job, &own->telemetry, err);

    if (!code)
        code = put(writer, op->job, &own->telemetry, err);
    return code ? code : db_event_add(writer, &event, err);
}

int db_telemetry_add(struct db *db, int64_t job, const struct telemetry *telemetry, struct err *err)
{
    struct telemetry_op *op = malloc(sizeof *op);
    int code;

    if (!op)
        return err_no_memory(err);
    *op = (struct telemetry_op){.op = {.job = job, .accept = accept, .apply = apply},
                                .wall_ms = clock_wall_ms(),
                                .telemetry = *telemetry};
    code = db_queue_add(db->queue, &op->op, err);
    if (code)
        free(op);
    return code;
}

void db_read_telemetry(sqlite3_stmt *row, int column, struct telemetry *out)
{
    *out = (struct telemetry){.update = (uint64_t)sqlite3_column_int64(row, column),
                              .epoch = sqlite3_column_int64(row, column + 1)};
    for (int i = 0; i < TELEMETRY_VALUES; i++) {
        out->known[i] = sql_has(row, column + 2 + i);
        out->value[i] = sql_real(row, column + 2 + i);
    }
}

static int64_t bounded(uint64_t after)
{
    return after > INT64_MAX ? INT64_MAX : (int64_t)after;
}

int db_telemetry_count(struct db_reader *reader, int64_t job, uint64_t after, int64_t *n,
                       struct err *err)
{
    static const char text[] = "SELECT count(*) FROM telemetry WHERE job = ? AND updates > ?";
    int code = sql_integer(&reader->rows, n, err, text, "ii", job, bounded(after));

    return code < 0 ? code : 0;
}

int db_telemetry_each(struct db_reader *reader, int64_t job, uint64_t after, int64_t limit,
                      int (*each)(void *context, const struct telemetry *telemetry), void *context,
                      struct err *err)
{
    static const char text[] =
        "SELECT " DB_TELEMETRY_COLUMNS
        " FROM telemetry WHERE job = ? AND updates > ? ORDER BY updates LIMIT ?";
    sqlite3_stmt *row;
    int stop = 0, code = sql_query(&reader->rows, &row, err, text, "iii", job, bounded(after),
                                   limit > 0 ? limit : (int64_t)0);

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct telemetry telemetry;

        db_read_telemetry(row, 0, &telemetry);
        stop = each(context, &telemetry);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}
