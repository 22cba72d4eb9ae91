/* Readers: open, close, transactions. */
#include "reader.h"

#include <stdlib.h>
#include <string.h>

#include "inside.h"

/* In WAL mode readers do not wait for the writer; this is for a file's recovery by another. */
#define READER_BUSY_MS 2000

static int open_for_reading(struct sql *sql, const char *path, struct err *err)
{
    return sql_open(sql, path, SQLITE_OPEN_READONLY, READER_BUSY_MS, err);
}

int db_reader_open(struct db_reader **out, const struct db *db, struct err *err)
{
    struct db_reader *reader = calloc(1, sizeof *reader);
    int code;

    if (!reader)
        return err_no_memory(err);
    strcpy(reader->checkpoints_path, db->writer->checkpoints.path);
    code = open_for_reading(&reader->rows, db->writer->rows.path, err);
    if (code)
        free(reader);
    else
        *out = reader;
    return code;
}

void db_reader_close(struct db_reader *reader)
{
    if (!reader)
        return;
    sql_close(&reader->checkpoints);
    sql_close(&reader->rows);
    free(reader);
}

int db_reader_checkpoints(struct db_reader *reader, struct sql **out, struct err *err)
{
    int code = 0;

    if (!reader->checkpoints.handle)
        code = open_for_reading(&reader->checkpoints, reader->checkpoints_path, err);
    *out = &reader->checkpoints;
    return code;
}

int db_read_begin(struct sql *sql, struct err *err)
{
    static const char text[] = "BEGIN";

    return sql_run(sql, err, text, "");
}

int db_read_end(struct sql *sql, int code)
{
    static const char text[] = "COMMIT";

    if (!sqlite3_get_autocommit(sql->handle))
        sql_run(sql, NULL, text, "");
    return code;
}
