#include "probe_json.h"

#include <math.h>
#include <string.h>

#include "json_write.h"

const struct probe_table *probe_tables(const struct api *api, const struct db_probe *probe, int *n)
{
    const struct spec_field *spec = api->service->probe_spec;

    *n = 0;
    for (int kind = 0; kind < spec->n_kinds; kind++)
        if (strcmp(spec->kinds[kind].name, probe->kind) == 0)
            return api->service->probe_tables(kind, n);
    return NULL;
}

void probe_value_json(struct text *out, const struct probe_table *table,
                      const struct probe_row *row, int column, bool nan_is_null)
{
    double value = column < row->n ? row->value[column] : NAN;

    json_key(out, table->columns[column].name);
    if (column >= row->n || (nan_is_null && isnan(value)))
        json_null(out);
    else if (table->columns[column].integer && fabs(value) < 1e15)
        json_int(out, (int64_t)value);
    else
        json_real(out, value);
}

static void put_state(struct text *out, const struct db_probe *probe)
{
    json_put_int(out, "job", probe->job);
    json_put_int(out, "number", probe->number);
    json_put_string(out, "kind", probe->kind);
    json_put_int(out, "update", (int64_t)probe->update);
    json_put_bool(out, "planned", probe->planned);
    json_put_string(out, "state", probe_state_name(probe->state));
    json_put_string(out, "wish", probe->cancelling ? "cancel" : NULL);
    json_put_string(out, "reason", probe->reason);
    json_put_string(out, "message", probe->message);
    json_put_real(out, "progress", probe->progress);
    json_put_int(out, "priority", probe->priority);
    json_put_int(out, "threads", probe->threads);
    json_put_int(out, "starts", probe->starts);
    json_put_time(out, "created_at", probe->created_ms);
    json_put_time(out, "started_at", probe->started_ms);
    json_put_time(out, "finished_at", probe->finished_ms);
}

struct summary {
    struct text *out;
    const struct probe_table *table;
    bool found;
};

static int put_summary_row(void *context, const struct probe_row *row)
{
    struct summary *summary = context;

    summary->found = true;
    json_open(summary->out, '{');
    for (int i = 0; i < summary->table->n_columns; i++)
        probe_value_json(summary->out, summary->table, row, i, true);
    json_close(summary->out, '}');
    return 0;
}

static int put_summary(struct text *out, struct db_reader *reader, const struct db_probe *probe,
                       const struct probe_table *tables, struct err *err)
{
    struct summary summary = {out, tables, false};
    int rc = 0;

    json_key(out, "summary");
    if (tables)
        rc = db_probe_rows_each(reader, probe->id, 0, -1, 1, put_summary_row, &summary, err);
    if (!summary.found)
        json_null(out);
    return rc;
}

static int put_tables(struct text *out, struct db_reader *reader, const struct db_probe *probe,
                      const struct probe_table *tables, int n, struct err *err)
{
    int rc = 0;

    json_key(out, "tables");
    json_open(out, '[');
    for (int i = 0; i < n && rc == 0; i++) {
        int64_t rows = 0;

        if (tables[i].internal)
            continue;
        rc = db_probe_rows_count(reader, probe->id, i, -1, &rows, err);
        json_open(out, '{');
        json_put_string(out, "name", tables[i].name);
        json_put_int(out, "rows", rows);
        json_key(out, "url");
        text_append(out, "\"/v1/jobs/%lld/probes/%lld/tables/%s\"", (long long)probe->job,
                    (long long)probe->number, tables[i].name);
        json_close(out, '}');
    }
    json_close(out, ']');
    return rc;
}

int probe_json_write(struct text *out, const struct api *api, struct db_reader *reader,
                     const struct db_probe *probe, struct err *err)
{
    int n, rc;
    const struct probe_table *tables = probe_tables(api, probe, &n);

    json_open(out, '{');
    put_state(out, probe);
    rc = put_summary(out, reader, probe, tables, err);
    if (rc == 0)
        rc = put_tables(out, reader, probe, tables, n, err);
    json_key(out, "vectors");
    if (probe->vectors)
        text_append(out, "\"/v1/jobs/%lld/probes/%lld/vectors\"", (long long)probe->job,
                    (long long)probe->number);
    else
        json_null(out);
    json_key(out, "request");
    json_raw(out, probe->request);
    json_key(out, "url");
    text_append(out, "\"/v1/jobs/%lld/probes/%lld\"", (long long)probe->job,
                (long long)probe->number);
    json_close(out, '}');
    return rc;
}
