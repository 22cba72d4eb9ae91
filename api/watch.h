/* Connections whose request is still to come: they are ended when it takes too long as a whole,
 * when it cannot come any more, or when others wait for their places. libmicrohttpd has a timeout
 * for idleness only, and does not always notice a client that leaves between two requests. */
#ifndef API_WATCH_H
#define API_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* A file that is uploaded may take longer than a request, but has to come at this rate; it may fall
 * behind that by request_seconds at most. */
#define WATCH_FILE_BYTES_PER_SECOND 65536

struct watch;
struct watched;

/* `places`: how many connections there can be. `request_seconds`: from a request's first line to
 * its last byte, and from the beginning of a connection to its first request's last byte.
 * `idle_seconds`: what may lie between requests. */
int watch_open(struct watch **out, int places, int request_seconds, int idle_seconds,
               struct err *err);
/* After the last connection has ended. */
void watch_close(struct watch *watch);

/* A new connection; NULL without memory: it is not watched. */
struct watched *watch_add(struct watch *watch, int fd);
/* Before the connection's socket is closed. */
void watch_remove(struct watch *watch, struct watched *watched);

/* A request's first line is there. */
void watch_begun(struct watch *watch, struct watched *watched);
/* So many more bytes are there of a file that a client uploads, be it taken or not. */
void watch_file(struct watch *watch, struct watched *watched, size_t bytes);
/* All of it is there, or its answer is on its way. False: it came too late, the connection has
 * been ended. */
bool watch_arrived(struct watch *watch, struct watched *watched);
/* It was answered, or its connection ends. True when it took too long. */
bool watch_done(struct watch *watch, struct watched *watched);

#endif
