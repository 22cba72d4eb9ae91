/* Events in the order of their sequence numbers: the table `event`, and for one job also its
 * losses, merged. A job's losses have no index by sequence: it grows with `updates`, so the first
 * one after a given sequence is found by halving, in some twenty look-ups for a million losses, and
 * in one when there is nothing new. */
#include <stdio.h>
#include <stdlib.h>

#include "reader.h"

#define EVENT_COLUMNS   "sequence, job, kind, wall_ms, state, number, text"
#define DELETED_COLUMNS "sequence, job, 8, wall_ms, NULL, NULL, NULL"

_Static_assert(EVENT_MESSAGE == 4 && EVENT_DELETED == 8,
               "the schema and statements here have them as numbers");

static int read_epoch(struct db_reader *reader, int64_t job, int64_t number, struct db_epoch *out,
                      struct err *err)
{
    static const char text[] = "SELECT " DB_EPOCH_COLUMNS " FROM epoch WHERE job = ? AND epoch = ?";
    sqlite3_stmt *row;
    int code = sql_first(&reader->rows, &row, err, text, "ii", job, number);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_CORRUPT, "damaged file %.300s: job %lld has lost epoch %lld",
                       reader->rows.path, (long long)job, (long long)number);
    db_read_epoch(row, 0, out);
    sql_done(row);
    return 0;
}

static int read_telemetry(struct db_reader *reader, int64_t job, int64_t number,
                          struct telemetry *out, struct err *err)
{
    static const char text[] =
        "SELECT " DB_TELEMETRY_COLUMNS " FROM telemetry WHERE job = ? AND updates = ?";
    sqlite3_stmt *row;
    int code = sql_first(&reader->rows, &row, err, text, "ii", job, number);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_CORRUPT,
                       "damaged file %.300s: job %lld has lost the telemetry of update %lld",
                       reader->rows.path, (long long)job, (long long)number);
    db_read_telemetry(row, 0, out);
    sql_done(row);
    return 0;
}

static int read_probe(struct db_reader *reader, int64_t job, int64_t number,
                      struct db_event_probe *out, struct err *err)
{
    static const char text[] =
        "SELECT kind, updates, progress FROM probe WHERE job = ? AND number = ?";
    sqlite3_stmt *row;
    int code = sql_first(&reader->rows, &row, err, text, "ii", job, number);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_CORRUPT, "damaged file %.300s: job %lld has lost probe %lld",
                       reader->rows.path, (long long)job, (long long)number);
    out->number = number;
    snprintf(out->kind, sizeof out->kind, "%s", (const char *)sqlite3_column_text(row, 0));
    out->update = (uint64_t)sqlite3_column_int64(row, 1);
    out->progress = sql_real(row, 2);
    sql_done(row);
    return 0;
}

/* `text` is the statement's until its next step. */
static int read_event(struct db_reader *reader, sqlite3_stmt *row, struct db_event *out,
                      struct err *err)
{
    int64_t number = sqlite3_column_int64(row, 5);

    *out = (struct db_event){
        .sequence = sqlite3_column_int64(row, 0),
        .job = sqlite3_column_int64(row, 1),
        .kind = (enum db_event_kind)sqlite3_column_int(row, 2),
        .wall_ms = sqlite3_column_int64(row, 3),
        .state = (enum job_state)sqlite3_column_int(row, 4),
        .text = (const char *)sqlite3_column_text(row, 6),
    };
    if (out->kind == EVENT_EPOCH)
        return read_epoch(reader, out->job, number, &out->epoch, err);
    if (out->kind == EVENT_TELEMETRY)
        return read_telemetry(reader, out->job, number, &out->telemetry, err);
    if (out->kind == EVENT_PROBE || out->kind == EVENT_PROBE_PROGRESS) {
        out->probe.state = (int)out->state;
        return read_probe(reader, out->job, number, &out->probe, err);
    }
    out->checkpoint_update = (uint64_t)number;
    return 0;
}

/* ---- Where the losses after a sequence number begin ---- */

/* The first row at `updates` or beyond; 0: there is none. */
static int row_from(struct db_reader *reader, int64_t job, int64_t from, int64_t *updates,
                    int64_t *sequence, struct err *err)
{
    static const char text[] = "SELECT updates, sequence FROM loss WHERE job = ? AND updates >= ? "
                               "ORDER BY updates LIMIT 1";
    sqlite3_stmt *row;
    int code = sql_first(&reader->rows, &row, err, text, "ii", job, from);

    if (code != 1)
        return code;
    *updates = sqlite3_column_int64(row, 0);
    *sequence = sqlite3_column_int64(row, 1);
    sql_done(row);
    return 1;
}

static int last_row(struct db_reader *reader, int64_t job, int64_t *updates, int64_t *sequence,
                    struct err *err)
{
    static const char text[] = "SELECT updates, sequence FROM loss WHERE job = ? "
                               "ORDER BY updates DESC LIMIT 1";
    sqlite3_stmt *row;
    int code = sql_first(&reader->rows, &row, err, text, "i", job);

    if (code != 1)
        return code;
    *updates = sqlite3_column_int64(row, 0);
    *sequence = sqlite3_column_int64(row, 1);
    sql_done(row);
    return 1;
}

