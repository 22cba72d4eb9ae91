#include "device_numbers.h"

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
