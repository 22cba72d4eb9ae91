/* Checkpoints, first step: into checkpoints.db, whole or not at all, while those that fall out of
 * `keep` go; removed first, so that the new one takes their pages. Second step: the job's row, an
 * event and the probes that are due in rwpd.db. Between the two a crash leaves the truth in
 * checkpoints.db. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "checksum.h"
#include "probe_inside.h"

/* SQLite's limit for a value, as Debian builds it. */
#define TENSOR_BYTES_MAX 1000000000u

struct checkpoint_op {
    struct db_op op;
    struct db_stored stored;
    int64_t keep;
    const struct db_due *due; /* probes that the job wants of it */
    int n_due;
};

int db_checkpoint_latest(struct db_writer *writer, int64_t job, int64_t *updates, struct err *err)
{
    static const char text[] = "SELECT coalesce(max(updates), 0) FROM checkpoint WHERE job = ?";
    int code = sql_integer(&writer->checkpoints, updates, err, text, "i", job);

    return code < 0 ? code : 0;
}

/* ---- Into checkpoints.db ---- */

_Static_assert(JOB_QUEUED == 0 && JOB_RUNNING == 1 && JOB_PAUSED == 2,
               "find_pinned and its index have them as numbers");

/* ",600,900,": updates whose checkpoints are needed: by jobs that begin with one and have none of
 * their own yet, by probes, and by lines that are to come, in the lists of jobs that have not
 * ended. */
static int find_pinned(struct db_writer *writer, int64_t job, struct text *out, struct err *err)
{
    static const char text[] =
        "SELECT init_update FROM job WHERE init_job = ?1 AND init_job <> 0 AND state IN (?2, ?3, "
        "?4) AND checkpoint_updates = 0 "
        "UNION SELECT updates FROM probe WHERE job = ?1 AND state IN (?5, ?6) "
        "UNION SELECT other_update FROM probe WHERE other_job = ?1 AND other_job <> 0 AND state IN "
        "(?5, ?6) "
        "UNION SELECT json_extract(one.value, '$.other.update') FROM job INDEXED BY job_of_lines, "
        "json_each(job.spec, '$.probes') AS one WHERE job.state IN (0, 1, 2) AND "
        "instr(job.spec, '\"line\"') > 0 AND json_extract(one.value, '$.other.update') > 0 AND "
        "coalesce(nullif(json_extract(one.value, '$.other.job'), 0), job.id) = ?1";
    sqlite3_stmt *statement;
    int code = sql_query(&writer->rows, &statement, err, text, "iiiiii", job, (int64_t)JOB_QUEUED,
                         (int64_t)JOB_RUNNING, (int64_t)JOB_PAUSED, (int64_t)PROBE_QUEUED,
                         (int64_t)PROBE_RUNNING);

    text_append(out, ",");
    while (!code && (code = sql_step(&writer->rows, statement, err)) == 1) {
        text_append(out, "%lld,", (long long)sqlite3_column_int64(statement, 0));
        code = 0;
    }
    if (!code && out->failed)
        code = err_no_memory(err);
    return code;
}

/* How many checkpoints a job keeps; 0: not known. */
static int find_keep(struct db_writer *writer, int64_t job, int64_t *keep, struct err *err)
{
    static const char text[] = "SELECT keep FROM job WHERE id = ?";
    int code = sql_integer(&writer->rows, keep, err, text, "i", job);

    return code < 0 ? code : 0;
}

static int remove_beyond(struct db_writer *writer, int64_t job, int64_t keep, struct err *err)
{
    static const char old[] = "DELETE FROM checkpoint WHERE job = ?1 AND id NOT IN (SELECT id "
                              "FROM checkpoint WHERE job = ?1 ORDER BY updates DESC LIMIT ?2) "
                              "AND instr(?3, ',' || updates || ',') = 0";
    struct text pinned = {0};
    int code = find_pinned(writer, job, &pinned, err);

    if (!code)
        code = sql_run(&writer->checkpoints, err, old, "iit", job, keep, pinned.data);
    text_free(&pinned);
    return code;
}

int db_checkpoints_trim(struct db_writer *writer, int64_t job, int64_t keep, struct err *err)
{
    int code = keep ? 0 : find_keep(writer, job, &keep, err);

    return code || keep == 0 ? code : remove_beyond(writer, job, keep, err);
}

static int make_room(struct db_writer *writer, const struct checkpoint_op *op, struct err *err)
{
    static const char same[] = "DELETE FROM checkpoint WHERE job = ? AND updates = ?";
    int code = sql_run(&writer->checkpoints, err, same, "ii", op->op.job,
                       (int64_t)op->stored.checkpoint->update);

    return code ? code : remove_beyond(writer, op->op.job, op->keep - 1, err);
}

