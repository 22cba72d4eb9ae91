/* The writer's side of the queue: when there is something to do, and what becomes of an op.
 *
 * Trouble with a file (full disk, foreign lock, i/o error) is kept in `db_trouble`: its ops are
 * back in their lists, and it is tried again each RETRY_SECONDS. Meanwhile durable callers whose
 * time is over are answered with the trouble; their op has left the list, so nothing of it will
 * happen. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "list.h"
#include "queue.h"

/* Rows wait this long for others to share their commit. */
#define GROUP_SECONDS 0.2
#define RETRY_SECONDS 1.0

bool db_worth_a_retry(int code)
{
    return code == ERR_FULL || code == ERR_BUSY || code == ERR_IO || code == ERR_NO_MEMORY;
}

/* ---- Answers; all under the lock ---- */

/* Marks the row's run, so that it ends with this error instead of going on with a gap. */
static void lose_row(struct db_queue *queue, struct db_op *op, const struct err *why)
{
    struct db_run *run = db_queue_run(queue, op->job);

    if (run && !run->lost.code)
        run->lost = *why;
    queue->n_rows--;
    free(op);
}

static void answer(struct db_queue *queue, struct db_op *op, const struct err *why)
{
    if (op->kind == OP_ROW) {
        lose_row(queue, op, why);
        return;
    }
    op->code = why->code;
    if (op->err)
        *op->err = *why;
    op->done = true;
    pthread_cond_broadcast(&queue->answered);
}

static void answer_all(struct db_queue *queue, struct db_list *list, const struct err *why)
{
    long long rows = 0;

    for (struct db_op *op; (op = list_pop(list));) {
        rows += op->kind == OP_ROW && op->job; /* no job's: nothing is lost with it */
        answer(queue, op, why);
    }
    if (rows)
        log_error("%lld recorded rows could not be written: %s", rows, why->message);
    pthread_cond_broadcast(&queue->room);
    pthread_cond_broadcast(&queue->answered);
}

static void set_trouble(struct db_trouble *trouble, const struct err *why)
{
    if (!trouble->code) {
        trouble->since_ms = clock_wall_ms();
        if (db_worth_a_retry(why->code))
            log_warning("%s; trying again each second", why->message);
        else
            log_error("%s; nothing can be recorded", why->message);
    }
    trouble->code = why->code;
    snprintf(trouble->text, sizeof trouble->text, "%.255s", why->message);
    trouble->retry = clock_seconds() + RETRY_SECONDS;
}

static void end_trouble(struct db_trouble *trouble)
{
    if (trouble->code && !trouble->permanent) {
        log_info("writing goes through again after %.0f s",
                 (double)(clock_wall_ms() - trouble->since_ms) * 1e-3);
        *trouble = (struct db_trouble){0};
    }
}

/* Nothing can be written any more, now or later. */
static void stop(struct db_queue *queue, const struct err *why)
{
    set_trouble(&queue->rows_trouble, why);
    queue->rows_trouble.permanent = true;
    queue->n_urgent = 0;
    answer_all(queue, &queue->rows, why);
    answer_all(queue, &queue->checkpoints, why);
}

/* ---- When ---- */

static double rows_due(const struct db_queue *queue)
{
    const struct db_trouble *trouble = &queue->rows_trouble;

    if (trouble->permanent)
        return INFINITY;
    if (!queue->rows.head)
        return trouble->code && !queue->closing ? trouble->retry : INFINITY;
    if (queue->gave_up)
        return 0;
    if (trouble->code)
        return trouble->retry;
    if (queue->closing || queue->n_urgent || queue->n_rows >= queue->limit / 2)
        return 0;
    return queue->rows.head->time + GROUP_SECONDS;
}

/* A checkpoint may only be committed after the rows that were queued before it. */
static double checkpoints_due(const struct db_queue *queue)
{
    if (!queue->checkpoints.head)
        return INFINITY;
    if (queue->rows.head && queue->rows_trouble.code)
        return INFINITY;
    if (queue->checkpoints_trouble.code && !queue->gave_up)
        return queue->checkpoints_trouble.retry;
    return 0;
}

/* Answers durable callers whose time is over; returns when the next one's is. */
static double expire(struct db_queue *queue, double now)
{
    const struct db_trouble *trouble = &queue->rows_trouble;
    struct db_list kept = {0};
    double next = INFINITY;
    struct err why = {0};

    if (!trouble->code || !queue->n_urgent)
        return INFINITY;
    err_set(&why, trouble->code, "%s; nothing was changed", trouble->text);
    for (struct db_op *op; (op = list_pop(&queue->rows));) {
        if (op->kind == OP_DURABLE && op->time <= now) {
            queue->n_urgent--;
            answer(queue, op, &why);
            continue;
        }
        if (op->kind == OP_DURABLE)
            next = fmin(next, op->time);
        list_push(&kept, op);
    }
    queue->rows = kept;
    return next;
}

static void wait_for_work(struct db_queue *queue, double until)
{
    struct timespec at;

    if (!isfinite(until)) {
        pthread_cond_wait(&queue->work, &queue->lock);
        return;
    }
    at = thread_deadline(until);
    pthread_cond_timedwait(&queue->work, &queue->lock, &at);
}

