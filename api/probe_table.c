/* A table of a probe, streamed: rows are read in blocks while the socket takes them. It ends where
 * it was when the request came. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_write.h"
#include "negotiate.h"
#include "probe_json.h"
#include "routes.h"

#define BLOCK_ROWS 512

struct table {
    struct api *api;
    const struct probe_table *table;
    int64_t job, number, probe;
    int part;
    int64_t after, left, of, rows; /* of: behind the first `after`; rows: written */
    int64_t block;                 /* read of the present block */
    bool csv, begun, ended, limited;
    struct text text;
    size_t sent;
};

static void put_csv(struct text *out, const struct probe_table *table, const struct probe_row *row)
{
    for (int i = 0; i < table->n_columns; i++) {
        char number[TEXT_NUMBER_BYTES] = "";

        if (i < row->n)
            text_number(row->value[i], number);
        text_append(out, "%s%s", i ? "," : "", number);
    }
    text_append(out, "\n");
}

static void put_json(struct text *out, const struct probe_table *table, const struct probe_row *row,
                     bool first)
{
    if (!first)
        text_append(out, ",\n");
    json_open(out, '{');
    for (int i = 0; i < table->n_columns; i++)
        probe_value_json(out, table, row, i, false);
    json_close(out, '}');
}

static int take_row(void *context, const struct probe_row *row)
{
    struct table *table = context;

    if (table->csv)
        put_csv(&table->text, table->table, row);
    else
        put_json(&table->text, table->table, row, table->rows == 0);
    table->after = row->number;
    table->rows++;
    table->left--;
    table->block++;
    return 0;
}

static void begin(struct table *table)
{
    struct text *out = &table->text;

    table->begun = true;
    if (!table->csv) {
        text_append(out, "{\"job\":%lld,\"probe\":%lld,\"table\":\"%s\",\"rows\":[\n",
                    (long long)table->job, (long long)table->number, table->table->name);
        return;
    }
    for (int i = 0; i < table->table->n_columns; i++)
        text_append(out, "%s%s", i ? "," : "", table->table->columns[i].name);
    text_append(out, "\n");
}

static void end(struct table *table)
{
    bool more = table->limited && table->left == 0;

    table->ended = true;
    if (table->csv)
        return;
    text_append(&table->text, "\n],\"of\":%lld,\"next_after\":", (long long)table->of);
    text_append(&table->text, more ? "%lld}\n" : "null}\n", (long long)table->after);
}

static int advance(struct table *table, struct db_reader *reader)
{
    int64_t n = table->left < BLOCK_ROWS ? table->left : BLOCK_ROWS;
    int rc = 0;

    table->block = 0;
    if (n > 0)
        rc = db_probe_rows_each(reader, table->probe, table->part, table->after, n, take_row, table,
                                NULL);
    if (rc == 0 && table->block < BLOCK_ROWS)
        end(table);
    return rc;
}

static int fill(struct table *table, size_t size)
{
    struct db_reader *reader;
    int rc = readers_take(table->api->readers, &reader, NULL);

    if (rc)
        return rc;
    table->text.length = table->sent = 0;
    if (!table->begun)
        begin(table);
    while (rc == 0 && !table->ended && table->text.length < size)
        rc = advance(table, reader);
    readers_give(table->api->readers, reader);
    return rc;
}

static ssize_t table_read(void *context, uint64_t position, char *out, size_t size)
{
    struct table *table = context;
    size_t n;

    (void)position;
    if (table->sent == table->text.length) {
        if (table->ended)
            return STREAM_END;
        if (fill(table, size) || table->text.failed)
            return STREAM_FAIL;
        if (table->text.length == 0)
            return STREAM_END;
    }
    n = table->text.length - table->sent;
    n = n < size ? n : size;
    memcpy(out, table->text.data + table->sent, n);
    table->sent += n;
    return (ssize_t)n;
}

static void table_close(void *context)
{
    struct table *table = context;

    text_free(&table->text);
    free(table);
}

/* ERR_NOT_FOUND, with the names that there are. */
static int no_table(const struct request *request, const struct probe_table *tables, int n,
                    struct err *err)
{
    char names[200] = "";

    for (int i = 0; i < n; i++)
        if (!tables[i].internal && strlen(names) + strlen(tables[i].name) + 3 < sizeof names) {
            strcat(names, names[0] ? ", " : "");
            strcat(names, tables[i].name);
        }
    return err_set(err, ERR_NOT_FOUND, "the probe has no table \"%s\", but %s", request->table,
                   names);
}

static int find(struct request *request, struct table *table, struct db_reader *reader,
                struct err *err)
{
    const struct probe_table *tables;
    struct db_probe probe;
    int n, rc = db_probe_get(reader, request->id, request->number, &probe, err);

    if (rc)
        return rc;
    table->probe = probe.id;
    tables = probe_tables(request->api, &probe, &n);
    db_probe_free(&probe);
    for (int i = 0; i < n; i++)
        if (!tables[i].internal && strcmp(tables[i].name, request->table) == 0) {
            table->table = &tables[i];
            table->part = i;
            return db_probe_rows_count(reader, table->probe, i, table->after, &table->of, err);
        }
    return no_table(request, tables, n, err);
}

int probe_table_get(struct request *request, struct reply *reply, struct err *err)
{
    static const char *const types[] = {"application/json", "text/csv", NULL};
    const struct query_value *value = request->value, *format = &value[TABLE_FORMAT];
    struct table *table = calloc(1, sizeof *table);
    struct db_reader *reader;
    int rc;

    if (!table)
        return err_no_memory(err);
    *table = (struct table){.api = request->api,
                            .job = request->id,
                            .number = request->number,
                            .after = value[TABLE_AFTER].number};
    rc = readers_take(request->api->readers, &reader, err);
    if (!rc) {
        rc = find(request, table, reader, err);
        readers_give(request->api->readers, reader);
    }
    if (rc) {
        free(table);
        return rc;
    }
    table->limited = value[TABLE_LIMIT].number < table->of;
    table->left = table->limited ? value[TABLE_LIMIT].number : table->of;
    table->csv = format->given ? format->number == 1 : negotiate(request->accept, types) == 1;
    reply->type = table->csv ? "text/csv; charset=utf-8" : "application/json";
    reply_header(reply, "Vary", "Accept");
    reply->stream = (struct stream){table_read, table_close, table, -1};
    return 0;
}
