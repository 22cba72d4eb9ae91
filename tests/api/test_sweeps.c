/* Sweeps over HTTP: what becomes of a grid, and what is said of a wrong one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json_client.h"
#include "server_fixture.h"

static cJSON *post(const char *body, int expected)
{
    return ask_json("POST", "/v1/sweeps", "", body, expected);
}

/* "a|b|0": a member within. */
static const cJSON *at(const cJSON *json, const char *path)
{
    char name[64];

    while (*path && json) {
        size_t n = strcspn(path, "|");

        snprintf(name, sizeof name, "%.*s", (int)n, path);
        json = cJSON_IsArray(json) ? cJSON_GetArrayItem(json, atoi(name))
                                   : cJSON_GetObjectItemCaseSensitive(json, name);
        path += n + (path[n] == '|');
    }
    return json;
}

static void assert_number(const cJSON *json, const char *path, double value)
{
    const cJSON *found = at(json, path);

    if (!cJSON_IsNumber(found) || found->valuedouble < value || found->valuedouble > value)
        fail_msg("%s is not %g in %s", path, value, cJSON_Print(json));
}

static void assert_text(const cJSON *json, const char *path, const char *value)
{
    const cJSON *found = at(json, path);

    if (!cJSON_IsString(found) || strcmp(found->valuestring, value) != 0)
        fail_msg("%s is not \"%s\" in %s", path, value, cJSON_Print(json));
}

/* The job of a point. */
static cJSON *job_of(const cJSON *sweep, int row, int seed)
{
    char path[40];

    snprintf(path, sizeof path, "rows|%d|jobs|%d", row, seed);
    snprintf(path, sizeof path, "/v1/jobs/%d", at(sweep, path)->valueint);
    return ask_json("GET", path, "", NULL, 200);
}

/* Nothing is left of a sweep that was refused. */
static int sweeps(void)
{
    cJSON *list = ask_json("GET", "/v1/sweeps?limit=50", "", NULL, 200);
    int n = cJSON_GetArraySize(at(list, "sweeps"));

    assert_true(cJSON_IsNull(at(list, "next")));
    cJSON_Delete(list);
    return n;
}

/* The sweep is refused, and one of its errors is that. */
static void refused(const char *body, const char *pointer, const char *detail)
{
    int before = sweeps();
    cJSON *problem = post(body, 422);
    const cJSON *error;
    bool found = false;

    cJSON_ArrayForEach(error, at(problem, "errors"))
    {
        found = found || (strcmp(at(error, "pointer")->valuestring, pointer) == 0 &&
                          strstr(at(error, "detail")->valuestring, detail));
    }
    if (!found)
        fail_msg("%s: no \"%s\" at %s, but %s", body, detail, pointer, cJSON_Print(problem));
    cJSON_Delete(problem);
    assert_int_equal(sweeps(), before);
}

/* ---- What becomes of it ---- */

static void test_points(void **state)
{
    cJSON *sweep =
        post("{\"name\":\"s\",\"max_running\":2,\"job\":{\"model\":{\"kind\":\"net\"}},"
             "\"grid\":{\"/method/sigma\":[0.25,0.5],\"/seed\":[1,2,3],\"/lr\":[0.1,1]}}",
             201);
    cJSON *job;

    (void)state;
    assert_number(sweep, "points", 12);
    assert_number(sweep, "max_running", 2);
    assert_number(sweep, "jobs|queued", 12);
    assert_text(sweep, "state", "queued");
    assert_int_equal(cJSON_GetArraySize(at(sweep, "rows")), 4);
    assert_number(sweep, "rows|2|values|/method/sigma", 0.5);
    assert_number(sweep, "rows|2|values|/lr", 0.1);
    assert_text(sweep, "rows|2|label", "sigma 0.5, lr 0.1");
    assert_number(sweep, "rows|2|seeds", 3);
    assert_true(cJSON_IsNull(at(sweep, "rows|2|test_top1|mean")));
    job = job_of(sweep, 2, 1);
    assert_number(job, "spec|method|sigma", 0.5);
    assert_number(job, "spec|seed", 2);
    assert_number(job, "spec|lr", 0.1);
    assert_number(job, "sweep|point", 9); /* sigma 2 of 2, seed 2 of 3, lr 1 of 2 */
    assert_number(job, "sweep|id", at(sweep, "id")->valuedouble);
    assert_text(job, "name", "s: sigma 0.5, se"); /* names have 16 bytes here */
    cJSON_Delete(job);
    cJSON_Delete(sweep);
}

