/* JSON to struct and back: defaults, every kind of mistake, several at once, hostile texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/spec_json.h"
#include "spec_table.h"

static struct spec_problems problems;
static struct err err;

static int parse_n(const char *json, size_t n, struct sample_job *job)
{
    memset(job, 0, sizeof *job);
    memset(&err, 0, sizeof err);
    memset(&problems, 0xa5, sizeof problems); /* whatever was there counts for nothing */
    return spec_json_parse(&sample_spec, json, n, job, &problems, &err);
}

static int parse(const char *json, struct sample_job *job)
{
    return parse_n(json, strlen(json), job);
}

static void test_defaults(void **state)
{
    struct sample_job job;
    char *json = NULL;

    (void)state;
    assert_int_equal(parse("{\"model\":{\"kind\":\"net\"}}", &job), 0);
    assert_string_equal(job.name, "nobody");
    assert_int_equal(job.method.kind, 1);
    assert_true(job.method.sigma == 0.015 && job.lr == 0.1 && job.loud);
    assert_int_equal(job.model.blocks.n, 2);
    assert_int_equal(job.checkpoint.keep, 2);
    assert_int_equal(spec_json_write(&sample_spec, &job, &json, &err), 0);
    assert_string_equal(
        json, "{\"name\":\"nobody\",\"model\":{\"kind\":\"net\",\"width\":8,\"blocks\":[1,2]},"
              "\"dataset\":{\"kind\":\"toy\"},\"method\":{\"kind\":\"m-rwp\",\"sigma\":0.015,"
              "\"lambda\":0.5},\"epochs\":3,\"seed\":1,\"lr\":0.1,\"loud\":true,"
              "\"device\":\"auto\",\"checkpoint\":{\"every\":1,\"keep\":2},\"probes\":[]}");
    free(json);
}

static void test_round_trip(void **state)
{
    static const char text[] =
        "{\"name\":\"\\\"\xce\xbb\\\\\",\"model\":{\"kind\":\"line\"},\"dataset\":{\"kind\":"
        "\"folder\",\"path\":\"/a\"},\"method\":{\"kind\":\"m-rwp\",\"sigma\":1e-05,\"lambda\":0},"
        "\"epochs\":1000,\"seed\":9007199254740991,\"lr\":10,\"loud\":false,\"device\":\"cpu\","
        "\"checkpoint\":{\"every\":0,\"keep\":100},\"probes\":[{\"kind\":\"ball\",\"every\":9,"
        "\"rho\":0.25},{\"kind\":\"lines\",\"every\":2,\"steps\":7}]}";
    struct sample_job job;
    char *json = NULL;

    (void)state;
    assert_int_equal(parse(text, &job), 0);
    assert_int_equal(spec_json_write(&sample_spec, &job, &json, &err), 0);
    assert_string_equal(json, text);
    free(json);
}

static void test_lists_of_variants(void **state)
{
    struct sample_job job;

    (void)state;
    assert_int_equal(
        parse("{\"model\":{\"kind\":\"net\"},\"probes\":[{\"kind\":\"ball\",\"rho\":1},"
              "{\"kind\":\"lines\"}]}",
              &job),
        0);
    assert_int_equal(job.probes.n, 2);
    assert_true(job.probes.item[0].kind == 1 && job.probes.item[0].rho == 1);
    assert_int_equal(job.probes.item[0].steps, 0);
    assert_true(job.probes.item[1].kind == 0 && job.probes.item[1].steps == 10);
    assert_int_equal(job.probes.item[1].every, 2);
    /* Those before the first wrong one are there, for a look at their combination. */
    assert_int_equal(
        parse("{\"model\":{\"kind\":\"net\"},\"probes\":[{\"kind\":\"ball\"},{\"kind\":"
              "\"x\"}]}",
              &job),
        ERR_INVALID);
    assert_int_equal(job.probes.n, 1);
}

/* A member that another one is given in place of is 0, but not where that other one says nothing.
 */
