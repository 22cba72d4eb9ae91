/* The writer keeps no state but the text: its last byte says whether a comma is due. It writes no
 * blank and no line's end itself, so that one of these is the end of other text. */
#include "json_write.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "utf8.h"

/* A value follows another one unless something has just been opened or named, or nothing of this
 * JSON is there yet. */
static void separate(struct text *out)
{
    char last = out->length ? out->data[out->length - 1] : ' ';

    if (!strchr("{[: \n", last))
        text_append_bytes(out, ",", 1);
}

void json_open(struct text *out, char bracket)
{
    separate(out);
    text_append_bytes(out, &bracket, 1);
}

void json_close(struct text *out, char bracket)
{
    text_append_bytes(out, &bracket, 1);
}

static void escape(struct text *out, const char *value)
{
    size_t n = strlen(value);

    text_append_bytes(out, "\"", 1);
    while (n > 0) {
        unsigned char c = (unsigned char)*value;
        size_t length = utf8_length(value, n);

        if (c == '"' || c == '\\')
            text_append(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            text_append(out, "\\u%04x", c);
        else if (length == 0)
            text_append(out, "\\ufffd");
        else
            text_append_bytes(out, value, length);
        value += length ? length : 1;
        n -= length ? length : 1;
    }
    text_append_bytes(out, "\"", 1);
}

void json_key(struct text *out, const char *key)
{
    separate(out);
    escape(out, key);
    text_append_bytes(out, ":", 1);
}

void json_string(struct text *out, const char *value)
{
    if (!value) {
        json_null(out);
        return;
    }
    separate(out);
    escape(out, value);
}

void json_int(struct text *out, int64_t value)
{
    separate(out);
    text_append(out, "%lld", (long long)value);
}

void json_real(struct text *out, double value)
{
    char number[TEXT_NUMBER_BYTES];

    separate(out);
    text_number(value, number);
    text_append(out, isfinite(value) ? "%s" : "\"%s\"", number);
}

void json_bool(struct text *out, bool value)
{
    separate(out);
    text_append(out, "%s", value ? "true" : "false");
}

void json_null(struct text *out)
{
    separate(out);
    text_append(out, "null");
}

void json_raw(struct text *out, const char *json)
{
    separate(out);
    text_append_bytes(out, json, strlen(json));
}

void json_put_string(struct text *out, const char *key, const char *value)
{
    json_key(out, key);
    json_string(out, value);
}

void json_put_int(struct text *out, const char *key, int64_t value)
{
    json_key(out, key);
    json_int(out, value);
}

void json_put_real(struct text *out, const char *key, double value)
{
    json_key(out, key);
    json_real(out, value);
}

void json_put_bool(struct text *out, const char *key, bool value)
{
    json_key(out, key);
    json_bool(out, value);
}

void json_put_null(struct text *out, const char *key)
{
    json_key(out, key);
    json_null(out);
}

void json_put_time(struct text *out, const char *key, int64_t wall_ms)
{
    char at[CLOCK_RFC3339_BYTES];

    json_key(out, key);
    if (wall_ms == 0) {
        json_null(out);
        return;
    }
    clock_rfc3339(wall_ms, at);
    json_string(out, at);
}
