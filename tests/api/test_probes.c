/* Probes over HTTP: asked for once, listed, their tables as JSON and CSV, vectors, cancelling; and
 * a job's stream, which goes on for as long as its probes do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "db/probe.h"
#include "http_client.h"
#include "json_client.h"
#include "server_fixture.h"

#define PROBES "/v1/jobs/1/probes"

static void refuse(const char *method, const char *target, const char *headers, const char *body,
                   int status, const char *says)
{
    cJSON *json = ask_json(method, target, headers, body, status);
    char *text = cJSON_PrintUnformatted(json);

    assert_int_equal(get_number(json, "status"), status);
    if (!strstr(text, says))
        fail_msg("\"%s\" is not in %s", says, text);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void test_it_is_shown(void **state)
{
    cJSON *probe = ask_json("GET", PROBES "/1", "", NULL, 200),
          *summary = get_member(probe, "summary");
    cJSON *tables = get_member(probe, "tables"),
          *job = ask_json("GET", "/v1/jobs/1", "", NULL, 200);

    (void)state;
    assert_string_equal(get_text(probe, "state"), "succeeded");
    assert_string_equal(get_text(probe, "kind"), "lines");
    assert_string_equal(get_text(probe, "message"), "so it was");
    assert_true(get_number(probe, "update") == FIXTURE_UPDATES &&
                get_number(probe, "progress") == 1);
    assert_true(get_number(get_member(probe, "request"), "steps") == 10);
    assert_true(get_number(summary, "step") == 7 && get_number(summary, "value") == 0.5);
    assert_true(cJSON_IsNull(get_member(summary, "error"))); /* not known */
    assert_int_equal(cJSON_GetArraySize(tables), 2);         /* without what is internal */
    assert_string_equal(get_text(cJSON_GetArrayItem(tables, 1), "name"), "rows");
    assert_true(get_number(cJSON_GetArrayItem(tables, 1), "rows") == FIXTURE_ROWS);
    assert_string_equal(get_text(probe, "vectors"), PROBES "/1/vectors");
    assert_string_equal(get_text(get_member(job, "links"), "probes"), PROBES);
    cJSON_Delete(probe);
    cJSON_Delete(job);
    refuse("GET", PROBES "/99", "", NULL, 404, "job 1 has no probe 99");
    refuse("GET", "/v1/jobs/99/probes", "", NULL, 404, "job 99");
    refuse("GET", PROBES "/latest", "", NULL, 404, "");
}

static void test_it_is_asked_for_once(void **state)
{
    static const char body[] = "{\"kind\":\"lines\",\"steps\":3}";
    static const char key[] = "Idempotency-Key: probe-one\r\n";
    cJSON *first = ask_json("POST", PROBES, key, body, 201),
          *again = ask_json("POST", PROBES, key, body, 200);

    (void)state;
    assert_string_equal(get_text(first, "state"), "queued");
    assert_true(get_number(get_member(first, "request"), "update") == FIXTURE_UPDATES);
    assert_true(get_number(get_member(first, "request"), "steps") == 3);
    assert_true(cJSON_IsNull(get_member(first, "summary")) &&
                cJSON_IsNull(get_member(first, "vectors")));
    assert_true(get_number(first, "number") == get_number(again, "number"));
    assert_int_equal(fixture.anew, 0);
    cJSON_Delete(first);
    cJSON_Delete(again);
    refuse("POST", PROBES, key, "{\"kind\":\"lines\",\"steps\":4}", 409, "idempotency key");
    refuse("POST", PROBES, "Idempotency-Key: \r\n", body, 422, "Idempotency-Key");
}

