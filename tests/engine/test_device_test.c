/* The test of a device passes where it computes right, and fails where it computes a little wrong.
 */
#include "job/device_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

/* A backend whose numbers somebody spoils. */
static struct {
    const struct backend_class *good;
    struct backend_class class;
} spoiled;

static int spoil(struct vector *vector, struct err *err)
{
    double room[8];
    int rc = spoiled.good->vector_read(vector, 0, 8, room, err);

    for (int i = 0; i < 8; i++)
        if (spoiled.good->real == REAL_F32)
            ((float *)room)[i] += 1;
        else
            room[i] += 1;
    return rc ? rc : spoiled.good->vector_write(vector, 0, 8, room, err);
}

static int spoiled_execute(struct backend *backend, const struct pass *passes, int n,
                           struct err *err)
{
    int rc = spoiled.good->execute(backend, passes, n, err);

    return rc ? rc : spoil(passes[0].gradient, err);
}

static int spoiled_step(struct backend *backend, const struct step *step, struct err *err)
{
    int rc = spoiled.good->step(backend, step, err);

    return rc ? rc : spoil(step->weights, err);
}

static void spoil_class(const struct backend_class *good)
{
    spoiled.good = good;
    spoiled.class = *good;
    spoiled.class.execute = spoiled_execute;
    spoiled.class.step = spoiled_step;
}

static void what_computes_right_passes(void **state)
{
    (void)state;
    assert_ok(device_gradient_test(&backend_reference, 0, err));
    if (!backend_of_cpu())
        return;
    assert_ok(device_gradient_test(backend_of_cpu(), 0, err));
    assert_ok(device_test(backend_of_cpu(), 0, err));
}

static void wrong_gradients_are_seen(void **state)
{
    struct err err = {0};

    (void)state;
    spoil_class(&backend_reference);
    assert_int_equal(device_gradient_test(&spoiled.class, 0, &err), ERR_DEVICE);
    assert_non_null(strstr(err.message, "a gradient in fp32 is off by"));
}

static void wrong_weights_are_seen(void **state)
{
    struct err err = {0};

    (void)state;
    if (!backend_of_cpu())
        skip();
    spoil_class(backend_of_cpu());
    assert_int_equal(device_test(&spoiled.class, 0, &err), ERR_DEVICE);
    assert_non_null(strstr(err.message, "a sum"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_computes_right_passes),
        cmocka_unit_test(wrong_gradients_are_seen),
        cmocka_unit_test(wrong_weights_are_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
