/* What the two files hold, and how a file of an earlier version becomes one of this. */
#ifndef DB_SCHEMA_H
#define DB_SCHEMA_H

#include <stdbool.h>

#include "sql.h"

struct db_schema {
    const char *file; /* its name in the state folder */
    int application_id;
    int page_bytes;
    int n_steps;
    const char *const *steps; /* step i makes a file of version i one of version i + 1 */
};

extern const struct db_schema db_schema_rwpd, db_schema_checkpoints;

/* Opens the file for writing, creates it (mode 0600) or migrates it. *created: it was new or empty.
 * ERR_UNSUPPORTED when a newer version wrote it, ERR_CORRUPT when it is not ours. */
int db_schema_open(struct sql *sql, const char *folder, const struct db_schema *schema,
                   bool *created, struct err *err);

/* Makes sure that the two files belong together; gives new ones a common mark. A fresh rwpd.db
 * beside checkpoints of another would otherwise let a new job go on from a stranger's weights. */
int db_schema_pair(struct sql *rows, struct sql *checkpoints, struct err *err);

#endif
