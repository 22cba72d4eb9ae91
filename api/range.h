/* Single byte ranges (RFC 9110, 14). */
#ifndef API_RANGE_H
#define API_RANGE_H

#include <stdint.h>

enum range_kind { RANGE_NONE, RANGE_PART, RANGE_UNSATISFIABLE };

/* NONE for no header, several ranges, another unit, nonsense: the whole is sent. Of PART, *first
 * and *n are set. */
enum range_kind range_parse(const char *text, int64_t length, int64_t *first, int64_t *n);

#endif