/* Whole objects as values, one axis within another, objects on the way that are not there. */
static void test_values_of_any_kind(void **state)
{
    cJSON *sweep = post("{\"job\":{\"name\":\"mine\",\"model\":{\"kind\":\"net\"}},"
                        "\"grid\":{\"/checkpoint/keep\":[7],\"/model/blocks/1\":[5],"
                        "\"/method/lambda\":[0,0.25],"
                        "\"/model\":[{\"kind\":\"net\",\"blocks\":[1,2],\"width\":3}],"
                        "\"/method\":[{\"kind\":\"m-rwp\",\"sigma\":2},{\"kind\":\"m-rwp\"}]}}",
                        201);
    cJSON *job = job_of(sweep, 2, 0);

    (void)state;
    assert_number(sweep, "points", 4);
    assert_text(sweep, "rows|2|label",
                "keep 7, 1 5, lambda 0.25, net (blocks [1,2], width 3), m-rwp (sigma 2)");
    assert_number(job, "spec|checkpoint|keep", 7);
    assert_number(job, "spec|checkpoint|every", 1);
    assert_number(job, "spec|model|blocks|0", 1);
    assert_number(job, "spec|model|blocks|1", 5);
    assert_number(job, "spec|model|width", 3);
    assert_number(job, "spec|method|sigma", 2);
    assert_number(job, "spec|method|lambda", 0.25);
    assert_text(job, "name", "mine");
    cJSON_Delete(job);
    cJSON_Delete(sweep);
}

static void test_key(void **state)
{
    static const char headers[] = "Idempotency-Key: k\r\n";
    static const char one[] = "{\"job\":{\"model\":{\"kind\":\"net\"}},\"grid\":{\"/seed\":[8,9]}}";
    static const char same[] = "{\"grid\":{\"/seed\":[8.0, 9]},\"job\":{\"seed\":4,"
                               "\"model\":{\"width\":8,\"kind\":\"net\"}}}";
    static const char other[] =
        "{\"job\":{\"model\":{\"kind\":\"net\"}},\"grid\":{\"/seed\":[9,8]}}";
    cJSON *first = ask_json("POST", "/v1/sweeps", headers, one, 201);
    cJSON *second = ask_json("POST", "/v1/sweeps", headers, same, 200);
    cJSON *conflict = ask_json("POST", "/v1/sweeps", headers, other, 409);

    (void)state;
    assert_number(second, "id", at(first, "id")->valuedouble);
    cJSON_Delete(first);
    cJSON_Delete(second);
    cJSON_Delete(conflict);
    cJSON_Delete(ask_json("POST", "/v1/sweeps", "Idempotency-Key: \r\n", one, 422));
}

static void test_lists(void **state)
{
    cJSON *page = ask_json("GET", "/v1/sweeps?limit=1", "", NULL, 200), *next, *jobs;
    char target[100];

    (void)state;
    next = ask_json("GET", at(page, "next")->valuestring, "", NULL, 200);
    assert_number(next, "sweeps|0|id", at(page, "sweeps|0|id")->valuedouble - 1);
    snprintf(target, sizeof target, "/v1/jobs?sweep=%d&limit=1", at(page, "sweeps|0|id")->valueint);
    jobs = ask_json("GET", target, "", NULL, 200);
    assert_number(jobs, "jobs|0|sweep|id", at(page, "sweeps|0|id")->valuedouble);
    assert_non_null(strstr(at(jobs, "next")->valuestring, "&sweep="));
    cJSON_Delete(page);
    cJSON_Delete(next);
    cJSON_Delete(jobs);
    cJSON_Delete(ask_json("GET", "/v1/sweeps?cursor=x", "", NULL, 422));
    cJSON_Delete(ask_json("GET", "/v1/sweeps/999", "", NULL, 404));
}

