/* Ranks whose vectors lie in the host's memory, as threads of one process. They meet, each does its
 * stretch of the sum for all, and they meet again before anybody changes a vector. */
#include "communicator/communicator.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"

struct given {
    void *data;
    double share;
};

struct host {
    struct communicator base;
    const struct backend_class *of;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int arrived;       /* at the meeting under way */
    unsigned meetings; /* that are over */
    bool aborted;
    struct given given[COMMUNICATOR_RANKS_MAX]; /* between two meetings */
};

static int host_open(struct communicator **out, const struct backend_class *class, int ranks,
                     int device, struct err *err)
{
    struct host *host;

    (void)device;
    if (!class->vector_data || ranks < 1 || ranks > COMMUNICATOR_RANKS_MAX)
        return err_set(err, ERR_UNSUPPORTED, "%d ranks of the device %s", ranks, class->name);
    host = calloc(1, sizeof *host);
    if (!host)
        return err_no_memory(err);
    host->base = (struct communicator){.class = &communicator_host, .ranks = ranks};
    host->of = class;
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->changed, NULL);
    *out = &host->base;
    return 0;
}

static void host_close(struct communicator *communicator)
{
    struct host *host = (struct host *)communicator;

    if (!host)
        return;
    pthread_cond_destroy(&host->changed);
    pthread_mutex_destroy(&host->lock);
    free(host);
}

static void host_abort(struct communicator *communicator)
{
    struct host *host = (struct host *)communicator;

    pthread_mutex_lock(&host->lock);
    host->aborted = true;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

/* Waits for all ranks. */
static int meet(struct host *host, struct err *err)
{
    unsigned meeting;
    bool over;

    pthread_mutex_lock(&host->lock);
    meeting = host->meetings;
    if (++host->arrived == host->base.ranks) {
        host->arrived = 0;
        host->meetings++;
        pthread_cond_broadcast(&host->changed);
    }
    while (host->meetings == meeting && !host->aborted)
        pthread_cond_wait(&host->changed, &host->lock);
    over = host->meetings != meeting && !host->aborted;
    pthread_mutex_unlock(&host->lock);
    return over ? 0 : err_set(err, ERR_DEVICE, "another rank failed");
}

enum { BLOCK = 512 };

/* Elements begin … end − 1, in the order of the ranks. */
#define SUM(name, real)                                                                            \
    static void name(const struct host *host, size_t begin, size_t end)                            \
    {                                                                                              \
        for (size_t at = begin, n; at < end; at += n) {                                            \
            double sum[BLOCK] = {0};                                                               \
                                                                                                   \
            n = end - at < BLOCK ? end - at : BLOCK;                                               \
            for (int r = 0; r < host->base.ranks; r++) {                                           \
                const real *from = (const real *)host->given[r].data + at;                         \
                double share = host->given[r].share;                                               \
                                                                                                   \
                for (size_t i = 0; i < n && share != 0; i++)                                       \
                    sum[i] += share * (double)from[i];                                             \
            }                                                                                      \
            for (int r = 0; r < host->base.ranks; r++)                                             \
                for (size_t i = 0; i < n; i++)                                                     \
                    ((real *)host->given[r].data)[at + i] = (real)sum[i];                          \
        }                                                                                          \
    }

SUM(sum_f32, float)
SUM(sum_f64, double)

static void combine(const struct host *host, int rank, const struct exchange *exchange)
{
    size_t ranks = (size_t)host->base.ranks, r = (size_t)rank;
    size_t begin = exchange->n * r / ranks, end = exchange->n * (r + 1) / ranks;

    if (exchange->from >= 0 && exchange->from != rank)
        memcpy(host->given[rank].data, host->given[exchange->from].data,
               exchange->n * real_bytes(host->of->real));
    else if (exchange->from < 0 && host->of->real == REAL_F32)
        sum_f32(host, begin, end);
    else if (exchange->from < 0)
        sum_f64(host, begin, end);
}

static int host_exchange(struct communicator *communicator, int rank,
                         const struct exchange *exchange, struct err *err)
{
    struct host *host = (struct host *)communicator;
    int rc;

    host->given[rank] = (struct given){host->of->vector_data(exchange->vector), exchange->share};
    rc = meet(host, err);
    if (rc)
        return rc;
    combine(host, rank, exchange);
    return meet(host, err);
}

const struct communicator_class communicator_host = {
    .open = host_open, .close = host_close, .exchange = host_exchange, .abort = host_abort};
