/* See schema.h. A migration is one transaction: a crash leaves the version that was there before.
 * `user_version` counts the steps that were taken; `application_id` tells our files from others. */
#include "schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"

/* How long opening waits for somebody else's lock. */
#define OPEN_BUSY_MS 2000

extern const char db_schema_rwpd_1[], db_schema_rwpd_2[], db_schema_rwpd_3[], db_schema_rwpd_4[],
    db_schema_rwpd_5[], db_schema_rwpd_6[], db_schema_rwpd_7[], db_schema_rwpd_8[],
    db_schema_rwpd_9[], db_schema_rwpd_10[], db_schema_rwpd_11[], db_schema_rwpd_12[],
    db_schema_checkpoints_1[], db_schema_checkpoints_2[], db_schema_checkpoints_3[];

static const char *const rwpd_steps[] = {db_schema_rwpd_1,  db_schema_rwpd_2,  db_schema_rwpd_3,
                                         db_schema_rwpd_4,  db_schema_rwpd_5,  db_schema_rwpd_6,
                                         db_schema_rwpd_7,  db_schema_rwpd_8,  db_schema_rwpd_9,
                                         db_schema_rwpd_10, db_schema_rwpd_11, db_schema_rwpd_12};
static const char *const checkpoints_steps[] = {db_schema_checkpoints_1, db_schema_checkpoints_2,
                                                db_schema_checkpoints_3};

const struct db_schema db_schema_rwpd = {
    .file = "rwpd.db",
    .application_id = 0x72777064, /* "rwpd" */
    .page_bytes = 4096,
    .n_steps = ARRAY_LENGTH(rwpd_steps),
    .steps = rwpd_steps,
    .first = "SELECT pair, sequence, (SELECT max(id) FROM job) FROM store",
    .numbers = "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'job'),"
               "(SELECT seq FROM sqlite_sequence WHERE name = 'probe')",
};

/* Large pages, because a tensor's data is megabytes in one row. */
const struct db_schema db_schema_checkpoints = {
    .file = "checkpoints.db",
    .application_id = 0x72777063, /* "rwpc" */
    .page_bytes = 32768,
    .n_steps = ARRAY_LENGTH(checkpoints_steps),
    .steps = checkpoints_steps,
    .first = "SELECT pair FROM store",
    /* The vectors of a probe are a checkpoint of no job. */
    .numbers = "SELECT (SELECT max(job) FROM checkpoint),"
               "(SELECT max(updates) FROM checkpoint WHERE job = 0)",
};

