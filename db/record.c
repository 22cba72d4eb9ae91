/* What a run records: losses, epochs, messages; and the jobs' summaries, which follow them.
 *
 * Losses come by the thousand a second, so each is one insertion, and a job's row is written once a
 * group, from what the group's losses add up to. Whatever else reads or changes a job's row writes
 * the sums first: db_sums_flush. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "inside.h"
#include "span.h"

#define MESSAGE_BYTES 1000

int db_event_add(struct db_writer *writer, const struct db_event_row *event, struct err *err)
{
    static const char text[] =
        "INSERT INTO event VALUES (?, ?, ?, ?, nullif(?, -1), nullif(?, -1), ?)";

    return sql_run(&writer->rows, err, text, "iiiiiit", ++writer->next_sequence, event->job,
                   (int64_t)event->kind, event->wall_ms, (int64_t)event->state, event->number,
                   event->text);
}

/* ---- Losses ---- */

struct loss_op {
    struct db_op op;
    struct db_loss loss;
};

static int accept_loss(struct db_queue *queue, struct db_op *op, struct err *err)
{
    const struct db_loss *loss = &((struct loss_op *)op)->loss;
    int code = db_queue_running(queue, op, err);
    struct db_run *run;

    if (code)
        return code;
    run = db_queue_run(queue, op->job);
    if (loss->update > INT64_MAX || (int64_t)loss->update <= run->last_update)
        return err_set(err, ERR_CONFLICT, "job %lld: update %llu comes after update %lld",
                       (long long)op->job, (unsigned long long)loss->update,
                       (long long)run->last_update);
    run->last_update = (int64_t)loss->update;
    return 0;
}

static struct db_sum *sum_of(struct db_writer *writer, int64_t job)
{
    for (int i = 0; i < writer->n_sums; i++)
        if (writer->sum[i].job == job)
            return &writer->sum[i];
    writer->sum[writer->n_sums] = (struct db_sum){.job = job};
    return &writer->sum[writer->n_sums++];
}

static int apply_loss(struct db_writer *writer, struct db_op *op, struct err *err)
{
    static const char text[] = "INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    const struct db_loss *loss = &((struct loss_op *)op)->loss;
    sqlite3_stmt *statement;
    struct db_sum *sum;
    int code;

    if (writer->n_sums == DB_RUNS_MAX && (code = db_sums_flush(writer, err)))
        return code;
    code = sql_query(&writer->rows, &statement, err, text, "iiiirrrrr", op->job,
                     (int64_t)loss->update, ++writer->next_sequence, loss->epoch, loss->loss,
                     loss->perturbed_loss, loss->lr, loss->sigma, loss->seconds);
    if (code)
        return code;
    if (!loss->has_perturbed)
        sqlite3_bind_null(statement, 6);
    code = sql_step(&writer->rows, statement, err);
    if (!code && loss->update % DB_SPAN_ROWS == 0)
        code = db_span_add(writer, op->job, (int64_t)loss->update, err);
    if (code)
        return code;
    writer->losses++;
    sum = sum_of(writer, op->job);
    sum->updates_done = (int64_t)loss->update;
    sum->loss = loss->loss;
    sum->has_perturbed = loss->has_perturbed;
    sum->perturbed_loss = loss->perturbed_loss;
    sum->seconds += isfinite(loss->seconds) ? loss->seconds : 0;
    return 0;
}

int db_sums_flush(struct db_writer *writer, struct err *err)
{
    static const char text[] = "UPDATE job SET updates_done = ?, loss = ?, perturbed_loss = ?, "
                               "seconds = seconds + ? WHERE id = ?";

    for (int i = 0; i < writer->n_sums; i++) {
        const struct db_sum *sum = &writer->sum[i];
        sqlite3_stmt *statement;
        int code = sql_query(&writer->rows, &statement, err, text, "irrri", sum->updates_done,
                             sum->loss, sum->perturbed_loss, sum->seconds, sum->job);

        if (!code && !sum->has_perturbed)
            sqlite3_bind_null(statement, 3);
        if (!code)
            code = sql_step(&writer->rows, statement, err);
        if (code)
            return code;
    }
    writer->n_sums = 0;
    return 0;
}

static int add_row(struct db *db, struct db_op *op, struct err *err)
{
    int code = db_queue_add(db->queue, op, err);

    if (code)
        free(op);
    return code;
}

int db_loss_add(struct db *db, int64_t job, const struct db_loss *loss, struct err *err)
{
    struct loss_op *op = malloc(sizeof *op);

    if (!op)
        return err_no_memory(err);
    *op = (struct loss_op){.op = {.job = job, .accept = accept_loss, .apply = apply_loss},
                           .loss = *loss};
    return add_row(db, &op->op, err);
}

/* ---- Epochs ---- */

struct epoch_op {
    struct db_op op;
    struct db_epoch epoch;
};

static int accept_epoch(struct db_queue *queue, struct db_op *op, struct err *err)
{
    const struct db_epoch *epoch = &((struct epoch_op *)op)->epoch;

    if (epoch->epoch < 1 || epoch->update > INT64_MAX)
        return err_set(err, ERR_INVALID, "there is no epoch %lld at update %llu",
                       (long long)epoch->epoch, (unsigned long long)epoch->update);
    return db_queue_running(queue, op, err);
}

/* An epoch that was reported before its run was killed may be reported again: one row, one event.
 */
static int forget_epoch(struct db_writer *writer, int64_t job, int64_t epoch, bool *known,
                        struct err *err)
{
    static const char find[] = "SELECT 1 FROM epoch WHERE job = ? AND epoch = ?";
    static const char forget[] = "DELETE FROM event WHERE job = ? AND kind = ? AND number = ?";
    int code = sql_integer(&writer->rows, NULL, err, find, "ii", job, epoch);

