/* The rows that a probe has told, now and before it was stopped. */
#ifndef ENGINE_PROBE_ROWS_H
#define ENGINE_PROBE_ROWS_H

#include "base/err.h"
#include "base/probe.h"

struct probe_rows;

int rows_open(struct probe_rows **out, struct err *err);
void rows_close(struct probe_rows *rows);

/* Adds one, or replaces the one of the same table and number. Quickest in ascending order. */
int rows_put(struct probe_rows *rows, const struct probe_row *row, struct err *err);

/* Its values; NULL: there is none. Valid until the next `rows_put`. */
const double *rows_find(const struct probe_rows *rows, int table, int64_t number);

/* How many rows there are from `first` on, number by number without a gap, up to `most`. */
int64_t rows_run(const struct probe_rows *rows, int table, int64_t first, int64_t most);

#endif
