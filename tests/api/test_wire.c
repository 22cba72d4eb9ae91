/* The small parsers of HTTP and the safetensors header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "http.h"
#include "negotiate.h"
#include "range.h"
#include "safetensors.h"
#include "session.h"
#include "uri.h"

static void test_range(void **state)
{
    static const struct {
        const char *text;
        enum range_kind kind;
        int64_t first, n;
    } cases[] = {
        {"bytes=0-0", RANGE_PART, 0, 1},
        {"bytes=0-", RANGE_PART, 0, 100},
        {"bytes=99-", RANGE_PART, 99, 1},
        {"bytes=50-1000", RANGE_PART, 50, 50},
        {"bytes=-10", RANGE_PART, 90, 10},
        {"bytes=-1000", RANGE_PART, 0, 100},
        {"bytes=100-", RANGE_UNSATISFIABLE},
        {"bytes=-0", RANGE_UNSATISFIABLE},
        {"bytes=5-4", RANGE_NONE},
        {"bytes=0-1,3-4", RANGE_NONE},
        {"bytes=", RANGE_NONE},
        {"bytes=-", RANGE_NONE},
        {"bytes=a-b", RANGE_NONE},
        {"lines=0-1", RANGE_NONE},
        {NULL, RANGE_NONE},
        {"bytes=0-1x", RANGE_NONE},
        {"bytes=99999999999999999999-", RANGE_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t first = 0, n = 0;

        assert_int_equal(range_parse(cases[i].text, 100, &first, &n), cases[i].kind);
        if (cases[i].kind == RANGE_PART) {
            assert_int_equal(first, cases[i].first);
            assert_int_equal(n, cases[i].n);
        }
    }
}

static void test_negotiate(void **state)
{
    static const char *const types[] = {"application/json", "text/csv", NULL};

    (void)state;
    assert_int_equal(negotiate(NULL, types), 0);
    assert_int_equal(negotiate("*/*", types), 0);
    assert_int_equal(negotiate("text/csv", types), 1);
    assert_int_equal(negotiate("text/*;q=0.5, application/json;q=0.4", types), 1);
    assert_int_equal(negotiate("application/json;q=0.9,text/csv", types), 1);
    assert_int_equal(negotiate("application/json;q=0, */*;q=0.1", types), 1);
    assert_int_equal(negotiate("text/html", types), -1);
    assert_int_equal(negotiate(",,;q=,", types), -1);
    assert_int_equal(negotiate("TEXT/CSV ; Q=1.0", types), 1);
}

static void test_uri(void **state)
{
    char good[] = "/a%20b?x=1%2B2&y=%CE%BB+z&w", absolute[] = "http://host:1/p?q";
    char *path, *query, *name, *value;
    bool fine = true;

    (void)state;
    assert_true(uri_split(good, &path, &query));
    assert_string_equal(path, "/a b");
    assert_true(uri_next(&query, &name, &value, &fine));
    assert_string_equal(value, "1+2");
    assert_true(uri_next(&query, &name, &value, &fine));
    assert_string_equal(value, "\xce\xbb z");
    assert_true(uri_next(&query, &name, &value, &fine));
    assert_string_equal(name, "w");
    assert_string_equal(value, "");
    assert_false(uri_next(&query, &name, &value, &fine));
    assert_true(fine);
    assert_true(uri_split(absolute, &path, &query));
    assert_string_equal(path, "/p");
    for (size_t i = 0; i < 6; i++) {
        char bad[6][8] = {"/%", "/%0", "/%00", "/%zz", "/%ff", "/%0a"};

        assert_false(uri_split(bad[i], &path, &query));
    }
}

static void test_routes(void **state)
{
    struct request at = {0};

    (void)state;
    assert_true(route_match("/v1/jobs/{id}", "/v1/jobs/17", &at));
    assert_int_equal(at.id, 17);
    assert_true(
        route_match("/v1/jobs/{id}/checkpoints/{update}", "/v1/jobs/1/checkpoints/latest", &at));
    assert_string_equal(at.item, "latest");
    assert_true(route_match("/v1/jobs/{id}/probes/{number}/tables/{table}",
                            "/v1/jobs/3/probes/12/tables/layer_nodes", &at));
    assert_true(at.id == 3 && at.number == 12);
    assert_string_equal(at.table, "layer_nodes");
    assert_false(route_match("/v1/jobs/{id}", "/v1/jobs/0", &at));
    assert_false(route_match("/v1/jobs/{id}", "/v1/jobs/-1", &at));
    assert_false(route_match("/v1/jobs/{id}", "/v1/jobs/9223372036854775808", &at));
    assert_false(route_match("/v1/jobs/{id}", "/v1/jobs/1/", &at));
    assert_false(route_match("/v1/jobs/{id}", "/v1/jobs/", &at));
    assert_false(route_match("/v1/jobs", "/v1/job", &at));
    assert_false(route_match("/p/{number}", "/p/latest", &at));
    assert_false(route_match("/p/{table}", "/p/..", &at));
    assert_false(route_match("/p/{table}", "/p/a%2Fb", &at));
    assert_false(route_match("/p/{table}", "/p/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &at));
    assert_false(route_match("/p/{table}", "/p/", &at));
}

static void test_session(void **state)
{
    (void)state;
    assert_true(session_same("0123456789abcdef", "0123456789abcdef"));
    assert_false(session_same("0123456789abcde", "0123456789abcdef"));
    assert_false(session_check("token", "rwpd_session=99999999999."));
    assert_false(session_check("token", "rwpd_session="));
    assert_false(session_check("token",
                               "rwpd_session=99999999999."
                               "0000000000000000000000000000000000000000000000000000000000000000"));
}

static void test_safetensors(void **state)
{
    const struct tensor tensors[] = {
        {"w", TENSOR_PARAMETER, TENSOR_F32, 2, {3, 1}},
        {"n", TENSOR_BUFFER, TENSOR_I64, 0, {0}},
        {"w", TENSOR_MOMENTUM, TENSOR_F32, 2, {3, 1}},
    };
    struct safetensors file;
    struct err err;
    uint64_t length = 0;
    cJSON *json;

    (void)state;
    for (int full = 0; full < 2; full++) {
        const cJSON *offsets;

        assert_int_equal(safetensors_plan(&file, tensors, 3, full, 5, 60, &err), 0);
        memcpy(&length, file.header.data, 8);
        assert_int_equal(length + 8, file.header.length);
        assert_int_equal(length % 8, 0);
        assert_int_equal(file.bytes, (int64_t)file.header.length + 8 + 12 * (1 + full));
        json = cJSON_ParseWithLength(file.header.data + 8, length);
        assert_non_null(json);
        assert_int_equal(cJSON_GetArraySize(json), 3 + full);
        offsets = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "w"), "data_offsets");
        assert_int_equal(cJSON_GetArrayItem(offsets, 0)->valueint, 8);
        assert_int_equal(cJSON_GetArrayItem(offsets, 1)->valueint, 20);
        assert_int_equal(cJSON_HasObjectItem(json, "momentum.w"), full);
        cJSON_Delete(json);
        safetensors_free(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range),   cmocka_unit_test(test_negotiate),
        cmocka_unit_test(test_uri),     cmocka_unit_test(test_routes),
        cmocka_unit_test(test_session), cmocka_unit_test(test_safetensors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