static void test_what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *body, *says;
    } cases[] = {
        {"{}", "\"/kind\",\"detail\":\"is missing: it must be one of lines, ball\""},
        {"{\"kind\":\"x\"}", "\"/kind\",\"detail\":\"must be one of lines, ball\""},
        {"{\"kind\":\"ball\",\"steps\":1}",
         "\"/steps\",\"detail\":\"ball has no such member; it belongs to lines\""},
        {"{\"kind\":\"ball\",\"every\":1}", "\"/every\""},
        {"{\"kind\":\"lines\",\"steps\":0}", "\"/steps\",\"detail\":\"must be at least 1"},
        {"{\"kind\":\"lines\",\"steps\":13}", "\"/steps\",\"detail\":\"13 makes no sense\""},
        {"{\"kind\":\"lines\",\"update\":3}", "\"/update\",\"detail\":\"is not there\""},
        {"{\"kind\":\"lines\",\"steps\":0,\"update\":3}", "2 things about this probe are wrong"},
        {"[]", "must be an object"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse("POST", PROBES, "", cases[i].body, 422, cases[i].says);
    refuse("POST", PROBES, "", "{", 400, "json");
    refuse("POST", PROBES, "Content-Length: 0\r\n", NULL, 415, "");
    refuse("POST", "/v1/jobs/99/probes", "", "{\"kind\":\"ball\"}", 404, "job 99");
    fixture.refuse = ERR_LIMIT;
    refuse("POST", PROBES, "", "{\"kind\":\"ball\"}", 429, "refused for a test");
    fixture.refuse = ERR_FULL;
    refuse("POST", PROBES, "", "{\"kind\":\"ball\"}", 507, "refused for a test");
    fixture.refuse = 0;
}

static void test_without_a_checkpoint(void **state)
{
    int64_t job = fixture_run();
    char path[60];
    struct err err;

    (void)state;
    snprintf(path, sizeof path, "/v1/jobs/%lld/probes", (long long)job);
    refuse("POST", path, "", "{\"kind\":\"ball\"}", 409, "has no checkpoint yet");
    assert_int_equal(db_job_set_state(fixture.db, job, JOB_FAILED, NULL, &err), 0);
}

static void test_the_list_has_pages(void **state)
{
    cJSON *page, *probes;
    int seen = 0;
    char next[200] = PROBES "?limit=1";

    (void)state;
    cJSON_Delete(ask_json("POST", PROBES, "", "{\"kind\":\"ball\"}", 201));
    page = ask_json("GET", PROBES, "", NULL, 200);
    probes = get_member(page, "probes");
    assert_true(cJSON_IsNull(get_member(page, "next")) && cJSON_GetArraySize(probes) >= 2);
    for (int i = 0; i < cJSON_GetArraySize(probes); i++) {
        cJSON *one = ask_json("GET", next, "", NULL, 200);
        const cJSON *first = cJSON_GetArrayItem(get_member(one, "probes"), 0);

        assert_true(cJSON_Compare(first, cJSON_GetArrayItem(probes, i), true));
        seen += cJSON_IsString(get_member(one, "next"));
        snprintf(next, sizeof next, "%s", seen == i + 1 ? get_text(one, "next") : "");
        cJSON_Delete(one);
    }
    assert_int_equal(seen, cJSON_GetArraySize(probes) - 1);
    cJSON_Delete(page);
    page = ask_json("GET", PROBES "?state=succeeded", "", NULL, 200);
    assert_int_equal(cJSON_GetArraySize(get_member(page, "probes")), 1);
    cJSON_Delete(page);
    refuse("GET", PROBES "?cursor=j1", "", NULL, 422, "cursor");
    refuse("GET", PROBES "?cursor=p0", "", NULL, 422, "cursor");
    refuse("GET", PROBES "?cursor=p+5", "", NULL, 422, "cursor");
    refuse("GET", PROBES "?cursor=p99999999999999999999", "", NULL, 422, "cursor");
    refuse("GET", PROBES "?state=paused", "", NULL, 422, "state");
}

static void test_tables_as_json(void **state)
{
    cJSON *all = ask_json("GET", PROBES "/1/tables/rows", "", NULL, 200),
          *rows = get_member(all, "rows");
    cJSON *part = ask_json("GET", PROBES "/1/tables/rows?after=1&limit=2", "", NULL, 200);
    cJSON *two = get_member(part, "rows"), *row;
    int i = 0;

    (void)state;
    assert_int_equal(cJSON_GetArraySize(rows), FIXTURE_ROWS);
    cJSON_ArrayForEach(row, rows)
    {
        assert_true(get_number(row, "step") == i);
        if (i == 3)
            assert_string_equal(get_text(row, "value"), "NaN"); /* a result, not a hole */
        else
            assert_true(get_number(row, "value") == 0.5 * i);
        assert_string_equal(get_text(row, "error"), "Infinity");
        i++;
    }
    assert_true(get_number(all, "of") == FIXTURE_ROWS &&
                cJSON_IsNull(get_member(all, "next_after")));
    assert_int_equal(cJSON_GetArraySize(two), 2);
    assert_true(get_number(cJSON_GetArrayItem(two, 0), "step") == 2);
    assert_true(get_number(part, "of") == FIXTURE_ROWS - 2 && get_number(part, "next_after") == 3);
    cJSON_Delete(all);
    cJSON_Delete(part);
    refuse("GET", PROBES "/1/tables/inside", "", NULL, 404, "summary, rows");
    refuse("GET", PROBES "/1/tables/x", "", NULL, 404, "summary, rows");
    refuse("GET", PROBES "/9/tables/rows", "", NULL, 404, "no probe 9");
    refuse("GET", PROBES "/1/tables/rows?limit=0", "", NULL, 422, "limit");
}

static void test_tables_as_csv(void **state)
{
    static const char *const ways[][2] = {
        {PROBES "/1/tables/rows?format=csv&limit=4", ""},
        {PROBES "/1/tables/rows?limit=4", "Accept: text/csv\r\n"}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        char *answer, type[60];

        assert_int_equal(http_ask(fixture.port, "GET", ways[i][0], ways[i][1], NULL, &answer), 200);
        http_header(answer, "Content-Type", type, sizeof type);
        assert_string_equal(type, "text/csv; charset=utf-8");
        assert_string_equal(http_body(answer), "step,value,error\n0,0,Infinity\n1,0.5,Infinity\n"
                                               "2,1,Infinity\n3,NaN,Infinity\n");
        free(answer);
    }
}

static void test_vectors_are_a_file(void **state)
{
    char *answer, tag[80], condition[120];

    (void)state;
    assert_int_equal(http_ask(fixture.port, "GET", PROBES "/1/vectors", "", NULL, &answer), 200);
    http_header(answer, "ETag", tag, sizeof tag);
    assert_memory_equal(http_body(answer) + 8, "{\"__metadata__\"", 15);
    free(answer);
    snprintf(condition, sizeof condition, "If-None-Match: %s\r\n", tag);
    assert_int_equal(http_ask(fixture.port, "GET", PROBES "/1/vectors", condition, NULL, &answer),
                     304);
    free(answer);
    assert_int_equal(
        http_ask(fixture.port, "GET", PROBES "/1/vectors", "Range: bytes=8-22\r\n", NULL, &answer),
        206);
    assert_string_equal(http_body(answer), "{\"__metadata__\"");
    free(answer);
    refuse("GET", PROBES "/2/vectors", "", NULL, 404, "no vectors");
}

/* The number of a queued probe. */
static int queue_one(void)
{
    cJSON *json = ask_json("POST", PROBES, "", "{\"kind\":\"ball\"}", 201);
    int made = (int)get_number(json, "number");

    cJSON_Delete(json);
    return made;
}

static void test_cancelling(void **state)
{
    char path[60];
    cJSON *json;

    (void)state;
    snprintf(path, sizeof path, PROBES "/%d/cancel", queue_one());
    refuse("POST", path, "", "{\"now\":true}", 422, "/now");
    json = ask_json("POST", path, "", NULL, 200);
    assert_string_equal(get_text(json, "result"), "cancelled");
    assert_string_equal(get_text(get_member(json, "probe"), "state"), "cancelled");
    cJSON_Delete(json);
    refuse("POST", path, "", NULL, 409, "is cancelled");
    refuse("POST", PROBES "/99/cancel", "", NULL, 404, "no probe 99");
    refuse("POST", path, "Origin: http://evil\r\n", NULL, 403, "");
}

static void cancel(int number)
{
    char path[60];

    snprintf(path, sizeof path, PROBES "/%d/cancel", number);
    cJSON_Delete(ask_json("POST", path, "", NULL, 200));
}

static void cancel_all(void)
{
    cJSON *page = ask_json("GET", PROBES "?state=queued&limit=200", "", NULL, 200), *probe;

    cJSON_ArrayForEach(probe, get_member(page, "probes")) cancel((int)get_number(probe, "number"));
    cJSON_Delete(page);
}

/* The job has ended; its stream ends with its last probe. */
static void test_the_stream_waits_for_probes(void **state)
{
    struct text got = {0};
    struct err err;
    struct db_probe_claim claim;
    char *answer;
    int made, fd;

    (void)state;
    cancel_all();
    made = queue_one();
    fd = http_open(fixture.port, 1);
    assert_true(http_put(fd, "GET /v1/jobs/1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_true(http_await(fd, &got, "event: job\n", PATIENCE));
    assert_int_equal(db_probe_claim(fixture.db, 1, &claim, &err), 0);
    assert_int_equal(claim.number, made);
    assert_true(
        http_await(fd, &got, "\"kind\":\"ball\",\"update\":200,\"state\":\"running\"", PATIENCE));
    assert_int_equal(db_probe_progress(fixture.db, claim.id, 0.25, &err), 0);
    assert_true(http_await(fd, &got, "event: probe_progress\n", PATIENCE));
    assert_true(http_await(fd, &got, "\"progress\":0.25", PATIENCE));
    assert_int_equal(db_probe_set_state(fixture.db, claim.id, PROBE_FAILED, "a test", &err), 0);
    assert_true(http_await(fd, &got, "\r\n0\r\n\r\n", PATIENCE));
    assert_non_null(strstr(got.data, "\"state\":\"failed\",\"reason\":\"a test\""));
    db_probe_claim_free(&claim);
    text_free(&got);
    close(fd);
    /* Who has seen that need not come back; who has not, gets it. */
    assert_int_equal(
        http_ask(fixture.port, "GET", "/v1/jobs/1/events?last_event_id=0", "", NULL, &answer), 200);
    assert_non_null(strstr(answer, "a test"));
    free(answer);
}

static void test_kinds_and_metrics(void **state)
{
    cJSON *json = ask_json("GET", "/v1/probes", "", NULL, 200);
    cJSON *kind = cJSON_GetArrayItem(get_member(json, "probes"), 0),
          *tables = get_member(kind, "tables");
    char *answer;

    (void)state;
    assert_string_equal(get_text(kind, "kind"), "lines");
    assert_int_equal(cJSON_GetArraySize(get_member(kind, "parameters")), 2);
    assert_int_equal(cJSON_GetArraySize(tables), 2);
    assert_int_equal(cJSON_GetArraySize(get_member(cJSON_GetArrayItem(tables, 0), "columns")), 3);
    cJSON_Delete(json);
    assert_int_equal(http_ask(fixture.port, "GET", "/metrics", "", NULL, &answer), 200);
    assert_non_null(strstr(answer, "\nrwpd_probes{state=\"succeeded\"} 1\n"));
    free(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_shown),
        cmocka_unit_test(test_it_is_asked_for_once),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_without_a_checkpoint),
        cmocka_unit_test(test_the_list_has_pages),
        cmocka_unit_test(test_tables_as_json),
        cmocka_unit_test(test_tables_as_csv),
        cmocka_unit_test(test_vectors_are_a_file),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_the_stream_waits_for_probes),
        cmocka_unit_test(test_kinds_and_metrics),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
