/* An array a table, sorted by number. */
#include "probe/rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"

struct table {
    int64_t n;
    struct probe_row *row;
};

struct probe_rows {
    struct table table[PROBE_TABLES_MAX];
};

int rows_open(struct probe_rows **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : err_no_memory(err);
}

void rows_close(struct probe_rows *rows)
{
    if (!rows)
        return;
    for (int t = 0; t < PROBE_TABLES_MAX; t++)
        free(rows->table[t].row);
    free(rows);
}

/* The place of the first row whose number is not below. */
static int64_t place_of(const struct table *table, int64_t number)
{
    int64_t low = 0, high = table->n;

    if (high > 0 && table->row[high - 1].number < number)
        return high;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        if (table->row[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int rows_put(struct probe_rows *rows, const struct probe_row *row, struct err *err)
{
    struct table *table = &rows->table[row->table];
    int64_t at = place_of(table, row->number);

    if (at < table->n && table->row[at].number == row->number) {
        table->row[at] = *row;
        return 0;
    }
    if (!array_grow(&table->row, (size_t)table->n, sizeof *row))
        return err_no_memory(err);
    memmove(table->row + at + 1, table->row + at, (size_t)(table->n - at) * sizeof *row);
    table->row[at] = *row;
    table->n++;
    return 0;
}

const double *rows_find(const struct probe_rows *rows, int table, int64_t number)
{
    const struct table *in = &rows->table[table];
    int64_t at = place_of(in, number);

    return at < in->n && in->row[at].number == number ? in->row[at].value : NULL;
}

int64_t rows_run(const struct probe_rows *rows, int table, int64_t first, int64_t most)
{
    const struct table *in = &rows->table[table];
    int64_t at = place_of(in, first), n = 0;

    while (n < most && at + n < in->n && in->row[at + n].number == first + n)
        n++;
    return n;
}
