/* One request from its first line to its answer.
 *
 * Phases: HEAD (nothing looked at) → BODY (checked, reading) → WORK (a worker has it, the
 * connection is suspended) → WORKED (it goes on here) → DONE (the reply is queued). A refusal
 * during HEAD is answered behind the body where that is short, so that the client sees it and the
 * connection stays; else at once, and the connection is closed. */
#include "connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "http.h"
#include "metrics.h"
#include "negotiate.h"
#include "uri.h"
#include "watch.h"

#define TARGET_MAX  4096
#define HEADERS_MAX 16384

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_WORK, PHASE_WORKED, PHASE_DONE };

void connection_notify(void *api, struct MHD_Connection *connection, void **context,
                       enum MHD_ConnectionNotificationCode code)
{
    struct watch *watch = ((struct api *)api)->watch;
    const union MHD_ConnectionInfo *info;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *context = info ? watch_add(watch, info->connect_fd) : NULL;
    } else {
        watch_remove(watch, *context);
        *context = NULL;
    }
}

static struct watched *watched_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

void *connection_target(void *api, const char *target, struct MHD_Connection *connection)
{
    struct request *request = calloc(1, sizeof *request);

    if (!request)
        return NULL;
    request->reply = calloc(1, sizeof *request->reply);
    request->target = strdup(target);
    if (!request->reply || !request->target) {
        free(request->reply);
        free(request->target);
        free(request);
        return NULL;
    }
    request->api = api;
    request->connection = connection;
    request->began = clock_seconds();
    request->watched = watched_of(connection);
    watch_begun(request->api->watch, request->watched);
    metrics_begin(request->api->metrics);
    return request;
}

/* Before the answer is sent: whoever has it may send the next file at once. */
static void end_upload(struct request *request)
{
    if (!request->uploads)
        return;
    text_free(&request->body);
    atomic_store(&request->api->uploading, false);
    request->uploads = false;
}

static void request_free(struct request *request)
{
    end_upload(request);
    reply_free(request->reply);
    text_free(&request->body);
    free(request->target);
    free(request);
}

void connection_done(void *api, struct MHD_Connection *connection, void **context,
                     enum MHD_RequestTerminationCode why)
{
    struct request *request = *context;

    (void)connection;
    (void)why;
    if (!request)
        return;
    if (watch_done(request->api->watch, request->watched))
        request->status = 408;
    metrics_request(((struct api *)api)->metrics, request->route, request->status,
                    clock_seconds() - request->began);
    log_debug("%s %s %d", request->method, request->path ? request->path : "?", request->status);
    request_free(request);
    *context = NULL;
}

/* The headers that matter, once. */
struct look {
    struct request *request;
    size_t bytes;
    bool doubled, has_length, has_encoding;
};

static void keep(struct look *look, char **slot, const char *value)
{
    union {
        const char *read_only;
        char *any;
    } text = {.read_only = value};

    if (*slot)
        look->doubled = true;
    *slot = text.any; /* lives as long as the connection's request */
}

static enum MHD_Result look_at(void *context, enum MHD_ValueKind kind, const char *name,
                               const char *value)
{
    struct look *look = context;
    struct request *request = look->request;
    struct {
        const char *name;
        char **slot;
    } const wanted[] = {
        {"Accept", &request->accept},
        {"Range", &request->range},
        {"If-Range", &request->if_range},
        {"If-None-Match", &request->if_none_match},
        {"If-Match", &request->if_match},
        {"Idempotency-Key", &request->idempotency_key},
        {"Last-Event-ID", &request->last_event_id},
        {"Host", &request->host},
        {"Origin", &request->origin},
        {"Sec-Fetch-Site", &request->site},
        {"Sec-Fetch-Mode", &request->mode},
        {"Authorization", &request->authorization},
        {"Cookie", &request->cookie},
        {"Content-Type", &request->content_type},
    };

    (void)kind;
    value = value ? value : "";
    look->bytes += strlen(name) + strlen(value) + 4;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (strcasecmp(name, wanted[i].name) == 0) {
            if (i == 0 && request->accept) /* a list over several lines: the first one counts */
                return MHD_YES;
            keep(look, wanted[i].slot, value);
        }
    if (strcasecmp(name, "Content-Length") == 0) {
        look->doubled = look->doubled || look->has_length;
        look->has_length = true;
    }
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        look->doubled = look->doubled || look->has_encoding || strcasecmp(value, "chunked") != 0;
        look->has_encoding = true;
    }
    return MHD_YES;
}

