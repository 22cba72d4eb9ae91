#include "base/thread.h"

#include <signal.h>

int thread_start(pthread_t *out, void *(*run)(void *argument), void *argument)
{
    sigset_t all, before;
    int result;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(out, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

int thread_condition_open(pthread_cond_t *out)
{
    pthread_condattr_t attributes;
    int result = pthread_condattr_init(&attributes);

    if (result)
        return result;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    result = pthread_cond_init(out, &attributes);
    pthread_condattr_destroy(&attributes);
    return result;
}

struct timespec thread_deadline(double at)
{
    time_t whole = (time_t)at;

    return (struct timespec){.tv_sec = whole, .tv_nsec = (long)((at - (double)whole) * 1e9)};
}
