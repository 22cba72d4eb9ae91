/* The whole room on a free port of the loopback, with a database of its own and a service that
 * queues jobs without training them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/err.h"
#include "http.h"
#include "http_client.h"
#include "json_client.h"
#include "server_fixture.h"

static void test_submit(void **state)
{
    const char *job = "{\"model\":{\"kind\":\"net\"},\"name\":\"first\"}";
    cJSON *json = ask_json("POST", "/v1/jobs", "Idempotency-Key: one\r\n", job, 201);
    double id = get_number(json, "id");

    (void)state;
    assert_string_equal(get_text(json, "name"), "first");
    assert_string_equal(get_text(json, "state"), "queued");
    assert_true(get_number(cJSON_GetObjectItem(json, "spec"), "epochs") == 3);
    cJSON_Delete(json);
    json = ask_json("POST", "/v1/jobs", "Idempotency-Key: one\r\n", job, 200);
    assert_true(get_number(json, "id") == id);
    cJSON_Delete(json);
    cJSON_Delete(ask_json("POST", "/v1/jobs", "Idempotency-Key: one\r\n",
                          "{\"model\":{\"kind\":\"line\"}}", 409));
    json =
        ask_json("POST", "/v1/jobs", "", "{\"model\":{\"kind\":\"x\"},\"epochs\":0,\"y\":1}", 422);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "errors")), 3);
    cJSON_Delete(json);
    json = ask_json("POST", "/v1/jobs", "", "{\"model\":{\"kind\":\"net\"},\"epochs\":13}", 422);
    cJSON_Delete(json);
    cJSON_Delete(ask_json("POST", "/v1/jobs", "", "{", 400));
    cJSON_Delete(ask_json("POST", "/v1/jobs", "", "", 400));
    cJSON_Delete(ask_json("POST", "/v1/jobs", "Content-Length: 0\r\n", NULL, 415));
}

/* Of the list's counts by state. */
static int count_all(const cJSON *list)
{
    const cJSON *of;
    int n = 0;

    cJSON_ArrayForEach(of, cJSON_GetObjectItem(list, "counts")) n += of->valueint;
    return n;
}

static int count_listed(void)
{
    cJSON *list = ask_json("GET", "/v1/jobs?limit=200", "", NULL, 200);
    int n = cJSON_GetArraySize(cJSON_GetObjectItem(list, "jobs"));

    cJSON_Delete(list);
    return n;
}

static void test_list(void **state)
{
    cJSON *json = ask_json("GET", "/v1/jobs?limit=1", "", NULL, 200);
    const char *next = get_text(json, "next");
    const cJSON *jobs = cJSON_GetObjectItem(json, "jobs");
    double first = get_number(cJSON_GetArrayItem(jobs, 0), "id");
    cJSON *second = ask_json("GET", next, "", NULL, 200);

    (void)state;
    assert_true(get_number(cJSON_GetArrayItem(cJSON_GetObjectItem(second, "jobs"), 0), "id") <
                first);
    assert_int_equal(count_all(json), count_listed());
    cJSON_Delete(second);
    cJSON_Delete(json);
    cJSON_Delete(ask_json("GET", "/v1/jobs?cursor=x", "", NULL, 422));
    cJSON_Delete(ask_json("GET", "/v1/jobs?state=no&limit=201&limit=1&z=1", "", NULL, 422));
}

static void test_control(void **state)
{
    cJSON *json = ask_json("POST", "/v1/jobs/1/cancel", "", NULL, 409);

    (void)state;
    cJSON_Delete(json);
    cJSON_Delete(ask_json("POST", "/v1/jobs/1/pause", "", "{\"now\":true}", 422));
    cJSON_Delete(ask_json("POST", "/v1/jobs/1/pause", "", "{\"now\":", 400));
    cJSON_Delete(ask_json("POST", "/v1/jobs/99/pause", "", NULL, 404));
    cJSON_Delete(ask_json("POST", "/v1/jobs/1/cancel", "Origin: http://evil\r\n", NULL, 403));
    cJSON_Delete(
        ask_json("POST", "/v1/jobs/1/cancel", "Sec-Fetch-Site: cross-site\r\n", NULL, 403));
}

