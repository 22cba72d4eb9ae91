#include "base/problems.h"

#include <stdarg.h>
#include <stdio.h>

void problems_add(struct problems *problems, const char *pointer, const char *format, ...)
{
    char message[512];
    va_list arguments;

    problems->n++;
    if (!problems->tell)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    problems->tell(problems->to, pointer, message);
}

void problems_tell_item(void *to, const char *pointer, const char *message)
{
    const struct problems_item *item = to;
    char place[96];

    snprintf(place, sizeof place, "%s/%d%s", item->list, item->i, pointer);
    problems_add(item->whole, place, "%s", message);
}