static bool check_shape(struct request *request, struct reply *reply)
{
    struct look look = {.request = request};
    size_t target = strlen(request->target);

    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look_at, &look);
    if (target > TARGET_MAX)
        problem_set(reply, 414, "target", "the target is longer than %d bytes", TARGET_MAX);
    else if (look.bytes > HEADERS_MAX)
        problem_set(reply, 431, "headers", "the headers are longer than %d bytes", HEADERS_MAX);
    else if (look.doubled || (look.has_length && look.has_encoding))
        problem_set(reply, 400, "headers",
                    "a header that may come once came twice, or the body's "
                    "length is ambiguous");
    else
        return true;
    return false;
}

/* Whether its body may be as long as a file's, and take as long: for a stranger nobody reads that
 * much. */
static bool sends_file(const struct request *request)
{
    return request->admitted && request->route && request->route->flags & ROUTE_FILE_BODY;
}

static size_t body_limit(const struct request *request)
{
    const struct api_options *options = &request->api->options;

    return sends_file(request) ? options->upload_bytes : options->body_bytes;
}

static const char *body_type(const struct request *request)
{
    if (request->route->flags & ROUTE_FILE_BODY)
        return "application/octet-stream";
    if (request->route->flags & ROUTE_FORM_BODY)
        return "application/x-www-form-urlencoded";
    return "application/json";
}

/* Only one file is in memory at a time. */
static bool check_upload(struct request *request, struct reply *reply)
{
    if (!(request->route->flags & ROUTE_FILE_BODY))
        return true;
    request->uploads = !atomic_exchange(&request->api->uploading, true);
    if (request->uploads)
        return true;
    problem_set(reply, 503, "busy", "another file is being uploaded");
    return false;
}

static bool check_body(struct request *request, struct reply *reply)
{
    const char *type = request->content_type;
    const char *length =
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Content-Length");
    bool needed = request->route->flags & (ROUTE_JSON_BODY | ROUTE_FORM_BODY | ROUTE_FILE_BODY);
    const char *wanted = body_type(request);
    size_t n = strlen(wanted);

    if (strcmp(request->method, "POST") != 0)
        return true;
    if ((needed || type) &&
        (!type || strncasecmp(type, wanted, n) != 0 || !strchr("; \t", type[n]))) {
        problem_set(reply, 415, "content_type", "the Content-Type must be %s", wanted);
        reply_header(reply, "Accept", "%s", wanted);
        return false;
    }
    if (length && strtoull(length, NULL, 10) > body_limit(request)) {
        problem_set(reply, 413, "body", "the body is longer than %zu bytes", body_limit(request));
        return false;
    }
    return check_upload(request, reply);
}

static bool check_accept(struct request *request, struct reply *reply)
{
    const struct route *route = request->route;
    const char *const types[] = {route->type, route->other_type, NULL};

    if (negotiate(request->accept, types) >= 0 || route->flags & ROUTE_FORM_BODY)
        return true;
    problem_set(reply, 406, "accept", "this is available as %s%s%s", route->type,
                route->other_type ? " or " : "", route->other_type ? route->other_type : "");
    return false;
}

static bool find_route(struct request *request, struct reply *reply, const char *allow)
{
    if (request->route)
        return true;
    if (*allow && strcmp(request->method, "OPTIONS") == 0)
        reply->status = 204;
    else if (*allow)
        problem_set(reply, 405, "method", "this path takes %s", allow);
    else if (!asset_reply(request, reply))
        problem_set(reply, 404, "not_found", "there is nothing at this path");
    if (*allow)
        reply_header(reply, "Allow", "%s", allow);
    return false;
}