static void test_one_in_place_of_the_other(void **state)
{
    struct length {
        int64_t epochs, updates;
    };
    static const struct spec_field fields[] = {{.name = "epochs",
                                                .type = SPEC_INT,
                                                .offset = offsetof(struct length, epochs),
                                                .max = 99,
                                                .number = 30,
                                                .instead = "updates"},
                                               {.name = "updates",
                                                .type = SPEC_INT,
                                                .offset = offsetof(struct length, updates),
                                                .max = 99}};
    static const struct spec_object spec = {.fields = fields, .n_fields = 2};
    static const struct {
        const char *text;
        int64_t epochs, updates;
    } cases[] = {{"{}", 30, 0},
                 {"{\"updates\":7}", 0, 7},
                 {"{\"updates\":0}", 30, 0},
                 {"{\"epochs\":5,\"updates\":0}", 5, 0},
                 {"{\"epochs\":0,\"updates\":0}", 0, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct length length = {0};

        assert_int_equal(
            spec_json_parse(&spec, cases[i].text, strlen(cases[i].text), &length, &problems, &err),
            0);
        assert_int_equal(length.epochs, cases[i].epochs);
        assert_int_equal(length.updates, cases[i].updates);
    }
}

static int parse_probe(const char *json, struct sample_probe *probe)
{
    memset(probe, 0, sizeof *probe);
    return spec_json_parse_variant(&sample_probe_field, json, strlen(json), probe, &problems, &err);
}

static void test_a_variant_by_itself(void **state)
{
    struct sample_probe probe;
    char *json = NULL;

    (void)state;
    assert_int_equal(parse_probe("{\"kind\":\"lines\",\"update\":6}", &probe), 0);
    assert_true(probe.kind == 0 && probe.update == 6 && probe.steps == 10);
    assert_int_equal(spec_json_write_variant(&sample_probe_field, &probe, &json, &err), 0);
    assert_string_equal(json, "{\"kind\":\"lines\",\"update\":6,\"steps\":10}");
    free(json);
    assert_int_equal(parse_probe("{\"kind\":\"ball\",\"every\":1}", &probe), ERR_INVALID);
    assert_string_equal(problems.item[0].pointer, "/every");
    assert_int_equal(parse_probe("{}", &probe), ERR_INVALID);
    assert_string_equal(problems.item[0].pointer, "/kind");
    assert_int_equal(parse_probe("[]", &probe), ERR_INVALID);
    assert_string_equal(problems.item[0].pointer, "");
    assert_int_equal(parse_probe("{", &probe), ERR_INVALID);
    assert_int_equal(problems.n, 0);
}

/* A member (put beside a good model) and where the one problem is to be. */
static void test_single_mistakes(void **state)
{
    static const struct {
        const char *member, *pointer, *says;
    } cases[] = {
        {"\"probes\":{}", "/probes", "a list"},
        {"\"probes\":[{\"kind\":\"ball\"},1]", "/probes/1", "an object"},
        {"\"probes\":[{}]", "/probes/0/kind", "is missing"},
        {"\"probes\":[{\"kind\":\"bell\"}]", "/probes/0/kind", "lines, ball"},
        {"\"probes\":[{\"kind\":\"ball\"},{\"kind\":\"lines\",\"rho\":1}]", "/probes/1/rho",
         "lines has no such member; it belongs to ball"},
        {"\"probes\":[{\"kind\":\"lines\",\"keep\":1}]", "/probes/0/keep",
         "lines has no such member; known are "},
        {"\"probes\":[{\"kind\":\"lines\",\"steps\":0}]", "/probes/0/steps", "at least 1"},
        {"\"probes\":[{\"kind\":\"ball\"},{\"kind\":\"ball\"},{\"kind\":\"ball\"}]", "/probes",
         "more than 2"},
        {"\"epoch\":1", "/epoch", "unknown"},
        {"\"keep\":1", "/keep", "unknown member; there is /checkpoint/keep"},
        {"\"sigma\":1", "/sigma", "unknown member; there is /method/sigma"},
        {"\"checkpoint\":{\"epochs\":1}", "/checkpoint/epochs", "unknown member; there is /epochs"},
        {"\"checkpoint\":{\"sigma\":1}", "/checkpoint/sigma", "there is /method/sigma"},
        {"\"checkpoint\":{\"kept\":1}", "/checkpoint/kept",
         "unknown member; known are every, keep"},
        {"\"method\":{\"kind\":\"m-rwp\",\"sigm\":1}", "/method/sigm",
         "m-rwp has no such member; known are sigma, lambda"},
        {"\"method\":{\"kind\":\"sgd\",\"sigma\":1}", "/method/sigma",
         "sgd has no such member; it belongs to m-rwp"},
        {"\"method\":{\"kind\":\"sgd\",\"epochs\":1}", "/method/epochs",
         "sgd has no such member; there is /epochs"},
        {"\"a/b~c\":1", "/a~1b~0c", "unknown"},
        {"\"epochs\":1,\"epochs\":2", "/epochs", "twice"},
        {"\"epochs\":\"1\"", "/epochs", "integer"},
        {"\"epochs\":1.5", "/epochs", "integer"},
        {"\"epochs\":null", "/epochs", "integer"},
        {"\"epochs\":0", "/epochs", "at least 1"},
        {"\"epochs\":1001", "/epochs", "at most 1000"},
        {"\"epochs\":1e400", "/epochs", "too large"},
        {"\"seed\":9007199254740992", "/seed", "2^53"},
        {"\"seed\":-1", "/seed", "at least 0"},
        {"\"lr\":0", "/lr", "above 0"},
        {"\"lr\":-1e400", "/lr", "too large"},
        {"\"lr\":true", "/lr", "number"},
        {"\"loud\":1", "/loud", "true or false"},
        {"\"device\":\"tpu\"", "/device", "auto, cpu"},
        {"\"device\":0", "/device", "auto, cpu"},
        {"\"name\":\"12345678901234567\"", "/name", "longer"},
        {"\"name\":\"a\\nb\"", "/name", "control"},
        {"\"name\":[]", "/name", "string"},
        {"\"dataset\":\"toy\"", "/dataset", "object"},
        {"\"dataset\":{}", "/dataset/kind", "missing"},
        {"\"dataset\":{\"kind\":\"none\"}", "/dataset/kind", "toy, folder"},
        {"\"dataset\":{\"kind\":7}", "/dataset/kind", "toy, folder"},
        {"\"dataset\":{\"kind\":\"folder\"}", "/dataset/path", "missing"},
        {"\"dataset\":{\"kind\":\"toy\",\"path\":\"/\"}", "/dataset/path", "no such member"},
        {"\"method\":{\"kind\":\"sgd\",\"kind\":\"sgd\"}", "/method/kind", "twice"},
        {"\"method\":{\"kind\":\"m-rwp\",\"lambda\":1}", "/method/lambda", "below 1"},
        {"\"checkpoint\":{\"keep\":0}", "/checkpoint/keep", "at least 1"},
        {"\"checkpoint\":{\"x\":0}", "/checkpoint/x", "unknown"},
        {"\"checkpoint\":[]", "/checkpoint", "object"},
    };
    char text[300];
    struct sample_job job;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{\"model\":{\"kind\":\"net\"},%s}", cases[i].member);
        assert_int_equal(parse(text, &job), ERR_INVALID);
        assert_int_equal(problems.n, 1);
        assert_string_equal(problems.item[0].pointer, cases[i].pointer);
        if (!strstr(problems.item[0].message, cases[i].says))
            fail_msg("%s: %s", cases[i].member, problems.item[0].message);
    }
}

