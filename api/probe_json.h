/* A probe as JSON, and the tables of its kind. */
#ifndef API_PROBE_JSON_H
#define API_PROBE_JSON_H

#include "db/probe.h"
#include "http.h"

/* The tables of the probe's kind; NULL, *n 0 for one that this version does not know. */
const struct probe_table *probe_tables(const struct api *api, const struct db_probe *probe, int *n);

/* The member of a row; null where the row does not have it, or (in a summary) it is not known. */
void probe_value_json(struct text *out, const struct probe_table *table,
                      const struct probe_row *row, int column, bool nan_is_null);

/* Reads its summary and the sizes of its tables. */
int probe_json_write(struct text *out, const struct api *api, struct db_reader *reader,
                     const struct db_probe *probe, struct err *err);

#endif
