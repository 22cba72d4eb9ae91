/* Checkpoints: lists, ranges of a tensor's bytes, a whole one in memory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "checksum.h"
#include "inside.h"
#include "reader.h"

#define CHECKPOINT_COLUMNS "id, updates, final, wall_ms, bytes"

static void read_checkpoint(sqlite3_stmt *row, struct db_checkpoint *out)
{
    *out = (struct db_checkpoint){
        .id = sqlite3_column_int64(row, 0),
        .update = (uint64_t)sqlite3_column_int64(row, 1),
        .final = sqlite3_column_int(row, 2) != 0,
        .wall_ms = sqlite3_column_int64(row, 3),
        .bytes = sqlite3_column_int64(row, 4),
    };
}

int db_checkpoints_each(struct db_reader *reader, int64_t job,
                        int (*each)(void *context, const struct db_checkpoint *checkpoint),
                        void *context, struct err *err)
{
    static const char text[] =
        "SELECT " CHECKPOINT_COLUMNS " FROM checkpoint WHERE job = ? ORDER BY updates";
    sqlite3_stmt *row;
    struct sql *sql;
    int stop = 0, code = db_reader_checkpoints(reader, &sql, err);

    if (!code)
        code = sql_query(sql, &row, err, text, "i", job);
    if (code)
        return code;
    while (!stop && (code = sql_step(sql, row, err)) == 1) {
        struct db_checkpoint checkpoint;

        read_checkpoint(row, &checkpoint);
        stop = each(context, &checkpoint);
    }
    sql_done(row);
    return code < 0 ? code : 0;
}

/* 1: *out is set; 0: there is none; negative: an error. `text` has the job and an update. */
static int read_one(struct db_reader *reader, const char *text, int64_t job, int64_t update,
                    struct db_checkpoint *out, struct err *err)
{
    sqlite3_stmt *row;
    struct sql *sql;
    int code = db_reader_checkpoints(reader, &sql, err);

    if (!code)
        code = sql_first(sql, &row, err, text, "ii", job, update);
    if (code <= 0)
        return code;
    read_checkpoint(row, out);
    sql_done(row);
    return 1;
}

int db_checkpoint_get(struct db_reader *reader, int64_t job, uint64_t update,
                      struct db_checkpoint *out, struct err *err)
{
    static const char text[] =
        "SELECT " CHECKPOINT_COLUMNS " FROM checkpoint WHERE job = ? AND updates = ?";
    int code = read_one(reader, text, job, update > INT64_MAX ? -1 : (int64_t)update, out, err);

    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "job %lld has no checkpoint of update %llu",
                       (long long)job, (unsigned long long)update);
    return code < 0 ? code : 0;
}

int db_checkpoint_newest(struct db_reader *reader, int64_t job, struct db_checkpoint *out,
                         struct err *err)
{
    static const char text[] = "SELECT " CHECKPOINT_COLUMNS " FROM checkpoint "
                               "WHERE job = ? AND updates <= ? ORDER BY updates DESC LIMIT 1";
    int code = read_one(reader, text, job, INT64_MAX, out, err);

    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "the job has no checkpoint yet");
    return code < 0 ? code : 0;
}

/* ---- Tensors without their data ---- */

struct described {
    int64_t row, checksum; /* of the table */
    struct tensor tensor;
};

/* In the order of TENSOR_COLUMNS. `length(data)` needs no page of the data. */
#define TENSOR_COLUMNS                                                                             \
    "id, checksum, name, role, type, rank, dim0, dim1, dim2, dim3, length(data), number"

static int ill_formed(const struct sql *sql, int64_t checkpoint, int number, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "damaged file %.300s: tensor %d of checkpoint %lld", sql->path,
                   number, (long long)checkpoint);
}

