/* Accept headers with q-values (RFC 9110, 12.5.1). */
#ifndef API_NEGOTIATE_H
#define API_NEGOTIATE_H

/* The place in `types` (NULL-terminated, best first) of what the client likes most; -1: it takes
 * none of them. `accept` may be NULL: anything. */
int negotiate(const char *accept, const char *const *types);

#endif