    if (code < 0)
        return code;
    *known = code == 1;
    if (!*known)
        return 0;
    return sql_run(&writer->rows, err, forget, "iii", job, (int64_t)EVENT_EPOCH, epoch);
}

static int put_epoch(struct db_writer *writer, int64_t job, const struct db_epoch *epoch,
                     struct err *err)
{
    static const char text[] =
        "INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlite3_stmt *statement;
    int code = sql_query(&writer->rows, &statement, err, text, "iiirrrrriri", job, epoch->epoch,
                         (int64_t)epoch->update, epoch->train_loss, epoch->train_top1,
                         epoch->test_loss, epoch->test_top1, epoch->test_top5,
                         epoch->gradient_evaluations, epoch->seconds, epoch->wall_ms);

    if (code)
        return code;
    if (!epoch->evaluated)
        for (int parameter = 6; parameter <= 8; parameter++)
            sqlite3_bind_null(statement, parameter);
    return sql_step(&writer->rows, statement, err);
}

static int summarise_epoch(struct db_writer *writer, int64_t job, const struct db_epoch *epoch,
                           struct err *err)
{
    static const char train[] =
        "UPDATE job SET epoch = ?, gradient_evaluations = ?, train_loss = ?, train_top1 = ? "
        "WHERE id = ?";
    static const char test[] = "UPDATE job SET test_loss = ?, test_top1 = ?, test_top5 = ? "
                               "WHERE id = ?";
    static const char best[] = "UPDATE job SET best_top1 = ?1, best_epoch = ?2 WHERE id = ?3 AND "
                               "(best_epoch = 0 OR best_top1 < ?1)";
    int code = sql_run(&writer->rows, err, train, "iirri", epoch->epoch,
                       epoch->gradient_evaluations, epoch->train_loss, epoch->train_top1, job);

    if (code || !epoch->evaluated)
        return code;
    code = sql_run(&writer->rows, err, test, "rrri", epoch->test_loss, epoch->test_top1,
                   epoch->test_top5, job);
    if (!code && !isnan(epoch->test_top1))
        code = sql_run(&writer->rows, err, best, "rii", epoch->test_top1, epoch->epoch, job);
    return code;
}

static int apply_epoch(struct db_writer *writer, struct db_op *op, struct err *err)
{
    const struct db_epoch *epoch = &((struct epoch_op *)op)->epoch;
    const struct db_event_row event = {.job = op->job,
                                       .kind = EVENT_EPOCH,
                                       .wall_ms = epoch->wall_ms,
                                       .state = -1,
                                       .number = epoch->epoch};
    bool known = false;
    int code = db_sums_flush(writer, err);

    if (!code)
        code = forget_epoch(writer, op->job, epoch->epoch, &known, err);
    if (!code)
        code = put_epoch(writer, op->job, epoch, err);
    if (!code)
        code = summarise_epoch(writer, op->job, epoch, err);
    if (!code && known)
        code = db_best_again(writer, op->job, err);
    return code ? code : db_event_add(writer, &event, err);
}

int db_epoch_add(struct db *db, int64_t job, const struct db_epoch *epoch, struct err *err)
{
    struct epoch_op *op = malloc(sizeof *op);

    if (!op)
        return err_no_memory(err);
    *op = (struct epoch_op){.op = {.job = job, .accept = accept_epoch, .apply = apply_epoch},
                            .epoch = *epoch};
    if (!op->epoch.wall_ms)
        op->epoch.wall_ms = clock_wall_ms();
    return add_row(db, &op->op, err);
}

/* ---- Messages ---- */

struct message_op {
    struct db_op op;
    int64_t wall_ms;
    char text[];
};

static int accept_message(struct db_queue *queue, struct db_op *op, struct err *err)
{
    if (op->job < 1 || op->job > queue->last_job)
        return err_set(err, ERR_NOT_FOUND, "there is no job %lld", (long long)op->job);
    return 0;
}

static int apply_message(struct db_writer *writer, struct db_op *op, struct err *err)
{
    const struct message_op *message = (struct message_op *)op;
    const struct db_event_row event = {.job = op->job,
                                       .kind = EVENT_MESSAGE,
                                       .wall_ms = message->wall_ms,
                                       .state = -1,
                                       .number = -1,
                                       .text = message->text};
    static const char text[] = "SELECT 1 FROM job WHERE id = ? AND state >= 0";
    sqlite3_stmt *row;
    int code = sql_query(&writer->rows, &row, err, text, "i", op->job);

    if (!code)
        code = sql_step(&writer->rows, row, err);
    if (code <= 0) /* 0: it was deleted, and what it still has to say with it */
        return code;
    sql_done(row);
    return db_event_add(writer, &event, err);
}

size_t db_message_bytes(const char *text)
{
    size_t n = strnlen(text, MESSAGE_BYTES + 1);

    if (n > MESSAGE_BYTES)
        for (n = MESSAGE_BYTES; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
            ;
    return n;
}

int db_message_add(struct db *db, int64_t job, const char *text, struct err *err)
{
    size_t n = db_message_bytes(text);
    struct message_op *op = calloc(1, sizeof *op + n + 1);

    if (!op)
        return err_no_memory(err);
    op->op = (struct db_op){.job = job, .accept = accept_message, .apply = apply_message};
    op->wall_ms = clock_wall_ms();
    memcpy(op->text, text, n);
    return add_row(db, &op->op, err);
}
