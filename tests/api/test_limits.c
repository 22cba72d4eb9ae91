/* Limits: of connections, of time, of waiting requests, of streams. Each test has a server of its
 * own over the fixture's database. What is waited for has a minute; what would come by itself
 * through a timeout that is not the tested one would take ten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http.h"
#include "http_client.h"
#include "metrics.h"
#include "server_fixture.h"

#define NEVER 600 /* seconds */

static const char whole[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
static const char head[] = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                           "application/json\r\nContent-Length: 1000\r\n\r\n";

static int live_status(const struct api *api)
{
    char *answer;
    int status = http_ask(api_port(api), "GET", "/livez", "", NULL, &answer);

    free(answer);
    return status;
}

static void await_live(const struct api *api)
{
    double until = clock_seconds() + PATIENCE;

    while (live_status(api) != 200) {
        assert_true(clock_seconds() < until);
        usleep(20000);
    }
}

/* Clients that leave at any place of a request give their connection's place back soon. */
static void test_left(void **state)
{
    static const char *const sent[] = {"", "GET /liv", "GET /livez HTTP/1.1\r\nHost: loc", head,
                                       whole};
    struct api *api = fixture_serve((struct api_options){
        .idle_seconds = NEVER, .request_seconds = NEVER, .connections_per_address = 4});

    (void)state;
    for (int halves = 0; halves < 2; halves++)
        for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
            int fd[4];

            await_live(api);
            for (int j = 0; j < 4; j++) {
                fd[j] = http_open(api_port(api), 1);
                assert_true(fd[j] >= 0);
                http_put(fd[j], sent[i]);
                if (halves)
                    shutdown(fd[j], SHUT_WR);
                else
                    close(fd[j]);
            }
            await_live(api);
            for (int j = 0; halves && j < 4; j++)
                close(fd[j]);
        }
    api_close(api);
}