/* In order, ending with `last`, and with update `high` among them. */
static void assert_thinned(const cJSON *rows, int high, int last)
{
    double before = 0;
    bool found = false;
    const cJSON *row;

    cJSON_ArrayForEach(row, rows)
    {
        assert_true(get_number(row, "update") > before);
        before = get_number(row, "update");
        found = found || before == high;
    }
    assert_true(found);
    assert_true(before == last);
}

static void test_losses(void **state)
{
    cJSON *json = ask_json("GET", "/v1/jobs/1/losses", "", NULL, 200);
    const cJSON *rows = cJSON_GetObjectItem(json, "losses");
    char *answer;

    (void)state;
    assert_int_equal(cJSON_GetArraySize(rows), FIXTURE_UPDATES);
    assert_string_equal(get_text(cJSON_GetArrayItem(rows, FIXTURE_NAN - 1), "loss"), "NaN");
    assert_true(get_number(json, "of") == FIXTURE_UPDATES);
    cJSON_Delete(json);
    json = ask_json("GET", "/v1/jobs/1/losses?points=20", "", NULL, 200);
    rows = cJSON_GetObjectItem(json, "losses");
    assert_in_range(cJSON_GetArraySize(rows), 10, 20);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(json, "thinned")));
    assert_true(get_number(json, "of") == FIXTURE_UPDATES);
    assert_thinned(rows, FIXTURE_NAN, FIXTURE_UPDATES);
    cJSON_Delete(json);
    /* Neither end is that of one of the database's spans. */
    json = ask_json("GET", "/v1/jobs/1/losses?after=30&limit=141&points=9", "", NULL, 200);
    rows = cJSON_GetObjectItem(json, "losses");
    assert_in_range(cJSON_GetArraySize(rows), 4, 9);
    assert_true(get_number(json, "of") == FIXTURE_UPDATES - 30);
    assert_true(get_number(json, "next_after") == 171);
    assert_thinned(rows, FIXTURE_NAN, 171);
    cJSON_Delete(json);
    json = ask_json("GET", "/v1/jobs/1/losses?after=10&limit=5", "", NULL, 200);
    assert_true(get_number(json, "next_after") == 15);
    assert_true(get_number(json, "of") == FIXTURE_UPDATES - 10);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(json, "thinned")));
    cJSON_Delete(json);
    json = ask_json("GET", "/v1/jobs/1/losses?after=199&limit=1", "", NULL, 200);
    assert_true(get_number(json, "of") == 1);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "next_after")));
    cJSON_Delete(json);
    json = ask_json("GET", "/v1/jobs/1/losses?after=200", "", NULL, 200);
    assert_true(get_number(json, "of") == 0);
    cJSON_Delete(json);
    assert_int_equal(http_ask(fixture.port, "GET", "/v1/jobs/1/losses?limit=1",
                              "Accept: text/csv;q=0.9, application/json;q=0.1\r\n", NULL, &answer),
                     200);
    assert_string_equal(http_body(answer), "update,epoch,loss,perturbed_loss,lr,sigma,seconds\n"
                                           "1,1,1,,0.1,0,0.5\n");
    free(answer);
    cJSON_Delete(ask_json("GET", "/v1/jobs/1/losses", "Accept: image/png\r\n", NULL, 406));
}

