/* The state folder, and the file in it that says where a running daemon listens. */
#ifndef DAEMON_FOLDER_H
#define DAEMON_FOLDER_H

#include <limits.h>

#include "address.h"
#include "base/err.h"

/* Where the state is unless --state says: RWPD_STATE, systemd's STATE_DIRECTORY, /var/lib/rwpd for
 * root, $XDG_STATE_HOME/rwpd, ~/.local/state/rwpd. *source is the variable that says so, or the
 * option that would; static. */
int folder_default(char out[PATH_MAX], const char **source, struct err *err);

/* Makes the folders above it, for their owner alone. The folder itself is the database's to make.
 */
int folder_make_parents(const char *path, struct err *err);

/* Whether a daemon could keep its state there, without making anything. `source` is the option or
 * variable that named it. */
int folder_check(const char *path, const char *source, struct err *err);

/* STATE/listen holds "127.0.0.1:8470" while a daemon listens there; it appears whole. */
int folder_write_listen(const char *path, const char *address, struct err *err);
void folder_remove_listen(const char *path);

#endif
