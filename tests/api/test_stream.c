/* Event streams while they are open: what is recorded arrives, silence is told from death, and who
 * does not read costs nobody else anything. */
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

#define SLOW   30    /* clients that do not read */
#define LOSSES 60000 /* more bytes of events than the sockets' buffers hold */

static int follow(const struct api *api, int64_t job, const char *query)
{
    int fd = http_open(api_port(api), 1);
    char text[200];

    snprintf(text, sizeof text, "GET /v1/jobs/%lld/events%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
             (long long)job, query);
    assert_true(fd >= 0 && http_put(fd, text));
    return fd;
}

/* What is recorded while a stream is open comes, in order; the end of the job ends it. */
static void test_live(void **state)
{
    struct db_epoch epoch = {.epoch = 1, .update = 3, .train_loss = 2, .wall_ms = 1};
    struct api *api = fixture_serve((struct api_options){0});
    int64_t job = fixture_run();
    struct text got = {0}, all = {0};
    struct err err;
    int fd = follow(api, job, ""), other = http_open(api_port(api), 1);

    (void)state;
    assert_true(http_put(other, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_true(http_await(other, &all, "event: start\n", PATIENCE));
    assert_true(http_await(fd, &got, "event: job\n", PATIENCE));
    for (uint64_t i = 1; i <= 3; i++) {
        char wanted[40];

        snprintf(wanted, sizeof wanted, "{\"update\":%d,", (int)i);
        assert_null(strstr(got.data, wanted));
        fixture_losses(job, i, i);
        assert_true(http_await(fd, &got, wanted, PATIENCE));
    }
    assert_int_equal(db_epoch_add(fixture.db, job, &epoch, &err), 0);
    assert_true(http_await(fd, &got, "event: epoch\n", PATIENCE));
    assert_true(http_await(other, &all, "event: epoch\n", PATIENCE));
    assert_int_equal(db_message_add(fixture.db, job, "so far", &err), 0);
    assert_true(http_await(fd, &got, "\"text\":\"so far\"", PATIENCE));
    assert_int_equal(db_job_set_state(fixture.db, job, JOB_FAILED, "of a test", &err), 0);
    assert_true(http_await(fd, &got, "\r\n0\r\n\r\n", PATIENCE));
    assert_non_null(strstr(got.data, "\"state\":\"failed\",\"reason\":\"of a test\""));
    assert_true(http_await(other, &all, "of a test", PATIENCE));
    assert_int_equal(db_job_delete(fixture.db, job, &err), 0);
    assert_true(http_await(other, &all, "event: deleted\n", PATIENCE));
    assert_null(
        strstr(all.data, "event: update\n")); /* losses are told to those who ask for them */
    text_free(&got);
    text_free(&all);
    close(fd);
    close(other);
    api_close(api);
}

/* Who names an event that has not happened yet has seen another state folder: it begins anew. */
static void test_events_of_another_folder(void **state)
{
    static const char *const ids[] = {"9007199254740991", "99999999999999999999"};
    struct api *api = fixture_serve((struct api_options){0});
    int64_t job = fixture_run();
    struct err err;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct text got = {0}, all = {0};
        int fd = http_open(api_port(api), 1), other = http_open(api_port(api), 1);
        char text[200];

        snprintf(
            text, sizeof text,
            "GET /v1/jobs/%lld/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: %s\r\n\r\n",
            (long long)job, ids[i]);
        assert_true(http_put(fd, text));
        snprintf(text, sizeof text,
                 "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: %s\r\n\r\n", ids[i]);
        assert_true(http_put(other, text));
        assert_true(http_await(fd, &got, "event: job\n", PATIENCE));
        assert_true(http_await(other, &all, "event: start\n", PATIENCE));
        if (i == 1) { /* what happens from now on comes, too */
            assert_int_equal(db_job_set_state(fixture.db, job, JOB_FAILED, NULL, &err), 0);
            assert_true(http_await(fd, &got, "\r\n0\r\n\r\n", PATIENCE));
            assert_true(http_await(other, &all, "\"failed\"", PATIENCE));
        }
        text_free(&got);
        text_free(&all);
        close(fd);
        close(other);
    }
    api_close(api);
}

/* A stream that has nothing to say says so, and no limit of time on requests ends it. */
static void test_heartbeat(void **state)
{
    struct api *api = fixture_serve(
        (struct api_options){.idle_seconds = 2, .request_seconds = 2, .beat_seconds = 1});
    struct text got = {0};
    double began = clock_seconds();
    int64_t job = fixture_run();
    int fd = follow(api, job, "");
    struct err err;

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_true(http_await(fd, &got, "\n: heartbeat\n\n", PATIENCE));
        text_free(&got);
    }
    assert_true(clock_seconds() - began > 4);
    fixture_losses(job, 1, 1);
    assert_true(http_await(fd, &got, "event: update\n", PATIENCE));
    text_free(&got);
    close(fd);
    assert_int_equal(db_job_set_state(fixture.db, job, JOB_FAILED, NULL, &err), 0);
    api_close(api);
}

static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long pages = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %ld", &pages), 1);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void assert_little_memory(double before)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    (void)before; /* the sanitizers' own memory is many times that */
    (void)resident_bytes;
#else
    assert_true(resident_bytes() - before < SLOW * 1e6);
#endif
}

static void await_no_streams(const struct api *api)
{
    double until = clock_seconds() + PATIENCE;
    bool none = false;

    while (!none) {
        char *answer;

        assert_int_equal(http_ask(api_port(api), "GET", "/metrics", "", NULL, &answer), 200);
        none = strstr(answer, "\nrwpd_event_streams 0\n");
        free(answer);
        assert_true(clock_seconds() < until);
        usleep(50000);
    }
}

static void test_who_does_not_read(void **state)
{
    struct api *api = fixture_serve((struct api_options){.idle_seconds = 10});
    int64_t job = fixture_run();
    double before;
    struct text got = {0};
    struct err err;
    int fd[SLOW], reader;

    (void)state;
    fixture_losses(job, 1, LOSSES);
    assert_int_equal(db_job_set_state(fixture.db, job, JOB_FAILED, NULL, &err), 0);
    before = resident_bytes();
    for (int i = 0; i < SLOW; i++)
        fd[i] = follow(api, job, "?last_event_id=0");
    reader = follow(api, job, "?last_event_id=0");
    assert_true(http_await(reader, &got, "\r\n0\r\n\r\n", 4 * PATIENCE));
    assert_non_null(strstr(got.data, "\"state\":\"failed\""));
    assert_true(got.length > (size_t)LOSSES * 100);
    before += (double)got.capacity;
    text_free(&got);
    close(reader);
    assert_little_memory(before);
    await_no_streams(api);
    for (int i = 0; i < SLOW; i++) { /* they were dropped: the end never came */
        (void)http_await(fd[i], &got, NULL, PATIENCE);
        assert_null(strstr(got.data, "\r\n0\r\n\r\n"));
        text_free(&got);
        close(fd[i]);
    }
    api_close(api);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live),
        cmocka_unit_test(test_events_of_another_folder),
        cmocka_unit_test(test_heartbeat),
        cmocka_unit_test(test_who_does_not_read),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
