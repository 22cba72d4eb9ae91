/* A thin layer over one SQLite connection: statements prepared once, values bound from a format,
 * SQLite's failures as ours with the file's name in the message. Not for two threads at a time. */
#ifndef DB_SQL_H
#define DB_SQL_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

struct err;

#define SQL_CACHED_MAX 160

struct sql {
    sqlite3 *handle;
    char path[PATH_MAX];
    int failed; /* code of the first failure of SQLite itself since this was set to 0 */
    int n_cached;
    struct sql_cached {
        const char *text; /* the address is the key: use `static const char text[]` */
        sqlite3_stmt *statement;
    } cached[SQL_CACHED_MAX];
};

/* `flags` as for sqlite3_open_v2; waits `busy_ms` for locks of others. */
int sql_open(struct sql *sql, const char *path, int flags, int busy_ms, struct err *err);
/* For a look at the file and its write-ahead log that changes neither of them, nor makes any other.
 * `logged`: the log has something in it; else the file alone is read, whoever has it open. */
int sql_look(struct sql *sql, const char *path, bool logged, struct err *err);
void sql_close(struct sql *sql);

/* Whether the last connection to close leaves the log as it is, instead of copying it into the file
 * and removing it. */
void sql_keep_log(struct sql *sql, bool keep);

/* ERR_IO if the path no longer leads to the file that is open: what is written there would be lost
 * with the next start. It may come back. */
int sql_in_place(struct sql *sql, struct err *err);

/* Statements without parameters and results, prepared anew. */
int sql_exec(struct sql *sql, const char *text, struct err *err);

/* Prepared (once) and bound; `types` has a letter a parameter: i int64_t, r double (NaN becomes the
 * text 'NaN'), t const char * (NULL becomes NULL). Step it to its end, or sql_done it. */
int sql_query(struct sql *sql, sqlite3_stmt **out, struct err *err, const char *text,
              const char *types, ...);

/* 1: a row, 0: no more, negative: an error. After the last two the statement is reset. */
int sql_step(struct sql *sql, sqlite3_stmt *statement, struct err *err);
void sql_done(sqlite3_stmt *statement);

/* sql_query and the first sql_step: 1, and the statement is to be ended; or 0 or negative. */
int sql_first(struct sql *sql, sqlite3_stmt **out, struct err *err, const char *text,
              const char *types, ...);

/* The first row's first number. 1: *out (may be NULL) is set, 0: there is no row, negative: an
 * error. */
int sql_integer(struct sql *sql, int64_t *out, struct err *err, const char *text, const char *types,
                ...);

/* sql_query and sql_step for changes, which give no rows. */
int sql_run(struct sql *sql, struct err *err, const char *text, const char *types, ...);

/* Fills *err from the connection's last failure and notes it in `failed`. For direct calls of
 * SQLite: set errno to 0 before them. */
int sql_fail(struct sql *sql, struct err *err);

int sql_bind_real(sqlite3_stmt *statement, int parameter, double value);
/* NULL reads as 0: ask sql_has where that matters. */
double sql_real(sqlite3_stmt *statement, int column);
bool sql_has(sqlite3_stmt *statement, int column);
/* NULL stays NULL; else the caller frees *out. */
int sql_text(sqlite3_stmt *statement, int column, char **out, struct err *err);

#endif