/* ---- What is wrong ---- */

#define BASE "{\"job\":{\"model\":{\"kind\":\"net\"}},\"grid\":"

static void test_wrong_requests(void **state)
{
    (void)state;
    refused("[]", "", "must be a JSON object");
    refused("{}", "/job", "is missing");
    refused("{}", "/grid", "is missing");
    refused("{\"job\":3,\"grid\":{}}", "/job", "must be an object");
    refused(BASE "[]}", "/grid", "must be an object");
    refused(BASE "{}}", "/grid", "not empty");
    refused(BASE "{\"/seed\":[1]},\"at_most\":2}", "/at_most", "unknown member");
    refused(BASE "{\"/seed\":[1]},\"max_running\":-1}", "/max_running", "at least 0");
    refused(BASE "{\"/seed\":[1]},\"name\":3}", "/name", "must be a string");
    cJSON_Delete(post("{", 400));
    cJSON_Delete(post("", 400));
    fixture.refuse = -4; /* ERR_LIMIT */
    cJSON_Delete(post(BASE "{\"/seed\":[1]}}", 429));
    fixture.refuse = 0;
}

static void test_wrong_grids(void **state)
{
    (void)state;
    refused(BASE "{\"/seed\":[]}}", "/grid/~1seed", "at least one value");
    refused(BASE "{\"/seed\":3}}", "/grid/~1seed", "at least one value");
    refused(BASE "{\"seed\":[1]}}", "/grid/seed", "JSON pointer");
    refused(BASE "{\"\":[1]}}", "/grid/", "JSON pointer");
    refused(BASE "{\"/a~2\":[1]}}", "/grid/~1a~02", "JSON pointer");
    refused(BASE "{\"/seed\":[1],\"/seed\":[2]}}", "/grid/~1seed", "given twice");
    refused(BASE "{\"/nothing\":[1]}}", "/grid/~1nothing/0", "point 1: unknown member");
    refused(BASE "{\"/seed/x\":[1]}}", "/grid/~1seed~1x/0", "must be an integer");
    refused("{\"job\":{\"seed\":1,\"model\":{\"kind\":\"net\"}},\"grid\":{\"/seed/x\":[1]}}",
            "/grid/~1seed~1x/0", "no such member");
    refused(BASE "{\"/model/blocks/7\":[1]}}", "/grid/~1model~1blocks~17/0", "must be a list");
    refused(BASE "{\"/a\":[1],\"/b\":[1],\"/c\":[1],\"/d\":[1],\"/e\":[1],\"/f\":[1],\"/g\":[1],"
                 "\"/h\":[1],\"/i\":[1]}}",
            "/grid", "more than 8");
    refused(BASE "{\"/seed\":[1,2,1]}}", "/grid", "points 1 and 3 are the same job");
    refused(BASE "{\"/method\":[{\"kind\":\"m-rwp\"},{\"kind\":\"m-rwp\",\"sigma\":0.015}]}}",
            "/grid", "points 1 and 2 are the same job");
}

/* Of which point, and whether by the grid or by the base job. */
static void test_wrong_jobs(void **state)
{
    (void)state;
    refused(BASE "{\"/method/sigma\":[1,-1],\"/seed\":[1,2]}}", "/grid/~1method~1sigma/1",
            "point 3: must be at least 0");
    refused(BASE "{\"/epochs\":[12,13,14]}}", "/grid/~1epochs/1", "point 2: 13 makes no sense");
    refused("{\"job\":{\"model\":{\"kind\":\"net\"},\"lr\":-1},\"grid\":{\"/seed\":[1,2]}}",
            "/job/lr", "point 1: must be above 0");
    refused("{\"job\":{},\"grid\":{\"/seed\":[1,2]}}", "/job/model", "point 1: is missing");
    refused("{\"job\":{},\"grid\":{\"/model/width\":[1,2]}}", "/job/model/kind",
            "point 1: is missing: it must be one of net, line");
    refused(BASE "{\"/method\":[{\"kind\":\"sgd\"},{\"kind\":\"m-rwp\",\"sigm\":1}]}}",
            "/grid/~1method/1/sigm", "point 2: m-rwp has no such member");
    refused(BASE "{\"/method\":[{\"kind\":\"m-rwp\"},{\"kind\":\"sgd\"}],\"/method/sigma\":[1,2]}}",
            "/grid/~1method~1sigma/0", "point 3: sgd has no such member");
}

