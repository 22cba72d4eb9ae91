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
