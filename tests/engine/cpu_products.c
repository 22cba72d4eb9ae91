#include "cpu_products.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define TOLERANCE 1e-4

struct support_options exact_options(const struct cpu_way *way, bool keep_primal)
{
    struct support_options options = way->options;

    options.exact = true;
    options.keep_primal = keep_primal;
    return options;
}

void fill_mildly(struct trial *t, uint64_t seed)
{
    trial_fill(t, seed);
    for (int i = 0; i < t->params->n; i++) {
        const struct layout_tensor *tensor = &t->params->tensor[i];
        double factor = tensor->elementwise ? 0.5 : sqrt(3 / (double)tensor->filter_size);
        double centre = tensor->elementwise && tensor->weight ? 1 : 0;

        for (size_t k = 0; k < tensor->size; k++)
            t->weights[tensor->offset + k] =
                (double)(float)(centre + factor * t->weights[tensor->offset + k]);
    }
}

static double largest(const double *x, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

/* By parameter, relative to the largest number of its part or a hundredth of the largest of all. */
static void compare_parts(const char *what, const struct trial *t, const double *got,
                          const double *want)
{
    double all = largest(want, t->params->size);

    for (int i = 0; i < t->params->n; i++) {
        const struct layout_tensor *tensor = &t->params->tensor[i];
        double scale = fmax(largest(want + tensor->offset, tensor->size), all / 100);

        for (size_t k = tensor->offset; k < tensor->offset + tensor->size; k++)
            if (!(fabs(got[k] - want[k]) <= TOLERANCE * scale))
                fail_msg("%s, %s: %.9g instead of %.9g, where the largest is %.3g", what,
                         t->graph->params[i].name, got[k], want[k], scale);
    }
}

static void compare_with(const char *name, struct trial *want, const struct cpu_way *way,
                         bool keep_primal)
{
    struct support_options options = exact_options(way, keep_primal);
    struct trial *got = trial_open(want->graph, way->class, &options);
    char what[200];

    snprintf(what, sizeof what, "%s (%s)", name, way->name);
    fill_mildly(got, 3);
    trial_run(got);
    assert_close(what, got->output[0], want->output[0], 1, TOLERANCE);
    compare_parts(what, got, got->gradient, want->gradient);
    compare_parts(what, got, got->product, want->product);
    trial_close(got);
}

void compare_products(const char *name, const struct graph *g, bool keep_primal)
{
    struct trial *want = trial_open(g, &backend_reference, NULL);

    fill_mildly(want, 3);
    trial_run(want);
    for (const struct cpu_way *way = cpu_ways; way->name; way++)
        compare_with(name, want, way, keep_primal);
    trial_close(want);
}
