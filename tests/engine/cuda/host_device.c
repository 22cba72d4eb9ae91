/* Streams, events and graphs on the host, and what all of the device counts. See host_device.h. */
#include "host_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/cuda.h"
#include "host_late.h"
#include "host_memory.h"
#include "host_order.h"

enum { LAUNCHES_MAX = 20000, EVENTS_MAX = 64 };

/* What a stream is given while it is captured. */
enum kind { LAUNCH, RECORD, FOLLOW };
struct CUgraphExec_st {
    int n, room;
    struct entry {
        enum kind kind;
        struct launch launch;
        struct CUstream_st *stream;
        struct CUevent_st *event;
    } * entry;
};

struct CUstream_st {
    int number;
    bool captured; /* what it is given is kept */
};

struct CUevent_st {
    int number;
    bool captured;
};

/* A thread has devices of its own, as ranks have: see host_device.h. */
static _Thread_local struct {
    int open_things, n_streams, n_events;
    struct host_launch launches[LAUNCHES_MAX];
    int n_launches, captures, replays, waits, calls;
    struct CUgraphExec_st *graph; /* being captured */
    bool inside;                  /* a launch is being done: what it asks for is part of it */
    bool nothing_opens;
    const struct host_trouble *trouble;
} host;

static void count_opened(void)
{
    if (host.nothing_opens)
        fail_msg("something of the device is opened by who only counts");
    host.open_things++;
}

int cuda_failed(int code, const char *what, struct err *err)
{
    return code ? err_set(err, cuda_fault(code), "%s: error %d", what, code) : 0;
}

static int ask(struct err *err)
{
    return host.trouble && !host.inside ? host.trouble->work(err) : 0;
}

static int choose(int device, struct err *err)
{
    return device < HOST_DEVICES ? 0 : err_set(err, ERR_DEVICE, "there is no device %d", device);
}

static int open_memory(void **out, size_t bytes, struct err *err)
{
    int rc = host.trouble ? host.trouble->memory(bytes, err) : 0;

    rc = rc ? rc : memory_open(out, bytes, err);
    if (!rc)
        count_opened();
    return rc;
}

static void close_memory(void *at)
{
    size_t bytes;

    if (!at)
        return;
    bytes = memory_close(at);
    host.open_things--;
    if (host.trouble)
        host.trouble->closed(bytes);
}

static int open_host_memory(void **out, size_t bytes, struct err *err)
{
    int rc = memory_host_open(out, bytes, err);

    if (!rc)
        count_opened();
    return rc;
}

static void close_host_memory(void *memory)
{
    if (!memory)
        return;
    memory_host_close(memory);
    host.open_things--;
}

/* A copy or clear by itself; one that is part of a launch stands in its uses. */
static void note(const char *what, const void *from, const void *to, size_t bytes,
                 struct CUstream_st *stream)
{
    struct use uses[2];
    int n = 0;

    if (host.inside)
        return;
    if (host.graph)
        fail_msg("%s while a stream is captured", what);
    if (from)
        uses[n++] = (struct use){from, bytes, false};
    if (to)
        uses[n++] = (struct use){to, bytes, true};
    order_access(what, stream->number, uses, n);
}

/* An upload, a download, a copy or a clear. */
static void do_transfer(const struct late *l)
{
    static const char *const names[] = {[LATE_UPLOAD] = "upload",
                                        [LATE_DOWNLOAD] = "download",
                                        [LATE_COPY] = "copy",
                                        [LATE_CLEAR] = "clear"};
    bool reads = l->kind == LATE_DOWNLOAD || l->kind == LATE_COPY,
         writes = l->kind != LATE_DOWNLOAD;

    note(names[l->kind], reads ? l->from : NULL, writes ? l->to : NULL, l->bytes, l->stream);
    if (l->kind == LATE_UPLOAD && !host.inside)
        order_host_read(l->stream->number, l->from, l->bytes);
    if (writes)
        memory_mark_written(l->to, l->bytes);
    if (l->kind == LATE_CLEAR)
        memset(l->to, 0, l->bytes);
    else
        memcpy(l->to, l->from, l->bytes);
}

static int do_launch(const struct launch *launch, struct CUstream_st *stream, struct err *err)
{
    int rc = ask(err);

    if (rc)
        return rc;
    if (host.trouble)
        host.n_launches = 0;
    assert_true(host.n_launches < LAUNCHES_MAX);
    host.launches[host.n_launches++] = (struct host_launch){launch->what, stream->number};
    for (int i = 0; i < launch->n; i++)
        if (!launch->use[i].written)
            memory_check_written(launch->what, i, launch->use[i].at, launch->use[i].bytes);
    order_access(launch->what, stream->number, launch->use, launch->n);
    host.inside = true;
    rc = launch->go(launch->work, stream, err);
    host.inside = false;
    for (int i = 0; i < launch->n; i++)
        if (launch->use[i].written)
            memory_mark_written(launch->use[i].at, launch->use[i].bytes);
    return rc;
}

