/* One thread that wakes the streams. The database's writer only leaves a number and a signal. The
 * thread wakes streams at most 20 times a second, and looks each second for clients that are
 * gone. Everything here is under one lock; connections are suspended and resumed under it, so that
 * no wake-up is lost between a stream's last look and its sleep. */
#include "hub.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "http.h"

#define ROUND_SECONDS 0.05

struct hub {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool running, closing, ended;
    struct db *db;
    int64_t latest, told;
    struct hub_wait *first;
    int n, most;
};

static void announce(void *context, int64_t sequence)
{
    struct hub *hub = context;

    pthread_mutex_lock(&hub->lock);
    if (sequence > hub->latest)
        hub->latest = sequence;
    pthread_cond_signal(&hub->wake);
    pthread_mutex_unlock(&hub->lock);
}

static void rouse(struct hub_wait *wait)
{
    if (!wait->suspended)
        return;
    wait->suspended = false;
    MHD_resume_connection(wait->connection);
}

static bool left(const struct hub_wait *wait)
{
    struct pollfd fd = {.fd = wait->fd, .events = POLLRDHUP};

    return wait->fd >= 0 && poll(&fd, 1, 0) > 0 &&
           (fd.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

static void tell(struct hub *hub, bool all, bool look)
{
    double now = clock_seconds();

    for (struct hub_wait *wait = hub->first; wait; wait = wait->next) {
        if (look && wait->suspended && left(wait))
            wait->gone = true;
        if (all || wait->gone || (wait->suspended && now >= wait->beat))
            rouse(wait);
    }
}

static void *hub_main(void *context)
{
    struct hub *hub = context;
    double looked = 0;

    pthread_mutex_lock(&hub->lock);
    while (!hub->closing) {
        struct timespec second, pause = {0, (long)(ROUND_SECONDS * 1e9)};
        bool look = clock_seconds() - looked >= 1, all = hub->latest != hub->told;

        hub->told = hub->latest;
        if (look)
            looked = clock_seconds();
        tell(hub, all, look);
        pthread_mutex_unlock(&hub->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&hub->lock);
        second = thread_deadline(clock_seconds() + 1);
        if (!hub->closing && hub->latest == hub->told)
            pthread_cond_timedwait(&hub->wake, &hub->lock, &second);
    }
    pthread_mutex_unlock(&hub->lock);
    return NULL;
}

int hub_open(struct hub **out, struct db *db, int most, struct err *err)
{
    struct hub *hub = calloc(1, sizeof *hub);

    if (!hub)
        return err_no_memory(err);
    hub->db = db;
    hub->most = most;
    pthread_mutex_init(&hub->lock, NULL);
    thread_condition_open(&hub->wake);
    if (pthread_create(&hub->thread, NULL, hub_main, hub) != 0) {
        hub_close(hub);
        return err_set(err, ERR_IO, "cannot start a thread");
    }
    hub->running = true;
    db_listen(db, announce, hub);
    *out = hub;
    return 0;
}

void hub_end_streams(struct hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->ended = true;
    tell(hub, true, false);
    pthread_mutex_unlock(&hub->lock);
}

void hub_close(struct hub *hub)
{
    if (!hub)
        return;
    if (hub->running) {
        db_listen(hub->db, NULL, NULL);
        pthread_mutex_lock(&hub->lock);
        hub->closing = true;
        pthread_cond_signal(&hub->wake);
        pthread_mutex_unlock(&hub->lock);
        pthread_join(hub->thread, NULL);
    }
    pthread_cond_destroy(&hub->wake);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

int hub_join(struct hub *hub, struct hub_wait *wait, struct MHD_Connection *connection,
             struct err *err)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int rc = 0;

    *wait = (struct hub_wait){.connection = connection, .fd = info ? info->connect_fd : -1};
    pthread_mutex_lock(&hub->lock);
    if (hub->ended) {
        rc = err_set(err, ERR_LIMIT, "the server is stopping");
    } else if (hub->n >= hub->most) {
        rc = err_set(err, ERR_LIMIT, "there are %d event streams already", hub->n);
    } else {
        hub->n++;
        wait->listed = true;
        wait->next = hub->first;
        if (hub->first)
            hub->first->previous = wait;
        hub->first = wait;
    }
    pthread_mutex_unlock(&hub->lock);
    return rc;
}

void hub_leave(struct hub *hub, struct hub_wait *wait)
{
    if (!wait->listed)
        return;
    pthread_mutex_lock(&hub->lock);
    if (wait->previous)
        wait->previous->next = wait->next;
    else
        hub->first = wait->next;
    if (wait->next)
        wait->next->previous = wait->previous;
    hub->n--;
    wait->listed = false;
    pthread_mutex_unlock(&hub->lock);
}

bool hub_sleep(struct hub *hub, struct hub_wait *wait, int64_t seen, double beat)
{
    bool sleeps;

    pthread_mutex_lock(&hub->lock);
    sleeps = !hub->ended && !wait->gone && hub->latest <= seen && clock_seconds() < beat;
    if (sleeps) {
        wait->suspended = true;
        wait->beat = beat;
        MHD_suspend_connection(wait->connection);
    }
    pthread_mutex_unlock(&hub->lock);
    return sleeps;
}

bool hub_ended(struct hub *hub, const struct hub_wait *wait)
{
    bool ended;

    pthread_mutex_lock(&hub->lock);
    ended = hub->ended || wait->gone;
    pthread_mutex_unlock(&hub->lock);
    return ended;
}

int64_t hub_latest(struct hub *hub)
{
    int64_t latest;

    pthread_mutex_lock(&hub->lock);
    latest = hub->latest;
    pthread_mutex_unlock(&hub->lock);
    return latest;
}

int hub_streams(struct hub *hub)
{
    int n;

    pthread_mutex_lock(&hub->lock);
    n = hub->n;
    pthread_mutex_unlock(&hub->lock);
    return n;
}
