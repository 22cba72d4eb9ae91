/* Server-sent events. Rows are read only when the socket takes more, a small block at a time; a
 * stream that has nothing to say sleeps in the hub. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/probe.h"
#include "facts.h"
#include "hub.h"
#include "job_json.h"
#include "json_write.h"
#include "routes.h"
#include "series.h"

#define BLOCK_EVENTS 64
#define RETRY_MS     2000

struct events {
    struct api *api;
    int64_t job, seen; /* job 0: all */
    bool fresh;        /* begins with the present state */
    bool over;         /* the job and its probes have ended: the rest is sent, then it ends */
    bool look;         /* a state has changed: whether it is over is to be found out */
    bool begun;
    struct hub_wait wait;
    double beat; /* when it says that it lives */
    struct text text;
    size_t sent;
    int block; /* events in the present block */
};

static bool ended(enum job_state state)
{
    return state == JOB_SUCCEEDED || state == JOB_FAILED || state == JOB_CANCELLED;
}

/* What it tells, a JSON value, follows. */
static void open_event(struct text *out, int64_t sequence, const char *kind)
{
    text_append(out, "id: %lld\nevent: %s\ndata: ", (long long)sequence, kind);
}

static void close_event(struct text *out)
{
    text_append(out, "\n\n");
}

static void put_probe(struct text *out, const struct db_event *event)
{
    const struct db_event_probe *probe = &event->probe;

    json_put_int(out, "number", probe->number);
    json_put_string(out, "kind", probe->kind);
    if (event->kind == EVENT_PROBE) {
        json_put_int(out, "update", (int64_t)probe->update);
        json_put_string(out, "state", probe_state_name((enum probe_state)probe->state));
        json_put_string(out, "reason", event->text);
    } else {
        json_put_real(out, "progress", probe->progress);
    }
}

static void put_event(struct text *out, const struct db_event *event)
{
    static const char *const kinds[] = {
        [EVENT_STATE] = "state",           [EVENT_LOSS] = "update",
        [EVENT_EPOCH] = "epoch",           [EVENT_TELEMETRY] = "telemetry",
        [EVENT_CHECKPOINT] = "checkpoint", [EVENT_MESSAGE] = "message",
        [EVENT_PROBE] = "probe",           [EVENT_PROBE_PROGRESS] = "probe_progress",
        [EVENT_DELETED] = "deleted"};

    open_event(out, event->sequence, kinds[event->kind]);
    json_open(out, '{');
    json_put_int(out, "job", event->job);
    json_put_time(out, "at", event->wall_ms);
    if (event->kind == EVENT_STATE) {
        json_put_string(out, "state", job_state_name(event->state));
        json_put_string(out, "reason", event->text);
        json_put_int(out, "from_update", (int64_t)event->checkpoint_update);
    } else if (event->kind == EVENT_LOSS) {
        json_key(out, "loss");
        loss_json(out, &event->loss);
    } else if (event->kind == EVENT_EPOCH) {
        json_key(out, "epoch");
        epoch_json(out, &event->epoch);
    } else if (event->kind == EVENT_TELEMETRY) {
        json_key(out, "telemetry");
        telemetry_json(out, &event->telemetry);
    } else if (event->kind == EVENT_CHECKPOINT) {
        json_put_int(out, "update", (int64_t)event->checkpoint_update);
    } else if (event->kind == EVENT_PROBE || event->kind == EVENT_PROBE_PROGRESS) {
        put_probe(out, event);
    } else if (event->kind == EVENT_MESSAGE) {
        json_put_string(out, "text", event->text ? event->text : "");
    }
    json_close(out, '}');
    close_event(out);
}

static int take_event(void *context, const struct db_event *event)
{
    struct events *events = context;

    put_event(&events->text, event);
    events->seen = event->sequence;
    events->block++;
    events->look = events->look || event->kind == EVENT_STATE || event->kind == EVENT_PROBE ||
                   event->kind == EVENT_DELETED;
    return 0;
}

/* Whether nothing more is to come of the job. What is there beyond the events that were read is
 * read before the stream ends. */
static int look_whether_over(struct events *events, struct db_reader *reader, struct err *err)
{
    struct db_job job;
    int64_t active = 0;
    int rc = db_job_get(reader, events->job, &job, err);

    if (rc == ERR_NOT_FOUND && events->begun) { /* it was deleted */
        events->over = true;
        return 0;
    }
    if (rc)
        return rc;
    events->look = false;
    events->over = ended(job.state);
    db_job_free(&job);
    if (!events->over)
        return 0;
    rc = db_probes_active(reader, events->job, &active, err);
    events->over = active == 0;
    return rc;
}

/* Whether the client knows nothing of what happened here. One that names an event which has not
 * happened yet has seen another state folder; it would wait for long, and for the wrong thing. */
static bool is_new(const struct events *events, int64_t last)
{
    return events->fresh || events->seen > last;
}

/* A new client begins after `sequence`, with the job as it is. */
static int put_job(struct events *events, struct db_reader *reader, int64_t sequence,
                   struct err *err)
{
    struct api_facts facts;
    struct db_job job;
    int rc = db_job_get(reader, events->job, &job, err);
    bool known = facts_known(events->api->facts, events->job, &facts);

    events->look = true;
    if (rc)
        return rc == ERR_NOT_FOUND ? 0 : rc; /* deleted since it was asked for: it is over */
    open_event(&events->text, sequence, "job");
    job_json_write(&events->text, events->api, &job, known ? &facts : NULL);
    close_event(&events->text);
    db_job_free(&job);
    return 0;
}

