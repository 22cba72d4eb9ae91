/* What wakes event streams that wait, and ends those that a client has left. */
#ifndef API_HUB_H
#define API_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "db/db.h"

struct MHD_Connection;
struct hub;

/* A stream that waits; lives in the stream's own memory and is the hub's alone. */
struct hub_wait {
    struct hub_wait *next, *previous;
    struct MHD_Connection *connection;
    int fd;
    bool listed, suspended, gone;
    double beat; /* when it is to be woken at the latest, while suspended */
};

int hub_open(struct hub **out, struct db *db, int most, struct err *err);
/* Ends all streams and lets no new ones in. */
void hub_end_streams(struct hub *hub);
void hub_close(struct hub *hub);

/* Takes one of the places for streams; ERR_LIMIT when there is none. */
int hub_join(struct hub *hub, struct hub_wait *wait, struct MHD_Connection *connection,
             struct err *err);
void hub_leave(struct hub *hub, struct hub_wait *wait);
/* Suspends the connection until something newer than `seen` is committed or `beat` has come. False
 * when that is so already. */
bool hub_sleep(struct hub *hub, struct hub_wait *wait, int64_t seen, double beat);
bool hub_ended(struct hub *hub, const struct hub_wait *wait);
/* The highest sequence that was announced. */
int64_t hub_latest(struct hub *hub);
int hub_streams(struct hub *hub);

#endif
