#include "span.h"

#include <math.h>

#include "writer.h"

bool db_loss_lower(double a, double b)
{
    return !isnan(a) && (isnan(b) || a < b);
}

int db_span_add(struct db_writer *writer, int64_t job, int64_t updates, struct err *err)
{
    static const char find[] =
        "SELECT updates, loss FROM loss WHERE job = ? AND updates > ? ORDER BY updates";
    static const char add[] = "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?)";
    int64_t low_at = 0, high_at = 0, rows = 0;
    double low = 0, high = 0;
    sqlite3_stmt *row;
    int code = sql_query(&writer->rows, &row, err, find, "ii", job, updates - DB_SPAN_ROWS);

    if (code)
        return code;
    while ((code = sql_step(&writer->rows, row, err)) == 1) {
        double loss = sql_real(row, 1);

        if (rows == 0 || db_loss_lower(loss, low)) {
            low = loss;
            low_at = sqlite3_column_int64(row, 0);
        }
        if (rows == 0 || db_loss_lower(high, loss)) {
            high = loss;
            high_at = sqlite3_column_int64(row, 0);
        }
        rows++;
    }
    if (code || rows != DB_SPAN_ROWS)
        return code;
    return sql_run(&writer->rows, err, add, "iiirir", job, updates / DB_SPAN_ROWS, low_at, low,
                   high_at, high);
}