/* A client that has closed its sending half behind a whole request is answered. */
static void test_half_closed_reads(void **state)
{
    struct api *api = fixture_serve((struct api_options){0});

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct text got = {0};
        int fd = http_open(api_port(api), 1);

        assert_true(http_put(fd, "GET /v1/jobs/1/losses HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        shutdown(fd, SHUT_WR);
        assert_true(http_await(fd, &got, "\"next_after\":null}", PATIENCE));
        text_free(&got);
        close(fd);
    }
    api_close(api);
}

/* Sends `start`, then a byte ten times a second, until the server ends it. */
static void drip(const struct api *api, const char *start, const char *more, struct text *got)
{
    double until = clock_seconds() + PATIENCE;
    int fd = http_open(api_port(api), 1);

    assert_true(http_put(fd, start));
    while (!http_await(fd, got, NULL, 0.1)) {
        assert_true(clock_seconds() < until);
        http_put(fd, more);
    }
    close(fd);
}

static void test_slow_senders(void **state)
{
    struct api *api =
        fixture_serve((struct api_options){.idle_seconds = NEVER, .request_seconds = 4});
    struct text got = {0};
    char again[300];
    int fd;

    (void)state;
    drip(api, "GET /", "a", &got);
    text_free(&got);
    drip(api, "GET / HTTP/1.1\r\nA: ", "a", &got);
    assert_memory_equal(got.data, "HTTP/1.1 408 ", 13);
    assert_non_null(strstr(got.data, "application/problem+json"));
    text_free(&got);
    drip(api, head, " ", &got);
    assert_memory_equal(got.data, "HTTP/1.1 408 ", 13);
    text_free(&got);
    snprintf(again, sizeof again, "%s%s", whole, head);
    drip(api, again, " ", &got); /* not its connection's first request */
    assert_memory_equal(got.data, "HTTP/1.1 200 ", 13);
    assert_non_null(strstr(got.data, "HTTP/1.1 408 "));
    text_free(&got);
    fd = http_open(api_port(api), 1); /* several quick ones may take longer together */
    for (int i = 0; i < 4; i++) {
        usleep(1300000);
        assert_true(http_put(fd, whole));
        assert_true(http_await(fd, &got, "{\"status\":\"ok\"}\n", PATIENCE));
        text_free(&got);
    }
    close(fd);
    api_close(api);
}

static const char upload[] = "POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                             "application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/* `n` bytes of a body that comes in chunks. */
static bool put_chunk(int fd, int n)
{
    struct text chunk = {0};
    bool put;

    text_append(&chunk, "%x\r\n%*s\r\n", (unsigned)n, n, "");
    put = http_put(fd, chunk.data);
    text_free(&chunk);
    return put;
}

struct sender {
    int fd;
    size_t left; /* send_file: of the body */
    atomic_bool enough;
    struct text got;
};

/* A file of some hundred kilobytes a second. */
static void *send_steadily(void *context)
{
    struct sender *sender = context;

    while (!sender->enough && put_chunk(sender->fd, 32768))
        usleep(50000);
    if (http_put(sender->fd, "0\r\n\r\n"))
        http_await(sender->fd, &sender->got, "\r\n\r\n", PATIENCE);
    return NULL;
}

/* A file may take longer than a request, as long as it comes at a sensible rate. */
static void test_long_uploads(void **state)
{
    const struct api_options options = {.idle_seconds = NEVER, .request_seconds = 4};
    struct api *api[3] = {fixture_serve(options), fixture_serve(options), fixture_serve(options)};
    struct sender steady = {.fd = http_open(api_port(api[0]), 1)};
    int stalled = http_open(api_port(api[1]), 1);
    struct text got = {0};
    pthread_t thread;

    (void)state;
    assert_true(http_put(steady.fd, upload));
    assert_int_equal(pthread_create(&thread, NULL, send_steadily, &steady), 0);
    assert_true(http_put(stalled, upload));
    for (int i = 0; i < 8; i++) /* what was quick before earns it no minutes */
        assert_true(put_chunk(stalled, 1 << 20));
    drip(api[2], upload, "1\r\n \r\n", &got);
    assert_memory_equal(got.data, "HTTP/1.1 408 ", 13);
    text_free(&got);
    assert_true(http_await(stalled, &got, NULL, PATIENCE));
    assert_memory_equal(got.data, "HTTP/1.1 408 ", 13);
    text_free(&got);
    steady.enough = true; /* it began first */
    pthread_join(thread, NULL);
    assert_non_null(steady.got.data);
    assert_memory_equal(steady.got.data, "HTTP/1.1 422 ", 13); /* not of safetensors */
    text_free(&steady.got);
    close(steady.fd);
    close(stalled);
    for (int i = 0; i < 3; i++)
        api_close(api[i]);
}

#define FILE_BYTES (3 << 20) /* twice as long as other bodies may be, and more */

/* So that it takes about two seconds. */
static void *send_file(void *context)
{
    static const char zeros[32768];
    struct sender *sender = context;

    while (sender->left > 0 && send(sender->fd, zeros, sizeof zeros, MSG_NOSIGNAL) > 0) {
        sender->left -= sizeof zeros;
        usleep(20000);
    }
    http_await(sender->fd, &sender->got, "\r\n\r\n", PATIENCE);
    return NULL;
}

/* Who sends a file that is refused learns that and why when it has sent it, or at once. */
static void test_refused_files(void **state)
{
    const struct api_options options = {.idle_seconds = NEVER, .request_seconds = 1};
    struct api *api = fixture_serve(options), *closed;
    struct sender second = {.fd = http_open(api_port(api), 1), .left = FILE_BYTES};
    int first = http_open(api_port(api), 1);
    struct text got = {0};
    char start[400];

    (void)state;
    assert_true(http_put(first, upload));
    assert_true(put_chunk(first, 10));
    usleep(300000);
    snprintf(start, sizeof start,
             "POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
             "application/octet-stream\r\nContent-Length: %d\r\n\r\n",
             FILE_BYTES);
    assert_true(http_put(second.fd, start));
    send_file(&second);
    assert_memory_equal(second.got.data, "HTTP/1.1 503 ", 13);
    text_free(&second.got);
    close(second.fd);
    close(first);
    api_close(api);
    closed = fixture_serve((struct api_options){
        .idle_seconds = NEVER, .request_seconds = 1, .token = "0123456789abcdef"});
    first = http_open(api_port(closed), 1);
    assert_true(http_put(first, start)); /* and nothing more */
    assert_true(http_await(first, &got, "\r\n\r\n", PATIENCE));
    assert_memory_equal(got.data, "HTTP/1.1 401 ", 13);
    text_free(&got);
    close(first);
    api_close(closed);
}

/* The deadline is of requests, not of answers. A client that closes its sending half meanwhile may
 * count as gone, then its place is free. */
static void test_slow_answers(void **state)
{
    struct api *api =
        fixture_serve((struct api_options){.idle_seconds = NEVER, .request_seconds = 1});
    struct text got = {0};
    int fd[2];

    (void)state;
    pthread_mutex_lock(&fixture_control_lock);
    for (int i = 0; i < 2; i++) {
        fd[i] = http_open(api_port(api), 1);
        assert_true(http_put(fd[i], "POST /v1/jobs/1/pause HTTP/1.1\r\nHost: localhost\r\n"
                                    "Content-Length: 0\r\n\r\n"));
    }
    shutdown(fd[1], SHUT_WR);
    usleep(3000000);
    pthread_mutex_unlock(&fixture_control_lock);
    for (int i = 0; i < 2; i++) {
        assert_true(http_await(fd[i], &got, i ? NULL : "\r\n\r\n", PATIENCE));
        if (i == 0 || got.length)
            assert_memory_equal(got.data, "HTTP/1.1 409 ", 13);
        text_free(&got);
        close(fd[i]);
    }
    api_close(api);
}

static void test_connections_of_an_address(void **state)
{
    struct api *api = fixture_serve((struct api_options){.connections_per_address = 3});
    struct text got = {0};
    int fd[3], other;

    (void)state;
    for (int i = 0; i < 3; i++) {
        fd[i] = http_open(api_port(api), 1);
        assert_true(http_put(fd[i], whole));
        assert_true(http_await(fd[i], &got, "\"ok\"", PATIENCE));
        text_free(&got);
    }
    other = http_open(api_port(api), 1);
    http_put(other, whole);
    assert_true(http_await(other, &got, NULL, PATIENCE)); /* closed without a word */
    assert_int_equal(got.length, 0);
    close(other);
    other = http_open(api_port(api), 2);
    assert_true(http_put(other, whole));
    assert_true(http_await(other, &got, "\"ok\"", PATIENCE));
    text_free(&got);
    close(other);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    await_live(api);
    api_close(api);
}

static void test_connections_in_all(void **state)
{
    struct api *api = fixture_serve((struct api_options){.connections = 8});
    struct text got = {0};
    int fd[8], late;

    (void)state;
    pthread_mutex_lock(&fixture_control_lock);
    for (int i = 0; i < 8; i++) {
        fd[i] = http_open(api_port(api), 2 + i);
        assert_true(http_put(fd[i], "POST /v1/jobs/1/pause HTTP/1.1\r\nHost: localhost\r\n"
                                    "Content-Length: 0\r\n\r\n"));
    }
    for (double until = clock_seconds() + PATIENCE; metrics_active(api->metrics) < 8;) {
        assert_true(clock_seconds() < until);
        usleep(20000);
    }
    late = http_open(api_port(api), 1);
    assert_true(http_put(late, whole));
    assert_false(http_await(late, &got, "\"ok\"", 2)); /* what is worked on keeps its place */
    pthread_mutex_unlock(&fixture_control_lock);
    for (int i = 0; i < 8; i++)
        close(fd[i]);
    assert_true(http_await(late, &got, "\"ok\"", PATIENCE)); /* it has waited its turn */
    text_free(&got);
    close(late);
    api_close(api);
}

/* Who takes long over a request, or has none, loses the place to others when all are taken. */
static void test_slow_senders_make_room(void **state)
{
    enum { SLOW = 12, KINDS = 6 };
    static const char follow[] = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char *const sent[KINDS] = {
        head, head, "", "GET /liv", "GET / HTTP/1.1\r\nHost: loc", whole};
    struct api *api = fixture_serve(
        (struct api_options){.connections = 8, .idle_seconds = NEVER, .request_seconds = NEVER});
    int stream = http_open(api_port(api), 1), fd[SLOW], told = 0;
    struct text got = {0};

    (void)state;
    assert_true(http_put(stream, follow));
    assert_true(http_await(stream, &got, "event: start", PATIENCE));
    text_free(&got);
    for (int i = 0; i < SLOW; i++) {
        fd[i] = http_open(api_port(api), 1);
        assert_true(fd[i] >= 0);
        http_put(fd[i], sent[i % KINDS]);
    }
    await_live(api);
    for (int i = 0; i < SLOW; i++) {
        if (sent[i % KINDS] != head)
            continue;
        http_await(fd[i], &got, "others wait", 0.1);
        told += got.length > 0 && strncmp(got.data, "HTTP/1.1 408 ", 13) == 0;
        text_free(&got);
    }
    assert_true(told > 0);
    assert_false(http_await(stream, &got, NULL, 0.1));
    text_free(&got);
    for (int i = 0; i < SLOW; i++)
        close(fd[i]);
    close(stream);
    api_close(api);
}

static void test_streams(void **state)
{
    static const char follow[] = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct api *api = fixture_serve((struct api_options){.event_streams = 2});
    double until = clock_seconds() + PATIENCE;
    struct text got = {0};
    char *answer;
    int fd[2], status;

    (void)state;
    for (int i = 0; i < 2; i++) {
        fd[i] = http_open(api_port(api), 1);
        assert_true(http_put(fd[i], follow));
        assert_true(http_await(fd[i], &got, "event: start", PATIENCE));
        text_free(&got);
    }
    assert_int_equal(http_ask(api_port(api), "GET", "/v1/events", "", NULL, &answer), 503);
    assert_non_null(strstr(answer, "\r\nRetry-After: "));
    free(answer);
    for (int i = 0; i < 2; i++)
        close(fd[i]);
    do {
        fd[0] = http_open(api_port(api), 1);
        assert_true(http_put(fd[0], follow));
        assert_true(http_await(fd[0], &got, "\r\n\r\n", PATIENCE));
        status = atoi(got.data + 9);
        text_free(&got);
        close(fd[0]);
        assert_true(clock_seconds() < until);
    } while (status != 200);
    api_close(api);
}

/* The users of a machine, and a proxy's clients, have one address: their streams leave room for
 * other requests. */
static void test_streams_leave_room(void **state)
{
    static const char follow[] = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    enum { STREAMS = 100 };
    struct api *few = fixture_serve((struct api_options){.connections = 8});
    struct api *api = fixture_serve((struct api_options){0});
    struct text got = {0};
    int fd[STREAMS], few_fd[4], refused;

    (void)state;
    for (int i = 0; i < STREAMS; i++) {
        fd[i] = http_open(api_port(api), 1);
        assert_true(http_put(fd[i], follow));
        assert_true(http_await(fd[i], &got, "event: start", PATIENCE));
        text_free(&got);
    }
    await_live(api);
    for (int i = 0; i < 4; i++) {
        few_fd[i] = http_open(api_port(few), 1);
        assert_true(http_put(few_fd[i], follow));
        assert_true(http_await(few_fd[i], &got, "event: start", PATIENCE));
        text_free(&got);
    }
    /* Who is refused does not keep a connection. */
    refused = http_open(api_port(few), 1);
    assert_true(http_put(refused, follow));
    assert_true(http_await(refused, &got, NULL, PATIENCE));
    assert_memory_equal(got.data, "HTTP/1.1 503 ", 13);
    text_free(&got);
    close(refused);
    for (int i = 0; i < STREAMS; i++)
        close(fd[i]);
    for (int i = 0; i < 4; i++)
        close(few_fd[i]);
    api_close(few);
    api_close(api);
}

/* All workers are busy and as many requests wait as may: the next one is refused at once. */
static void test_waiting_requests(void **state)
{
    static const char pause[] = "POST /v1/jobs/1/pause HTTP/1.1\r\nHost: localhost\r\n"
                                "Content-Length: 0\r\n\r\n";
    enum { WAITING = 4 + 64 };
    struct api *api =
        fixture_serve((struct api_options){.connections = NEVER, .connections_per_address = NEVER});
    struct text got[WAITING + 1] = {{0}};
    int fd[WAITING + 1], refused = 0;

    (void)state;
    pthread_mutex_lock(&fixture_control_lock);
    for (int i = 0; i <= WAITING; i++) {
        fd[i] = http_open(api_port(api), 1);
        assert_true(http_put(fd[i], pause));
    }
    for (double until = clock_seconds() + PATIENCE; !refused && clock_seconds() < until;)
        for (int i = 0; i <= WAITING; i++)
            refused += http_await(fd[i], &got[i], "\r\n\r\n", 0.001);
    assert_true(refused > 0);
    pthread_mutex_unlock(&fixture_control_lock);
    refused = 0;
    for (int i = 0; i <= WAITING; i++) {
        assert_true(http_await(fd[i], &got[i], "\r\n\r\n", PATIENCE));
        refused += strncmp(got[i].data, "HTTP/1.1 503 ", 13) == 0;
        if (strncmp(got[i].data, "HTTP/1.1 503 ", 13) != 0)
            assert_memory_equal(got[i].data, "HTTP/1.1 409 ", 13);
        text_free(&got[i]);
        close(fd[i]);
    }
    assert_in_range(refused, 1, 5); /* more than one where the workers were slow to take theirs */
    api_close(api);
}

/* A body that is too long is read to its end where that is near, and the connection stays. */
static void test_long_bodies(void **state)
{
    struct api *api = fixture_serve((struct api_options){.body_bytes = 1000});
    struct text got = {0};
    char text[3000];
    int fd = http_open(api_port(api), 1), n;

    (void)state;
    n = snprintf(text, sizeof text,
                 "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                 "application/json\r\nContent-Length: 1500\r\n\r\n%1500s%s",
                 "", whole);
    assert_true(n < (int)sizeof text && http_put(fd, text));
    assert_true(http_await(fd, &got, "{\"status\":\"ok\"}\n", PATIENCE));
    assert_memory_equal(got.data, "HTTP/1.1 413 ", 13);
    text_free(&got);
    snprintf(text, sizeof text,
             "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
             "application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
             "5dc\r\n%1500s\r\n0\r\n\r\n%s",
             "", whole);
    assert_true(http_put(fd, text));
    assert_true(http_await(fd, &got, "{\"status\":\"ok\"}\n", PATIENCE));
    assert_memory_equal(got.data, "HTTP/1.1 413 ", 13);
    text_free(&got);
    assert_true(http_put(fd, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                             "application/json\r\nContent-Length: 99999\r\n\r\n"));
    assert_true(http_await(fd, &got, NULL, PATIENCE)); /* not read: answered and closed */
    assert_memory_equal(got.data, "HTTP/1.1 413 ", 13);
    text_free(&got);
    close(fd);
    api_close(api);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left),
        cmocka_unit_test(test_half_closed_reads),
        cmocka_unit_test(test_slow_senders),
        cmocka_unit_test(test_long_uploads),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_slow_answers),
        cmocka_unit_test(test_connections_of_an_address),
        cmocka_unit_test(test_connections_in_all),
        cmocka_unit_test(test_slow_senders_make_room),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_streams_leave_room),
        cmocka_unit_test(test_waiting_requests),
        cmocka_unit_test(test_long_bodies),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
