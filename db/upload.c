/* Uploaded weights. They live in checkpoints.db alone, so each change is a transaction of that file
 * within the writer's turn; what is asked of rwpd.db, which jobs are to begin with one, cannot
 * change in that turn. */
#include <stdlib.h>
#include <string.h>

#include "probe_inside.h"
#include "reader.h"

struct upload_op {
    struct db_op op;
    const struct db_upload *upload;
    struct db_stored stored;
    int64_t id;
    bool existing, done; /* done: an earlier try got it to the disk, but not its answer */
};

/* 1: the bytes are known. */
static int find_known(struct db_writer *writer, struct upload_op *own, struct err *err)
{
    static const char text[] = "SELECT id FROM upload WHERE sha256 = ?";
    int code = sql_integer(&writer->checkpoints, &own->id, err, text, "t", own->upload->sha256);

    if (code == 1)
        own->existing = true;
    return code;
}

static int put(struct db_writer *writer, void *context, struct err *err)
{
    static const char text[] = "INSERT INTO upload (name, sha256, wall_ms, file_bytes, tensors) "
                               "VALUES (?, ?, ?, ?, ?)";
    struct upload_op *own = context;
    const struct db_upload *upload = own->upload;
    int64_t checkpoint;
    int code = find_known(writer, own, err);

    if (code)
        return code < 0 ? code : 0;
    code = sql_run(&writer->checkpoints, err, text, "ttiii", upload->name, upload->sha256,
                   own->stored.wall_ms, upload->file_bytes, (int64_t)upload->tensors);
    if (code)
        return code;
    own->id = sqlite3_last_insert_rowid(writer->checkpoints.handle);
    return db_checkpoint_put(writer, -own->id, &own->stored, &checkpoint, err);
}

static int change_file(struct db_writer *writer, struct upload_op *own,
                       int (*change)(struct db_writer *writer, void *context, struct err *err),
                       struct err *err)
{
    int code = own->done ? 0 : db_checkpoints_change(writer, change, own, err);

    own->done = !code;
    return code;
}

static int apply_add(struct db_writer *writer, struct db_op *op, struct err *err)
{
    return change_file(writer, (struct upload_op *)op, put, err);
}

int db_upload_add(struct db *db, const struct db_upload *upload, const struct checkpoint *tensors,
                  int64_t *id, bool *existing, struct err *err)
{
    struct upload_op own = {.op = {.kind = OP_DURABLE, .apply = apply_add}, .upload = upload};
    struct checkpoint stored = *tensors;
    int code;

    stored.update = DB_UPLOAD_UPDATE;
    code = db_stored_open(&own.stored, &stored, err);
    if (code)
        return code;
    own.stored.final = true;
    code = db_queue_submit(db->queue, &own.op, err);
    free(own.stored.checksums);
    *id = own.id;
    *existing = own.existing;
    return code;
}

/* ERR_CONFLICT if `text` finds somebody who needs it: "`user` 7 `needs` upload 3". */
static int check_user(struct db_writer *writer, const char *text, const char *user,
                      const char *needs, int64_t id, struct err *err)
{
    int64_t job;
    int code = sql_integer(&writer->rows, &job, err, text, "i", id);

    if (code != 1)
        return code;
    return err_set(err, ERR_CONFLICT, "%s %lld %s upload %lld", user, (long long)job, needs,
                   (long long)id);
}

_Static_assert(JOB_QUEUED == 0 && JOB_RUNNING == 1 && JOB_PAUSED == 2 && PROBE_QUEUED == 0 &&
                   PROBE_RUNNING == 1,
               "the statements here have them as numbers");

static int check_unused(struct db_writer *writer, int64_t id, struct err *err)
{
    static const char by_job[] = "SELECT id FROM job WHERE init_upload = ? AND init_upload <> 0 "
                                 "AND state IN (0, 1, 2) AND checkpoint_updates = 0 LIMIT 1";
    static const char by_probe[] =
        "SELECT job FROM probe WHERE upload = ? AND state IN (0, 1) LIMIT 1";
    static const char by_list[] =
        "SELECT job.id FROM job, json_each(job.spec, '$.probes') AS one WHERE job.state IN (0, 1, "
        "2) AND ?1 IN (json_extract(one.value, '$.upload'), "
        "json_extract(one.value, '$.other.upload')) LIMIT 1";
    int code = check_user(writer, by_job, "job", "is to begin with", id, err);

    if (!code)
        code = check_user(writer, by_probe, "a probe of job", "needs", id, err);
    return code ? code : check_user(writer, by_list, "a probe of job", "needs", id, err);
}

static int remove_both(struct db_writer *writer, void *context, struct err *err)
{
    static const char upload[] = "DELETE FROM upload WHERE id = ?";
    static const char tensors[] = "DELETE FROM checkpoint WHERE job = ?";
    const struct upload_op *own = context;
    int code = sql_run(&writer->checkpoints, err, upload, "i", own->id);

    if (code)
        return code;
    if (sqlite3_changes64(writer->checkpoints.handle) == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no upload %lld", (long long)own->id);
    return sql_run(&writer->checkpoints, err, tensors, "i", -own->id);
}

static int apply_delete(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct upload_op *own = (struct upload_op *)op;
    int code = own->done ? 0 : check_unused(writer, own->id, err);

    return code ? code : change_file(writer, own, remove_both, err);
}

int db_upload_delete(struct db *db, int64_t id, struct err *err)
{
    struct upload_op own = {.op = {.kind = OP_DURABLE, .apply = apply_delete}, .id = id};

    return db_queue_submit(db->queue, &own.op, err);
}

/* ---- Reading ---- */

#define COLUMNS "id, name, sha256, wall_ms, file_bytes, tensors"

static void read_upload(sqlite3_stmt *row, struct db_upload *out)
{
    const char *name = (const char *)sqlite3_column_text(row, 1);
    const char *sha256 = (const char *)sqlite3_column_text(row, 2);

    *out = (struct db_upload){.id = sqlite3_column_int64(row, 0),
                              .wall_ms = sqlite3_column_int64(row, 3),
                              .file_bytes = sqlite3_column_int64(row, 4),
                              .tensors = sqlite3_column_int(row, 5)};
    strncpy(out->name, name ? name : "", sizeof out->name - 1);
    strncpy(out->sha256, sha256 ? sha256 : "", sizeof out->sha256 - 1);
}

int db_upload_get(struct db_reader *reader, int64_t id, struct db_upload *out, struct err *err)
{
    static const char text[] = "SELECT " COLUMNS " FROM upload WHERE id = ?";
    sqlite3_stmt *row;
    struct sql *sql;
    int code = db_reader_checkpoints(reader, &sql, err);

    if (!code)
        code = sql_first(sql, &row, err, text, "i", id);
    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no upload %lld", (long long)id);
    read_upload(row, out);
    sql_done(row);
    return 0;
}

int db_uploads_each(struct db_reader *reader,
                    int (*each)(void *context, const struct db_upload *upload), void *context,
                    struct err *err)
{
    static const char text[] = "SELECT " COLUMNS " FROM upload ORDER BY id";
    sqlite3_stmt *row;
    struct sql *sql;
    int stop = 0, code = db_reader_checkpoints(reader, &sql, err);

    if (!code)
        code = sql_query(sql, &row, err, text, "");
    if (code)
        return code;
    while (!stop && (code = sql_step(sql, row, err)) == 1) {
        struct db_upload upload;

        read_upload(row, &upload);
        stop = each(context, &upload);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}
