/* Calls that fill a struct err. Written with the argument `err`, which is the macros' own:
 * assert_ok(db_open(&db, folder, NULL, err)). Whoever uses them includes cmocka.h and
 * string.h. */
#ifndef TESTS_ASSERT_ERR_H
#define TESTS_ASSERT_ERR_H

#include "base/err.h"

/* A call that must succeed / must fail with `code` and a message that contains `text`. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        struct err assert_ok_err = {0};                                                            \
        struct err *err = &assert_ok_err;                                                          \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, err->message);                                               \
    } while (0)
#define assert_refused(call, expected_code, text)                                                  \
    do {                                                                                           \
        struct err assert_refused_err = {0};                                                       \
        struct err *err = &assert_refused_err;                                                     \
        assert_int_equal((call), (expected_code));                                                 \
        assert_int_equal(err->code, (expected_code));                                              \
        if (!strstr(err->message, (text)))                                                         \
            fail_msg("\"%s\" does not contain \"%s\"", err->message, (text));                      \
    } while (0)

#endif
