/* A client of raw sockets: sends any bytes, reads what comes until the end. */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* Sends, closes its sending half if the request `ends` so, and reads until the server closes or
 * `milliseconds` pass without a byte. The caller frees *out, which is NUL-terminated. Returns its
 * length, -1 without a connection. */
long http_send(int port, const void *bytes, size_t n, bool ends, int milliseconds, char **out);
/* One request with these further headers ("A: b\r\n…" or ""), Connection: close. The status. */
int http_ask(int port, const char *method, const char *target, const char *headers,
             const char *body, char **answer);
/* The body of an answer, its chunks put together in place. */
char *http_body(char *answer);
/* The value of a header of an answer, up to the end of its line; "" when it has none. */
void http_header(const char *answer, const char *name, char *out, size_t size);

/* A connection to be held, from 127.0.0.`from`. -1: none. */
int http_open(int port, int from);
/* Sends a text; false when the server has closed. */
bool http_put(int fd, const char *text);
/* Seconds; for what comes at once but on a busy machine. */
#define PATIENCE 60.0
/* Reads into *got until it has `wanted` (NULL: until the end of the connection). False when that
 * does not come within `seconds`. */
bool http_await(int fd, struct text *got, const char *wanted, double seconds);

#endif
