/* Conditions and ranges of checkpoints, the login, and what is answered in trouble. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "http_client.h"
#include "server_fixture.h"

static const char latest[] = "/v1/jobs/1/checkpoints/latest";
static const char token[] = "0123456789abcdef";
static const char job[] = "{\"model\":{\"kind\":\"net\"}}";

/* Asks for the checkpoint: the status, its body and how long it is. */
static int fetch(const char *headers, char **answer, const char **body, size_t *n)
{
    char text[600];
    int count = snprintf(text, sizeof text,
                         "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n",
                         latest, headers);
    long length = http_send(fixture.port, text, (size_t)count, false, 60000, answer);

    assert_true(length > 12);
    *body = http_body(*answer);
    *n = (size_t)length - (size_t)(*body - *answer);
    return atoi(*answer + 9);
}

static int fetch_status(const char *format, const char *value)
{
    char headers[300], *answer;
    const char *body;
    size_t n;
    int status;

    snprintf(headers, sizeof headers, format, value);
    status = fetch(headers, &answer, &body, &n);
    if (status == 304)
        assert_int_equal(n, 0);
    free(answer);
    return status;
}

static void test_conditions(void **state)
{
    char tag[80], *answer;

    (void)state;
    assert_int_equal(http_ask(fixture.port, "HEAD", latest, "", NULL, &answer), 200);
    http_header(answer, "ETag", tag, sizeof tag);
    assert_int_equal(strlen(tag), 34);
    free(answer);
    assert_int_equal(fetch_status("If-None-Match: %s\r\n", tag), 304);
    assert_int_equal(fetch_status("If-None-Match: \"other\", %s\r\n", tag), 304);
    assert_int_equal(fetch_status("If-None-Match: W/%s\r\n", tag), 304);
    assert_int_equal(fetch_status("If-None-Match: *\r\n%s", ""), 304);
    assert_int_equal(fetch_status("If-None-Match: \"other\"\r\n%s", ""), 200);
    assert_int_equal(fetch_status("If-Match: %s\r\n", tag), 200);
    assert_int_equal(fetch_status("If-Match: *\r\n%s", ""), 200);
    assert_int_equal(fetch_status("If-Match: \"other\"\r\n%s", ""), 412);
    assert_int_equal(fetch_status("If-Match: W/%s\r\n", tag), 412); /* a weak one never matches */
    assert_int_equal(fetch_status("Range: bytes=0-3\r\nIf-Range: %s\r\n", tag), 206);
    assert_int_equal(fetch_status("Range: bytes=0-3\r\nIf-Range: \"other\"\r\n%s", ""), 200);
    assert_int_equal(fetch_status("Range: bytes=0-3\r\nIf-Range: W/%s\r\n", tag), 200);
    assert_int_equal(
        fetch_status("Range: bytes=0-3\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n%s", ""), 200);
    assert_int_equal(fetch_status("Range: bytes=999999-\r\nIf-Range: \"other\"\r\n%s", ""), 200);
    assert_int_equal(fetch_status("Range: bytes=0-1,3-4\r\n%s", ""), 200);
}

/* A download that was cut and goes on behind what it has is the whole file, and its digest is true.
 */
static void test_ranges(void **state)
{
    char *whole, *part, tag[80], other[80], headers[300], range[80], wanted[80];
    const char *body, *rest;
    size_t n, n_rest;

    (void)state;
    assert_int_equal(fetch("", &whole, &body, &n), 200);
    http_header(whole, "ETag", tag, sizeof tag);
    for (size_t at = 0; at < n; at += n / 7 + 1) {
        snprintf(headers, sizeof headers, "Range: bytes=%zu-\r\nIf-Range: %s\r\n", at, tag);
        assert_int_equal(fetch(headers, &part, &rest, &n_rest), 206);
        assert_int_equal(n_rest, n - at);
        assert_memory_equal(rest, body + at, n_rest);
        http_header(part, "Content-Range", range, sizeof range);
        snprintf(wanted, sizeof wanted, "bytes %zu-%zu/%zu", at, n - 1, n);
        assert_string_equal(range, wanted);
        http_header(part, "ETag", other, sizeof other);
        assert_string_equal(other, tag);
        free(part);
    }
    assert_int_equal(fetch("Range: bytes=999999-\r\n", &part, &rest, &n_rest), 416);
    http_header(part, "Content-Range", range, sizeof range);
    snprintf(wanted, sizeof wanted, "bytes */%zu", n);
    assert_string_equal(range, wanted);
    free(part);
    free(whole);
}