/* False: no tensor of ours looks like that. */
static bool read_tensor(sqlite3_stmt *row, int number, struct described *out)
{
    const char *name = (const char *)sqlite3_column_text(row, 2);
    struct tensor *tensor = &out->tensor;
    int64_t elements = 1;

    *out = (struct described){.row = sqlite3_column_int64(row, 0),
                              .checksum = sqlite3_column_int64(row, 1)};
    snprintf(tensor->name, sizeof tensor->name, "%s", name ? name : "");
    tensor->role = (enum tensor_role)sqlite3_column_int(row, 3);
    tensor->type = (enum tensor_type)sqlite3_column_int(row, 4);
    tensor->rank = sqlite3_column_int(row, 5);
    if (tensor->rank < 0 || tensor->rank > TENSOR_RANK_MAX ||
        (unsigned)tensor->role >= TENSOR_ROLES || (unsigned)tensor->type > TENSOR_I64 ||
        sqlite3_column_int(row, 11) != number)
        return false;
    for (int i = 0; i < tensor->rank; i++) {
        tensor->dim[i] = sqlite3_column_int64(row, 6 + i);
        if (tensor->dim[i] < 0 || __builtin_mul_overflow(elements, tensor->dim[i], &elements) ||
            elements > INT64_MAX / 8)
            return false;
    }
    return (int64_t)tensor_bytes(tensor) == sqlite3_column_int64(row, 10);
}

static int describe(struct sql *sql, int64_t checkpoint, struct described **out, int *n,
                    struct err *err)
{
    static const char text[] =
        "SELECT " TENSOR_COLUMNS " FROM tensor WHERE checkpoint = ? ORDER BY number";
    struct described *all = NULL;
    sqlite3_stmt *row;
    int count = 0, code = sql_query(sql, &row, err, text, "i", checkpoint);

    if (code)
        return code;
    while ((code = sql_step(sql, row, err)) == 1) {
        struct described *next = array_grow(&all, (size_t)count, sizeof *next);

        if (!next) {
            code = err_no_memory(err);
            break;
        }
        if (!read_tensor(row, count, next)) {
            code = ill_formed(sql, checkpoint, count, err);
            break;
        }
        count++;
    }
    sql_done(row);
    if (code < 0) {
        free(all);
        return code;
    }
    *out = all;
    *n = count;
    return 0;
}

static int check_there(struct sql *sql, int64_t checkpoint, struct err *err)
{
    static const char text[] = "SELECT 1 FROM checkpoint WHERE id = ? AND job <> ?";
    int code = sql_integer(sql, NULL, err, text, "ii", checkpoint, DB_REMOVED_JOB);

    if (code < 0)
        return code;
    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "checkpoint %lld is no longer there",
                       (long long)checkpoint);
    return 0;
}

int db_checkpoint_tensors(struct db_reader *reader, int64_t checkpoint, struct tensor **tensors,
                          int *n, struct err *err)
{
    struct described *all = NULL;
    struct tensor *plain = NULL;
    struct sql *sql;
    int count = 0, code = db_reader_checkpoints(reader, &sql, err);

    if (code)
        return code;
    code = db_read_begin(sql, err);
    if (!code)
        code = check_there(sql, checkpoint, err);
    if (!code)
        code = describe(sql, checkpoint, &all, &count, err);
    db_read_end(sql, code);
    if (code)
        return code;
    plain = malloc(((size_t)count + 1) * sizeof *plain);
    for (int i = 0; plain && i < count; i++)
        plain[i] = all[i].tensor;
    free(all);
    if (!plain)
        return err_no_memory(err);
    *tensors = plain;
    *n = count;
    return 0;
}

/* ---- Data ---- */

static int read_range(struct sql *sql, int64_t row, size_t offset, size_t n, void *out,
                      struct err *err)
{
    sqlite3_blob *blob = NULL;
    int code = 0;

