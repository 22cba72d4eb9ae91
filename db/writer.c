/* See writer.h. A group is everything that was queued when the writer came for it, in one
 * transaction of rwpd.db with one synchronous commit; then come the checkpoints that were queued by
 * then, each in a transaction of checkpoints.db. So no checkpoint is on disk before the losses that
 * led to it, and after a crash between the two commits checkpoints.db is ahead at most by a
 * checkpoint that jobs and events do not mention yet: db_checkpoint_adopt.
 *
 * Sequence numbers are given in the transaction and become the writer's only with its commit. */
#include "writer.h"

#include <string.h>

#include "base/thread.h"
#include "list.h"

/* Pages of rwpd.db's WAL, 4 KiB each: from when on it is copied, and by force. */
#define WAL_PAGES    1000
#define WAL_PATIENCE 4000

static int begin(struct db_writer *writer, struct err *err)
{
    static const char text[] = "BEGIN IMMEDIATE";

    writer->next_sequence = writer->sequence;
    writer->losses = 0;
    writer->n_sums = 0;
    writer->n_starting = 0;
    writer->removing = false;
    writer->rows.failed = 0;
    return sql_run(&writer->rows, err, text, "");
}

/* What all jobs share. `always`: even if nothing changed, to see whether the disk takes it. */
static int save_store(struct db_writer *writer, bool always, struct err *err)
{
    static const char text[] = "UPDATE store SET sequence = ?, losses = losses + ?";

    if (!always && writer->next_sequence == writer->sequence && !writer->losses)
        return 0;
    return sql_run(&writer->rows, err, text, "ii", writer->next_sequence, writer->losses);
}

static int apply(struct db_writer *writer, struct db_op *op, struct err *err)
{
    struct err local = {0};

    op->code = op->apply(writer, op, &local);
    if (writer->rows.failed) {
        *err = local;
        return writer->rows.failed;
    }
    if (op->code && op->err)
        *op->err = local;
    return 0;
}

/* One transaction. *culprit: the op that failed, if it was one. */
static int commit_group(struct db_writer *writer, const struct db_list *ops, struct db_op **culprit,
                        struct err *err)
{
    static const char commit[] = "COMMIT", rollback[] = "ROLLBACK";
    int code = begin(writer, err);

    *culprit = NULL;
    for (struct db_op *op = ops->head; !code && op; op = op->next) {
        code = apply(writer, op, err);
        if (code)
            *culprit = op;
    }
    if (!code)
        code = db_sums_flush(writer, err);
    if (!code)
        code = save_store(writer, !ops->head, err);
    if (!code)
        code = sql_in_place(&writer->rows, err);
    if (!code)
        code = sql_run(&writer->rows, err, commit, "");
    if (code && !sqlite3_get_autocommit(writer->rows.handle))
        sql_run(&writer->rows, NULL, rollback, "");
    return code;
}

static void tell_listener(struct db_writer *writer)
{
    pthread_mutex_lock(&writer->listening);
    if (writer->listener)
        writer->listener(writer->listener_context, writer->sequence);
    pthread_mutex_unlock(&writer->listening);
}

/* ---- The write-ahead logs ---- */

/* Called by SQLite after a commit of rwpd.db, instead of its own way to settle a WAL: that makes
 * callers wait, and never ends where readers overlap. */
static int note_pages(void *context, sqlite3 *handle, const char *name, int pages)
{
    struct db_writer *writer = context;

    (void)handle, (void)name;
    writer->wal_pages = pages;
    return SQLITE_OK;
}

/* From WAL_PAGES on each group tries to copy the WAL into the file, as far as readers of an older
 * state allow. If it has grown to WAL_PATIENCE nevertheless, they are waited for:
 * DB_WRITER_BUSY_MS, in which new ones do no harm, and again when it has grown as much once more.
 */
static void settle_rows(struct db_writer *writer)
{
    bool wait = writer->wal_pages >= writer->wal_patience;
    int result;

    if (writer->wal_pages < WAL_PAGES)
        return;
    result = sqlite3_wal_checkpoint_v2(writer->rows.handle, NULL,
                                       wait ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE,
                                       NULL, NULL);
    if (wait)
        writer->wal_patience =
            result == SQLITE_OK ? WAL_PATIENCE : writer->wal_pages + WAL_PATIENCE;
}

/* Copies checkpoints from the WAL into their file and gives the WAL's space back; after their
 * callers were answered. While readers are in the way, each group tries it again. */
static void settle_checkpoints(struct db_writer *writer)
{
    int result;

    if (!writer->checkpoints_moved)
        return;
    sqlite3_busy_timeout(writer->checkpoints.handle, 0);
    result = sqlite3_wal_checkpoint_v2(writer->checkpoints.handle, NULL, SQLITE_CHECKPOINT_TRUNCATE,
                                       NULL, NULL);
    sqlite3_busy_timeout(writer->checkpoints.handle, DB_WRITER_BUSY_MS);
    writer->checkpoints_moved = result == SQLITE_BUSY;
}

/* ---- The thread ---- */

static bool write_rows(struct db_writer *writer, struct db_batch *batch)
{
    struct err err = {0};
    struct db_op *culprit;

    if (commit_group(writer, &batch->rows, &culprit, &err)) {
        db_queue_failed(writer->queue, &batch->rows, culprit, &err);
        return false;
    }
    db_queue_committed(writer->queue, &batch->rows);
    if (writer->next_sequence != writer->sequence) {
        writer->sequence = writer->next_sequence;
        tell_listener(writer);
    }
    return true;
}

static void write_checkpoints(struct db_writer *writer, struct db_list *checkpoints)
{
    struct db_op *op;
    struct err err = {0};

    while ((op = list_pop(checkpoints))) {
        if (db_checkpoint_write(writer, op, &err) == 0)
            db_queue_forward(writer->queue, op);
        else
            db_queue_checkpoint_failed(writer->queue, op, &err);
    }
}

static void *run(void *context)
{
    struct db_writer *writer = context;
    struct db_batch batch;

    while (db_queue_take(writer->queue, &batch)) {
        if (batch.rows_due && !write_rows(writer, &batch)) {
            db_queue_return(writer->queue, &batch.checkpoints);
            continue;
        }
        settle_rows(writer);
        settle_checkpoints(writer);
        write_checkpoints(writer, &batch.checkpoints);
    }
    return NULL;
}

int db_writer_start(struct db_writer *writer, struct err *err)
{
    int result;

    pthread_mutex_init(&writer->listening, NULL);
    writer->wal_patience = WAL_PATIENCE;
    sqlite3_wal_hook(writer->rows.handle, note_pages, writer);
    /* That SIGXFSZ does not reach it leaves the write with EFBIG. */
    result = thread_start(&writer->thread, run, writer);
    if (result == 0)
        return 0;
    pthread_mutex_destroy(&writer->listening);
    return err_set(err, ERR_NO_MEMORY, "cannot start the writer thread: %s", strerror(result));
}

void db_writer_join(struct db_writer *writer)
{
    pthread_join(writer->thread, NULL);
    pthread_mutex_destroy(&writer->listening);
}
