/* Says whether a text is JSON by RFC 8259, before the lenient parser gets it: strict grammar,
 * valid UTF-8, no \u0000, no lone surrogates, nothing behind the value, bounded nesting and a
 * bounded number of values, so that the tree that is built of it is small. */
#ifndef API_JSON_SCAN_H
#define API_JSON_SCAN_H

#include <stddef.h>

#include "base/err.h"

#define JSON_DEPTH_MAX  32
#define JSON_VALUES_MAX 10000

/* 0 or ERR_INVALID with the place in the message. */
int json_scan(const char *json, size_t length, struct err *err);

#endif
