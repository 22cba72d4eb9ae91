/* JSON, written member by member into a growing text. Commas are put where they belong: a value
 * that stands at the text's beginning, or behind other text that ends with a blank or a line's end
 * (the "data: " of an event), gets none. */
#ifndef API_JSON_WRITE_H
#define API_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

void json_open(struct text *out, char bracket);
void json_close(struct text *out, char bracket);
void json_key(struct text *out, const char *key);
/* NULL becomes null; bytes that are no UTF-8 become U+FFFD. */
void json_string(struct text *out, const char *value);
void json_int(struct text *out, int64_t value);
/* NaN and the infinities become the strings "NaN", "Infinity", "-Infinity". */
void json_real(struct text *out, double value);
void json_bool(struct text *out, bool value);
void json_null(struct text *out);
/* Text that is JSON already. */
void json_raw(struct text *out, const char *json);

/* Key and value in one. */
void json_put_string(struct text *out, const char *key, const char *value);
void json_put_int(struct text *out, const char *key, int64_t value);
void json_put_real(struct text *out, const char *key, double value);
void json_put_bool(struct text *out, const char *key, bool value);
void json_put_null(struct text *out, const char *key);
/* RFC 3339; null for 0. */
void json_put_time(struct text *out, const char *key, int64_t wall_ms);

#endif
