/* What the two files hold, and how a file of an earlier version becomes one of this. */
#ifndef DB_SCHEMA_H
#define DB_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "sql.h"

struct db_schema {
    const char *file; /* its name in the state folder */
    int application_id;
    int page_bytes;
    int n_steps;
    const char *const *steps; /* step i makes a file of version i one of version i + 1 */
    const char *first;        /* the mark, and what else opening reads, in one row at most */
    const char *numbers;      /* the highest of a job and of a probe that it knows of, in one row */
};

/* A file's mark, which both of a pair have: 32 digits and a NUL. */
#define DB_MARK_BYTES 33

struct db_identity {
    int64_t version;
    bool fresh; /* without a table: new, or its creation was interrupted */
};

extern const struct db_schema db_schema_rwpd, db_schema_checkpoints;

/* `out` has PATH_MAX bytes. */
int db_schema_path(char *out, const char *folder, const struct db_schema *schema, struct err *err);

/* ERR_UNSUPPORTED when a newer version wrote the file, ERR_CORRUPT when it is not ours. */
int db_schema_identify(struct sql *sql, const struct db_schema *schema, struct db_identity *out,
                       struct err *err);
/* "" if a file with tables has no mark yet. */
int db_schema_mark(struct sql *sql, const struct db_schema *schema, char out[DB_MARK_BYTES],
                   struct err *err);

/* For a file with tables; 0 where it knows of none. */
int db_schema_numbers(struct sql *sql, const struct db_schema *schema, int64_t *job, int64_t *probe,
                      struct err *err);

/* Opens the file for writing, creates it (mode 0600) or migrates it. *created: it was new or empty.
 * To be called after db_look has agreed. Closing leaves the write-ahead log as it is until
 * sql_keep_log says otherwise. */
int db_schema_open(struct sql *sql, const char *folder, const struct db_schema *schema,
                   bool *created, struct err *err);

/* Gives new files a common mark, by which db_look finds that they belong together. A fresh rwpd.db
 * beside checkpoints of another would otherwise let a new job go on from a stranger's weights. */
int db_schema_pair(struct sql *rows, struct sql *checkpoints, struct err *err);

#endif