static void put_start(struct events *events, int64_t sequence)
{
    open_event(&events->text, sequence, "start");
    json_open(&events->text, '{');
    json_put_int(&events->text, "sequence", sequence);
    json_close(&events->text, '}');
    close_event(&events->text);
}

/* The first thing that is sent: how soon to come back, and where a new client begins. */
static int begin(struct events *events, struct db_reader *reader, struct err *err)
{
    int64_t last;
    int rc = db_events_last(reader, &last, err);

    if (rc)
        return rc;
    events->begun = true;
    text_append(&events->text, "retry: %d\n\n", RETRY_MS);
    if (!is_new(events, last))
        return 0;
    events->seen = last;
    if (events->job)
        return put_job(events, reader, last, err);
    put_start(events, last);
    return 0;
}

/* Fills the text; 0 with nothing in it: nothing is new. */
static int fetch(struct events *events, bool *more)
{
    struct db_reader *reader;
    struct err err;
    int rc = readers_take(events->api->readers, &reader, &err);

    if (rc)
        return rc;
    events->block = 0;
    if (!events->begun)
        rc = begin(events, reader, &err);
    if (rc == 0)
        rc = db_events_each(reader, events->job, events->seen, BLOCK_EVENTS, take_event, events,
                            &err);
    if (rc == 0 && events->job && events->look)
        rc = look_whether_over(events, reader, &err);
    *more = events->block == BLOCK_EVENTS;
    readers_give(events->api->readers, reader);
    return rc || events->text.failed ? STREAM_FAIL : 0;
}

/* Fills the text, or says what to give back in its place. */
static ssize_t refill(struct events *events)
{
    struct hub *hub = events->api->hub;
    bool more;

    events->text.length = events->sent = 0;
    for (;;) {
        int64_t latest = hub_latest(hub);
        bool over = events->over;

        if (hub_ended(hub, &events->wait))
            return STREAM_END;
        if (fetch(events, &more))
            return STREAM_FAIL;
        if (events->text.length > 0) {
            events->beat = clock_seconds() + events->api->options.beat_seconds;
            return 1;
        }
        if (over)
            return STREAM_END;
        if (hub_sleep(hub, &events->wait, latest, events->beat))
            return 0;
        if (clock_seconds() >= events->beat) {
            text_append(&events->text, ": heartbeat\n\n");
            events->beat = clock_seconds() + events->api->options.beat_seconds;
            return 1;
        }
    }
}

static ssize_t events_read(void *context, uint64_t position, char *out, size_t size)
{
    struct events *events = context;
    size_t n;

    (void)position;
    if (events->sent == events->text.length) {
        ssize_t rc = refill(events);

        if (rc != 1)
            return rc;
    }
    n = events->text.length - events->sent;
    n = n < size ? n : size;
    memcpy(out, events->text.data + events->sent, n);
    events->sent += n;
    return (ssize_t)n;
}

static void events_close(void *context)
{
    struct events *events = context;

    hub_leave(events->api->hub, &events->wait);
    text_free(&events->text);
    free(events);
}

/* Where the client was; false: it named none. */
static bool last_event(struct request *request, struct reply *reply, int64_t *out)
{
    const char *text = request->last_event_id;
    char *stop;

    if (!text || !*text) {
        *out = request->value[EVENTS_LAST].number;
        return request->value[EVENTS_LAST].given;
    }
    *out = strtoll(text, &stop, 10);
    if (*stop || *text < '0' || *text > '9') {
        reply_error(reply, "header", "Last-Event-ID", "is not the id of an event of this server");
        problem_set(reply, 422, "invalid", "the Last-Event-ID is not valid");
    }
    return true;
}

static int stop_at_first(void *context, const struct db_event *event)
{
    (void)event;
    *(bool *)context = true;
    return 1;
}

/* Checks that the job is there, and whether it has ended and everything was sent. */
static int check_job(struct events *events, bool *done, struct err *err)
{
    struct db_reader *reader;
    int64_t last = 0;
    bool any = false;
    int rc = readers_take(events->api->readers, &reader, err);

    if (rc)
        return rc;
    rc = look_whether_over(events, reader, err);
    if (rc == 0)
        rc = db_events_last(reader, &last, err);
    if (rc == 0 && events->over && !is_new(events, last)) {
        rc = db_events_each(reader, events->job, events->seen, 1, stop_at_first, &any, err);
        *done = !any;
    }
    readers_give(events->api->readers, reader);
    return rc;
}

static int events_start(struct request *request, struct reply *reply, int64_t job, struct err *err)
{
    struct events *events;
    int64_t seen;
    bool done = false, known = last_event(request, reply, &seen);
    int rc = 0;

    if (reply->status != 200)
        return 0;
    events = calloc(1, sizeof *events);
    if (!events)
        return err_no_memory(err);
    *events = (struct events){.api = request->api, .job = job, .seen = seen, .fresh = !known};
    if (job)
        rc = check_job(events, &done, err);
    if (rc == 0 && !done && !request->head)
        rc = hub_join(request->api->hub, &events->wait, request->connection, err);
    if (rc || done || request->head) {
        events_close(events);
        reply->status = done ? 204 : 200;
        if (rc == ERR_LIMIT) {
            problem_set(reply, 503, "limit", "%s", err->message);
            reply_header(reply, "Connection", "close"); /* it would only keep others out */
            rc = 0;
        }
        return rc;
    }
    reply_header(reply, "X-Accel-Buffering", "no");
    reply->stream = (struct stream){events_read, events_close, events, -1};
    return 0;
}

int job_events(struct request *request, struct reply *reply, struct err *err)
{
    return events_start(request, reply, request->id, err);
}

int all_events(struct request *request, struct reply *reply, struct err *err)
{
    return events_start(request, reply, 0, err);
}
