/* What cannot be followed is ignored, as RFC 9110 allows, and the whole is sent. */
#include "range.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Digits only, at most 18 of them; *at moves behind them. */
static bool number(const char **at, int64_t *out)
{
    size_t n = strspn(*at, "0123456789");

    if (n == 0 || n > 18)
        return false;
    *out = strtoll(*at, NULL, 10);
    *at += n;
    return true;
}

enum range_kind range_parse(const char *text, int64_t length, int64_t *first, int64_t *n)
{
    int64_t last = length - 1, tail;

    if (!text || strncasecmp(text, "bytes=", 6) != 0)
        return RANGE_NONE;
    text += 6;
    if (*text == '-') {
        text++;
        if (!number(&text, &tail) || *text)
            return RANGE_NONE;
        *first = tail < length ? length - tail : 0;
        *n = length - *first;
        return tail > 0 && length > 0 ? RANGE_PART : RANGE_UNSATISFIABLE;
    }
    if (!number(&text, first) || *text++ != '-')
        return RANGE_NONE;
    if (*text && (!number(&text, &last) || *text || last < *first))
        return RANGE_NONE;
    if (*first >= length)
        return RANGE_UNSATISFIABLE;
    last = last < length ? last : length - 1;
    *n = last - *first + 1;
    return RANGE_PART;
}