static void test_all_at_once(void **state)
{
    struct sample_job job;

    (void)state;
    assert_int_equal(parse("{\"model\":{\"kind\":\"net\",\"blocks\":[1,0,\"x\"],\"width\":65},"
                           "\"epochs\":0,\"lr\":\"a\",\"what\":{}}",
                           &job),
                     ERR_INVALID);
    assert_int_equal(problems.n, 6);
    assert_string_equal(problems.item[0].pointer, "/what");
    assert_string_equal(problems.item[1].pointer, "/model/width");
    assert_string_equal(problems.item[2].pointer, "/model/blocks/1");
    assert_string_equal(problems.item[3].pointer, "/model/blocks/2");
    assert_int_equal(parse("{}", &job), ERR_INVALID);
    assert_string_equal(problems.item[0].pointer, "/model");
    assert_int_equal(parse("[]", &job), ERR_INVALID);
    assert_string_equal(problems.item[0].pointer, "");
}

static void test_many_problems(void **state)
{
    char text[4096] = "{\"model\":{\"kind\":\"net\"}";
    struct sample_job job;

    (void)state;
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), 32, ",\"x%d\":0", i);
    strcat(text, "}");
    assert_int_equal(parse(text, &job), ERR_INVALID);
    assert_int_equal(problems.n, SPEC_PROBLEMS_MAX);
    assert_int_equal(problems.more, 100 - SPEC_PROBLEMS_MAX);
}

