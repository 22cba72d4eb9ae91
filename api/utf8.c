/* By the well-formed sequences of RFC 3629; nothing behind the n bytes is looked at. */
#include "utf8.h"

static int tail(const unsigned char *at, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return 1;
}

size_t utf8_length(const char *text, size_t n)
{
    const unsigned char *at = (const unsigned char *)text;

    if (n == 0)
        return 0;
    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xc2 && at[0] <= 0xdf)
        return n >= 2 && tail(at, 2) ? 2 : 0;
    if (at[0] >= 0xe0 && at[0] <= 0xef) {
        if (n < 3 || !tail(at, 3) || (at[0] == 0xe0 && at[1] < 0xa0) ||
            (at[0] == 0xed && at[1] > 0x9f))
            return 0;
        return 3;
    }
    if (at[0] >= 0xf0 && at[0] <= 0xf4) {
        if (n < 4 || !tail(at, 4) || (at[0] == 0xf0 && at[1] < 0x90) ||
            (at[0] == 0xf4 && at[1] > 0x8f))
            return 0;
        return 4;
    }
    return 0;
}
