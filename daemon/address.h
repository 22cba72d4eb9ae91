/* Where the daemon listens. */
#ifndef DAEMON_ADDRESS_H
#define DAEMON_ADDRESS_H

#include <stdbool.h>

#include "base/err.h"

#define ADDRESS_TEXT_BYTES 64

struct address {
    char host[ADDRESS_TEXT_BYTES]; /* numeric: "127.0.0.1", "::1" */
    int port;                      /* 0: any free one */
};

/* "127.0.0.1:8470", "[::1]:8470", "localhost:0". `source` is the option or variable that gave the
 * text, for the message of ERR_INVALID. */
int address_parse(struct address *out, const char *source, const char *text, struct err *err);

/* Whether only this machine can reach it. */
bool address_is_loopback(const struct address *address);

/* As it stands in a URL, "127.0.0.1:8470", "[::1]:8470". */
void address_text(const struct address *address, int port, char out[ADDRESS_TEXT_BYTES]);

#endif
