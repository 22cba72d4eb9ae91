/* Comparison of doubles, which cmocka 1.1.5 lacks. Include after cmocka.h. */
#ifndef TESTS_ENGINE_CLOSE_H
#define TESTS_ENGINE_CLOSE_H

#include <math.h>

/* |a − b| ≤ tolerance; NaN is close to nothing. */
#define assert_close(a, b, tolerance) assert_close_at((a), (b), (tolerance), __FILE__, __LINE__)

static inline void assert_close_at(double a, double b, double tolerance, const char *file, int line)
{
    if (fabs(a - b) <= tolerance)
        return;
    print_error("%.17g is not %.17g (tolerance %g)\n", a, b, tolerance);
    _fail(file, line);
}

#endif
