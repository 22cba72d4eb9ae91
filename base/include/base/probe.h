/* The results of a probe (a measurement of the loss surface at a checkpoint), as they travel
 * between engine, database and API: tables of numbers, which grow row by row while it runs. */
#ifndef BASE_PROBE_H
#define BASE_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#define PROBE_COLUMNS_MAX 16
#define PROBE_TABLES_MAX  8

struct probe_column {
    const char *name; /* in JSON and CSV */
    const char *doc;  /* one sentence, with the unit */
    bool integer;     /* shown without a fraction */
};

/* Table 0 of each kind of probe is its summary: one row, which is replaced as it becomes known. */
struct probe_table {
    const char *name; /* "summary", "nodes", …: in URLs */
    const char *doc;
    bool internal; /* kept so that the probe can go on, not served */
    int n_columns;
    const struct probe_column *columns;
};

/* A row that was recorded before under the same table and number is replaced. Unknown values are
 * NaN. */
struct probe_row {
    int table;
    int64_t number; /* from 0 */
    int n;          /* columns */
    double value[PROBE_COLUMNS_MAX];
};

#endif
