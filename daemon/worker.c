/* A worker: takes the next job (job_work.c), trains it, records how it ended, over and over; but
 * first the next probe (probe_work.c), unless a job of higher priority waits. */
#include "probe.h"
#include "queue_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

/* The engine's threads inherit it. The API's threads then run as soon as they have something to
 * do. */
#define TRAINING_NICE 5

#define RETRY_SECONDS 1.0

static void lower_priority(void)
{
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), TRAINING_NICE))
        log_debug("cannot lower the priority of a worker: %s", strerror(errno));
}

/* The disk may be full, the folder away; somebody will see to it, or stop the daemon. */
static bool passes_by_itself(int rc)
{
    return rc == ERR_FULL || rc == ERR_BUSY || rc == ERR_IO || rc == ERR_NO_MEMORY;
}

bool worker_disk_failed(const struct work_result *result)
{
    return result->database_failed && passes_by_itself(result->rc);
}

const char *worker_reason(const struct work_result *result)
{
    return result->rc && !worker_disk_failed(result) ? result->err.message : NULL;
}

int worker_take(struct slot *slot, int (*claim)(struct slot *slot, void *out, struct err *err),
                void *out, struct err *err)
{
    struct queue *queue = slot->queue;
    int expected = ENGINE_CONTINUE, rc = ERR_NOT_FOUND;

    pthread_mutex_lock(&queue->lock);
    atomic_store(&slot->request, ENGINE_CONTINUE);
    if (!atomic_load(&queue->stopping))
        rc = claim(slot, out, err);
    if (!rc)
        slot->wish = WISH_NONE;
    pthread_mutex_unlock(&queue->lock);
    /* A stop that came before the claim may have found nothing to stop. */
    if (atomic_load(&queue->stopping))
        atomic_compare_exchange_strong(&slot->request, &expected, ENGINE_STOP);
    return rc;
}

static void leave(struct slot *slot)
{
    slot->job = slot->probe = 0;
}

/* *again: it is worth another try. If not, the slot is free. */
static int try_to_end(struct slot *slot, const struct work_result *result, work_record *record,
                      const char **end, bool *again, struct err *err)
{
    struct queue *queue = slot->queue;
    int rc;

    pthread_mutex_lock(&queue->lock);
    rc = record(slot, result, end, err);
    *again = passes_by_itself(rc) && !atomic_load(&queue->giving_up);
    if (!*again)
        leave(slot);
    pthread_mutex_unlock(&queue->lock);
    return rc;
}

/* Whether there is any use in recording how it ended. A checkpoint that is too large for a row, for
 * example, is no matter of the database: no start will do better. */
static bool can_be_recorded(const struct queue *queue, const struct work_result *result)
{
    return !result->database_failed ||
           (result->rc != ERR_CORRUPT && !atomic_load(&queue->giving_up));
}

bool worker_end(struct slot *slot, const char *name, const struct work_result *result,
                work_record *record)
{
    struct queue *queue = slot->queue;
    bool again = true, told = false;

    if (!can_be_recorded(queue, result)) {
        log_error("%s: stopped, because the database failed: %s; it goes on with the next start",
                  name, result->err.message);
        pthread_mutex_lock(&queue->lock);
        leave(slot);
        pthread_mutex_unlock(&queue->lock);
        return false;
    }
    while (again) {
        uint64_t seen = queue_posts(queue);
        const char *end;
        struct err err;
        int rc = try_to_end(slot, result, record, &end, &again, &err);

        if (!rc) {
            log_info("%s: %s%s%s", name, end, result->rc ? ": " : "",
                     result->rc ? result->err.message : "");
            return true;
        }
        if (!told || !passes_by_itself(rc))
            log_error("%s: cannot record that it is %s: %s", name, end, err.message);
        told = true;
        if (again)
            queue_sleep(queue, seen, RETRY_SECONDS);
    }
    return false;
}

/* Waits where no job could be had: for one to be posted, or for the database to recover. A damaged
 * database does not: nothing more is taken, and /readyz says why. */
static void wait_after(struct queue *queue, int rc, uint64_t seen, const struct err *err,
                       int *last_rc)
{
    if (rc != ERR_NOT_FOUND && rc != *last_rc)
        log_error("cannot take a job or probe: %s", err->message);
    *last_rc = rc;
    queue_sleep(queue, seen, rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? 0 : RETRY_SECONDS);
}

static void work(struct slot *slot)
{
    struct queue *queue = slot->queue;
    int last_rc = 0;

    for (;;) {
        /* Before the look at `stopping`, so that no post is slept through. */
        uint64_t seen = queue_posts(queue);
        struct db_probe_claim probe = {0};
        struct db_claim claim = {0};
        struct err err = {0};
        int rc;

        if (atomic_load(&queue->stopping))
            return;
        rc = probe_take(slot, &probe, &err);
        if (rc == 0)
            probe_work(slot, &probe);
        else if (rc == ERR_NOT_FOUND)
            rc = job_take(slot, &claim, &err);
        if (rc) {
            wait_after(queue, rc, seen, &err, &last_rc);
            continue;
        }
        last_rc = 0;
        if (claim.id)
            job_work(slot, &claim);
        free(claim.spec);
    }
}

void *worker_main(void *argument)
{
    struct slot *slot = argument;
    struct queue *queue = slot->queue;

    lower_priority();
    work(slot);
    pthread_mutex_lock(&queue->wake_lock);
    queue->at_work--;
    pthread_cond_broadcast(&queue->wake);
    pthread_mutex_unlock(&queue->wake_lock);
    return NULL;
}