static void test_events(void **state)
{
    char *answer, *body;
    int n = 0;

    (void)state;
    assert_int_equal(
        http_ask(fixture.port, "GET", "/v1/jobs/1/events?last_event_id=0", "", NULL, &answer), 200);
    body = http_body(answer);
    for (char *at = body; (at = strstr(at, "event: update\n")); at++)
        n++;
    assert_int_equal(n, FIXTURE_UPDATES);
    assert_non_null(strstr(body, "event: checkpoint\n"));
    assert_non_null(strstr(body, "\"state\":\"succeeded\""));
    free(answer);
    assert_int_equal(http_ask(fixture.port, "GET", "/v1/jobs/1/events", "", NULL, &answer), 200);
    body = http_body(answer);
    assert_non_null(strstr(body, "event: job\ndata: {\"id\":1,"));
    body = strstr(body, "id: ");
    n = atoi(body + 4);
    free(answer);
    {
        char header[64];

        snprintf(header, sizeof header, "Last-Event-ID: %d\r\n", n);
        assert_int_equal(http_ask(fixture.port, "GET", "/v1/jobs/1/events", header, NULL, &answer),
                         204);
    }
    free(answer);
    /* An event that has not happened: of another state folder. */
    assert_int_equal(http_ask(fixture.port, "GET", "/v1/jobs/1/events",
                              "Last-Event-ID: 9007199254740991\r\n", NULL, &answer),
                     200);
    assert_non_null(strstr(http_body(answer), "event: job\ndata: {\"id\":1,"));
    free(answer);
}

static void test_checkpoints(void **state)
{
    cJSON *json = ask_json("GET", "/v1/jobs/1/checkpoints", "", NULL, 200);
    char *answer, *part;
    const char *body;
    long n;
    static const char whole[] = "GET /v1/jobs/1/checkpoints/latest HTTP/1.1\r\nHost: localhost\r\n"
                                "Connection: close\r\n\r\n";

    (void)state;
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "checkpoints")), 1);
    cJSON_Delete(json);
    n = http_send(fixture.port, whole, sizeof whole - 1, false, 60000, &answer);
    body = http_body(answer);
    n -= body - answer;
    assert_true(n > 16 && n % 4 == 0);
    assert_memory_equal(body + n - sizeof fixture_weights, fixture_weights, sizeof fixture_weights);
    assert_int_equal(http_ask(fixture.port, "GET", "/v1/jobs/1/checkpoints/latest",
                              "Range: bytes=-4\r\n", NULL, &part),
                     206);
    assert_memory_equal(http_body(part), &fixture_weights[FIXTURE_WEIGHTS - 1], 4);
    free(part);
    free(answer);
    assert_int_equal(http_ask(fixture.port, "GET", "/v1/jobs/1/checkpoints/latest",
                              "Range: bytes=999999-\r\n", NULL, &part),
                     416);
    free(part);
    cJSON_Delete(ask_json("GET", "/v1/jobs/1/checkpoints/7", "", NULL, 404));
}

/* A run that writes checkpoints faster than they are asked for, and keeps one. */
struct writing {
    int64_t job;
    atomic_bool stop;
    bool failed;
};

static void *write_checkpoints(void *context)
{
    struct writing *writing = context;
    struct tensor tensor = {
        .name = "w", .rank = 1, .dim = {FIXTURE_WEIGHTS}, .data = fixture_weights};
    struct checkpoint checkpoint = {1, 1, &tensor};
    struct err err;

    for (; !atomic_load(&writing->stop) && !writing->failed; checkpoint.update++)
        writing->failed =
            db_checkpoint_add(fixture.db, writing->job, &checkpoint, false, 1, &err) != 0;
    return NULL;
}

