/* Filling a reply. It owns its body, headers and stream until a response takes them over. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

void reply_header(struct reply *reply, const char *name, const char *format, ...)
{
    struct header *header;
    va_list arguments;

    if (reply->n_headers == HEADER_MAX)
        return;
    header = &reply->header[reply->n_headers];
    snprintf(header->name, sizeof header->name, "%s", name);
    va_start(arguments, format);
    if (vasprintf(&header->value, format, arguments) >= 0)
        reply->n_headers++;
    va_end(arguments);
}

/* Everything but what was found wrong with the request. */
void reply_clear(struct reply *reply)
{
    if (reply->stream.close)
        reply->stream.close(reply->stream.context);
    text_free(&reply->body);
    for (int i = 0; i < reply->n_headers; i++)
        free(reply->header[i].value);
    reply->n_headers = 0;
    reply->bytes = NULL;
    reply->n_bytes = 0;
    reply->stream = (struct stream){0};
}

void reply_free(struct reply *reply)
{
    if (!reply)
        return;
    reply_clear(reply);
    free(reply->problems);
    free(reply);
}

void reply_error(struct reply *reply, const char *where, const char *name, const char *format, ...)
{
    struct field_error *error;
    va_list arguments;

    if (reply->n_errors == FIELD_ERRORS_MAX) {
        reply->more_errors++;
        return;
    }
    error = &reply->errors[reply->n_errors++];
    snprintf(error->where, sizeof error->where, "%s", where);
    snprintf(error->name, sizeof error->name, "%s", name);
    va_start(arguments, format);
    vsnprintf(error->detail, sizeof error->detail, format, arguments);
    va_end(arguments);
}
