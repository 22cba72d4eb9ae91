/* A thread that waits for work: the second of two programs that run side by side. It is the
 * master of an OpenMP team of its own, so two programs never share a worker.
 *
 * Both sides first spin for a while, then sleep: small programs take a fraction of a millisecond,
 * and a thread that has to be woken is put on the waker's own core more often than not. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backend/cpu/cpu.h"
#include "base/clock.h"
#include "base/thread.h"

#define SPIN_SECONDS 500e-6

enum team_state { IDLE, WORKING, STOPPING };

struct team {
    pthread_t thread;
    atomic_int state; /* written under the lock, so that a sleeper misses no change */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*work)(void *context);
    void *context;
};

static void pause_briefly(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
}

/* Until the state is no longer `from`; returns what it is then. */
static int wait_while(struct team *team, int from)
{
    double start = clock_seconds();
    int state;

    do
        for (int i = 0; i < 64; i++) {
            state = atomic_load_explicit(&team->state, memory_order_acquire);
            if (state != from)
                return state;
            pause_briefly();
        }
    while (clock_seconds() - start < SPIN_SECONDS);
    pthread_mutex_lock(&team->lock);
    while ((state = atomic_load(&team->state)) == from)
        pthread_cond_wait(&team->changed, &team->lock);
    pthread_mutex_unlock(&team->lock);
    return state;
}

static void change_state(struct team *team, int to)
{
    pthread_mutex_lock(&team->lock);
    atomic_store(&team->state, to);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
}

static void *serve(void *argument)
{
    struct team *team = argument;

    while (wait_while(team, IDLE) == WORKING) {
        team->work(team->context);
        change_state(team, IDLE);
    }
    return NULL;
}

static void destroy(struct team *team)
{
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

int cpu_team_open(struct team **out, struct err *err)
{
    struct team *team = calloc(1, sizeof *team);

    if (!team)
        return err_no_memory(err);
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->changed, NULL);
    atomic_init(&team->state, IDLE);
    if (thread_start(&team->thread, serve, team)) {
        destroy(team);
        return err_set(err, ERR_IO, "cannot start a thread");
    }
    *out = team;
    return 0;
}

void cpu_team_close(struct team *team)
{
    if (!team)
        return;
    change_state(team, STOPPING);
    pthread_join(team->thread, NULL);
    destroy(team);
}

void cpu_team_start(struct team *team, void (*work)(void *context), void *context)
{
    team->work = work;
    team->context = context;
    change_state(team, WORKING);
}

void cpu_team_wait(struct team *team)
{
    wait_while(team, WORKING);
}
