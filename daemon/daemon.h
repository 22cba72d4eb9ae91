/* The running daemon: everything that is open between its start and its end. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>

#include "options.h"

struct daemon;

/* Opens the database, recovers what a dead process left, listens, starts the workers and says so to
 * the service manager. On failure *exit_code says which kind it was. */
int daemon_open(struct daemon **out, const struct daemon_options *options, int *exit_code,
                struct err *err);

/* Whether a GPU was lost, so that the process has to end and be started again: SIGUSR1 comes then.
 */
bool daemon_lost(const struct daemon *daemon);

/* Running jobs write a checkpoint and are queued again; the API answers until they have; then
 * everything is closed. Waits as long as an update takes, and DAEMON_PATIENCE_SECONDS for a
 * database that cannot be written. After a GPU was lost it waits no longer than
 * DAEMON_LOST_SECONDS, and ends the process then: a worker may wait for a device that never
 * answers. Returns whether one was lost, if only now. */
#define DAEMON_PATIENCE_SECONDS 10
#define DAEMON_LOST_SECONDS     300
bool daemon_close(struct daemon *daemon);

#endif
