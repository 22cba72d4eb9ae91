/* A sweep's table as JSON and as CSV. */
#include "json_tree.h"
#include "json_write.h"
#include "sweep_table.h"

static const struct probe_table *summary_of(const struct sweep_table *table, int kind)
{
    int n;

    return table->service->probe_tables(kind, &n);
}

static const char *kind_name(const struct sweep_table *table, int kind)
{
    return table->service->probe_spec->kinds[kind].name;
}

/* ---- JSON ---- */

static void put_values(struct text *out, const struct sweep_grid *grid, int row)
{
    int index[SWEEP_AXES_MAX];

    sweep_grid_point(grid, sweep_grid_at(grid, row, 0), index);
    json_key(out, "values");
    json_open(out, '{');
    for (int i = 0; i < grid->n_axes; i++)
        if (i != grid->seed) {
            json_key(out, grid->axis[i].pointer);
            json_tree(out, cJSON_GetArrayItem(grid->axis[i].values, index[i]));
        }
    json_close(out, '}');
}

static void put_jobs(struct text *out, const struct sweep_table *table, int row)
{
    json_key(out, "jobs");
    json_open(out, '[');
    for (int seed = 0; seed < sweep_grid_seeds(table->grid); seed++)
        json_int(out, sweep_table_job(table, row, seed)->id);
    json_close(out, ']');
}

static void put_statistic(struct text *out, const char *name,
                          const struct sweep_statistic *statistic)
{
    json_key(out, name);
    json_open(out, '{');
    if (statistic->n > 0)
        json_put_real(out, "mean", statistic->mean);
    else
        json_put_null(out, "mean");
    if (statistic->n > 1)
        json_put_real(out, "std", sweep_deviation(statistic));
    else
        json_put_null(out, "std");
    json_put_int(out, "n", statistic->n);
    json_close(out, '}');
}

/* {"spectrum": {"lambda_max": {…}, …}}, of the kinds that some job of the sweep has. */
static void put_probes(struct text *out, const struct sweep_table *table, int row)
{
    json_key(out, "probes");
    json_open(out, '{');
    for (int kind = 0; kind < table->n_kinds; kind++) {
        const struct probe_table *summary = summary_of(table, kind);
        struct sweep_statistic statistic;

        if (!table->probed[kind])
            continue;
        json_key(out, kind_name(table, kind));
        json_open(out, '{');
        for (int column = 0; column < summary->n_columns; column++) {
            sweep_table_probe(table, row, kind, column, &statistic);
            put_statistic(out, summary->columns[column].name, &statistic);
        }
        json_close(out, '}');
    }
    json_close(out, '}');
}

static void put_row(struct text *out, const struct sweep_table *table, int number)
{
    const struct sweep_grid *grid = table->grid;
    char label[201];
    struct sweep_row row;

    sweep_table_row(table, number, &row);
    sweep_grid_label(grid, sweep_grid_at(grid, number, 0), false, label, sizeof label);
    json_open(out, '{');
    json_put_string(out, "label", label);
    put_values(out, grid, number);
    json_put_int(out, "seeds", sweep_grid_seeds(grid));
    for (int state = 0; state < JOB_STATES; state++)
        if (state == JOB_SUCCEEDED || state == JOB_FAILED || state == JOB_CANCELLED)
            json_put_int(out, job_state_name((enum job_state)state), row.in[state]);
    put_jobs(out, table, number);
    for (int m = 0; m < SWEEP_MEASURES; m++)
        put_statistic(out, sweep_measure_name(m), &row.measure[m]);
    put_probes(out, table, number);
    json_close(out, '}');
}

void sweep_table_json(struct text *out, const struct sweep_table *table)
{
    json_open(out, '[');
    for (int row = 0; row < table->grid->n_rows; row++)
        put_row(out, table, row);
    json_close(out, ']');
}

/* ---- CSV ---- */