bool db_queue_take(struct db_queue *queue, struct db_batch *batch)
{
    *batch = (struct db_batch){0};
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        double now = clock_seconds(), next = expire(queue, now);
        double rows = rows_due(queue), checkpoints = checkpoints_due(queue);

        if (checkpoints <= now) {
            batch->checkpoints = queue->checkpoints;
            queue->checkpoints = (struct db_list){0};
        }
        if (rows <= now || checkpoints <= now) {
            batch->rows_due = queue->rows.head || rows <= now;
            batch->rows = queue->rows;
            queue->rows = (struct db_list){0};
            queue->n_urgent = 0;
            break;
        }
        if (queue->closing && !queue->rows.head && !queue->checkpoints.head)
            break;
        wait_for_work(queue, fmin(next, fmin(rows, checkpoints)));
    }
    pthread_mutex_unlock(&queue->lock);
    return batch->rows_due || batch->checkpoints.head;
}

/* ---- What became of it ---- */

void db_queue_committed(struct db_queue *queue, struct db_list *rows)
{
    struct db_list done = {0};

    pthread_mutex_lock(&queue->lock);
    end_trouble(&queue->rows_trouble);
    queue->commits++;
    for (struct db_op *op; (op = list_pop(rows));) {
        if (!op->code && op->committed)
            op->committed(queue, op);
        if (op->kind == OP_ROW) {
            queue->n_rows--;
            queue->committed_rows += op->job != 0;
            list_push(&done, op);
        } else {
            op->done = true;
        }
    }
    pthread_cond_broadcast(&queue->room);
    pthread_cond_broadcast(&queue->answered);
    pthread_mutex_unlock(&queue->lock);
    for (struct db_op *op; (op = list_pop(&done));)
        free(op);
}

/* Takes the culprit out of both lists; with a row all others of its job, which would leave a gap.
 */
static void answer_culprit(struct db_queue *queue, struct db_list *rows, struct db_op *culprit,
                           const struct err *why)
{
    struct db_list *lists[] = {rows, &queue->rows};
    int64_t job = culprit->kind == OP_ROW ? culprit->job : 0;

    log_error("a change of %s %lld cannot be recorded: %s", culprit->job < 0 ? "probe" : "job",
              llabs(culprit->job), why->message);
    for (int i = 0; i < 2; i++) {
        struct db_list kept = {0};

        for (struct db_op *op; (op = list_pop(lists[i]));)
            if (op == culprit || (job && op->kind == OP_ROW && op->job == job))
                answer(queue, op, why);
            else
                list_push(&kept, op);
        *lists[i] = kept;
    }
    pthread_cond_broadcast(&queue->room);
    pthread_cond_broadcast(&queue->answered);
}

static int count_urgent(const struct db_list *list)
{
    int n = 0;

    for (const struct db_op *op = list->head; op; op = op->next)
        n += op->kind != OP_ROW;
    return n;
}

void db_queue_failed(struct db_queue *queue, struct db_list *rows, struct db_op *culprit,
                     const struct err *why)
{
    pthread_mutex_lock(&queue->lock);
    if (why->code != ERR_CORRUPT && !db_worth_a_retry(why->code) && culprit) {
        answer_culprit(queue, rows, culprit, why);
    } else {
        set_trouble(&queue->rows_trouble, why);
    }
    queue->n_urgent += count_urgent(rows);
    list_prepend(&queue->rows, rows);
    if (why->code == ERR_CORRUPT) {
        stop(queue, why);
    } else if (queue->gave_up && queue->rows_trouble.code) {
        queue->n_urgent = 0;
        answer_all(queue, &queue->rows, why);
    }
    pthread_mutex_unlock(&queue->lock);
}

void db_queue_forward(struct db_queue *queue, struct db_op *checkpoint)
{
    struct db_list one = {0};

    list_push(&one, checkpoint);
    pthread_mutex_lock(&queue->lock);
    end_trouble(&queue->checkpoints_trouble);
    list_prepend(&queue->rows, &one);
    queue->n_urgent++;
    pthread_mutex_unlock(&queue->lock);
}

void db_queue_checkpoint_failed(struct db_queue *queue, struct db_op *checkpoint,
                                const struct err *why)
{
    struct db_list one = {0};

    list_push(&one, checkpoint);
    pthread_mutex_lock(&queue->lock);
    if (db_worth_a_retry(why->code)) {
        set_trouble(&queue->checkpoints_trouble, why);
        list_prepend(&queue->checkpoints, &one);
        if (queue->gave_up)
            answer_all(queue, &queue->checkpoints, why);
    } else {
        log_error("a checkpoint of job %lld cannot be stored: %s", (long long)checkpoint->job,
                  why->message);
        answer(queue, checkpoint, why);
    }
    pthread_mutex_unlock(&queue->lock);
}

void db_queue_return(struct db_queue *queue, struct db_list *checkpoints)
{
    pthread_mutex_lock(&queue->lock);
    list_prepend(&queue->checkpoints, checkpoints);
    /* Damage that the rows met in this round has answered all but these. */
    if (queue->rows_trouble.permanent || (queue->gave_up && queue->rows_trouble.code)) {
        struct err why = {0};

        err_set(&why, queue->rows_trouble.code, "%s", queue->rows_trouble.text);
        answer_all(queue, &queue->checkpoints, &why);
    }
    pthread_mutex_unlock(&queue->lock);
}
