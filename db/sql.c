/* See sql.h. SQLite's result codes become ours in one place, `code_of`. */
#include "sql.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/err.h"

/* How long a look waits for somebody else's lock. */
#define LOOK_BUSY_MS 2000

static const char nan_text[] = "NaN";

/* `name` is the path, or a URI for it. */
static int open_named(struct sql *sql, const char *path, const char *name, int flags,
                      struct err *err)
{
    memset(sql, 0, sizeof *sql);
    snprintf(sql->path, sizeof sql->path, "%s", path);
    /* Each connection has one thread at a time, so SQLite's own lock on it is not needed. */
    errno = 0;
    if (sqlite3_open_v2(name, &sql->handle, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        int code = sql_fail(sql, err);

        sql_close(sql);
        return code;
    }
    sqlite3_extended_result_codes(sql->handle, 1);
    return 0;
}

int sql_open(struct sql *sql, const char *path, int flags, int busy_ms, struct err *err)
{
    int code = open_named(sql, path, path, flags, err);

    if (!code)
        sqlite3_busy_timeout(sql->handle, busy_ms);
    return code;
}

void sql_keep_log(struct sql *sql, bool keep)
{
    sqlite3_db_config(sql->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, (int)keep, NULL);
}

/* SQLite is told that nobody changes the file, and then looks for no other beside it. */
static int look_at_file(struct sql *sql, const char *path, struct err *err)
{
    static const char digits[] = "0123456789ABCDEF";
    char uri[3 * PATH_MAX + 32] = "file:";
    char *to = uri + strlen(uri);

    for (const char *next = path; *next; next++) {
        const bool sign = strchr("%?#", *next);

        *to++ = sign ? '%' : *next;
        if (sign) {
            *to++ = digits[*next >> 4];
            *to++ = digits[*next & 15];
        }
    }
    strcpy(to, "?immutable=1");
    return open_named(sql, path, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
}

int sql_look(struct sql *sql, const char *path, bool logged, struct err *err)
{
    static const char alone[] = "PRAGMA locking_mode = EXCLUSIVE; SELECT 1 FROM sqlite_schema";
    int code;

    if (!logged)
        return look_at_file(sql, path, err);
    code = sql_open(sql, path, SQLITE_OPEN_READWRITE, 0, err);
    if (code)
        return code;
    sql_keep_log(sql, true);
    /* Who has the file alone keeps the log's index in memory, and makes no -shm for it. Where
     * others have it open, there is one that is in order. */
    code = sql_exec(sql, alone, err);
    if (code == ERR_BUSY) {
        sql_close(sql);
        code = sql_open(sql, path, SQLITE_OPEN_READWRITE, LOOK_BUSY_MS, err);
        if (code)
            return code;
        sql_keep_log(sql, true);
    }
    if (code)
        sql_close(sql);
    return code;
}

int sql_in_place(struct sql *sql, struct err *err)
{
    int moved = 0;

    sqlite3_file_control(sql->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (!moved)
        return 0;
    return err_set(err, ERR_IO, "cannot use %.300s: it was moved, removed or replaced by another",
                   sql->path);
}

void sql_close(struct sql *sql)
{
    for (int i = 0; i < sql->n_cached; i++)
        sqlite3_finalize(sql->cached[i].statement);
    sql->n_cached = 0;
    sqlite3_close(sql->handle);
    sql->handle = NULL;
}

static bool means_full(int number)
{
    return number == ENOSPC || number == EDQUOT || number == EFBIG;
}

/* A write that failed for want of space, however SQLite names it. A limit on the size of files
 * (EFBIG) is no different for whoever has to make room. SQLite notes the system's error number at
 * some places only, so errno is looked at, too; it was 0 before the call. */
static bool is_full(struct sql *sql, int number)
{
    struct statvfs space;

    if (means_full(number) || means_full(sqlite3_system_errno(sql->handle)))
        return true;
    return statvfs(sql->path, &space) == 0 && space.f_blocks && space.f_bavail == 0;
}

static int code_of(struct sql *sql, int result, int number)
{
    switch (result & 0xff) {
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return ERR_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return ERR_CORRUPT;
    case SQLITE_NOMEM:
        return ERR_NO_MEMORY;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return is_full(sql, number) ? ERR_FULL : ERR_IO;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return ERR_IO;
    case SQLITE_TOOBIG:
        return ERR_LIMIT;
    default:
        return ERR_INTERNAL;
    }
}

static const char *words_of(int code)
{
    switch (code) {
    case ERR_FULL:
        return "no space left for";
    case ERR_BUSY:
        return "another process holds a lock on";
    case ERR_CORRUPT:
        return "damaged file";
    case ERR_IO:
        return "cannot use";
    default:
        return "database";
    }
}

int sql_fail(struct sql *sql, struct err *err)
{
    int number = errno;
    int result = sql->handle ? sqlite3_extended_errcode(sql->handle) : SQLITE_NOMEM;
    const char *message = sql->handle ? sqlite3_errmsg(sql->handle) : "out of memory";
    int code = code_of(sql, result, number);
    bool system = (result & 0xff) == SQLITE_IOERR || (result & 0xff) == SQLITE_CANTOPEN;

    if (!sql->failed)
        sql->failed = code;
    return err_set(err, code, "%s %.300s: %s%s%s", words_of(code), sql->path, message,
                   system && number ? ", " : "", system && number ? strerror(number) : "");
}

int sql_exec(struct sql *sql, const char *text, struct err *err)
{
    errno = 0;
    if (sqlite3_exec(sql->handle, text, NULL, NULL, NULL) != SQLITE_OK)
        return sql_fail(sql, err);
    return 0;
}

static int prepare(struct sql *sql, const char *text, sqlite3_stmt **out, struct err *err)
{
    struct sql_cached *cached;

    for (int i = 0; i < sql->n_cached; i++)
        if (sql->cached[i].text == text) {
            *out = sql->cached[i].statement;
            return 0;
        }
    if (sql->n_cached == SQL_CACHED_MAX)
        return err_set(err, ERR_INTERNAL, "more statements than SQL_CACHED_MAX");
    cached = &sql->cached[sql->n_cached];
    errno = 0;
    if (sqlite3_prepare_v3(sql->handle, text, -1, SQLITE_PREPARE_PERSISTENT, &cached->statement,
                           NULL) != SQLITE_OK)
        return sql_fail(sql, err);
    cached->text = text;
    sql->n_cached++;
    *out = cached->statement;
    return 0;
}

int sql_bind_real(sqlite3_stmt *statement, int parameter, double value)
{
    if (isnan(value))
        return sqlite3_bind_text(statement, parameter, nan_text, -1, SQLITE_STATIC);
    return sqlite3_bind_double(statement, parameter, value);
}

static int bind(struct sql *sql, sqlite3_stmt *statement, const char *types, va_list values,
                struct err *err)
{
    for (int i = 0; types[i]; i++) {
        int result;

        if (types[i] == 'i')
            result = sqlite3_bind_int64(statement, i + 1, va_arg(values, int64_t));
        else if (types[i] == 'r')
            result = sql_bind_real(statement, i + 1, va_arg(values, double));
        else
            result = sqlite3_bind_text(statement, i + 1, va_arg(values, const char *), -1,
                                       SQLITE_STATIC);
        if (result != SQLITE_OK)
            return sql_fail(sql, err);
    }
    return 0;
}

static int query(struct sql *sql, sqlite3_stmt **out, struct err *err, const char *text,
                 const char *types, va_list values)
{
    int code = prepare(sql, text, out, err);

    return code ? code : bind(sql, *out, types, values, err);
}

int sql_query(struct sql *sql, sqlite3_stmt **out, struct err *err, const char *text,
              const char *types, ...)
{
    va_list values;
    int code;

    va_start(values, types);
    code = query(sql, out, err, text, types, values);
    va_end(values);
    return code;
}

int sql_step(struct sql *sql, sqlite3_stmt *statement, struct err *err)
{
    int result, code = 0;

    errno = 0;
    result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        return 1;
    if (result != SQLITE_DONE)
        code = sql_fail(sql, err);
    sqlite3_reset(statement);
    return code;
}

void sql_done(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
}

static int query_first(struct sql *sql, sqlite3_stmt **out, struct err *err, const char *text,
                       const char *types, va_list values)
{
    int code = query(sql, out, err, text, types, values);

    return code ? code : sql_step(sql, *out, err);
}

int sql_first(struct sql *sql, sqlite3_stmt **out, struct err *err, const char *text,
              const char *types, ...)
{
    va_list values;
    int code;

    va_start(values, types);
    code = query_first(sql, out, err, text, types, values);
    va_end(values);
    return code;
}

int sql_integer(struct sql *sql, int64_t *out, struct err *err, const char *text, const char *types,
                ...)
{
    sqlite3_stmt *statement = NULL;
    va_list values;
    int code;

    va_start(values, types);
    code = query_first(sql, &statement, err, text, types, values);
    va_end(values);
    if (code <= 0)
        return code;
    if (out)
        *out = sqlite3_column_int64(statement, 0);
    sql_done(statement);
    return 1;
}

int sql_run(struct sql *sql, struct err *err, const char *text, const char *types, ...)
{
    sqlite3_stmt *statement = NULL;
    va_list values;
    int code;

    va_start(values, types);
    code = query_first(sql, &statement, err, text, types, values);
    va_end(values);
    return code;
}

double sql_real(sqlite3_stmt *statement, int column)
{
    if (sqlite3_column_type(statement, column) == SQLITE_TEXT)
        return NAN;
    return sqlite3_column_double(statement, column);
}

bool sql_has(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) != SQLITE_NULL;
}

int sql_text(sqlite3_stmt *statement, int column, char **out, struct err *err)
{
    const unsigned char *text;

    *out = NULL;
    if (!sql_has(statement, column))
        return 0;
    text = sqlite3_column_text(statement, column);
    *out = text ? strdup((const char *)text) : NULL;
    return *out ? 0 : err_no_memory(err);
}
