/* A client of raw sockets: sends any bytes, reads what comes until the end. */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include <stddef.h>

/* Sends and reads until the server closes, `milliseconds` pass without a byte, or the answer is
 * complete. The caller frees *out, which is NUL-terminated. Returns its length, -1 without a
 * connection. */
long http_send(int port, const void *bytes, size_t n, int milliseconds, char **out);
/* One request with these further headers ("A: b\r\n…" or ""), Connection: close. The status. */
int http_ask(int port, const char *method, const char *target, const char *headers,
             const char *body, char **answer);
/* The body of an answer, its chunks put together in place. */
char *http_body(char *answer);

#endif
