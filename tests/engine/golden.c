#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINE_BYTES 8192

FILE *golden_open(const char *name)
{
    char path[1024];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", GOLDEN_FOLDER, name);
    file = fopen(path, "r");
    if (!file)
        fail_msg("cannot read %s", path);
    return file;
}

char *golden_next(FILE *file, const char *kind)
{
    static char line[LINE_BYTES];
    size_t n = strlen(kind);

    while (fgets(line, sizeof line, file)) {
        size_t length = strlen(line);

        if (length == 0 || line[length - 1] != '\n')
            fail_msg("a golden line is too long: %.60s", line);
        line[length - 1] = 0;
        if (strncmp(line, kind, n) == 0 && line[n] == ' ')
            return line + n + 1;
    }
    return NULL;
}

uint64_t golden_integer(char **line)
{
    char *end;
    uint64_t value = strtoull(*line, &end, 0); /* hexadecimal after 0x */

    if (end == *line)
        fail_msg("no integer in a golden line: %.60s", *line);
    *line = end;
    return value;
}

double golden_number(char **line)
{
    char *end;
    double value = strtod(*line, &end);

    if (end == *line)
        fail_msg("no number in a golden line: %.60s", *line);
    *line = end;
    return value;
}

char *golden_word(char **line)
{
    char *word = *line + strspn(*line, " ");
    size_t length = strcspn(word, " ");

    if (length == 0)
        fail_msg("a golden line ends too early");
    *line = word + length + (word[length] == ' ');
    word[length] = 0;
    return word;
}
