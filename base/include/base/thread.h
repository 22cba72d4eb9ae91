/* Threads and conditions as all rooms want them. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <time.h>

/* pthread_create of a thread to which no signal of the process is given: those are for threads that
 * expect them. Returns 0 or an errno number. */
int thread_start(pthread_t *out, void *(*run)(void *argument), void *argument);

/* A condition that is waited for by the clock that clock_seconds reads. Returns 0 or an errno
 * number. */
int thread_condition_open(pthread_cond_t *out);

/* When clock_seconds reads `at`, for waiting for such a condition until then. */
struct timespec thread_deadline(double at);

#endif