    errno = 0;
    if (sqlite3_blob_open(sql->handle, "main", "tensor", "data", row, 0, &blob) != SQLITE_OK)
        code = sql_fail(sql, err);
    else if (offset > (size_t)sqlite3_blob_bytes(blob) ||
             n > (size_t)sqlite3_blob_bytes(blob) - offset)
        code = err_set(err, ERR_INVALID, "%zu bytes from %zu are not in this tensor", n, offset);
    else if (sqlite3_blob_read(blob, out, (int)n, (int)offset) != SQLITE_OK)
        code = sql_fail(sql, err);
    sqlite3_blob_close(blob);
    return code;
}

static int find_tensor(struct sql *sql, int64_t checkpoint, int number, int64_t *row,
                       struct err *err)
{
    static const char text[] = "SELECT id FROM tensor WHERE checkpoint = ? AND number = ?";
    int code = sql_integer(sql, row, err, text, "ii", checkpoint, (int64_t)number);

    if (code == 0)
        return err_set(err, ERR_NOT_FOUND, "tensor %d of checkpoint %lld is no longer there",
                       number, (long long)checkpoint);
    return code < 0 ? code : 0;
}

int db_checkpoint_read(struct db_reader *reader, int64_t checkpoint, int number, size_t offset,
                       size_t n, void *out, struct err *err)
{
    struct sql *sql;
    int64_t row = 0;
    int code = db_reader_checkpoints(reader, &sql, err);

    if (code)
        return code;
    code = db_read_begin(sql, err);
    if (!code)
        code = find_tensor(sql, checkpoint, number, &row, err);
    if (!code)
        code = read_range(sql, row, offset, n, out, err);
    return db_read_end(sql, code);
}

/* ---- A whole one ---- */

void db_checkpoint_free(struct checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (int i = 0; i < checkpoint->n_tensors; i++)
        free((void *)(uintptr_t)checkpoint->tensors[i].data);
    free(checkpoint->tensors);
    free(checkpoint);
}

/* The data of the tensor that `from` describes, into `to`. */
static int load_tensor(struct sql *sql, int64_t checkpoint, int number,
                       const struct described *from, struct tensor *to, struct err *err)
{
    size_t bytes = tensor_bytes(&from->tensor);
    void *data = malloc(bytes ? bytes : 1);
    struct checksum sum;
    int code;

    *to = from->tensor;
    to->data = data;
    if (!data)
        return err_no_memory(err);
    code = read_range(sql, from->row, 0, bytes, data, err);
    if (code)
        return code;
    checksum_start(&sum);
    checksum_add(&sum, data, bytes);
    return checksum_end(&sum) == from->checksum ? 0 : ill_formed(sql, checkpoint, number, err);
}

static int load(struct sql *sql, int64_t checkpoint, struct checkpoint *out, struct err *err)
{
    struct described *all = NULL;
    int n = 0, code = describe(sql, checkpoint, &all, &n, err);

    if (code)
        return code;
    out->tensors = calloc((size_t)n + 1, sizeof *out->tensors);
    if (!out->tensors)
        code = err_no_memory(err);
    while (!code && out->n_tensors < n) {
        int i = out->n_tensors++;

        code = load_tensor(sql, checkpoint, i, &all[i], &out->tensors[i], err);
    }
    free(all);
    return code;
}

int db_checkpoint_load(struct db_reader *reader, int64_t job, uint64_t update,
                       struct checkpoint **out, struct err *err)
{
    struct checkpoint *loaded = calloc(1, sizeof *loaded);
    struct db_checkpoint found;
    struct sql *sql = NULL;
    int code;

    if (!loaded)
        return err_no_memory(err);
    loaded->update = update;
    code = db_reader_checkpoints(reader, &sql, err);
    if (!code) {
        code = db_read_begin(sql, err);
        if (!code)
            code = db_checkpoint_get(reader, job, update, &found, err);
        if (!code)
            code = load(sql, found.id, loaded, err);
        db_read_end(sql, code);
    }
    if (code)
        db_checkpoint_free(loaded);
    else
        *out = loaded;
    return code;
}