static int put_tensor(struct db_writer *writer, int64_t checkpoint, int number,
                      const struct tensor *tensor, int64_t checksum, struct err *err)
{
    static const char text[] =
        "INSERT INTO tensor (checkpoint, number, name, role, type, rank, dim0, dim1, dim2, dim3, "
        "checksum, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    int64_t dim[TENSOR_RANK_MAX] = {0};
    size_t bytes = tensor_bytes(tensor);
    sqlite3_stmt *statement;
    int code;

    for (int i = 0; i < tensor->rank; i++)
        dim[i] = tensor->dim[i];
    code = sql_query(&writer->checkpoints, &statement, err, text, "iitiiiiiiii", checkpoint,
                     (int64_t)number, tensor->name, (int64_t)tensor->role, (int64_t)tensor->type,
                     (int64_t)tensor->rank, dim[0], dim[1], dim[2], dim[3], checksum);
    if (code)
        return code;
    /* An empty tensor's data may be NULL, which would be SQL's. */
    if (sqlite3_bind_blob64(statement, 12, bytes ? tensor->data : "", bytes, SQLITE_STATIC) !=
        SQLITE_OK)
        return sql_fail(&writer->checkpoints, err);
    code = sql_step(&writer->checkpoints, statement, err);
    sqlite3_bind_null(statement, 12);
    return code;
}

int db_checkpoint_put(struct db_writer *writer, int64_t job, const struct db_stored *stored,
                      int64_t *id, struct err *err)
{
    static const char text[] = "INSERT INTO checkpoint (job, updates, final, wall_ms, bytes) "
                               "VALUES (?, ?, ?, ?, ?)";
    const struct checkpoint *checkpoint = stored->checkpoint;
    int code = sql_run(&writer->checkpoints, err, text, "iiiii", job, (int64_t)checkpoint->update,
                       (int64_t)stored->final, stored->wall_ms, stored->bytes);

    *id = sqlite3_last_insert_rowid(writer->checkpoints.handle);
    for (int i = 0; !code && i < checkpoint->n_tensors; i++)
        code = put_tensor(writer, *id, i, &checkpoint->tensors[i], stored->checksums[i], err);
    return code;
}

/* A run goes on from its latest checkpoint, so an earlier one is another run's: a mistake. */
static int check_latest(struct db_writer *writer, const struct checkpoint_op *op, struct err *err)
{
    int64_t latest;
    int code = db_checkpoint_latest(writer, op->op.job, &latest, err);

    if (!code && (int64_t)op->stored.checkpoint->update < latest)
        code = err_set(err, ERR_CONFLICT, "job %lld has a checkpoint of update %lld already",
                       (long long)op->op.job, (long long)latest);
    return code;
}

int db_checkpoints_change(struct db_writer *writer,
                          int (*change)(struct db_writer *writer, void *context, struct err *err),
                          void *context, struct err *err)
{
    static const char begin[] = "BEGIN IMMEDIATE", commit[] = "COMMIT", rollback[] = "ROLLBACK";
    struct sql *sql = &writer->checkpoints;
    int code = sql_run(sql, err, begin, "");

    if (!code)
        code = change(writer, context, err);
    if (!code)
        code = sql_in_place(sql, err);
    if (!code)
        code = sql_run(sql, err, commit, "");
    if (code && !sqlite3_get_autocommit(sql->handle))
        sql_run(sql, NULL, rollback, "");
    writer->checkpoints_moved = writer->checkpoints_moved || !code;
    return code;
}

static int put_checkpoint(struct db_writer *writer, void *context, struct err *err)
{
    const struct checkpoint_op *own = context;
    int64_t id;
    int code = check_latest(writer, own, err);

    if (!code)
        code = make_room(writer, own, err);
    if (!code)
        code = db_checkpoint_put(writer, own->op.job, &own->stored, &id, err);
    return code ? code : db_probe_store_due(writer, id, own->due, own->n_due, err);
}

int db_checkpoint_write(struct db_writer *writer, struct db_op *op, struct err *err)
{
    return db_checkpoints_change(writer, put_checkpoint, op, err);
}

/* ---- Into rwpd.db ---- */

