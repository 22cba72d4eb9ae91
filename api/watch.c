/* One thread looks twice a second at the connections that wait for (the rest of) a request.
 *
 * States of a connection: idle (nothing of a request is known), begun (its first line is there),
 * arrived (the server works on it, or sends: not looked at), ended (by us). To end one is to shut
 * its socket down; libmicrohttpd sees that and closes it. A socket is touched under the lock only,
 * and watch_remove comes before its number can be somebody else's.
 *
 * A client may close its sending half behind a whole request and read the answer (unless a worker
 * makes it: libmicrohttpd may then close the connection before it sends). One that has done so
 * while the server still waits for bytes is gone: nothing of it is unread, twice, half a second
 * apart, so that what is on its way through the server is not taken for missing. */
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/thread.h"
#include "http.h"

#define ROUND_SECONDS 0.5

enum watched_state { WATCHED_IDLE, WATCHED_BEGUN, WATCHED_ARRIVED, WATCHED_ENDED };

struct watched {
    struct watched *next, *previous;
    int fd;
    enum watched_state state;
    bool half_closed; /* at the last look */
    bool late;
    double deadline;
};

struct watch {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool running, closing;
    int request_seconds, idle_seconds;
    struct watched *first;
    struct text late; /* the answer to a request that is late */
};

static int make_late(struct watch *watch, struct err *err)
{
    struct reply reply = {0};

    problem_set(&reply, 408, "timeout",
                "the request did not arrive within %d seconds (a file: at %d bytes a second)",
                watch->request_seconds, WATCH_FILE_BYTES_PER_SECOND);
    text_append(&watch->late,
                "HTTP/1.1 408 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                problem_title(408), reply.type, reply.body.length);
    text_append_bytes(&watch->late, reply.body.data, reply.body.length);
    reply_clear(&reply);
    return watch->late.failed ? err_no_memory(err) : 0;
}

/* Nothing else writes to the socket before the request has arrived. */
static void end(struct watch *watch, struct watched *watched, bool late)
{
    if (late && watched->state == WATCHED_BEGUN)
        (void)!send(watched->fd, watch->late.data, watch->late.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    watched->late = late;
    watched->state = WATCHED_ENDED;
    shutdown(watched->fd, SHUT_RDWR);
}

/* Its client has closed (at least) its sending half, and all that it sent was read. */
static bool left(const struct watched *watched)
{
    struct pollfd fd = {.fd = watched->fd, .events = POLLRDHUP};
    int unread = 0;

    return poll(&fd, 1, 0) > 0 && (ioctl(watched->fd, FIONREAD, &unread) != 0 || unread == 0);
}

static void look(struct watch *watch, struct watched *watched, double now)
{
    bool closed;

    if (watched->state != WATCHED_IDLE && watched->state != WATCHED_BEGUN)
        return;
    closed = left(watched);
    if (now >= watched->deadline)
        end(watch, watched, !closed);
    else if (closed && watched->half_closed)
        end(watch, watched, false);
    else
        watched->half_closed = closed;
}

static void *watch_main(void *context)
{
    struct watch *watch = context;

    pthread_mutex_lock(&watch->lock);
    while (!watch->closing) {
        double now = clock_seconds();
        struct timespec until;

        for (struct watched *watched = watch->first; watched; watched = watched->next)
            look(watch, watched, now);
        if (!watch->first) {
            pthread_cond_wait(&watch->wake, &watch->lock);
            continue;
        }
        until = thread_deadline(clock_seconds() + ROUND_SECONDS);
        while (!watch->closing &&
               pthread_cond_timedwait(&watch->wake, &watch->lock, &until) != ETIMEDOUT)
            ;
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

int watch_open(struct watch **out, int request_seconds, int idle_seconds, struct err *err)
{
    struct watch *watch = calloc(1, sizeof *watch);
    int rc;

    if (!watch)
        return err_no_memory(err);
    watch->request_seconds = request_seconds;
    watch->idle_seconds = idle_seconds;
    pthread_mutex_init(&watch->lock, NULL);
    thread_condition_open(&watch->wake);
    rc = make_late(watch, err);
    if (rc == 0 && pthread_create(&watch->thread, NULL, watch_main, watch) != 0)
        rc = err_set(err, ERR_IO, "cannot start a thread");
    if (rc) {
        watch_close(watch);
        return rc;
    }
    watch->running = true;
    *out = watch;
    return 0;
}

void watch_close(struct watch *watch)
{
    if (!watch)
        return;
    if (watch->running) {
        pthread_mutex_lock(&watch->lock);
        watch->closing = true;
        pthread_cond_signal(&watch->wake);
        pthread_mutex_unlock(&watch->lock);
        pthread_join(watch->thread, NULL);
    }
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    text_free(&watch->late);
    free(watch);
}

struct watched *watch_add(struct watch *watch, int fd)
{
    struct watched *watched = calloc(1, sizeof *watched);

    if (!watched)
        return NULL;
    watched->fd = fd;
    watched->deadline = clock_seconds() + watch->request_seconds;
    pthread_mutex_lock(&watch->lock);
    watched->next = watch->first;
    if (watch->first)
        watch->first->previous = watched;
    else
        pthread_cond_signal(&watch->wake);
    watch->first = watched;
    pthread_mutex_unlock(&watch->lock);
    return watched;
}

void watch_remove(struct watch *watch, struct watched *watched)
{
    if (!watched)
        return;
    pthread_mutex_lock(&watch->lock);
    if (watched->previous)
        watched->previous->next = watched->next;
    else
        watch->first = watched->next;
    if (watched->next)
        watched->next->previous = watched->previous;
    pthread_mutex_unlock(&watch->lock);
    free(watched);
}

/* The first request's time began with its connection. */
void watch_begun(struct watch *watch, struct watched *watched)
{
    double deadline = clock_seconds() + watch->request_seconds;

    if (!watched)
        return;
    pthread_mutex_lock(&watch->lock);
    if (watched->state == WATCHED_IDLE) {
        watched->state = WATCHED_BEGUN;
        watched->deadline = deadline < watched->deadline ? deadline : watched->deadline;
    }
    pthread_mutex_unlock(&watch->lock);
}

/* The deadline moves by the time that these bytes may take, and is never farther away than that of
 * a request that begins now: who was quick before may not be slow for long. */
void watch_file(struct watch *watch, struct watched *watched, size_t bytes)
{
    double latest = clock_seconds() + watch->request_seconds;

    if (!watched)
        return;
    pthread_mutex_lock(&watch->lock);
    if (watched->state == WATCHED_BEGUN) {
        watched->deadline += (double)bytes / WATCH_FILE_BYTES_PER_SECOND;
        watched->deadline = latest < watched->deadline ? latest : watched->deadline;
    }
    pthread_mutex_unlock(&watch->lock);
}

bool watch_arrived(struct watch *watch, struct watched *watched)
{
    bool ended;

    if (!watched)
        return true;
    pthread_mutex_lock(&watch->lock);
    ended = watched->state == WATCHED_ENDED;
    if (!ended)
        watched->state = WATCHED_ARRIVED;
    pthread_mutex_unlock(&watch->lock);
    return !ended;
}

bool watch_done(struct watch *watch, struct watched *watched)
{
    bool late;

    if (!watched)
        return false;
    pthread_mutex_lock(&watch->lock);
    late = watched->late;
    if (watched->state != WATCHED_ENDED) {
        watched->state = WATCHED_IDLE;
        watched->half_closed = false;
        watched->deadline = clock_seconds() + watch->idle_seconds + watch->request_seconds;
    }
    pthread_mutex_unlock(&watch->lock);
    return late;
}
