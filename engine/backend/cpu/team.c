/* A thread that waits for work: the second of two programs that run side by side. It is the
 * master of an OpenMP team of its own, so two programs never share a worker. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "backend/cpu/cpu.h"

struct team {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*work)(void *context); /* NULL: none to do */
    void *context;
    bool stop;
};

static void *serve(void *argument)
{
    struct team *team = argument;

    pthread_mutex_lock(&team->lock);
    while (!team->stop) {
        if (!team->work) {
            pthread_cond_wait(&team->changed, &team->lock);
            continue;
        }
        pthread_mutex_unlock(&team->lock);
        team->work(team->context);
        pthread_mutex_lock(&team->lock);
        team->work = NULL;
        pthread_cond_broadcast(&team->changed);
    }
    pthread_mutex_unlock(&team->lock);
    return NULL;
}

/* Signals are for the thread that opened the backend. */
static int start_thread(struct team *team)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&team->thread, NULL, serve, team);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int cpu_team_open(struct team **out, struct err *err)
{
    struct team *team = calloc(1, sizeof *team);

    if (!team)
        return err_no_memory(err);
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->changed, NULL);
    if (start_thread(team)) {
        pthread_cond_destroy(&team->changed);
        pthread_mutex_destroy(&team->lock);
        free(team);
        return err_set(err, ERR_IO, "cannot start a thread");
    }
    *out = team;
    return 0;
}

void cpu_team_close(struct team *team)
{
    if (!team)
        return;
    pthread_mutex_lock(&team->lock);
    team->stop = true;
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
    pthread_join(team->thread, NULL);
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

void cpu_team_start(struct team *team, void (*work)(void *context), void *context)
{
    pthread_mutex_lock(&team->lock);
    team->context = context;
    team->work = work;
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
}

void cpu_team_wait(struct team *team)
{
    pthread_mutex_lock(&team->lock);
    while (team->work)
        pthread_cond_wait(&team->changed, &team->lock);
    pthread_mutex_unlock(&team->lock);
}