/* `told`: events know of it. */
static int note(struct db_writer *writer, int64_t job, int64_t updates, int64_t wall_ms, bool told,
                struct err *err)
{
    static const char text[] = "UPDATE job SET checkpoint_updates = ? WHERE id = ?";
    const struct db_event_row event = {
        .job = job, .kind = EVENT_CHECKPOINT, .wall_ms = wall_ms, .state = -1, .number = updates};
    int code = sql_run(&writer->rows, err, text, "ii", updates, job);

    return code || told ? code : db_event_add(writer, &event, err);
}

static int apply_checkpoint(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char keep[] = "UPDATE job SET keep = ? WHERE id = ?";
    const struct checkpoint_op *own = (struct checkpoint_op *)op;
    int64_t updates = (int64_t)own->stored.checkpoint->update;
    int code = db_sums_flush(writer, err);

    if (!code)
        code = note(writer, op->job, updates, own->stored.wall_ms, false, err);
    if (!code)
        code = sql_run(&writer->rows, err, keep, "ii", own->keep, op->job);
    for (int i = 0; !code && i < own->n_due; i++)
        code = db_probe_put_due(writer, op->job, updates, &own->due[i], err);
    return code;
}

int db_checkpoint_adopt(struct db_writer *writer, int64_t job, int64_t updates, struct err *err)
{
    static const char text[] = "SELECT checkpoint_updates FROM job WHERE id = ?";
    int64_t known;
    int code = sql_integer(&writer->rows, &known, err, text, "i", job);

    if (code <= 0 || known == updates)
        return code < 0 ? code : 0;
    code = note(writer, job, updates, clock_wall_ms(), updates < known, err);
    return code ? code : db_probe_adopt_due(writer, job, updates, err);
}

/* ---- The caller ---- */

static int check_tensors(const struct checkpoint *checkpoint, struct err *err)
{
    for (int i = 0; i < checkpoint->n_tensors; i++) {
        const struct tensor *tensor = &checkpoint->tensors[i];

        if (tensor->rank < 0 || tensor->rank > TENSOR_RANK_MAX ||
            !memchr(tensor->name, '\0', sizeof tensor->name))
            return err_set(err, ERR_INVALID, "tensor %d of a checkpoint is ill-formed", i);
        if (tensor_bytes(tensor) > TENSOR_BYTES_MAX - 1000)
            return err_set(err, ERR_LIMIT, "%s has %zu bytes; a tensor has at most 1e9",
                           tensor->name, tensor_bytes(tensor));
    }
    return 0;
}

static int64_t checksum_of(const struct tensor *tensor)
{
    struct checksum sum;

    checksum_start(&sum);
    checksum_add(&sum, tensor->data, tensor_bytes(tensor));
    return checksum_end(&sum);
}

int db_stored_open(struct db_stored *out, const struct checkpoint *checkpoint, struct err *err)
{
    int64_t *checksums;
    int code = check_tensors(checkpoint, err);

    if (code)
        return code;
    checksums = calloc((size_t)checkpoint->n_tensors + 1, sizeof *checksums);
    if (!checksums)
        return err_no_memory(err);
    *out = (struct db_stored){
        .checkpoint = checkpoint, .checksums = checksums, .wall_ms = clock_wall_ms()};
    for (int i = 0; i < checkpoint->n_tensors; i++) {
        checksums[i] = checksum_of(&checkpoint->tensors[i]);
        out->bytes += (int64_t)tensor_bytes(&checkpoint->tensors[i]);
    }
    return 0;
}

int db_checkpoint_add_due(struct db *db, int64_t job, const struct checkpoint *checkpoint,
                          bool final, int64_t keep, const struct db_due *due, int n_due,
                          struct err *err)
{
    struct checkpoint_op op = {.op = {.kind = OP_CHECKPOINT,
                                      .job = job,
                                      .accept = db_queue_running,
                                      .apply = apply_checkpoint},
                               .keep = keep,
                               .due = due,
                               .n_due = n_due};
    int code = check_tensors(checkpoint, err);

    if (code || checkpoint->update == 0)
        return code;
    if (keep < 1 || checkpoint->update > INT64_MAX)
        return err_set(err, ERR_INVALID, "a checkpoint of update %llu to keep %lld cannot be kept",
                       (unsigned long long)checkpoint->update, (long long)keep);
    code = db_stored_open(&op.stored, checkpoint, err);
    if (code)
        return code;
    op.stored.final = final;
    code = db_queue_submit(db->queue, &op.op, err);
    free(op.stored.checksums);
    return code;
}

int db_checkpoint_add(struct db *db, int64_t job, const struct checkpoint *checkpoint, bool final,
                      int64_t keep, struct err *err)
{
    return db_checkpoint_add_due(db, job, checkpoint, final, keep, NULL, 0, err);
}
