/* The lowest and highest of a stretch of losses: from spans where it covers them, from the rows
 * themselves at its ends and where a span is missing. */
#include "reader.h"
#include "span.h"

/* What was found so far up to and including update `at`. */
struct search {
    struct sql *sql;
    int64_t job, at, upto;
    int64_t rows, low_at, high_at, last_at;
    double low, high;
};

static void take(struct search *search, int64_t low_at, double low, int64_t high_at, double high)
{
    if (search->rows == 0 || db_loss_lower(low, search->low)) {
        search->low = low;
        search->low_at = low_at;
    }
    if (search->rows == 0 || db_loss_lower(search->high, high)) {
        search->high = high;
        search->high_at = high_at;
    }
}

/* As many spans as there are one after the other from `at` on, which is where one begins. */
static int take_spans(struct search *search, struct err *err)
{
    static const char text[] = "SELECT number, low, low_loss, high, high_loss FROM span "
                               "WHERE job = ? AND number BETWEEN ? AND ? ORDER BY number";
    sqlite3_stmt *row;
    int code = sql_query(search->sql, &row, err, text, "iii", search->job,
                         search->at / DB_SPAN_ROWS + 1, search->upto / DB_SPAN_ROWS);

    if (code)
        return code;
    while ((code = sql_step(search->sql, row, err)) == 1 &&
           sqlite3_column_int64(row, 0) == search->at / DB_SPAN_ROWS + 1) {
        take(search, sqlite3_column_int64(row, 1), sql_real(row, 2), sqlite3_column_int64(row, 3),
             sql_real(row, 4));
        search->rows += DB_SPAN_ROWS;
        search->at += DB_SPAN_ROWS;
        search->last_at = search->at;
    }
    sql_done(row);
    return code < 0 ? code : 0;
}

/* The rows until the next span begins. */
static int take_rows(struct search *search, struct err *err)
{
    static const char text[] = "SELECT updates, loss FROM loss WHERE job = ? AND updates > ? AND "
                               "updates <= ? ORDER BY updates";
    int64_t next = search->at - search->at % DB_SPAN_ROWS + DB_SPAN_ROWS;
    int64_t to = next < search->upto ? next : search->upto;
    sqlite3_stmt *row;
    int code = sql_query(search->sql, &row, err, text, "iii", search->job, search->at, to);

    if (code)
        return code;
    while ((code = sql_step(search->sql, row, err)) == 1) {
        search->last_at = sqlite3_column_int64(row, 0);
        take(search, search->last_at, sql_real(row, 1), search->last_at, sql_real(row, 1));
        search->rows++;
    }
    search->at = to;
    return code;
}

/* Past updates without losses: `at` becomes the one before the next loss, or `upto`. */
static int skip_gap(struct search *search, struct err *err)
{
    static const char text[] = "SELECT updates FROM loss WHERE job = ? AND updates > ? AND "
                               "updates <= ? ORDER BY updates LIMIT 1";
    int64_t next;
    int code =
        sql_integer(search->sql, &next, err, text, "iii", search->job, search->at, search->upto);

    if (code < 0)
        return code;
    search->at = code ? next - 1 : search->upto;
    return 0;
}

static int find(struct search *search, struct err *err)
{
    int code = 0;

    while (!code && search->at < search->upto) {
        int64_t rows = search->rows;

        if (search->at % DB_SPAN_ROWS == 0 && search->upto - search->at >= DB_SPAN_ROWS)
            code = take_spans(search, err);
        if (!code && search->rows == rows && search->at < search->upto)
            code = take_rows(search, err);
        if (!code && search->rows == rows)
            code = skip_gap(search, err);
    }
    return code;
}

static int read_row(const struct search *search, int64_t at, struct db_loss *out, struct err *err)
{
    static const char text[] = "SELECT " DB_LOSS_COLUMNS " FROM loss WHERE job = ? AND updates = ?";
    sqlite3_stmt *row;
    int code = sql_first(search->sql, &row, err, text, "ii", search->job, at);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_CORRUPT, "damaged file %.300s: job %lld has lost update %lld",
                       search->sql->path, (long long)search->job, (long long)at);
    db_read_loss(row, 0, out);
    sql_done(row);
    return 0;
}

int db_losses_extremes(struct db_reader *reader, int64_t job, uint64_t after, uint64_t upto,
                       struct db_extremes *out, struct err *err)
{
    struct search search = {.sql = &reader->rows,
                            .job = job,
                            .at = after > INT64_MAX ? INT64_MAX : (int64_t)after,
                            .upto = upto > INT64_MAX ? INT64_MAX : (int64_t)upto};
    int code = db_read_begin(search.sql, err);

    if (!code)
        code = find(&search, err);
    out->rows = search.rows;
    if (!code && search.rows) {
        code = read_row(&search, search.low_at, &out->low, err);
        if (!code)
            code = read_row(&search, search.high_at, &out->high, err);
        if (!code)
            code = read_row(&search, search.last_at, &out->last, err);
    }
    return db_read_end(search.sql, code);
}
