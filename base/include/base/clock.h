#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Milliseconds since 1970, from the wall clock. */
int64_t clock_wall_ms(void);

/* Seconds from an arbitrary start; never goes backwards. */
double clock_seconds(void);

/* RFC 3339 in UTC with milliseconds, "2026-01-31T12:00:00.000Z"; `out` holds 25 bytes. */
#define CLOCK_RFC3339_BYTES 25
void clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_BYTES]);

#endif
