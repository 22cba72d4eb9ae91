#include "device_compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What is zero but for rounding is compared as that. */
#define NOTHING  1e-12
#define ROUNDING 1e-5

static bool is_nothing(const double *x, size_t n, double most)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(x[i]) <= most))
            return false;
    return true;
}

static void compare_tensors(const char *what, const char *kind, const struct layout *layout,
                            const struct graph_tensor *tensors, const double *got,
                            const double *want, double tolerance)
{
    char name[400];

    for (int i = 0; i < layout->n; i++) {
        const struct layout_tensor *t = &layout->tensor[i];

        snprintf(name, sizeof name, "%s: %s %s", what, kind, tensors[i].name);
        if (is_nothing(want + t->offset, t->size, NOTHING) &&
            is_nothing(got + t->offset, t->size, ROUNDING))
            continue;
        assert_close(name, got + t->offset, want + t->offset, t->size, tolerance);
    }
}

/* As a whole: parts of it cancel each other, to nothing where a bias comes before batch norm. */
static void compare_products(const char *what, const struct trial *got, const struct trial *want,
                             double tolerance)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < want->params->size; i++) {
        double d = got->product[i] - want->product[i];

        difference += d * d;
        size += want->product[i] * want->product[i];
    }
    if (!(sqrt(difference) <= tolerance * sqrt(size)))
        fail_msg("%s: the product is off by %.3g, allowed %.3g", what, sqrt(difference / size),
                 tolerance);
}

void device_compare(const char *what, const struct graph *g, enum compute compute, uint64_t seed,
                    double tolerance)
{
    static const char *const names[] = {"fp32", "tf32", "bf16"};
    struct trial *want = trial_open(g, &backend_reference, NULL);
    struct trial *got = trial_open(g, host_device(compute), NULL);
    char name[400];

    want->move_statistics = got->move_statistics = g->n_moments > 0;
    device_fill(want, compute, seed);
    device_fill(got, compute, seed);
    trial_run(want);
    trial_run(got);
    for (int i = 0; i < g->n_outputs; i++) {
        snprintf(name, sizeof name, "%s (%s): output %d (%s)", what, names[compute], i,
                 op_name(g->nodes[g->values[g->outputs[i]].node].op));
        assert_close(name, got->output[i], want->output[i], trial_output_size(got, i), tolerance);
    }
    snprintf(name, sizeof name, "%s (%s)", what, names[compute]);
    compare_tensors(name, "gradient of", got->params, g->params, got->gradient, want->gradient,
                    tolerance);
    compare_products(name, got, want, tolerance);
    compare_tensors(name, "state", got->states, g->states, got->state, want->state, tolerance);
    trial_close(want);
    trial_close(got);
    assert_int_equal(host_device_open_things(), 0);
}
