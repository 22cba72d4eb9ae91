#include "estimate.h"
#include "init_from.h"
#include "probe.h"
#include "queue_inside.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "engine/estimate.h"
#include "engine/run.h"

static void init_locks(struct queue *queue)
{
    thread_condition_open(&queue->wake);
    pthread_mutex_init(&queue->wake_lock, NULL);
    pthread_mutex_init(&queue->lock, NULL);
}

static int open_slots(struct queue *queue, struct err *err)
{
    int rc = 0;

    queue->slots = calloc((size_t)queue->options.workers, sizeof *queue->slots);
    if (!queue->slots)
        return err_no_memory(err);
    while (!rc && queue->n_slots < queue->options.workers) {
        struct slot *slot = &queue->slots[queue->n_slots++];

        slot->queue = queue;
        atomic_init(&slot->request, ENGINE_CONTINUE);
        rate_open(&slot->rate);
        rc = db_reader_open(&slot->reader, queue->db, err);
    }
    return rc;
}

int queue_open(struct queue **out, const struct queue_options *options, struct db *db,
               struct err *err)
{
    struct queue *queue = calloc(1, sizeof *queue);
    int rc;

    if (!queue)
        return err_no_memory(err);
    queue->options = *options;
    queue->db = db;
    atomic_init(&queue->stopping, false);
    atomic_init(&queue->giving_up, false);
    atomic_init(&queue->lost, false);
    atomic_init(&queue->probes_wait, false);
    atomic_init(&queue->gpu_runs, 0);
    init_locks(queue);
    rc = db_reader_open(&queue->reader, db, err);
    if (!rc)
        rc = open_slots(queue, err);
    if (rc)
        queue_close(queue);
    else
        *out = queue;
    return rc;
}

int queue_start(struct queue *queue, struct err *err)
{
    for (int i = 0; i < queue->n_slots; i++) {
        struct slot *slot = &queue->slots[i];

        pthread_mutex_lock(&queue->wake_lock);
        queue->at_work++;
        pthread_mutex_unlock(&queue->wake_lock);
        slot->started = pthread_create(&slot->thread, NULL, worker_main, slot) == 0;
        if (slot->started)
            continue;
        pthread_mutex_lock(&queue->wake_lock);
        queue->at_work--;
        pthread_mutex_unlock(&queue->wake_lock);
        return err_set(err, ERR_IO, "cannot start a worker thread");
    }
    return 0;
}

/* A run that is being abandoned stays so. A worker that takes a job just now looks at `stopping`
 * after it has set its request to ENGINE_CONTINUE, so one of the two sees the other. */
void queue_stop(struct queue *queue)
{
    atomic_store(&queue->stopping, true);
    for (int i = 0; i < queue->n_slots; i++) {
        int expected = ENGINE_CONTINUE;

        atomic_compare_exchange_strong(&queue->slots[i].request, &expected, ENGINE_STOP);
    }
    queue_post(queue);
}

bool queue_lost(const struct queue *queue)
{
    return atomic_load(&queue->lost);
}

bool queue_lose(struct queue *queue)
{
    bool first = !atomic_exchange(&queue->lost, true);

    if (first) {
        queue_stop(queue);
        queue->options.lost(queue->options.context);
    }
    return first;
}

void queue_gpu_runs(struct queue *queue)
{
    atomic_fetch_add(&queue->gpu_runs, 1);
    queue_probes_go_on(queue);
}

void queue_probes_go_on(struct queue *queue)
{
    int n;

    if (!atomic_exchange(&queue->probes_wait, false))
        return;
    if (db_probes_go_on(queue->db, &n, NULL))
        atomic_store(&queue->probes_wait, true);
    else
        queue_post(queue);
}

void queue_give_up(struct queue *queue)
{
    atomic_store(&queue->giving_up, true);
    queue_post(queue);
}

