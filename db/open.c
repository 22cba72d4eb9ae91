/* Opening, closing, health. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "inside.h"
#include "look.h"
#include "schema.h"
#include "steps.h"

#define DRAIN_SECONDS 10.0

static int load_counters(struct db *db, struct err *err)
{
    static const char text[] = "SELECT sequence, (SELECT coalesce(max(id), 0) FROM job) FROM store";
    sqlite3_stmt *statement;
    int code = sql_first(&db->writer->rows, &statement, err, text, "");

    if (code < 0)
        return code;
    db->writer->sequence = sqlite3_column_int64(statement, 0);
    db->queue->last_job = sqlite3_column_int64(statement, 1);
    sql_done(statement);
    return 0;
}

static int open_files(struct db *db, struct err *err)
{
    struct db_writer *writer = db->writer;
    bool new_rows, new_checkpoints;
    int code = db_look(db->folder.path, err);

    if (!code)
        code = db_schema_open(&writer->rows, db->folder.path, &db_schema_rwpd, &new_rows, err);
    if (!code)
        code = db_schema_open(&writer->checkpoints, db->folder.path, &db_schema_checkpoints,
                              &new_checkpoints, err);
    if (!code)
        code = db_schema_pair(&writer->rows, &writer->checkpoints, err);
    if (!code)
        code = load_counters(db, err);
    /* The writer moves checkpoints out of the WAL when their callers have been answered. */
    if (!code)
        code = sql_exec(&writer->checkpoints, "PRAGMA wal_autocheckpoint = 0", err);
    if (code)
        return code;
    if (new_checkpoints && !new_rows)
        log_warning("%s was missing: unfinished jobs start again from their beginning",
                    writer->checkpoints.path);
    sqlite3_busy_timeout(writer->rows.handle, DB_WRITER_BUSY_MS);
    sqlite3_busy_timeout(writer->checkpoints.handle, DB_WRITER_BUSY_MS);
    sql_keep_log(&writer->rows, false);
    sql_keep_log(&writer->checkpoints, false);
    return 0;
}

void db_free(struct db *db)
{
    if (!db)
        return;
    if (db->writer) {
        sql_close(&db->writer->checkpoints);
        sql_close(&db->writer->rows);
        free(db->writer);
    }
    db_queue_free(db->queue);
    db_folder_close(&db->folder);
    free(db);
}

int db_open(struct db **out, const char *folder, const struct db_options *options, struct err *err)
{
    size_t limit = options && options->queue_rows ? options->queue_rows : 65536;
    int64_t wait_ms = options && options->durable_wait_ms ? options->durable_wait_ms : 5000;
    struct db *db = calloc(1, sizeof *db);
    int code;

    if (!db)
        return err_no_memory(err);
    db->folder.lock = -1;
    code = db_folder_open(&db->folder, folder, err);
    if (code)
        goto out;
    code = db_queue_open(&db->queue, limit, (double)wait_ms * 1e-3, err);
    if (code)
        goto out;
    db->writer = calloc(1, sizeof *db->writer);
    if (!db->writer) {
        code = err_no_memory(err);
        goto out;
    }
    db->writer->queue = db->queue;
    code = open_files(db, err);
    if (!code)
        code = db_removal_resume(db, err);
    if (!code)
        code = db_writer_start(db->writer, err);
out:
    if (code)
        db_free(db);
    else
        *out = db;
    return code;
}

void db_give_up(struct db *db)
{
    db_queue_give_up(db->queue);
}

void db_close(struct db *db)
{
    if (!db)
        return;
    db_queue_drain(db->queue, DRAIN_SECONDS);
    db_writer_join(db->writer);
    db_free(db);
}

static int64_t file_bytes(const char *path, const char *suffix)
{
    char name[PATH_MAX + 8];
    struct stat status;

    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &status) == 0 ? (int64_t)status.st_size : 0;
}

void db_health(const struct db *db, struct db_health *out)
{
    struct db_queue *queue = db->queue;
    const struct db_writer *writer = db->writer;
    struct statvfs space;

    *out = (struct db_health){0};
    pthread_mutex_lock(&queue->lock);
    const struct db_trouble *trouble =
        queue->rows_trouble.code ? &queue->rows_trouble : &queue->checkpoints_trouble;
    out->writing = trouble->code == 0;
    memcpy(out->problem, trouble->text, sizeof out->problem);
    out->since_ms = trouble->since_ms;
    out->queued_rows = queue->n_rows;
    out->commits = queue->commits;
    out->rows = queue->committed_rows;
    pthread_mutex_unlock(&queue->lock);
    out->bytes = file_bytes(writer->rows.path, "") + file_bytes(writer->rows.path, "-wal") +
                 file_bytes(writer->checkpoints.path, "") +
                 file_bytes(writer->checkpoints.path, "-wal");
    if (statvfs(db->folder.path, &space) == 0)
        out->free_bytes = (int64_t)space.f_bavail * (int64_t)space.f_frsize;
}

void db_listen(struct db *db, void (*listener)(void *context, int64_t sequence), void *context)
{
    pthread_mutex_lock(&db->writer->listening);
    db->writer->listener = listener;
    db->writer->listener_context = context;
    pthread_mutex_unlock(&db->writer->listening);
}
