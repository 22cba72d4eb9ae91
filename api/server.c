/* Listening, limits, and the order in which things begin and end. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "checkpoints.h"
#include "connection.h"
#include "facts.h"
#include "http.h"
#include "hub.h"
#include "metrics.h"
#include "openapi.h"
#include "watch.h"

#define SERVER_THREADS     4
#define WORK_THREADS       4
#define CONNECTION_BYTES   65536
#define TOKEN_MIN          16
#define CLOSE_WAIT_SECONDS 3
#define STREAMS_MAX        128 /* and no more than half of the connections, unless told otherwise */
#define PER_ADDRESS_MAX    64

static int check_token(const struct api *api, struct err *err)
{
    if (!api->token) {
        if (api->loopback)
            return 0;
        return err_set(err, ERR_INVALID, "listening on %s needs a token", api->address);
    }
    for (const char *at = api->token; *at; at++)
        if (*at <= 0x20 || *at >= 0x7f)
            return err_set(err, ERR_INVALID, "a token has printable ASCII characters only");
    if (strlen(api->token) < TOKEN_MIN || strlen(api->token) > 512)
        return err_set(err, ERR_INVALID, "a token has %d to 512 characters", TOKEN_MIN);
    return 0;
}

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int parse_address(struct api *api, union address *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, api->address, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons((uint16_t)api->options.port);
        api->loopback = ntohl(out->v4.sin_addr.s_addr) >> 24 == 127;
        return 0;
    }
    if (inet_pton(AF_INET6, api->address, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons((uint16_t)api->options.port);
        api->loopback = IN6_IS_ADDR_LOOPBACK(&out->v6.sin6_addr);
        return 0;
    }
    return err_set(err, ERR_INVALID, "%s is no numeric address", api->address);
}

static int listen_at(struct api *api, const union address *address, struct err *err)
{
    bool v6 = address->any.sa_family == AF_INET6;
    socklen_t length = v6 ? sizeof address->v6 : sizeof address->v4;
    int one = 1, fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    union address bound;
    socklen_t bound_length = sizeof bound;

    if (fd < 0)
        return err_errno(err, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, &address->any, length) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, &bound.any, &bound_length) != 0) {
        int rc = err_errno(err, "cannot listen on %s, port %d", api->address, api->options.port);

        close(fd);
        return rc;
    }
    api->port = ntohs(v6 ? bound.v6.sin6_port : bound.v4.sin_port);
    return fd;
}

/* Connections inherit these of the socket that listens: a peer that has vanished without a word is
 * found out while the server waits for it, and while it sends to it. */
static void notice_vanished(const struct api *api, int fd)
{
    int one = 1, idle = api->options.idle_seconds, probes = 3, between = (idle + 2) / 3;
    unsigned most_ms = (unsigned)idle * 1000;

    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof between);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most_ms, sizeof most_ms);
}

/* On the loopback, all users of the machine and all clients of a proxy have one address. */
static unsigned per_address(const struct api *api)
{
    const struct api_options *options = &api->options;

    if (options->connections_per_address)
        return (unsigned)options->connections_per_address;
    return api->loopback ? (unsigned)options->connections : PER_ADDRESS_MAX;
}

static enum MHD_Result take(void *context, const struct sockaddr *address, socklen_t length)
{
    struct api *api = context;

    (void)address;
    (void)length;
    return atomic_load(&api->stopping) ? MHD_NO : MHD_YES;
}

static int start(struct api *api, struct err *err)
{
    const struct api_options *options = &api->options;
    union address address;
    int fd, rc = parse_address(api, &address, err);

    if (rc == 0)
        rc = check_token(api, err);
    if (rc)
        return rc;
    fd = listen_at(api, &address, err);
    if (fd < 0)
        return fd;
    notice_vanished(api, fd);
    api->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, take, api,
        connection_handle, api, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)SERVER_THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)options->connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_address(api), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)options->idle_seconds,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, connection_target, api,
        MHD_OPTION_NOTIFY_COMPLETED, connection_done, api, MHD_OPTION_NOTIFY_CONNECTION,
        connection_notify, api, MHD_OPTION_END);
    if (!api->daemon) {
        close(fd);
        return err_set(err, ERR_IO, "the HTTP server did not start");
    }
    return 0;
}

static int fill(struct api *api, const struct api_options *options, struct err *err)
{
    api->options = *options;
    if (!api->options.upload_bytes)
        api->options.upload_bytes = 1 << 29;
    if (!api->options.body_bytes)
        api->options.body_bytes = 1 << 20;
    if (!api->options.connections)
        api->options.connections = 256;
    if (!api->options.event_streams)
        api->options.event_streams =
            api->options.connections < 2 * STREAMS_MAX ? api->options.connections / 2 : STREAMS_MAX;
    if (!api->options.idle_seconds)
        api->options.idle_seconds = 30;
    if (!api->options.request_seconds)
        api->options.request_seconds = 30;
    if (!api->options.beat_seconds)
        api->options.beat_seconds = 15;
    api->address = strdup(options->address);
    api->token = options->token ? strdup(options->token) : NULL;
    api->started_ms = clock_wall_ms();
    if (!api->address || (options->token && !api->token))
        return err_no_memory(err);
    return 0;
}

int api_open(struct api **out, const struct api_options *options, const struct api_service *service,
             struct db *db, struct err *err)
{
    struct api *api = calloc(1, sizeof *api);
    int rc;

    if (!api)
        return err_no_memory(err);
    api->service = service;
    api->db = db;
    rc = fill(api, options, err);
    if (rc == 0)
        rc = readers_open(&api->readers, db, err);
    if (rc == 0)
        rc = metrics_open(&api->metrics, err);
    if (rc == 0)
        rc = facts_open(&api->facts, err);
    if (rc == 0)
        rc = digests_open(&api->digests, err);
    if (rc == 0)
        rc = openapi_make(service->job_spec, service->probe_spec, &api->openapi, err);
    if (rc == 0)
        rc = work_open(&api->work, WORK_THREADS, err);
    if (rc == 0)
        rc = hub_open(&api->hub, db, api->options.event_streams, err);
    if (rc == 0)
        rc = watch_open(&api->watch, api->options.connections, api->options.request_seconds,
                        api->options.idle_seconds, err);
    if (rc == 0)
        rc = start(api, err);
    if (rc) {
        api_close(api);
        return rc;
    }
    *out = api;
    return 0;
}

int api_port(const struct api *api)
{
    return api->port;
}

/* Not by MHD_quiesce_daemon: in 0.9.75 its threads and the caller race for who takes the socket out
 * of epoll's set, and whoever is second ends the process. */
static void stop(struct api *api)
{
    double until = clock_seconds() + CLOSE_WAIT_SECONDS;

    atomic_store(&api->stopping, true);
    hub_end_streams(api->hub);
    while (metrics_active(api->metrics) > 0 && clock_seconds() < until)
        usleep(10000);
    work_stop(api->work);
    MHD_stop_daemon(api->daemon);
}

void api_close(struct api *api)
{
    if (!api)
        return;
    if (api->daemon)
        stop(api);
    watch_close(api->watch);
    hub_close(api->hub);
    work_close(api->work);
    readers_close(api->readers);
    metrics_close(api->metrics);
    facts_close(api->facts);
    digests_close(api->digests);
    free(api->openapi);
    free(api->address);
    free(api->token);
    free(api);
}