/* Quoted as RFC 4180 wants it. */
static void put_field(struct text *out, const char *value)
{
    text_append(out, "\"");
    for (; *value; value++)
        text_append(out, *value == '"' ? "\"\"" : "%c", *value);
    text_append(out, "\"");
}

/* A text as it is, anything else as JSON. */
static void put_csv_value(struct text *out, const cJSON *value)
{
    struct text json = {0};

    json_tree(&json, value);
    out->failed = out->failed || json.failed;
    if (cJSON_IsNumber(value) || cJSON_IsBool(value))
        text_append(out, "%s", json.data ? json.data : "");
    else
        put_field(out, cJSON_IsString(value) ? value->valuestring : json.data ? json.data : "");
    text_free(&json);
}

static void put_csv_number(struct text *out, bool known, double value)
{
    char number[TEXT_NUMBER_BYTES] = "";

    if (known)
        text_number(value, number);
    text_append(out, ",%s", number);
}

static void put_csv_probes_head(struct text *out, const struct sweep_table *table)
{
    for (int kind = 0; kind < table->n_kinds; kind++) {
        const struct probe_table *summary = summary_of(table, kind);

        for (int column = 0; table->probed[kind] && column < summary->n_columns; column++)
            text_append(out, ",%s_%s_mean,%s_%s_std", kind_name(table, kind),
                        summary->columns[column].name, kind_name(table, kind),
                        summary->columns[column].name);
    }
}

static void put_csv_head(struct text *out, const struct sweep_table *table)
{
    const struct sweep_grid *grid = table->grid;

    text_append(out, "label");
    for (int i = 0; i < grid->n_axes; i++)
        if (i != grid->seed) {
            text_append(out, ",");
            put_field(out, grid->axis[i].pointer);
        }
    text_append(out, ",seeds,succeeded,failed,cancelled");
    for (int m = 0; m < SWEEP_MEASURES; m++)
        text_append(out, ",%s_mean,%s_std", sweep_measure_name(m), sweep_measure_name(m));
    put_csv_probes_head(out, table);
    text_append(out, "\n");
}

static void put_csv_statistic(struct text *out, const struct sweep_statistic *statistic)
{
    put_csv_number(out, statistic->n > 0, statistic->mean);
    put_csv_number(out, statistic->n > 1, sweep_deviation(statistic));
}

static void put_csv_probes(struct text *out, const struct sweep_table *table, int row)
{
    struct sweep_statistic statistic;

    for (int kind = 0; kind < table->n_kinds; kind++)
        for (int column = 0; table->probed[kind] && column < summary_of(table, kind)->n_columns;
             column++) {
            sweep_table_probe(table, row, kind, column, &statistic);
            put_csv_statistic(out, &statistic);
        }
}

static void put_csv_row(struct text *out, const struct sweep_table *table, int number)
{
    const struct sweep_grid *grid = table->grid;
    int index[SWEEP_AXES_MAX];
    char label[201];
    struct sweep_row row;

    sweep_table_row(table, number, &row);
    sweep_grid_label(grid, sweep_grid_at(grid, number, 0), false, label, sizeof label);
    sweep_grid_point(grid, sweep_grid_at(grid, number, 0), index);
    put_field(out, label);
    for (int i = 0; i < grid->n_axes; i++)
        if (i != grid->seed) {
            text_append(out, ",");
            put_csv_value(out, cJSON_GetArrayItem(grid->axis[i].values, index[i]));
        }
    text_append(out, ",%d,%d,%d,%d", sweep_grid_seeds(grid), row.in[JOB_SUCCEEDED],
                row.in[JOB_FAILED], row.in[JOB_CANCELLED]);
    for (int m = 0; m < SWEEP_MEASURES; m++)
        put_csv_statistic(out, &row.measure[m]);
    put_csv_probes(out, table, number);
    text_append(out, "\n");
}

void sweep_table_csv(struct text *out, const struct sweep_table *table)
{
    put_csv_head(out, table);
    for (int row = 0; row < table->grid->n_rows; row++)
        put_csv_row(out, table, row);
}