/* 1: *first is the `updates` of the first loss whose sequence is greater; 0: there is none. */
static int first_after(struct db_reader *reader, int64_t job, int64_t sequence, int64_t *first,
                       struct err *err)
{
    int64_t low = 0, high = 0, updates = 0, at = 0;
    int code = last_row(reader, job, &high, &at, err);

    if (code != 1 || at <= sequence)
        return code < 0 ? code : 0;
    /* The row at `high` is after it; rows below `low` are not. */
    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        code = row_from(reader, job, middle, &updates, &at, err);
        if (code < 0)
            return code;
        if (code == 0 || at > sequence)
            high = middle;
        else
            low = updates + 1;
    }
    *first = low;
    return 1;
}

/* ---- The merge ---- */

struct merge {
    struct db_reader *reader;
    sqlite3_stmt *events, *losses; /* losses NULL: none */
    struct db_event event, loss;
    bool has_event, has_loss;
};

static int next_event(struct merge *merge, struct err *err)
{
    int code = sql_step(&merge->reader->rows, merge->events, err);

    merge->has_event = code == 1;
    if (code != 1)
        return code;
    return read_event(merge->reader, merge->events, &merge->event, err);
}

static int next_loss(struct merge *merge, struct err *err)
{
    int code = sql_step(&merge->reader->rows, merge->losses, err);

    merge->has_loss = code == 1;
    if (code != 1)
        return code;
    merge->loss.sequence = sqlite3_column_int64(merge->losses, 0);
    db_read_loss(merge->losses, 1, &merge->loss.loss);
    return 0;
}

static int start_losses(struct merge *merge, int64_t job, int64_t sequence, int64_t limit,
                        struct err *err)
{
    static const char text[] = "SELECT sequence, " DB_LOSS_COLUMNS
                               " FROM loss WHERE job = ? AND updates >= ? ORDER BY updates LIMIT ?";
    int64_t first = 0;
    int code = first_after(merge->reader, job, sequence, &first, err);

    if (code != 1)
        return code;
    merge->loss = (struct db_event){.job = job, .kind = EVENT_LOSS};
    code = sql_query(&merge->reader->rows, &merge->losses, err, text, "iii", job, first, limit);
    return code ? code : next_loss(merge, err);
}

static int start_events(struct merge *merge, int64_t job, int64_t sequence, int64_t limit,
                        struct err *err)
{
    static const char of_all[] =
        "SELECT " EVENT_COLUMNS " FROM event WHERE sequence > ?1 AND kind <> ?2 "
        "UNION ALL SELECT " DELETED_COLUMNS " FROM deleted WHERE sequence > ?1 "
        "ORDER BY sequence LIMIT ?3";
    static const char of_job[] =
        "SELECT " EVENT_COLUMNS " FROM event WHERE job = ?3 AND sequence > ?1 "
        "UNION ALL SELECT " DELETED_COLUMNS " FROM deleted WHERE job = ?3 AND sequence > ?1 "
        "ORDER BY sequence LIMIT ?2";
    struct sql *sql = &merge->reader->rows;
    int code = job ? sql_query(sql, &merge->events, err, of_job, "iii", sequence, limit, job)
                   : sql_query(sql, &merge->events, err, of_all, "iii", sequence,
                               (int64_t)EVENT_TELEMETRY, limit);

    return code ? code : next_event(merge, err);
}

static int run_merge(struct merge *merge, int64_t limit,
                     int (*each)(void *context, const struct db_event *event), void *context,
                     struct err *err)
{
    int code = 0;

    while (!code && limit-- > 0 && (merge->has_event || merge->has_loss)) {
        bool loss =
            merge->has_loss && (!merge->has_event || merge->loss.sequence < merge->event.sequence);

        if (each(context, loss ? &merge->loss : &merge->event))
            break;
        code = loss ? next_loss(merge, err) : next_event(merge, err);
    }
    return code;
}

int db_events_each(struct db_reader *reader, int64_t job, int64_t sequence, int64_t limit,
                   int (*each)(void *context, const struct db_event *event), void *context,
                   struct err *err)
{
    struct merge merge = {.reader = reader};
    int code;

    if (limit <= 0)
        return 0;
    code = db_read_begin(&reader->rows, err);
    if (!code)
        code = start_events(&merge, job, sequence, limit, err);
    if (!code && job)
        code = start_losses(&merge, job, sequence, limit, err);
    if (!code)
        code = run_merge(&merge, limit, each, context, err);
    if (merge.events)
        sql_done(merge.events);
    if (merge.losses)
        sql_done(merge.losses);
    return db_read_end(&reader->rows, code);
}

int db_messages_each(struct db_reader *reader, int64_t job, int64_t limit,
                     int (*each)(void *context, const struct db_event *event), void *context,
                     struct err *err)
{
    static const char text[] = "SELECT " EVENT_COLUMNS " FROM event INDEXED BY event_of_message "
                               "WHERE job = ? AND kind = 4 ORDER BY sequence DESC LIMIT ?";
    sqlite3_stmt *row;
    int code = sql_query(&reader->rows, &row, err, text, "ii", job, limit > 0 ? limit : 0);
    int stop = 0;

    if (code)
        return code;
    while (!stop && (code = sql_step(&reader->rows, row, err)) == 1) {
        struct db_event event;

        code = read_event(reader, row, &event, err);
        if (code)
            break;
        stop = each(context, &event);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}