static void test_digest(void **state)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    char *answer,
        base64[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) + 1] = "", header[100], wanted[100],
                                                              hex[2 * SHA256_DIGEST_SIZE + 20];
    struct sha256_ctx hash;
    const char *body;
    size_t n;

    (void)state;
    assert_int_equal(fetch("", &answer, &body, &n), 200);
    sha256_init(&hash);
    sha256_update(&hash, n, (const uint8_t *)body);
    sha256_digest(&hash, sizeof digest, digest);
    base64_encode_raw(base64, sizeof digest, digest);
    snprintf(wanted, sizeof wanted, "sha-256=:%s:", base64);
    http_header(answer, "Repr-Digest", header, sizeof header);
    assert_string_equal(header, wanted);
    free(answer);
    strcpy(hex, "\"sha256\":\"");
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + strlen(hex), 3, "%02x", digest[i]);
    assert_int_equal(http_ask(fixture.port, "GET", "/v1/jobs/1/checkpoints", "", NULL, &answer),
                     200);
    assert_non_null(strstr(answer, hex));
    free(answer);
}

static int log_in(int port, const char *body, char **answer)
{
    char text[600];
    int n =
        snprintf(text, sizeof text,
                 "POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
                 "application/x-www-form-urlencoded\r\nContent-Length: %zu\r\n\r\n%s",
                 strlen(body), body);

    assert_true(http_send(port, text, (size_t)n, false, 60000, answer) > 12);
    return atoi(*answer + 9);
}

static int with_cookie(int port, const char *cookie)
{
    char headers[500], *answer;
    int status;

    snprintf(headers, sizeof headers, "Cookie: %s\r\n", cookie);
    status = http_ask(port, "GET", "/v1", headers, NULL, &answer);
    free(answer);
    return status;
}

static void test_login(void **state)
{
    struct api *api = fixture_serve((struct api_options){.token = token}),
               *other = fixture_serve((struct api_options){.token = "another-token-than-that"});
    char *answer, cookie[300], two[400];

    (void)state;
    assert_int_equal(http_ask(api_port(api), "GET", "/", "Accept: text/html\r\n", NULL, &answer),
                     401);
    assert_non_null(strstr(answer, "<form method=\"post\" action=\"/login\">"));
    free(answer);
    assert_int_equal(log_in(api_port(api), "token=wrong", &answer), 401);
    http_header(answer, "Set-Cookie", cookie, sizeof cookie);
    assert_string_equal(cookie, "");
    free(answer);
    assert_int_equal(log_in(api_port(api), "x=1&token=%300123456789abcdef", &answer), 401);
    free(answer);
    assert_int_equal(log_in(api_port(api), "token=%30123456789abcdef", &answer), 303);
    http_header(answer, "Set-Cookie", cookie, sizeof cookie);
    free(answer);
    assert_non_null(strstr(cookie, "; HttpOnly"));
    assert_non_null(strstr(cookie, "; SameSite=Lax"));
    *strchr(cookie, ';') = '\0';
    assert_int_equal(with_cookie(api_port(api), cookie), 200);
    snprintf(two, sizeof two, "a=b; %s; c=d", cookie);
    assert_int_equal(with_cookie(api_port(api), two), 200);
    assert_int_equal(with_cookie(api_port(other), cookie), 401); /* another token, no session */
    snprintf(two, sizeof two, "x%s", cookie);
    assert_int_equal(with_cookie(api_port(api), two), 401);
    cookie[strlen("rwpd_session=")]++; /* a later end than was signed */
    assert_int_equal(with_cookie(api_port(api), cookie), 401);
    api_close(api);
    api_close(other);
}

