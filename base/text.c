#include "base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct text *text, size_t extra)
{
    size_t capacity = text->capacity ? text->capacity : 256;
    char *grown;

    if (text->failed)
        return false;
    while (capacity - text->length <= extra)
        capacity *= 2;
    if (capacity == text->capacity)
        return true;
    grown = realloc(text->data, capacity);
    if (!grown) {
        text->failed = true;
        return false;
    }
    text->data = grown;
    text->capacity = capacity;
    return true;
}

void text_append(struct text *text, const char *format, ...)
{
    va_list arguments;
    int needed;

    va_start(arguments, format);
    needed = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (needed < 0 || !reserve(text, (size_t)needed))
        return;
    va_start(arguments, format);
    vsnprintf(text->data + text->length, (size_t)needed + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)needed;
}

void text_append_bytes(struct text *text, const void *bytes, size_t n)
{
    if (!reserve(text, n))
        return;
    memcpy(text->data + text->length, bytes, n);
    text->length += n;
    text->data[text->length] = '\0';
}

char *text_take(struct text *text)
{
    char *data = NULL;

    if (reserve(text, 0)) {
        data = text->data;
        data[text->length] = '\0';
        *text = (struct text){0};
        return data;
    }
    text_free(text);
    return NULL;
}

void text_free(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

void text_number(double value, char out[TEXT_NUMBER_BYTES])
{
    if (isnan(value)) {
        strcpy(out, "NaN");
        return;
    }
    if (isinf(value)) {
        strcpy(out, value > 0 ? "Infinity" : "-Infinity");
        return;
    }
    /* Up to 15 digits survive the way there and back, and %g drops the zeros behind them. */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, TEXT_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}
