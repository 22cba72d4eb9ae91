#include "cpu_compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define INPUTS_MAX 4

const struct cpu_way cpu_ways[] = {
    {"by channel", &cpu_by_channel, {.threads = 1}},
    {"by channel, exact, two threads", &cpu_by_channel, {.threads = 2, .exact = true}},
    {"by image", &cpu_by_image, {.threads = 1}},
    {"as chosen, two threads", &backend_cpu, {.threads = 2}},
    {0},
};

void add_derivatives(struct graph *g)
{
    int n = g->n_inputs, wrt[INPUTS_MAX], gradient[INPUTS_MAX];
    int y = g->outputs[0], dy = graph_input(g, g->values[y].shape, VALUE_REAL);

    assert_true(n <= INPUTS_MAX);
    memcpy(wrt, g->inputs, (size_t)n * sizeof *wrt);
    assert_ok((graph_gradient_from(g, y, dy, wrt, n, gradient), graph_check(g, err)));
    for (int i = 0; i < n; i++)
        if (gradient[i] >= 0)
            graph_output(g, gradient[i]);
}

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

void compare_backends(const char *what, const struct graph *g, const struct cpu_way *way,
                      uint64_t seed, double tolerance)
{
    struct trial *want = trial_open(g, &backend_reference, NULL);
    struct trial *got = trial_open(g, way->class, &way->options);
    char name[400], full[300];

    snprintf(full, sizeof full, "%.150s (%s)", what, way->name);
    what = full;

    want->move_statistics = got->move_statistics = g->n_moments > 0;
    trial_fill(want, seed);
    trial_fill(got, seed);
    trial_run(want);
    trial_run(got);
    for (int i = 0; i < g->n_outputs; i++) {
        snprintf(name, sizeof name, "%s: output %d (%s)", what, i,
                 op_name(g->nodes[g->values[g->outputs[i]].node].op));
        assert_close(name, got->output[i], want->output[i], trial_output_size(got, i), tolerance);
    }
    compare_tensors(what, "gradient of", got->params, g->params, got->gradient, want->gradient,
                    tolerance);
    compare_tensors(what, "product of", got->params, g->params, got->product, want->product,
                    tolerance);
    compare_tensors(what, "state", got->states, g->states, got->state, want->state, tolerance);
    trial_close(want);
    trial_close(got);
}

void compare_all_ways(const char *what, const struct graph *g, uint64_t seed, double exact,
                      double fastest)
{
    for (const struct cpu_way *way = cpu_ways; way->name; way++)
        compare_backends(what, g, way, seed, way->options.exact ? exact : fastest);
}
