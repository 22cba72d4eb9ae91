/* The callers' side of the queue: adding, waiting, giving up. See queue.h. */
#include "queue.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "list.h"

int db_queue_open(struct db_queue **out, size_t limit, double durable_wait, struct err *err)
{
    struct db_queue *queue = calloc(1, sizeof *queue);

    if (!queue)
        return err_no_memory(err);
    queue->limit = limit;
    queue->durable_wait = durable_wait;
    if (pthread_mutex_init(&queue->lock, NULL) || thread_condition_open(&queue->work) ||
        thread_condition_open(&queue->room) || thread_condition_open(&queue->answered)) {
        free(queue);
        return err_no_memory(err);
    }
    *out = queue;
    return 0;
}

void db_queue_free(struct db_queue *queue)
{
    if (!queue)
        return;
    pthread_cond_destroy(&queue->answered);
    pthread_cond_destroy(&queue->room);
    pthread_cond_destroy(&queue->work);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static int pass_on(struct err *err, const struct db_trouble *trouble)
{
    return err_set(err, trouble->code, "%s", trouble->text);
}

static int check_open(struct db_queue *queue, const struct db_op *op, struct err *err)
{
    if (queue->rows_trouble.permanent)
        return pass_on(err, &queue->rows_trouble);
    if (queue->closing)
        return err_set(err, ERR_BUSY, "the database is being closed");
    if (queue->gave_up && queue->rows_trouble.code && op->kind == OP_ROW)
        return pass_on(err, &queue->rows_trouble);
    return 0;
}

static void leave(struct db_queue *queue)
{
    queue->inside--;
    if (queue->closing) /* db_queue_drain waits for this, too */
        pthread_cond_broadcast(&queue->answered);
}

void db_queue_push(struct db_queue *queue, struct db_op *op)
{
    bool was_empty = !queue->rows.head;

    op->kind = OP_ROW;
    op->time = clock_seconds();
    list_push(&queue->rows, op);
    queue->n_rows++;
    if (was_empty || queue->n_rows == queue->limit / 2)
        pthread_cond_signal(&queue->work);
}

int db_queue_add(struct db_queue *queue, struct db_op *op, struct err *err)
{
    int code;

    pthread_mutex_lock(&queue->lock);
    queue->inside++;
    while (!(code = check_open(queue, op, err)) && queue->n_rows >= queue->limit)
        pthread_cond_wait(&queue->room, &queue->lock);
    if (!code && op->accept)
        code = op->accept(queue, op, err);
    if (!code)
        db_queue_push(queue, op);
    leave(queue);
    pthread_mutex_unlock(&queue->lock);
    return code;
}

int db_queue_submit(struct db_queue *queue, struct db_op *op, struct err *err)
{
    int code;

    pthread_mutex_lock(&queue->lock);
    queue->inside++;
    code = check_open(queue, op, err);
    if (!code && op->accept)
        code = op->accept(queue, op, err);
    if (!code) {
        op->err = err;
        op->done = false;
        op->time = clock_seconds() + queue->durable_wait;
        if (op->kind == OP_CHECKPOINT) {
            list_push(&queue->checkpoints, op);
        } else {
            list_push(&queue->rows, op);
            queue->n_urgent++;
        }
        pthread_cond_signal(&queue->work);
        while (!op->done)
            pthread_cond_wait(&queue->answered, &queue->lock);
        code = op->code;
    }
    leave(queue);
    pthread_mutex_unlock(&queue->lock);
    return code;
}

static void give_up(struct db_queue *queue)
{
    queue->gave_up = true;
    pthread_cond_signal(&queue->work);
    pthread_cond_broadcast(&queue->room);
}

void db_queue_give_up(struct db_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    give_up(queue);
    pthread_mutex_unlock(&queue->lock);
}

static bool is_idle(const struct db_queue *queue)
{
    return !queue->n_rows && !queue->inside && !queue->checkpoints.head;
}

void db_queue_drain(struct db_queue *queue, double seconds)
{
    struct timespec at = thread_deadline(clock_seconds() + seconds);

    pthread_mutex_lock(&queue->lock);
    queue->closing = true;
    pthread_cond_signal(&queue->work);
    pthread_cond_broadcast(&queue->room);
    while (!is_idle(queue) && pthread_cond_timedwait(&queue->answered, &queue->lock, &at) == 0)
        ;
    if (!is_idle(queue))
        give_up(queue);
    while (!is_idle(queue))
        pthread_cond_wait(&queue->answered, &queue->lock);
    pthread_mutex_unlock(&queue->lock);
}

struct db_run *db_queue_run(struct db_queue *queue, int64_t job)
{
    for (int i = 0; i < queue->n_runs; i++)
        if (queue->run[i].job == job)
            return &queue->run[i];
    return NULL;
}

void db_queue_run_start(struct db_queue *queue, int64_t job, int64_t last_update)
{
    db_queue_run_end(queue, job);
    queue->run[queue->n_runs++] = (struct db_run){.job = job, .last_update = last_update};
}

void db_queue_run_end(struct db_queue *queue, int64_t job)
{
    struct db_run *run = db_queue_run(queue, job);

    if (run)
        *run = queue->run[--queue->n_runs];
}

int db_queue_running(struct db_queue *queue, struct db_op *op, struct err *err)
{
    const struct db_run *run = db_queue_run(queue, op->job);

    if (!run)
        return err_set(err, ERR_CONFLICT, "%s %lld is not running, so nothing is recorded of it",
                       op->job < 0 ? "probe" : "job", llabs(op->job));
    if (run->lost.code)
        return err_set(err, run->lost.code, "%s", run->lost.message);
    return 0;
}
