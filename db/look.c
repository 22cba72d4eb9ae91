/* See look.h. SQLite would remove the log of a file that is empty, and copies a log into its file
 * when the last connection is closed, also after a refusal; so nothing is opened here but by
 * sql_look, and that not before the files' sizes are known.
 *
 * rwpd.db is made, filled and marked before checkpoints.db (open.c), so that a checkpoints.db with
 * anything in it means that there was an rwpd.db with its tables. */
#include "look.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "schema.h"
#include "wal.h"

struct seen {
    char path[PATH_MAX];
    const char *name;
    bool exists, filled, logged; /* the file; it and its log have something in them */
    bool tables;
    char mark[DB_MARK_BYTES]; /* "": none */
    int64_t jobs, probes;     /* the highest number that was given, or is referred to */
};

/* How SQLite counts: a file of one byte is empty to it. */
static int look_for(const char *path, bool *exists, bool *filled, struct err *err)
{
    struct stat status;

    *exists = stat(path, &status) == 0;
    *filled = *exists && status.st_size > 1;
    if (!*exists && errno != ENOENT)
        return err_errno(err, "cannot find %s", path);
    return 0;
}

static int look_for_both(struct seen *seen, const char *folder, const struct db_schema *schema,
                         struct err *err)
{
    char log[PATH_MAX + 8];
    bool exists;
    int code = db_schema_path(seen->path, folder, schema, err);

    if (code)
        return code;
    seen->name = schema->file;
    snprintf(log, sizeof log, "%s-wal", seen->path);
    code = look_for(seen->path, &seen->exists, &seen->filled, err);
    return code ? code : look_for(log, &exists, &seen->logged, err);
}

/* All that is here of both files, but for the missing one: "a, b". */
static void list(char *out, size_t size, const struct seen *const files[2])
{
    size_t used = 0;

    out[0] = '\0';
    for (int i = 0; i < 4; i++) {
        const struct seen *file = files[i / 2];

        if (i % 2 ? file->logged : file->filled)
            used += (size_t)snprintf(out + used, size - used, "%s%s%s", used ? ", " : "",
                                     file->name, i % 2 ? "-wal" : "");
    }
}

static int missing(const struct seen *file, const struct seen *other, struct err *err)
{
    char here[80];

    list(here, sizeof here, (const struct seen *const[]){file, other});
    return err_set(err, ERR_CORRUPT,
                   "%.250s is %s, but %s %s here: put it back, or move %s away as well", file->path,
                   file->exists ? "empty" : "missing", here, strchr(here, ',') ? "are" : "is",
                   strchr(here, ',') ? "those" : "that");
}

static int look_into(struct seen *seen, const struct db_schema *schema, struct err *err)
{
    struct db_identity identity;
    struct sql sql;
    int code;

    if (!seen->filled)
        return 0;
    code = db_wal_check(seen->path, err);
    if (code)
        return code;
    code = sql_look(&sql, seen->path, seen->logged, err);
    if (code)
        return code;
    code = db_schema_identify(&sql, schema, &identity, err);
    seen->tables = !identity.fresh;
    if (!code && seen->tables)
        code = db_schema_mark(&sql, schema, seen->mark, err);
    if (!code && seen->tables)
        code = db_schema_numbers(&sql, schema, &seen->jobs, &seen->probes, err);
    sql_close(&sql);
    return code;
}

/* Each job and probe is in rwpd.db, durably, before anything of it is in checkpoints.db. */
static bool lacks_a_log(const struct seen *rows, const struct seen *checkpoints)
{
    return checkpoints->filled &&
           (!rows->tables || (checkpoints->mark[0] && !rows->mark[0]) ||
            checkpoints->jobs > rows->jobs || checkpoints->probes > rows->probes);
}

static int compare(const struct seen *rows, const struct seen *checkpoints, struct err *err)
{
    if (checkpoints->mark[0] && rows->mark[0] && strcmp(rows->mark, checkpoints->mark) != 0)
        return err_set(err, ERR_CORRUPT,
                       "%.250s does not belong to the rwpd.db beside it; put the right one back or "
                       "move both away",
                       checkpoints->path);
    if (lacks_a_log(rows, checkpoints))
        return err_set(err, ERR_CORRUPT,
                       "%.200s lacks what its rwpd.db-wal, which is %s, should hold: put the right "
                       "one back, or move both and checkpoints.db away",
                       rows->path, rows->logged ? "damaged" : "missing");
    return 0;
}

int db_look(const char *folder, struct err *err)
{
    struct seen rows = {0}, checkpoints = {0};
    int code = look_for_both(&rows, folder, &db_schema_rwpd, err);

    if (!code)
        code = look_for_both(&checkpoints, folder, &db_schema_checkpoints, err);
    if (code)
        return code;
    if (!rows.filled && (rows.logged || checkpoints.filled || checkpoints.logged))
        return missing(&rows, &checkpoints, err);
    /* Whoever gave up all checkpoints goes on without them. */
    if (!checkpoints.filled && checkpoints.logged)
        return missing(&checkpoints, &(struct seen){0}, err);
    code = look_into(&rows, &db_schema_rwpd, err);
    if (!code)
        code = look_into(&checkpoints, &db_schema_checkpoints, err);
    return code ? code : compare(&rows, &checkpoints, err);
}
