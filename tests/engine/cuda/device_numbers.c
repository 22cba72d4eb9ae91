#include "device_numbers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define INPUTS_MAX 4

static double rounded(double x)
{
    union {
        float value;
        uint32_t bits;
    } u = {.value = (float)x};

    u.bits = (u.bits + 0x7fff + (u.bits >> 16 & 1)) & 0xffff0000u;
    return (double)u.value;
}

static void round_all(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = rounded(x[i]);
}

void device_fill(struct trial *t, enum compute compute, uint64_t seed)
{
    trial_fill(t, seed);
    if (compute != COMPUTE_BF16)
        return;
    for (int i = 0; i < t->graph->n_inputs; i++)
        if (t->input[i])
            round_all(t->input[i],
                      (size_t)shape_elements(&t->graph->values[t->graph->inputs[i]].shape));
    round_all(t->weights, t->params->size);
}

void device_add_derivatives(struct graph *g)
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

double device_gradient_error(const struct trial *got, const struct trial *want)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < want->params->size; i++) {
        double d = got->gradient[i] - want->gradient[i];

        difference += d * d;
        size += want->gradient[i] * want->gradient[i];
    }
    return sqrt(difference / size);
}