/* What the HTTP library refuses by itself is closed behind its answer. */
static void test_no_http(void **state)
{
    static const struct {
        const char *text, *status;
    } cases[] = {
        {"GET /livez\r\n\r\n", "400"},
        {"GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n", "505"},
        {"GET /livez HTTP/1.1\r\n\r\n", "400"},
        {"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", "400"},
        {"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
         "99999999999999999999999\r\n\r\n",
         "413"},
        {"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
         "Transfer-Encoding: chunked\r\n\r\nx\r\n",
         "400"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = http_open(fixture.port, 1);
        struct text got = {0};

        assert_true(http_put(fd, cases[i].text));
        assert_true(http_await(fd, &got, NULL, PATIENCE));
        assert_memory_equal(got.data, "HTTP/1.1 ", 9);
        assert_memory_equal(got.data + 9, cases[i].status, 3);
        text_free(&got);
        close(fd);
    }
}

/* What submitting fails with, and how that is told. */
static void test_trouble(void **state)
{
    static const struct {
        int code, status;
        const char *retry;
    } cases[] = {
        {ERR_FULL, 507, "60"},  {ERR_BUSY, 503, "5"},       {ERR_NO_MEMORY, 503, "5"},
        {ERR_LIMIT, 429, "5"},  {ERR_CONFLICT, 409, ""},    {ERR_INVALID, 422, ""},
        {ERR_CORRUPT, 500, ""}, {ERR_UNSUPPORTED, 422, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *answer, retry[20], type[80];

        fixture.refuse = cases[i].code;
        assert_int_equal(http_ask(fixture.port, "POST", "/v1/jobs", "", job, &answer),
                         cases[i].status);
        http_header(answer, "Retry-After", retry, sizeof retry);
        http_header(answer, "Content-Type", type, sizeof type);
        assert_string_equal(retry, cases[i].retry);
        assert_string_equal(type, "application/problem+json");
        assert_non_null(strstr(answer, "refused for a test"));
        free(answer);
    }
    fixture.refuse = 0;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk that is really full: refused, said, still readable, and over when there is room. */
static void test_full_disk(void **state)
{
    double until = clock_seconds() + PATIENCE;
    int64_t running = fixture_run();
    struct err err;
    char *answer;
    int status;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    limit_files(4096);
    fixture_losses(running, 1, 100); /* they wait for the disk */
    assert_int_equal(http_ask(fixture.port, "POST", "/v1/jobs", "", job, &answer), 507);
    free(answer);
    assert_int_equal(http_ask(fixture.port, "GET", "/readyz", "", NULL, &answer), 503);
    assert_non_null(strstr(answer, "\"code\":\"not_writing\""));
    free(answer);
    assert_int_equal(http_ask(fixture.port, "GET", "/livez", "", NULL, &answer), 200);
    free(answer);
    assert_int_equal(http_ask(fixture.port, "GET", "/v1/jobs/1", "", NULL, &answer), 200);
    free(answer);
    limit_files(RLIM_INFINITY);
    do {
        status = http_ask(fixture.port, "POST", "/v1/jobs", "", job, &answer);
        free(answer);
        assert_true(clock_seconds() < until);
    } while (status != 201);
    assert_int_equal(http_ask(fixture.port, "GET", "/readyz", "", NULL, &answer), 200);
    free(answer);
    assert_int_equal(db_job_set_state(fixture.db, running, JOB_FAILED, NULL, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_digest),     cmocka_unit_test(test_login),
        cmocka_unit_test(test_no_http),    cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_full_disk),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
