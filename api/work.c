/* A few threads for what may wait for a disk, so that the server's own threads never do. The
 * queue is bounded: what does not fit is refused at once. It ends in two steps, because the
 * server's threads may add to it until they have ended themselves. */
#include <stdlib.h>

#include "http.h"

#define WAITING_MAX 64
#define THREADS_MAX 8

struct task {
    void (*run)(void *);
    void *context;
};

struct work {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct task task[WAITING_MAX]; /* a ring */
    int first, n, n_threads;
    bool stopping;
    pthread_t thread[THREADS_MAX];
};

static void *work_main(void *context)
{
    struct work *work = context;

    pthread_mutex_lock(&work->lock);
    for (;;) {
        struct task task;

        while (work->n == 0 && !work->stopping)
            pthread_cond_wait(&work->more, &work->lock);
        if (work->n == 0)
            break;
        task = work->task[work->first];
        work->first = (work->first + 1) % WAITING_MAX;
        work->n--;
        pthread_mutex_unlock(&work->lock);
        task.run(task.context);
        pthread_mutex_lock(&work->lock);
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

int work_open(struct work **out, int threads, struct err *err)
{
    struct work *work = calloc(1, sizeof *work);

    if (!work)
        return err_no_memory(err);
    pthread_mutex_init(&work->lock, NULL);
    pthread_cond_init(&work->more, NULL);
    for (; work->n_threads < threads && work->n_threads < THREADS_MAX; work->n_threads++)
        if (pthread_create(&work->thread[work->n_threads], NULL, work_main, work) != 0) {
            work_close(work);
            return err_set(err, ERR_IO, "cannot start a thread");
        }
    *out = work;
    return 0;
}

void work_stop(struct work *work)
{
    pthread_mutex_lock(&work->lock);
    work->stopping = true;
    pthread_cond_broadcast(&work->more);
    pthread_mutex_unlock(&work->lock);
    for (int i = 0; i < work->n_threads; i++)
        pthread_join(work->thread[i], NULL);
    work->n_threads = 0;
}

void work_close(struct work *work)
{
    if (!work)
        return;
    work_stop(work);
    pthread_cond_destroy(&work->more);
    pthread_mutex_destroy(&work->lock);
    free(work);
}

int work_add(struct work *work, void (*run)(void *), void *context, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&work->lock);
    if (work->stopping) {
        rc = err_set(err, ERR_LIMIT, "the server is stopping");
    } else if (work->n == WAITING_MAX) {
        rc = err_set(err, ERR_LIMIT, "too many requests are waiting");
    } else {
        work->task[(work->first + work->n++) % WAITING_MAX] =
            (struct task){.run = run, .context = context};
        pthread_cond_signal(&work->more);
    }
    pthread_mutex_unlock(&work->lock);
    return rc;
}
