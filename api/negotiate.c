/* Of several ranges that name a type, the most exact one counts, as RFC 9110 wants it. */
#include "negotiate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How exactly a range (of n bytes) names a type: 0 not at all, 1 any, 2 its first half, 3 wholly.
 */
static int match(const char *range, size_t n, const char *type)
{
    size_t half = strcspn(type, "/") + 1;

    if (n == 3 && memcmp(range, "*/*", 3) == 0)
        return 1;
    if (n == half + 1 && range[n - 1] == '*' && strncasecmp(range, type, half) == 0)
        return 2;
    return n == strlen(type) && strncasecmp(range, type, n) == 0 ? 3 : 0;
}

static double quality(const char *parameters, const char *end)
{
    for (const char *at = parameters; at < end; at++) {
        if (*at != ';')
            continue;
        at += 1 + strspn(at + 1, " \t");
        if (end - at > 2 && (*at | 0x20) == 'q' && at[1] == '=')
            return at[2] == '1' ? 1 : at[2] == '0' ? strtod(at + 2, NULL) : 0;
        at--;
    }
    return 1;
}

/* The q-value of the most exact range that names the type; 0 if none does. */
static double likes(const char *accept, const char *type)
{
    int best = 0;
    double q = 0;

    for (const char *at = accept; *at;) {
        const char *end = at + strcspn(at, ",");
        size_t n;
        int exact;

        at += strspn(at, " \t");
        n = strcspn(at, ";, \t");
        exact = match(at, n, type);
        if (exact > best) {
            best = exact;
            q = quality(at + n, end);
        }
        at = *end ? end + 1 : end;
    }
    return q;
}

int negotiate(const char *accept, const char *const *types)
{
    int best = -1;
    double most = 0;

    if (!accept || !*accept)
        return 0;
    for (int i = 0; types[i]; i++) {
        double q = likes(accept, types[i]);

        if (q > most) {
            most = q;
            best = i;
        }
    }
    return best;
}
