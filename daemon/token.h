/* The secret that clients send as "Authorization: Bearer …". */
#ifndef DAEMON_TOKEN_H
#define DAEMON_TOKEN_H

#include "base/err.h"

/* Reads the one line of the file. The caller frees *out. ERR_INVALID when it cannot be read, is
 * too short to be a secret, or has characters that RFC 6750 does not allow; `source` is the option
 * or variable that named the file. */
int token_read(char **out, const char *source, const char *path, struct err *err);

#endif
