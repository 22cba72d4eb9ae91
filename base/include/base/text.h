/* A growing string. `{0}` is an empty one. A failed allocation sets `failed` and later calls do
 * nothing, so that a writer checks once, at its end. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *data; /* NUL-terminated; NULL while nothing was appended */
    size_t length;
    size_t capacity;
    bool failed;
};

void text_append(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_append_bytes(struct text *text, const void *bytes, size_t n);

/* The contents; the caller frees them. Leaves *text empty. NULL if an allocation failed. */
char *text_take(struct text *text);

void text_free(struct text *text);

/* Shortest decimal that reads back as the same double ("0.1", "1e-05"); for NaN and the
 * infinities "NaN", "Infinity", "-Infinity". `out` holds 32 bytes. */
#define TEXT_NUMBER_BYTES 32
void text_number(double value, char out[TEXT_NUMBER_BYTES]);

#endif
