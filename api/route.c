/* From method and path to a route. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

/* A positive integer without sign and leading zeros. */
static bool parse_id(const char *text, size_t n, int64_t *out)
{
    char *end;
    long long value;

    if (n == 0 || n > 19 || *text < '1' || *text > '9' || strspn(text, "0123456789") != n)
        return false;
    errno = 0;
    value = strtoll(text, &end, 10);
    *out = value;
    return errno == 0;
}

static bool match_item(const char *text, size_t n, char item[24])
{
    int64_t number;

    if (n >= 24 || (!(n == 6 && memcmp(text, "latest", 6) == 0) && !parse_id(text, n, &number)))
        return false;
    memcpy(item, text, n);
    item[n] = '\0';
    return true;
}

static bool match_table(const char *text, size_t n, char table[32])
{
    if (n == 0 || n >= 32 || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") < n)
        return false;
    memcpy(table, text, n);
    table[n] = '\0';
    return true;
}

static bool match_place(const char *place, const char *text, size_t n, struct request *request)
{
    if (strncmp(place, "{id}", 4) == 0)
        return parse_id(text, n, &request->id);
    if (strncmp(place, "{number}", 8) == 0)
        return parse_id(text, n, &request->number);
    if (strncmp(place, "{table}", 7) == 0)
        return match_table(text, n, request->table);
    return match_item(text, n, request->item);
}

bool route_match(const char *pattern, const char *path, struct request *request)
{
    while (*pattern && *path) {
        size_t n = strcspn(path, "/");

        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        if (!match_place(pattern, path, n, request))
            return false;
        pattern = strchr(pattern, '}') + 1;
        path += n;
    }
    return *pattern == *path;
}

const struct route *route_find(struct request *request, char allow[64])
{
    const struct route *found = NULL;
    const char *method = request->head ? "GET" : request->method;
    int n;
    const struct route *table = routes(&n);

    allow[0] = '\0';
    for (int i = 0; i < n; i++) {
        if (!route_match(table[i].pattern, request->path, request))
            continue;
        if (strcmp(table[i].method, method) == 0)
            found = &table[i];
        strcat(allow, strcmp(table[i].method, "GET") == 0 ? "GET, HEAD" : table[i].method);
        strcat(allow, ", ");
    }
    if (*allow)
        strcat(allow, "OPTIONS");
    return found;
}