static int do_replay(const struct CUgraphExec_st *graph, struct err *err)
{
    int rc = 0;

    for (int i = 0; i < graph->n && !rc; i++) {
        const struct entry *entry = &graph->entry[i];

        if (entry->kind == LAUNCH)
            rc = do_launch(&entry->launch, entry->stream, err);
        else if (entry->kind == RECORD)
            order_record(entry->event->number, entry->stream->number);
        else
            order_follow(entry->stream->number, entry->event->number);
    }
    return rc;
}

static int do_now(const struct late *l, struct err *err)
{
    switch (l->kind) {
    case LATE_LAUNCH:
        return do_launch(l->launch, l->stream, err);
    case LATE_RECORD:
        order_record(l->event->number, l->stream->number);
        return 0;
    case LATE_FOLLOW:
        order_follow(l->stream->number, l->event->number);
        return 0;
    case LATE_REPLAY:
        return do_replay(l->graph, err);
    default:
        do_transfer(l);
        return 0;
    }
}

/* At once or later. What a launch asks for while it is done, it gets. */
static int give(const struct late *late, struct err *err)
{
    bool transfer = late->kind <= LATE_CLEAR; /* each launch is asked of when it is done */
    int rc = transfer ? ask(err) : 0;

    if (rc)
        return rc;
    if (host.inside)
        return do_now(late, err);
    host.calls += late->kind != LATE_RECORD && late->kind != LATE_FOLLOW;
    return late_keep(late) ? 0 : do_now(late, err);
}

static void catch_up(int end)
{
    const struct late *late;

    while ((late = late_next(end)))
        assert_int_equal(do_now(late, NULL), 0);
}

static int upload(void *to, const void *from, size_t bytes, struct CUstream_st *stream,
                  struct err *err)
{
    return give(&(struct late){LATE_UPLOAD, stream, to, from, bytes}, err);
}

static int download(void *to, const void *from, size_t bytes, struct CUstream_st *stream,
                    struct err *err)
{
    return give(&(struct late){LATE_DOWNLOAD, stream, to, from, bytes}, err);
}

static int copy(void *to, const void *from, size_t bytes, struct CUstream_st *stream,
                struct err *err)
{
    return give(&(struct late){LATE_COPY, stream, to, from, bytes}, err);
}

static int clear(void *at, size_t bytes, struct CUstream_st *stream, struct err *err)
{
    return give(&(struct late){LATE_CLEAR, stream, at, NULL, bytes}, err);
}

static int stream_open(struct CUstream_st **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_no_memory(err);
    (*out)->number = host.n_streams++;
    count_opened();
    return 0;
}

static void stream_close(struct CUstream_st *stream)
{
    if (--host.open_things >= 0)
        free(stream);
}

static int event_open(struct CUevent_st **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_no_memory(err);
    (*out)->number = host.n_events++ % EVENTS_MAX;
    count_opened();
    return 0;
}

static void event_close(struct CUevent_st *event)
{
    if (--host.open_things >= 0)
        free(event);
}

static void keep(enum kind kind, const struct launch *launch, struct CUstream_st *stream,
                 struct CUevent_st *event)
{
    struct CUgraphExec_st *g = host.graph;
    struct entry *entry;

    if (g->n == g->room) {
        g->room = g->room ? 2 * g->room : 64;
        g->entry = realloc(g->entry, (size_t)g->room * sizeof *g->entry);
        assert_non_null(g->entry);
    }
    entry = &g->entry[g->n++];
    *entry = (struct entry){.kind = kind, .stream = stream, .event = event};
    if (launch) {
        void *work = malloc(launch->work_bytes);

        assert_non_null(work);
        memcpy(work, launch->work, launch->work_bytes);
        entry->launch = *launch;
        entry->launch.work = work;
    }
}

static int launch(const struct launch *launch, struct CUstream_st *stream, struct err *err)
{
    if (stream->captured) {
        keep(LAUNCH, launch, stream, NULL);
        return 0;
    }
    if (host.graph)
        fail_msg("%s goes to a stream that does not follow the captured one", launch->what);
    return give(&(struct late){LATE_LAUNCH, stream, .launch = launch}, err);
}

static int record(struct CUevent_st *event, struct CUstream_st *stream, struct err *err)
{
    event->captured = stream->captured;
    if (!stream->captured)
        return give(&(struct late){LATE_RECORD, stream, .event = event}, err);
    keep(RECORD, NULL, stream, event);
    return 0;
}

