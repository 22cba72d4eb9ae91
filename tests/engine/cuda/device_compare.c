#include "device_compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* As a whole: parts of it cancel each other, to nothing where a bias comes before batch norm. */
static void compare_products(const char *what, const struct trial *got, const struct trial *want,
                             double tolerance)
{
    size_t n = want->params->size;
    double error = whole_error(got->product, want->product, n);

    if (relative_error(got->product, want->product, n) == 0) /* nothing, where there is none */
        return;
    if (!(error <= tolerance))
        fail_msg("%s: the product is off by %.3g, allowed %.3g", what, error, tolerance);
}

void device_compare(const char *what, const struct graph *g, enum compute compute, uint64_t seed,
                    double tolerance)
{
    static const char *const names[] = {"fp32", "tf32", "bf16"};
    struct trial *want = trial_open(g, &backend_reference, NULL);
    struct trial *got = trial_open(g, host_device(compute), NULL);
    char name[300];

    snprintf(name, sizeof name, "%.150s (%s)", what, names[compute]);
    device_fill(want, compute, seed);
    device_fill(got, compute, seed);
    compare_passes(name, got, want, tolerance);
    compare_products(name, got, want, tolerance);
    trial_close(want);
    trial_close(got);
    assert_int_equal(host_device_open_things(), 0);
}
