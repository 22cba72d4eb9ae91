/* One pass over the text, without allocation. The first problem is the one that is told. */
#include "json_scan.h"

#include <stdbool.h>
#include <string.h>

#include "utf8.h"

struct scan {
    const char *start, *at, *end;
    int values;
    const char *problem; /* the first one */
};

static bool fail(struct scan *scan, const char *problem)
{
    if (!scan->problem)
        scan->problem = problem;
    return false;
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end && memchr(" \t\r\n", *scan->at, 4))
        scan->at++;
}

static bool next_is(const struct scan *scan, char c)
{
    return scan->at < scan->end && *scan->at == c;
}

static bool digits(struct scan *scan)
{
    const char *first = scan->at;

    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > first || fail(scan, "a digit is missing in a number");
}

static bool scan_number(struct scan *scan)
{
    if (next_is(scan, '-'))
        scan->at++;
    if (next_is(scan, '0'))
        scan->at++;
    else if (!digits(scan))
        return false;
    if (next_is(scan, '.')) {
        scan->at++;
        if (!digits(scan))
            return false;
    }
    if (next_is(scan, 'e') || next_is(scan, 'E')) {
        scan->at++;
        if (next_is(scan, '+') || next_is(scan, '-'))
            scan->at++;
        return digits(scan);
    }
    return true;
}

/* The four digits of \uXXXX; -1: there are none. */
static int hex4(struct scan *scan)
{
    int value = 0;

    for (int i = 0; i < 4; i++, scan->at++) {
        char c = scan->at < scan->end ? *scan->at : ' ';

        if (c >= '0' && c <= '9')
            value = value * 16 + c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value * 16 + (c | 0x20) - 'a' + 10;
        else
            return -1;
    }
    return value;
}

static bool scan_unicode(struct scan *scan)
{
    int unit = hex4(scan);

    if (unit < 0)
        return fail(scan, "four hexadecimal digits must follow \\u");
    if (unit == 0)
        return fail(scan, "\\u0000 is not accepted in strings");
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return fail(scan, "a low surrogate without its high one");
    if (unit < 0xd800 || unit > 0xdbff)
        return true;
    if (scan->end - scan->at < 6 || scan->at[0] != '\\' || scan->at[1] != 'u')
        return fail(scan, "a high surrogate without its low one");
    scan->at += 2;
    unit = hex4(scan);
    return (unit >= 0xdc00 && unit <= 0xdfff) || fail(scan, "a high surrogate without its low one");
}

static bool scan_string(struct scan *scan)
{
    scan->at++;
    while (scan->at < scan->end && *scan->at != '"') {
        size_t length = utf8_length(scan->at, (size_t)(scan->end - scan->at));

        if ((unsigned char)*scan->at < 0x20)
            return fail(scan, "a control character in a string");
        if (length == 0)
            return fail(scan, "bytes that are not UTF-8");
        if (*scan->at != '\\') {
            scan->at += length;
            continue;
        }
        scan->at++;
        if (next_is(scan, 'u')) {
            scan->at++;
            if (!scan_unicode(scan))
                return false;
        } else if (scan->at < scan->end && memchr("\"\\/bfnrt", *scan->at, 8)) {
            scan->at++;
        } else {
            return fail(scan, "an unknown escape in a string");
        }
    }
    if (scan->at >= scan->end)
        return fail(scan, "a string does not end");
    scan->at++;
    return true;
}

static bool scan_word(struct scan *scan, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(scan->end - scan->at) < n || memcmp(scan->at, word, n) != 0)
        return fail(scan, "a value is expected here");
    scan->at += n;
    return true;
}

static bool scan_value(struct scan *scan, int depth);

static bool scan_member(struct scan *scan)
{
    if (!next_is(scan, '"'))
        return fail(scan, "the name of a member is expected here");
    if (!scan_string(scan))
        return false;
    skip_space(scan);
    if (!next_is(scan, ':'))
        return fail(scan, "a colon is expected here");
    scan->at++;
    return true;
}

static bool scan_within(struct scan *scan, char close, int depth)
{
    scan->at++;
    skip_space(scan);
    if (next_is(scan, close)) {
        scan->at++;
        return true;
    }
    for (;;) {
        skip_space(scan);
        if (close == '}' && !scan_member(scan))
            return false;
        if (!scan_value(scan, depth + 1))
            return false;
        skip_space(scan);
        if (next_is(scan, close)) {
            scan->at++;
            return true;
        }
        if (!next_is(scan, ','))
            return fail(scan, close == '}' ? "a comma or } is expected here"
                                           : "a comma or ] is expected here");
        scan->at++;
    }
}

static bool scan_value(struct scan *scan, int depth)
{
    skip_space(scan);
    if (depth > JSON_DEPTH_MAX)
        return fail(scan, "nested too deeply");
    if (++scan->values > JSON_VALUES_MAX)
        return fail(scan, "too many values");
    if (scan->at >= scan->end)
        return fail(scan, "the text ends too early");
    switch (*scan->at) {
    case '{':
        return scan_within(scan, '}', depth);
    case '[':
        return scan_within(scan, ']', depth);
    case '"':
        return scan_string(scan);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    default:
        if (*scan->at == '-' || (*scan->at >= '0' && *scan->at <= '9'))
            return scan_number(scan);
        return fail(scan, "a value is expected here");
    }
}

int json_scan(const char *json, size_t length, struct err *err)
{
    struct scan scan = {.start = json, .at = json, .end = json + length};

    if (length == 0)
        return err_set(err, ERR_INVALID, "the body is empty; JSON is expected");
    if (scan_value(&scan, 0)) {
        skip_space(&scan);
        if (scan.at < scan.end)
            fail(&scan, "something follows the JSON value");
    }
    if (!scan.problem)
        return 0;
    return err_set(err, ERR_INVALID, "not JSON, at byte %zu: %s", (size_t)(scan.at - scan.start),
                   scan.problem);
}
