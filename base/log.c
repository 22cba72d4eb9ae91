#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

static _Atomic int threshold = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

/* A message may have the name of a file in it, or what somebody sent: it stays one line. */
static void keep_to_a_line(char *message)
{
    for (; *message; message++)
        if ((unsigned char)*message < ' ' || *message == 0x7f)
            *message = '?';
}

void log_line(enum log_level level, const char *format, ...)
{
    static const int journal_priority[] = {3, 4, 6, 7};
    static const char *const names[] = {"error", "warning", "info", "debug"};
    char message[1024];
    char now[CLOCK_RFC3339_BYTES];
    va_list arguments;

    if ((int)level > atomic_load(&threshold))
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    keep_to_a_line(message);
    if (getenv("JOURNAL_STREAM")) {
        fprintf(stderr, "<%d>%s\n", journal_priority[level], message);
        return;
    }
    clock_rfc3339(clock_wall_ms(), now);
    fprintf(stderr, "%s %s: %s\n", now, names[level], message);
}