/* Numbers from 0 to n − 1 between two texts. */
static char *many(const char *head, int n, const char *tail)
{
    size_t size = (size_t)n * 20 + 400, used;
    char *body = malloc(size);

    assert_non_null(body);
    used = (size_t)snprintf(body, size, "%s", head);
    for (int i = 0; i < n; i++)
        used += (size_t)snprintf(body + used, size - used, "%s%d", i ? "," : "", i);
    snprintf(body + used, size - used, "%s", tail);
    return body;
}

static void test_size(void **state)
{
    char *body = many(BASE "{\"/seed\":[", 1001, "]}}");
    cJSON *answer;

    (void)state;
    refused(body, "/grid", "has 1001 points; a sweep has at most 1000");
    free(body);
    body = many(BASE "{\"/lr\":[1,2],\"/seed\":[", 501, "]}}");
    refused(body, "/grid", "has 1002 points");
    free(body);
    body = many(BASE "{\"/lr\":[1,2],\"/seed\":[", 500, "]}}");
    answer = post(body, 201);
    assert_number(answer, "jobs|queued", 1000);
    cJSON_Delete(ask_json("POST", "/v1/sweeps/1/cancel", "", NULL, 200));
    cJSON_Delete(answer);
    free(body);
    body = many(BASE "{\"/seed\":[", 9999, "]}}");
    cJSON_Delete(post(body, 400)); /* too many values in one text */
    free(body);
}

/* What no job's check sees, because every point replaces it, has a bound of its own. */
static void test_values_that_are_shown_often(void **state)
{
    static char junk[30001], body[40000];
    char *epochs = many("", 100, "");

    (void)state;
    memset(junk, 'x', sizeof junk - 1);
    snprintf(body, sizeof body,
             BASE "{\"/method\":[{\"kind\":\"%s\"}],\"/method/kind\":[\"m-rwp\"],\"/lr\":[%s]}}",
             junk, epochs);
    refused(body, "/grid", "too long for so many points");
    free(epochs);
}

/* Pointers and labels of values that are deep, long or odd. */
static void test_hostile(void **state)
{
    char body[4000] = BASE "{\"/method\":[";
    size_t used = strlen(body);

    (void)state;
    for (int i = 0; i < 27; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, "{\"kind\":");
    used += (size_t)snprintf(body + used, sizeof body - used, "1");
    for (int i = 0; i < 27; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, "}");
    snprintf(body + used, sizeof body - used, "]}}");
    refused(body, "/grid/~1method/0/kind", "must be one of");
    refused(BASE "{\"/method/sigma/sigma/sigma/sigma/sigma\":[1]}}",
            "/grid/~1method~1sigma~1sigma~1sigma~1sigma~1sigma/0", "must be a number");
    refused(BASE "{\"/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789\":[1]}}",
            "/grid/~10123456789~10123456789~10123456789~10123456789~10123456789~10123456789",
            "JSON pointer");
    refused(BASE "{\"/~1~0/~0\":[null]}}", "/grid/~1~01~00~1~00/0", "unknown member");
    refused(BASE "{\"/seed\":[1e999]}}", "/grid/~1seed/0", "too large");
    refused(BASE "{\"//\":[1]}}", "/grid/~1~1/0", "unknown member");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),
        cmocka_unit_test(test_values_of_any_kind),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_wrong_requests),
        cmocka_unit_test(test_wrong_grids),
        cmocka_unit_test(test_wrong_jobs),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_values_that_are_shown_often),
        cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