/* False: the reply is there already. */
static bool begin(struct request *request, const char *method)
{
    struct reply *reply = request->reply;
    char allow[64];

    snprintf(request->method, sizeof request->method, "%s", method);
    request->head = strcmp(method, "HEAD") == 0;
    if (!check_shape(request, reply))
        return false;
    if (!uri_split(request->target, &request->path, &request->query) || *request->path != '/') {
        problem_set(reply, 400, "target", "the target of the request is not valid");
        return false;
    }
    request->route = route_find(request, allow);
    request->admitted = guard_check(request, reply);
    return request->admitted && find_route(request, reply, allow) && check_accept(request, reply) &&
           query_parse(request, reply) && check_body(request, reply);
}

static void run_handler(struct request *request)
{
    struct reply *reply = request->reply;
    struct err err = {0};

    reply->status = 200;
    reply->type = request->route->type;
    request->defer = false;
    if (request->route->handle(request, reply, &err))
        problem_of_err(reply, &err);
    if (reply->body.failed)
        problem_set(reply, 503, "no_memory", "out of memory");
}

static void run_on_worker(void *context)
{
    struct request *request = context;

    request->may_wait = true;
    run_handler(request);
    request->phase = PHASE_WORKED;
    MHD_resume_connection(request->connection);
}

static enum MHD_Result answer(struct request *request)
{
    request->phase = PHASE_DONE;
    end_upload(request);
    if (!watch_arrived(request->api->watch, request->watched))
        return MHD_NO;
    return (enum MHD_Result)respond(request);
}

static enum MHD_Result hand_over(struct request *request)
{
    struct err err = {0};

    request->phase = PHASE_WORK;
    MHD_suspend_connection(request->connection);
    if (work_add(request->api->work, run_on_worker, request, &err)) {
        problem_set(request->reply, 503, "busy", "%s", err.message);
        request->phase = PHASE_WORKED;
        MHD_resume_connection(request->connection);
    }
    return MHD_YES;
}

static enum MHD_Result dispatch(struct request *request)
{
    if (!watch_arrived(request->api->watch, request->watched))
        return MHD_NO;
    if (request->refused) {
        problem_set(request->reply, request->refused, "body", "the body is longer than %zu bytes",
                    body_limit(request));
        return answer(request);
    }
    if (request->route->flags & ROUTE_WORK)
        return hand_over(request);
    run_handler(request);
    return request->defer ? hand_over(request) : answer(request);
}

/* A body that is too long is read on for a while, so that the client gets to see the answer. */
static enum MHD_Result take_body(struct request *request, const char *data, size_t *size)
{
    size_t most = body_limit(request);
    bool wanted = strcmp(request->method, "POST") == 0;

    if (!wanted || request->decided || request->refused || request->body.length + *size > most) {
        request->refused = wanted ? 413 : 0;
        request->discarded += *size;
        if (request->discarded > 4 * most)
            return MHD_NO;
    } else {
        text_append_bytes(&request->body, data, *size);
        if (request->body.failed)
            return MHD_NO;
    }
    if (sends_file(request))
        watch_file(request->api->watch, request->watched, *size);
    *size = 0;
    return MHD_YES;
}

/* Whether what is to come can be read to its end before a refusal is sent, so that the client gets
 * to see it and the connection stays. */
static bool body_is_short(const struct request *request)
{
    const char *length =
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Content-Length");
    int status = request->reply->status;

    if (status == 400 || status == 431 || status == 414 ||
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Expect") ||
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Transfer-Encoding"))
        return false;
    return !length || strtoull(length, NULL, 10) <= 2 * body_limit(request);
}

enum MHD_Result connection_handle(void *api, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    struct request *request = *context;

    (void)api;
    (void)connection;
    (void)url;
    (void)version; /* 1.x: libmicrohttpd refuses others itself */
    if (!request)
        return MHD_NO;
    switch (request->phase) {
    case PHASE_HEAD:
        request->decided = !begin(request, method);
        if (request->decided && !body_is_short(request))
            return answer(request);
        request->phase = PHASE_BODY;
        return MHD_YES;
    case PHASE_BODY:
        if (*size > 0)
            return take_body(request, data, size);
        return request->decided ? answer(request) : dispatch(request);
    case PHASE_WORKED:
        return answer(request);
    default:
        return MHD_YES;
    }
}
