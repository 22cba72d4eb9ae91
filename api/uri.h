/* A request target, taken apart. */
#ifndef API_URI_H
#define API_URI_H

#include <stdbool.h>
#include <stddef.h>

/* Decodes %XX in place; with `plus` also + as a space. False for a broken escape, a NUL, another
 * control character or bytes that are not UTF-8. */
bool uri_decode(char *text, bool plus);

/* Splits "path?query" (or "http://host/path?query") in place; *query is "" when there is none. */
bool uri_split(char *target, char **path, char **query);

/* The next name=value of a query, decoded in place; *at moves on. False at the end; *good turns
 * false for a broken escape. */
bool uri_next(char **at, char **name, char **value, bool *good);

#endif