static int read_number(struct sql *sql, const char *pragma, int64_t *out, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int code = 0;

    errno = 0;
    if (sqlite3_prepare_v2(sql->handle, pragma, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        code = sql_fail(sql, err);
    else
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return code;
}

/* An empty file first, so that its mode and its name in the folder are settled before SQLite
 * writes; SQLite gives the file's mode to its WAL. */
static int create_file(const char *path, const char *folder, struct err *err)
{
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = 0;

    if (file < 0 || directory < 0 || fsync(directory) != 0)
        code = err_errno(err, "cannot create %s", path);
    if (file >= 0)
        close(file);
    if (directory >= 0)
        close(directory);
    return code == ERR_NOT_FOUND ? ERR_IO : code;
}

/* Settings that belong to the connection, and those that a new file keeps. */
static int configure(struct sql *sql, const struct db_schema *schema, struct err *err)
{
    char pragmas[256];
    sqlite3_stmt *statement = NULL;
    int code;

    snprintf(pragmas, sizeof pragmas,
             "PRAGMA page_size = %d; PRAGMA auto_vacuum = NONE; PRAGMA secure_delete = OFF;"
             "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
             "PRAGMA journal_size_limit = 33554432",
             schema->page_bytes);
    code = sql_exec(sql, pragmas, err);
    if (code)
        return code;
    errno = 0;
    if (sqlite3_prepare_v2(sql->handle, "PRAGMA journal_mode = WAL", -1, &statement, NULL) !=
            SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        code = sql_fail(sql, err);
    else if (strcmp((const char *)sqlite3_column_text(statement, 0), "wal") != 0)
        code = err_set(err, ERR_IO, "%.300s: this file system has no shared memory for a WAL",
                       sql->path);
    sqlite3_finalize(statement);
    return code;
}

static int migrate(struct sql *sql, const struct db_schema *schema, int64_t version,
                   struct err *err)
{
    char pragmas[128];
    int code = sql_exec(sql, "BEGIN IMMEDIATE", err);

    for (int64_t i = version; !code && i < schema->n_steps; i++)
        code = sql_exec(sql, schema->steps[i], err);
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             schema->application_id, schema->n_steps);
    if (!code)
        code = sql_exec(sql, pragmas, err);
    if (!code)
        code = sql_exec(sql, "COMMIT", err);
    if (code)
        sql_exec(sql, "ROLLBACK", NULL);
    return code;
}

int db_schema_identify(struct sql *sql, const struct db_schema *schema, struct db_identity *out,
                       struct err *err)
{
    int64_t application_id = 0, tables = 0;
    int code;

    *out = (struct db_identity){0};
    code = read_number(sql, "PRAGMA user_version", &out->version, err);
    if (!code)
        code = read_number(sql, "PRAGMA application_id", &application_id, err);
    if (!code)
        code = read_number(sql, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (code)
        return code;
    out->fresh = out->version == 0 && tables == 0;
    if (!out->fresh && application_id != schema->application_id)
        return err_set(err, ERR_CORRUPT, "%.300s is not one of rwpd's files", sql->path);
    if (out->version > schema->n_steps)
        return err_set(err, ERR_UNSUPPORTED,
                       "%.300s was written by a newer rwpd (version %lld, this one knows %d)",
                       sql->path, (long long)out->version, schema->n_steps);
    return 0;
}

static int bring_up_to_date(struct sql *sql, const struct db_schema *schema, bool *created,
                            struct err *err)
{
    struct db_identity identity;
    int code = db_schema_identify(sql, schema, &identity, err);

    *created = identity.fresh;
    if (!code)
        code = configure(sql, schema, err);
    if (!code && identity.version < schema->n_steps)
        code = migrate(sql, schema, identity.version, err);
    return code;
}

int db_schema_path(char *out, const char *folder, const struct db_schema *schema, struct err *err)
{
    if (snprintf(out, PATH_MAX, "%s/%s", folder, schema->file) >= PATH_MAX)
        return err_set(err, ERR_INVALID, "the name of the state folder is too long");
    return 0;
}

int db_schema_open(struct sql *sql, const char *folder, const struct db_schema *schema,
                   bool *created, struct err *err)
{
    char path[PATH_MAX];
    int code = db_schema_path(path, folder, schema, err);

    if (!code)
        code = create_file(path, folder, err);
    if (!code)
        code = sql_open(sql, path, SQLITE_OPEN_READWRITE, OPEN_BUSY_MS, err);
    if (code)
        return code;
    sql_keep_log(sql, true);
    code = bring_up_to_date(sql, schema, created, err);
    if (code)
        sql_close(sql);
    return code;
}

int db_schema_mark(struct sql *sql, const struct db_schema *schema, char out[DB_MARK_BYTES],
                   struct err *err)
{
    sqlite3_stmt *statement;
    int code = sql_first(sql, &statement, err, schema->first, "");

    out[0] = '\0';
    if (code <= 0)
        return code;
    snprintf(out, DB_MARK_BYTES, "%s", (const char *)sqlite3_column_text(statement, 0));
    sql_done(statement);
    return 0;
}

int db_schema_numbers(struct sql *sql, const struct db_schema *schema, int64_t *job, int64_t *probe,
                      struct err *err)
{
    sqlite3_stmt *statement;
    int code = sql_first(sql, &statement, err, schema->numbers, "");

    *job = *probe = 0;
    if (code <= 0)
        return code;
    *job = sqlite3_column_int64(statement, 0);
    *probe = sqlite3_column_int64(statement, 1);
    sql_done(statement);
    return 0;
}

static int make_mark(char out[DB_MARK_BYTES], struct err *err)
{
    unsigned char bytes[16];

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return err_errno(err, "getrandom");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

int db_schema_pair(struct sql *rows, struct sql *checkpoints, struct err *err)
{
    static const char mark_rows[] = "INSERT INTO store VALUES (1, ?, 0, 0)";
    static const char mark_checkpoints[] = "INSERT INTO store VALUES (1, ?)";
    char of_rows[DB_MARK_BYTES], of_checkpoints[DB_MARK_BYTES];
    int code = db_schema_mark(rows, &db_schema_rwpd, of_rows, err);

    if (!code)
        code = db_schema_mark(checkpoints, &db_schema_checkpoints, of_checkpoints, err);
    if (code)
        return code;
    /* rwpd.db is marked first: a crash in between leaves no mark in the other, which is then given.
     */
    if (!of_rows[0]) {
        code = make_mark(of_rows, err);
        if (!code)
            code = sql_run(rows, err, mark_rows, "t", of_rows);
    }
    if (!code && !of_checkpoints[0])
        code = sql_run(checkpoints, err, mark_checkpoints, "t", of_rows);
    return code;
}