/* Texts that are no JSON: refused without naming a member. */
static void test_no_json(void **state)
{
    static const char *const cases[] = {"",
                                        " ",
                                        "{",
                                        "{\"a\"",
                                        "{\"a\":}",
                                        "{\"a\":1,}",
                                        "{,}",
                                        "[1,]",
                                        "{}x",
                                        "{} {}",
                                        "{'a':1}",
                                        "{\"a\":01}",
                                        "{\"a\":1.}",
                                        "{\"a\":.5}",
                                        "{\"a\":+1}",
                                        "{\"a\":-}",
                                        "{\"a\":1e}",
                                        "{\"a\":NaN}",
                                        "{\"a\":Infinity}",
                                        "{\"a\":nul}",
                                        "{\"a\":\"\\x\"}",
                                        "{\"a\":\"\\u0000\"}",
                                        "{\"a\":\"\\u12\"}",
                                        "{\"a\":\"\\ud800\"}",
                                        "{\"a\":\"\\udc00\"}",
                                        "{\"a\":\"\\ud800\\u0041\"}",
                                        "{\"a\":\"\x80\"}",
                                        "{\"a\":\"\xc0\x80\"}",
                                        "{\"a\":\"\xed\xa0\x80\"}",
                                        "{\"a\":\"\xf5\x80\x80\x80\"}",
                                        "{\"a\":\"\xe2\x82\"}",
                                        "{\"a\":\"\n\"}",
                                        "\xef\xbb\xbf{}",
                                        "{\"a\":\"",
                                        "// x\n{}",
                                        "{\"a\":1 \"b\":2}",
                                        "{a:1}",
                                        "{\"a\":\"x\\",
                                        "{\"a\":\"\\u"};
    struct sample_job job;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i]);
        char *exact = malloc(n ? n : 1); /* so that reading beyond is seen */

        memcpy(exact, cases[i], n);
        if (parse_n(exact, n, &job) != ERR_INVALID || problems.n != 0)
            fail_msg("taken: %s", cases[i]);
        free(exact);
    }
    assert_int_equal(parse_n("{}\0", 3, &job), ERR_INVALID);
    assert_int_equal(problems.n, 0);
}

static void test_deep_and_wide(void **state)
{
    size_t n = 1 << 20;
    char *text = malloc(n);
    struct sample_job job;

    (void)state;
    memset(text, '[', n);
    assert_int_equal(parse_n(text, n, &job), ERR_INVALID);
    assert_non_null(strstr(err.message, "deep"));
    for (size_t i = 1; i < n; i++)
        text[i] = i % 2 ? '0' : ',';
    text[n - 1] = ']';
    assert_int_equal(parse_n(text, n, &job), ERR_INVALID);
    assert_non_null(strstr(err.message, "many"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),          cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_lists_of_variants), cmocka_unit_test(test_a_variant_by_itself),
        cmocka_unit_test(test_single_mistakes),   cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_many_problems),     cmocka_unit_test(test_no_json),
        cmocka_unit_test(test_deep_and_wide),     cmocka_unit_test(test_one_in_place_of_the_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