void queue_close(struct queue *queue)
{
    if (!queue)
        return;
    for (int i = 0; i < queue->n_slots; i++) {
        struct slot *slot = &queue->slots[i];

        if (slot->started)
            pthread_join(slot->thread, NULL);
        db_reader_close(slot->reader);
        rate_close(&slot->rate);
    }
    free(queue->slots);
    db_reader_close(queue->reader);
    pthread_cond_destroy(&queue->wake);
    pthread_mutex_destroy(&queue->wake_lock);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void queue_post(struct queue *queue)
{
    pthread_mutex_lock(&queue->wake_lock);
    queue->posts++;
    pthread_cond_broadcast(&queue->wake);
    pthread_mutex_unlock(&queue->wake_lock);
}

uint64_t queue_posts(struct queue *queue)
{
    uint64_t posts;

    pthread_mutex_lock(&queue->wake_lock);
    posts = queue->posts;
    pthread_mutex_unlock(&queue->wake_lock);
    return posts;
}

void queue_sleep(struct queue *queue, uint64_t seen, double seconds)
{
    struct timespec deadline = thread_deadline(clock_seconds() + seconds);
    int rc = 0;

    pthread_mutex_lock(&queue->wake_lock);
    while (queue->posts == seen && rc == 0)
        rc = seconds > 0 ? pthread_cond_timedwait(&queue->wake, &queue->wake_lock, &deadline)
                         : pthread_cond_wait(&queue->wake, &queue->wake_lock);
    pthread_mutex_unlock(&queue->wake_lock);
}

int queue_wait(struct queue *queue, double seconds)
{
    struct timespec deadline = thread_deadline(clock_seconds() + seconds);
    int rc = 0, left;

    pthread_mutex_lock(&queue->wake_lock);
    while (queue->at_work > 0 && rc == 0)
        rc = pthread_cond_timedwait(&queue->wake, &queue->wake_lock, &deadline);
    left = queue->at_work;
    pthread_mutex_unlock(&queue->wake_lock);
    return left;
}

static int threads_of(const struct queue *queue, const struct engine_job *job)
{
    return job->threads ? (int)job->threads : queue_thread_share(queue);
}

/* More of them would only wait for each other; fewer than were asked for would give other bits. */
static void check_threads(const struct queue *queue, const struct engine_job *job,
                          struct problems *problems)
{
    if (job->threads > queue->options.threads)
        problems_add(problems, "/threads",
                     "the daemon has %d thread%s in all (--threads, by default the cores)",
                     queue->options.threads, queue->options.threads == 1 ? "" : "s");
}

int queue_prepare(struct queue *queue, struct engine_job *job, struct problems *problems,
                  struct err *err)
{
    int rc = init_from_prepare(queue->db, job, problems, err);

    check_threads(queue, job, problems);
    if (!rc)
        engine_estimate_check(job, threads_of(queue, job), problems);
    return rc ? rc : probe_prepare_list(queue->db, job, problems, err);
}

int queue_row(const struct engine_job *job, const char *spec, struct engine_job_facts *facts,
              struct db_new_job *out, struct err *err)
{
    int rc = engine_job_facts(job, facts, err);

    if (!rc)
        *out = (struct db_new_job){.name = job->name,
                                   .spec = spec,
                                   .priority = job->priority,
                                   .updates = (uint64_t)facts->updates,
                                   .parameters = facts->parameters,
                                   .threads = (int)job->threads,
                                   .init_job = job->init_from.job,
                                   .init_update = job->init_from.update,
                                   .init_upload = job->init_from.upload};
    return rc;
}

int queue_thread_share(const struct queue *queue)
{
    int share = queue->options.threads / queue->options.workers;

    return share > 0 ? share : 1;
}

int queue_submit(struct queue *queue, const struct engine_job *job, const char *spec,
                 const char *idempotency_key, const char *fingerprint, int64_t *id, bool *existing,
                 struct err *err)
{
    struct engine_job_facts facts;
    struct db_new_job row;
    int rc = queue_row(job, spec, &facts, &row, err);

    if (rc)
        return rc;
    row.idempotency_key = idempotency_key;
    row.fingerprint = fingerprint;
    row.queue_limit = queue->options.queue_limit;
    estimate_job(queue->db, job, &facts, threads_of(queue, job), &row.estimate);
    rc = db_job_insert(queue->db, &row, id, existing, err);
    if (!rc && !*existing)
        queue_post(queue);
    return rc;
}

int queue_prepare_probe(struct queue *queue, int64_t job, struct engine_probe *probe,
                        struct problems *problems, struct err *err)
{
    return probe_prepare(queue->db, job, probe, problems, err);
}

int queue_submit_probe(struct queue *queue, int64_t job, const struct engine_probe *probe,
                       const char *request, const char *idempotency_key, const char *fingerprint,
                       int64_t *number, bool *existing, struct err *err)
{
    const struct db_new_probe row = {.job = job,
                                     .idempotency_key = idempotency_key,
                                     .fingerprint = fingerprint,
                                     .queue_limit = queue->options.queue_limit,
                                     .job_limit = PROBES_PER_JOB};
    int rc = probe_submit(queue->db, &row, probe, request, number, existing, err);

    if (!rc && !*existing)
        queue_post(queue);
    return rc;
}

int queue_add_upload(struct queue *queue, const struct db_upload *upload,
                     const struct checkpoint *tensors, int64_t *id, bool *existing, struct err *err)
{
    return db_upload_add(queue->db, upload, tensors, id, existing, err);
}

int queue_delete_upload(struct queue *queue, int64_t id, struct err *err)
{
    return db_upload_delete(queue->db, id, err);
}

bool queue_live(struct queue *queue, int64_t id, double *updates_per_second, double *eta_seconds)
{
    for (int i = 0; i < queue->n_slots; i++)
        if (rate_read(&queue->slots[i].rate, id, updates_per_second, eta_seconds))
            return true;
    return false;
}
