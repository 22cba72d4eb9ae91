/* The running daemon: everything that is open between its start and its end. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "options.h"

struct daemon;

/* Opens the database, recovers what a dead process left, listens, starts the workers and says so to
 * the service manager. On failure *exit_code says which kind it was. */
int daemon_open(struct daemon **out, const struct daemon_options *options, int *exit_code,
                struct err *err);

/* Running jobs write a checkpoint and are queued again; the API answers until they have; then
 * everything is closed. Waits as long as an update takes, and DAEMON_PATIENCE_SECONDS for a
 * database that cannot be written. */
#define DAEMON_PATIENCE_SECONDS 10
void daemon_close(struct daemon *daemon);

#endif