/* There always is a latest one. */
static void test_latest_while_it_is_replaced(void **state)
{
    struct writing writing = {.job = fixture_run()};
    double until = clock_seconds() + 60;
    pthread_t thread;
    char target[64], *answer;
    struct err err;
    int status;

    (void)state;
    snprintf(target, sizeof target, "/v1/jobs/%lld/checkpoints/latest", (long long)writing.job);
    cJSON_Delete(ask_json("GET", target, "", NULL, 404));
    assert_int_equal(pthread_create(&thread, NULL, write_checkpoints, &writing), 0);
    do {
        status = http_ask(fixture.port, "HEAD", target, "", NULL, &answer);
        free(answer);
        assert_true(clock_seconds() < until);
    } while (status == 404);
    for (int i = 0; i < 300 && status == 200; i++) {
        status = http_ask(fixture.port, "HEAD", target, "", NULL, &answer);
        free(answer);
    }
    atomic_store(&writing.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(status, 200);
    assert_false(writing.failed);
    assert_int_equal(db_job_set_state(fixture.db, writing.job, JOB_CANCELLED, NULL, &err), 0);
}

static const char *place_of(const char *pattern)
{
    if (strncmp(pattern, "{update}", 8) == 0)
        return "latest";
    return strncmp(pattern, "{table}", 7) == 0 ? "rows" : "1";
}

/* Every route answers as its table says, and what has a wrong method is refused with Allow. */
static void test_table(void **state)
{
    int n;
    const struct route *table = routes(&n);

    (void)state;
    cJSON_Delete(ask_json("POST", "/v1/sweeps", "",
                          "{\"job\":{\"model\":{\"kind\":\"net\"}},\"grid\":{\"/seed\":[1]}}",
                          201));
    for (int i = 0; i < n; i++) {
        char path[100], *answer;
        const char *at = table[i].pattern;
        size_t used = 0;
        int status;

        while (*at) {
            if (*at == '{') {
                used += (size_t)snprintf(path + used, sizeof path - used, "%s", place_of(at));
                at = strchr(at, '}') + 1;
            } else {
                path[used++] = *at++;
            }
        }
        path[used] = '\0';
        status = http_ask(fixture.port, "PATCH", path, "", NULL, &answer);
        assert_int_equal(status, 405);
        assert_non_null(strstr(answer, "\r\nAllow: "));
        free(answer);
        assert_int_equal(http_ask(fixture.port, "OPTIONS", path, "", NULL, &answer), 204);
        free(answer);
        if (strcmp(table[i].method, "GET") != 0)
            continue;
        assert_int_equal(http_ask(fixture.port, "HEAD", path, "", NULL, &answer), 200);
        assert_string_equal(http_body(answer), "");
        free(answer);
        if (!(table[i].flags & ROUTE_STREAM)) {
            assert_int_equal(http_ask(fixture.port, "GET", path, "", NULL, &answer), 200);
            free(answer);
        }
    }
}

static void test_description(void **state)
{
    cJSON *json = ask_json("GET", "/openapi.json", "", NULL, 200);
    const cJSON *paths = cJSON_GetObjectItem(json, "paths");
    int n;
    const struct route *table = routes(&n);

    (void)state;
    /* Keys are compared without case: "get" is found for "GET". */
    for (int i = 0; i < n; i++)
        assert_non_null(cJSON_GetObjectItem(
            cJSON_GetObjectItemCaseSensitive(paths, table[i].pattern), table[i].method));
    cJSON_Delete(json);
}

static void test_host(void **state)
{
    static const char evil[] = "GET /v1 HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    char *answer;

    (void)state;
    http_send(fixture.port, evil, sizeof evil - 1, true, 60000, &answer);
    assert_non_null(strstr(answer, " 421 "));
    free(answer);
}

static void test_token(void **state)
{
    static const char token[] = "0123456789abcdef";
    struct api *api = fixture_serve((struct api_options){.token = token});
    struct api_options everywhere = {.address = "0.0.0.0"};
    struct err err;
    char *answer;

    (void)state;
    assert_int_equal(http_ask(api_port(api), "GET", "/livez", "", NULL, &answer), 200);
    free(answer);
    assert_int_equal(http_ask(api_port(api), "GET", "/v1", "", NULL, &answer), 401);
    assert_non_null(strstr(answer, "WWW-Authenticate: Bearer"));
    free(answer);
    assert_int_equal(http_ask(api_port(api), "GET", "/v1",
                              "Authorization: Bearer 0123456789abcdef\r\n", NULL, &answer),
                     200);
    free(answer);
    assert_int_equal(http_ask(api_port(api), "GET", "/v1",
                              "Authorization: Bearer 0123456789abcdee\r\n", NULL, &answer),
                     401);
    free(answer);
    api_close(api);
    assert_int_equal(api_open(&api, &everywhere, &fixture_service, fixture.db, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submit),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_latest_while_it_is_replaced),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
