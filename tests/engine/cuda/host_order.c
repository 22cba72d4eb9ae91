#include "host_order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STREAMS = 8, EVENTS = 64, ACCESSES_MAX = 1 << 18, HOST_READS_MAX = 1 << 12 };

struct clock {
    int64_t seen[STREAMS];
};

struct access {
    const char *what;
    const char *begin, *end;
    bool written;
    int stream;
    int64_t time;
};

struct host_read {
    const unsigned char *from;
    size_t bytes;
    uint64_t sum; /* of what was to be read */
    int stream;
    int64_t time;
};

static _Thread_local struct {
    struct clock stream[STREAMS], event[EVENTS], host;
    struct access *access;
    int n, n_reads;
    struct host_read read[HOST_READS_MAX];
} order;

/* FNV-1a */
static uint64_t sum_of(const unsigned char *bytes, size_t n)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

void order_reset(void)
{
    free(order.access);
    memset(&order, 0, sizeof order);
}

static void join(struct clock *to, const struct clock *from)
{
    for (int i = 0; i < STREAMS; i++)
        if (from->seen[i] > to->seen[i])
            to->seen[i] = from->seen[i];
}

static void check(const char *what, int stream, const struct use *use)
{
    const char *begin = use->at, *end = begin + use->bytes;

    for (int i = 0; i < order.n; i++) {
        const struct access *a = &order.access[i];

        if (a->begin < end && begin < a->end && (a->written || use->written) &&
            a->time > order.stream[stream].seen[a->stream])
            fail_msg("%s on stream %d and %s on stream %d use the same memory in no order", what,
                     stream, a->what, a->stream);
    }
}

void order_access(const char *what, int stream, const struct use *uses, int n)
{
    struct clock *clock = &order.stream[stream];
    int64_t time;

    if (!order.access)
        order.access = malloc(ACCESSES_MAX * sizeof *order.access);
    assert_non_null(order.access);
    join(clock, &order.host);
    for (int i = 0; i < n; i++)
        check(what, stream, &uses[i]);
    time = ++clock->seen[stream];
    for (int i = 0; i < n; i++) {
        assert_true(order.n < ACCESSES_MAX);
        order.access[order.n++] = (struct access){
            what,   uses[i].at, (const char *)uses[i].at + uses[i].bytes, uses[i].written,
            stream, time};
    }
}

void order_host_read(int stream, const void *from, size_t bytes)
{
    assert_true(order.n_reads < HOST_READS_MAX);
    order.read[order.n_reads++] = (struct host_read){from, bytes, sum_of(from, bytes), stream,
                                                     order.stream[stream].seen[stream]};
}

void order_host_forget(const void *at, size_t bytes)
{
    const unsigned char *begin = at, *end = begin + bytes;

    for (int i = 0; i < order.n_reads; i++)
        if (order.read[i].from < end && begin < order.read[i].from + order.read[i].bytes)
            fail_msg("host memory is closed while stream %d may still read it",
                     order.read[i].stream);
}

/* Host memory that was read must not have changed before that was known. */
static void drop_host_reads(void)
{
    int n = 0;

    for (int i = 0; i < order.n_reads; i++) {
        const struct host_read *r = &order.read[i];

        if (r->time > order.host.seen[r->stream])
            order.read[n++] = *r;
        else if (sum_of(r->from, r->bytes) != r->sum)
            fail_msg("%zu bytes of host memory were changed while stream %d may still read them",
                     r->bytes, r->stream);
    }
    order.n_reads = n;
}

void order_record(int event, int stream)
{
    join(&order.stream[stream], &order.host);
    order.event[event] = order.stream[stream];
}

void order_follow(int stream, int event)
{
    join(&order.stream[stream], &order.event[event]);
}

/* What the host has waited for needs no looking after. */
static void drop_done(void)
{
    int n = 0;

    for (int i = 0; i < order.n; i++)
        if (order.access[i].time > order.host.seen[order.access[i].stream])
            order.access[n++] = order.access[i];
    order.n = n;
    drop_host_reads();
}

void order_wait(int stream)
{
    join(&order.host, &order.stream[stream]);
    drop_done();
}

void order_await(int event)
{
    join(&order.host, &order.event[event]);
    drop_done();
}

void order_forget(const void *at, size_t bytes)
{
    const char *begin = at, *end = begin + bytes;

    for (int i = 0; i < order.n; i++)
        if (order.access[i].begin < end && begin < order.access[i].end)
            fail_msg("memory is closed while %s on stream %d may still use it",
                     order.access[i].what, order.access[i].stream);
}
