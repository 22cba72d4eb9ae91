/* One thread looks twice a second at the connections that wait for (the rest of) a request.
 *
 * States of a connection: idle (nothing of a request is known), begun (its first line is there),
 * arrived (the server works on it, or sends: not looked at), ended (by us). To end one is to shut
 * its socket down; libmicrohttpd sees that and closes it. A socket is touched under the lock only,
 * and watch_remove comes before its number can be somebody else's.
 *
 * While all places are taken, those idle or begun for longer than a second make room, a quarter of
 * the places at a time, the longest first. A file that comes at its rate is always new.
 *
 * A client may close its sending half behind a whole request and read the answer (unless a worker
 * makes it: libmicrohttpd may then close the connection before it sends). One that has done so
 * while the server still waits for bytes is gone: nothing of it is unread, twice, half a second
 * apart, so that what is on its way through the server is not taken for missing. */
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/thread.h"
#include "http.h"

#define ROUND_SECONDS   0.5
#define CROWDED_SECONDS 1.0 /* that nobody has to make room before */

enum watched_state { WATCHED_IDLE, WATCHED_BEGUN, WATCHED_ARRIVED, WATCHED_ENDED };

struct watched {
    struct watched *next, *previous;
    int fd;
    enum watched_state state;
    bool half_closed; /* at the last look */
    bool late;
    double since;    /* it is waited for so long */
    double patience; /* and for so many seconds at most */
};

struct watch {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool running, closing;
    int request_seconds, idle_seconds;
    size_t places, n; /* of connections; of those that are watched and not ended */
    struct watched *first;
    struct text late, crowded; /* answers to a request that does not arrive in time */
};

static int make_answer(struct text *out, const char *detail, struct err *err)
{
    struct reply reply = {0};

    problem_set(&reply, 408, "timeout", "%s", detail);
    text_append(out,
                "HTTP/1.1 408 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                problem_title(408), reply.type, reply.body.length);
    text_append_bytes(out, reply.body.data, reply.body.length);
    reply_clear(&reply);
    return out->failed ? err_no_memory(err) : 0;
}

static int make_answers(struct watch *watch, struct err *err)
{
    char detail[128];
    int rc;

    snprintf(detail, sizeof detail,
             "the request did not arrive within %d seconds (a file: at %d bytes a second)",
             watch->request_seconds, WATCH_FILE_BYTES_PER_SECOND);
    rc = make_answer(&watch->late, detail, err);
    return rc ? rc
              : make_answer(&watch->crowded,
                            "the request has not arrived yet, and others wait for its connection's "
                            "place",
                            err);
}

/* Nothing else writes to the socket before the request has arrived. `answer` may be NULL: nobody is
 * there to read it. */
static void end(struct watch *watch, struct watched *watched, const struct text *answer)
{
    if (answer && watched->state == WATCHED_BEGUN)
        (void)!send(watched->fd, answer->data, answer->length, MSG_DONTWAIT | MSG_NOSIGNAL);
    watched->late = answer != NULL;
    watched->state = WATCHED_ENDED;
    watch->n--;
    shutdown(watched->fd, SHUT_RDWR);
}

static bool is_waited_for(const struct watched *watched)
{
    return watched->state == WATCHED_IDLE || watched->state == WATCHED_BEGUN;
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

    if (!is_waited_for(watched))
        return;
    closed = left(watched);
    if (now >= watched->since + watched->patience)
        end(watch, watched, closed ? NULL : &watch->late);
    else if (closed && watched->half_closed)
        end(watch, watched, NULL);
    else
        watched->half_closed = closed;
}

static int by_wait(const void *a, const void *b)
{
    const struct watched *x = *(const struct watched *const *)a;
    const struct watched *y = *(const struct watched *const *)b;

    return (x->since > y->since) - (x->since < y->since);
}

static void make_room(struct watch *watch, double now)
{
    size_t n = 0, most = (watch->places + 3) / 4;
    struct watched **waiting;

    if (watch->n < watch->places)
        return;
    waiting = malloc(watch->n * sizeof *waiting);
    for (struct watched *watched = watch->first; waiting && watched; watched = watched->next)
        if (is_waited_for(watched) && now - watched->since >= CROWDED_SECONDS)
            waiting[n++] = watched;
    if (n > 0)
        qsort(waiting, n, sizeof *waiting, by_wait);
    for (size_t i = 0; i < n && i < most; i++)
        end(watch, waiting[i], &watch->crowded);
    free(waiting);
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
        make_room(watch, now);
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

int watch_open(struct watch **out, int places, int request_seconds, int idle_seconds,
               struct err *err)
{
    struct watch *watch = calloc(1, sizeof *watch);
    int rc;

    if (!watch)
        return err_no_memory(err);
    watch->places = (size_t)places;
    watch->request_seconds = request_seconds;
    watch->idle_seconds = idle_seconds;
    pthread_mutex_init(&watch->lock, NULL);
    thread_condition_open(&watch->wake);
    rc = make_answers(watch, err);
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
    text_free(&watch->crowded);
    free(watch);
}

struct watched *watch_add(struct watch *watch, int fd)
{
    struct watched *watched = calloc(1, sizeof *watched);

    if (!watched)
        return NULL;
    watched->fd = fd;
    watched->since = clock_seconds();
    watched->patience = watch->request_seconds;
    pthread_mutex_lock(&watch->lock);
    watch->n++;
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
    if (watched->state != WATCHED_ENDED)
        watch->n--;
    pthread_mutex_unlock(&watch->lock);
    free(watched);
}

/* The first request's time began with its connection. */
void watch_begun(struct watch *watch, struct watched *watched)
{
    double now = clock_seconds(), since;

    if (!watched)
        return;
    pthread_mutex_lock(&watch->lock);
    if (watched->state == WATCHED_IDLE) {
        since = watched->since + watched->patience - watch->request_seconds;
        watched->state = WATCHED_BEGUN;
        watched->since = since < now ? since : now;
        watched->patience = watch->request_seconds;
    }
    pthread_mutex_unlock(&watch->lock);
}

/* The time that these bytes may take is not counted, but no request begins in the future: who was
 * quick before may not be slow for long. */
void watch_file(struct watch *watch, struct watched *watched, size_t bytes)
{
    double now = clock_seconds();

    if (!watched)
        return;
    pthread_mutex_lock(&watch->lock);
    if (watched->state == WATCHED_BEGUN) {
        watched->since += (double)bytes / WATCH_FILE_BYTES_PER_SECOND;
        watched->since = now < watched->since ? now : watched->since;
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
        watched->since = clock_seconds();
        watched->patience = watch->idle_seconds + watch->request_seconds;
    }
    pthread_mutex_unlock(&watch->lock);
    return late;
}
