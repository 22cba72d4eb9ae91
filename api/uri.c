/* Decoding in place: what is decoded is never longer than what came. */
#include "uri.h"

#include <string.h>
#include <strings.h>

#include "utf8.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

bool uri_decode(char *text, bool plus)
{
    char *out = text;
    size_t length;

    for (char *in = text; *in; in++) {
        char c = *in;

        if (c == '+' && plus) {
            c = ' ';
        } else if (c == '%') {
            if (hex(in[1]) < 0 || hex(in[2]) < 0)
                return false;
            c = (char)(hex(in[1]) * 16 + hex(in[2]));
            in += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        *out++ = c;
    }
    *out = '\0';
    for (char *at = text; *at; at += length) {
        length = utf8_length(at, (size_t)(out - at));
        if (length == 0)
            return false;
    }
    return true;
}

bool uri_split(char *target, char **path, char **query)
{
    char *mark;

    if (strncasecmp(target, "http://", 7) == 0) {
        target = strchr(target + 7, '/');
        if (!target)
            return false;
    }
    mark = strpbrk(target, "?#");
    *query = target + strlen(target);
    if (mark) {
        *query = *mark == '?' ? mark + 1 : *query;
        *mark = '\0';
        (*query)[strcspn(*query, "#")] = '\0';
    }
    *path = target;
    return uri_decode(*path, false);
}

bool uri_next(char **at, char **name, char **value, bool *good)
{
    char *end;

    while (**at == '&')
        (*at)++;
    if (**at == '\0')
        return false;
    *name = *at;
    end = *at + strcspn(*at, "&");
    *at = *end ? end + 1 : end;
    *end = '\0';
    *value = strchr(*name, '=');
    if (*value)
        *(*value)++ = '\0';
    else
        *value = end;
    if (!uri_decode(*name, true) || !uri_decode(*value, true))
        *good = false;
    return true;
}