static int follow(struct CUstream_st *stream, struct CUevent_st *event, struct err *err)
{
    if (event->captured)
        stream->captured = true;
    if (!stream->captured)
        return give(&(struct late){LATE_FOLLOW, stream, .event = event}, err);
    keep(FOLLOW, NULL, stream, event);
    return 0;
}

static void check_waiting(void)
{
    if (host.graph)
        fail_msg("the host waits while a stream is captured");
}

static int wait(struct CUstream_st *stream, struct err *err)
{
    int rc = ask(err);

    check_waiting();
    host.waits++;
    catch_up(late_end());
    order_wait(stream->number); /* nor does a device that failed do more */
    return rc;
}

static int await(struct CUevent_st *event, struct err *err)
{
    int rc = ask(err);

    check_waiting();
    catch_up(late_end_of(event));
    order_await(event->number);
    return rc;
}

static int capture_begin(struct CUstream_st *stream, struct err *err)
{
    assert_null(host.graph);
    host.graph = calloc(1, sizeof *host.graph);
    if (!host.graph)
        return err_no_memory(err);
    stream->captured = true;
    return 0;
}

static int capture_end(struct CUstream_st *stream, struct CUgraphExec_st **out, struct err *err)
{
    struct CUgraphExec_st *g = host.graph;

    (void)err;
    host.graph = NULL;
    for (int i = 0; i < g->n; i++)
        g->entry[i].stream->captured = false;
    stream->captured = false;
    if (g->n > 0 && g->entry[g->n - 1].stream != stream)
        fail_msg("a captured stream was not joined");
    host.captures++;
    count_opened();
    *out = g;
    return 0;
}

static int replay(struct CUgraphExec_st *graph, struct CUstream_st *stream, struct err *err)
{
    host.replays++;
    return give(&(struct late){LATE_REPLAY, stream, .graph = graph}, err);
}

static void graph_close(struct CUgraphExec_st *graph)
{
    if (late_has(graph))
        fail_msg("a graph is closed that is not done");
    for (int i = 0; i < graph->n; i++)
        if (graph->entry[i].kind == LAUNCH)
            free((void *)(uintptr_t)graph->entry[i].launch.work);
    free(graph->entry);
    free(graph);
    host.open_things--;
}

const struct runtime runtime_cuda = {
    .choose = choose,
    .memory_open = open_memory,
    .memory_close = close_memory,
    .memory_left = memory_left,
    .host_open = open_host_memory,
    .host_close = close_host_memory,
    .upload = upload,
    .download = download,
    .copy = copy,
    .clear = clear,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .event_open = event_open,
    .event_close = event_close,
    .record = record,
    .follow = follow,
    .wait = wait,
    .await = await,
    .capture_begin = capture_begin,
    .capture_end = capture_end,
    .replay = replay,
    .graph_close = graph_close,
    .launch = launch,
};

void host_device_reset(void)
{
    host.n_launches = host.captures = host.replays = host.waits = host.calls = 0;
}

int host_device_launches(const struct host_launch **out)
{
    *out = host.launches;
    return host.n_launches;
}

int host_device_launches_of(const char *what)
{
    int found = 0;

    for (int i = 0; i < host.n_launches; i++)
        found += !strcmp(host.launches[i].what, what);
    return found;
}

int host_device_captures(void)
{
    return host.captures;
}

int host_device_replays(void)
{
    return host.replays;
}

int host_device_waits(void)
{
    return host.waits;
}

int host_device_calls(void)
{
    return host.calls;
}

void host_device_lazy(bool lazy)
{
    catch_up(late_end());
    late_begin(lazy);
}

int host_device_open_things(void)
{
    return host.open_things;
}

void host_device_trouble(const struct host_trouble *trouble)
{
    host.trouble = trouble;
}

void host_device_watch_opening(bool forbidden)
{
    host.nothing_opens = forbidden;
}

static int open_with(enum compute compute, struct backend **out,
                     const struct backend_options *options, struct err *err)
{
    struct backend_options with = *options;

    with.compute = compute;
    with.deterministic = true;
    host.n_streams = host.n_events = 0;
    order_reset();
    return backend_cuda.open(out, &with, err);
}

#define OPEN(name, compute)                                                                        \
    static int name(struct backend **out, const struct backend_options *options, struct err *err)  \
    {                                                                                              \
        return open_with(compute, out, options, err);                                              \
    }

OPEN(open_f32, COMPUTE_F32)
OPEN(open_tf32, COMPUTE_TF32)
OPEN(open_bf16, COMPUTE_BF16)

const struct backend_class *host_device(enum compute compute)
{
    static struct backend_class classes[3];
    struct backend_class *class = &classes[compute];

    *class = backend_cuda;
    class->open = compute == COMPUTE_F32    ? open_f32
                  : compute == COMPUTE_TF32 ? open_tf32
                                            : open_bf16;
    return class;
}
