/* Stands for cmocka on machines that have a GPU and little else: what the shared parts of the
 * engine's tests need of it. A failure ends the running case (harness.h). */
#ifndef TESTS_GPU_STAND_IN_CMOCKA_H
#define TESTS_GPU_STAND_IN_CMOCKA_H

#include <string.h>

void harness_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

#define fail_msg(...) harness_fail(__FILE__, __LINE__, __VA_ARGS__)
#define assert_true(x)                                                                             \
    do {                                                                                           \
        if (!(x))                                                                                  \
            fail_msg("%s", #x);                                                                    \
    } while (0)
#define assert_non_null(x) assert_true((x) != NULL)
#define assert_int_equal(a, b)                                                                     \
    do {                                                                                           \
        long long fail_a = (long long)(a), fail_b = (long long)(b);                                \
        if (fail_a != fail_b)                                                                      \
            fail_msg("%s is %lld, not %lld", #a, fail_a, fail_b);                                  \
    } while (0)
#define assert_string_equal(a, b)    assert_true(strcmp((a), (b)) == 0)
#define assert_memory_equal(a, b, n) assert_true(memcmp((a), (b), (n)) == 0)

#endif
