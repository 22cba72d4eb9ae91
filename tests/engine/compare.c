#include "compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define INPUTS_MAX 4

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

double tensor_error(const double *got, const double *want, size_t n)
{
    if (is_nothing(want, n, NOTHING) && is_nothing(got, n, ROUNDING))
        return 0;
    return relative_error(got, want, n);
}

double whole_error(const double *got, const double *want, size_t n)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        double d = got[i] - want[i];

        difference += d * d;
        size += want[i] * want[i];
    }
    return sqrt(difference / size);
}

void compare_tensors(const struct compared *c, const double *got, const double *want,
                     double tolerance)
{
    char name[400];

    for (int i = 0; i < c->layout->n; i++) {
        const struct layout_tensor *t = &c->layout->tensor[i];

        snprintf(name, sizeof name, "%s: %s %s", c->what, c->kind, c->tensors[i].name);
        if (tensor_error(got + t->offset, want + t->offset, t->size) != 0)
            assert_close(name, got + t->offset, want + t->offset, t->size, tolerance);
    }
}

void compare_passes(const char *what, struct trial *got, struct trial *want, double tolerance)
{
    const struct graph *g = got->graph;
    struct compared gradients = {what, "gradient of", got->params, g->params};
    struct compared states = {what, "state", got->states, g->states};
    char name[400];

    want->move_statistics = got->move_statistics = g->n_moments > 0;
    trial_run(want);
    trial_run(got);
    for (int i = 0; i < g->n_outputs; i++) {
        snprintf(name, sizeof name, "%s: output %d (%s)", what, i,
                 op_name(g->nodes[g->values[g->outputs[i]].node].op));
        assert_close(name, got->output[i], want->output[i], trial_output_size(got, i), tolerance);
    }
    compare_tensors(&gradients, got->gradient, want->gradient, tolerance);
    compare_tensors(&states, got->state, want->state, tolerance);
}

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
