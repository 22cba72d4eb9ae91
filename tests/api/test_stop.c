/* What clients see that keep their connections, and ask on, while the server stops. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http_client.h"
#include "server_fixture.h"

#define PATIENCE 60.0

/* What a worker answers, without a body. */
static const char ask[] = "HEAD /v1/jobs/1/checkpoints/latest HTTP/1.1\r\nHost: localhost\r\n\r\n";
static const char pause_job[] =
    "POST /v1/jobs/1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";

static struct api *open_api(void)
{
    const struct api_options options = {.address = "127.0.0.1"};
    struct err err = {0};
    struct api *api;

    if (api_open(&api, &options, &fixture_service, fixture.db, &err))
        fail_msg("%s", err.message);
    return api;
}

struct client {
    pthread_t thread;
    int port;
    int answers, wrong;
};

/* Asks on one connection until the server closes it. */
static void *client_main(void *context)
{
    struct client *client = context;
    int fd = http_open(client->port, 1);
    struct text got = {0};

    while (http_put(fd, ask) && http_await(fd, &got, "\r\n\r\n", PATIENCE)) {
        int status = atoi(got.data + 9);

        client->answers++;
        client->wrong += status != 200 && status != 503;
        text_free(&got);
    }
    text_free(&got);
    close(fd);
    return NULL;
}

/* None is dropped into memory that is freed already: a crash, or a sanitizer's report. */
static void test_who_keeps_asking(void **state)
{
    enum { ROUNDS = 15, CLIENTS = 8 };

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct api *api = open_api();
        struct client client[CLIENTS] = {{0}};

        for (int i = 0; i < CLIENTS; i++) {
            client[i].port = api_port(api);
            assert_int_equal(pthread_create(&client[i].thread, NULL, client_main, &client[i]), 0);
        }
        usleep(10000);
        api_close(api);
        for (int i = 0; i < CLIENTS; i++) {
            pthread_join(client[i].thread, NULL);
            assert_int_equal(client[i].wrong, 0);
        }
    }
}

static void *close_api(void *api)
{
    api_close(api);
    return NULL;
}

static void exchange(int fd, const char *request, struct text *got)
{
    text_free(got);
    assert_true(http_put(fd, request));
    assert_true(http_await(fd, got, "\r\n\r\n", PATIENCE));
}

/* While a request under way is finished, those that come late are refused and told to leave. */
static void test_late_requests(void **state)
{
    enum { OPEN = 80 };
    struct api *api = open_api();
    struct text got = {0};
    int fd[OPEN], busy = http_open(api_port(api), 1), refused = 0, before = fixture.controlled;
    pthread_t closer;

    (void)state;
    for (int i = 0; i < OPEN; i++) {
        fd[i] = http_open(api_port(api), 1);
        exchange(fd[i], "HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &got);
    }
    pthread_mutex_lock(&fixture_control_lock);
    assert_true(http_put(busy, pause_job));
    for (double until = clock_seconds() + PATIENCE; fixture.controlled == before; usleep(1000))
        assert_true(clock_seconds() < until);
    pthread_create(&closer, NULL, close_api, api);
    for (int i = 0; i < OPEN && !refused; i++) {
        usleep(100000);
        exchange(fd[i], ask, &got);
        refused = strncmp(got.data, "HTTP/1.1 503 ", 13) == 0;
        assert_true(refused || strncmp(got.data, "HTTP/1.1 200 ", 13) == 0);
    }
    assert_true(refused);
    assert_non_null(strstr(got.data, "\r\nConnection: close\r\n"));
    text_free(&got);
    pthread_mutex_unlock(&fixture_control_lock);
    pthread_join(closer, NULL);
    for (int i = 0; i < OPEN; i++)
        close(fd[i]);
    close(busy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_keeps_asking),
        cmocka_unit_test(test_late_requests),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
