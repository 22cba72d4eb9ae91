#include "cpu_compare.h"

#include <stdio.h>

const struct cpu_way cpu_ways[] = {
    {"by channel", &cpu_by_channel, {.threads = 1}},
    {"by channel, exact, two threads", &cpu_by_channel, {.threads = 2, .exact = true}},
    {"by image", &cpu_by_image, {.threads = 1}},
    {"as chosen, two threads", &backend_cpu, {.threads = 2}},
    {0},
};

void compare_backends(const char *what, const struct graph *g, const struct cpu_way *way,
                      uint64_t seed, double tolerance)
{
    struct trial *want = trial_open(g, &backend_reference, NULL);
    struct trial *got = trial_open(g, way->class, &way->options);
    char full[300];
    struct compared products = {full, "product of", got->params, g->params};

    snprintf(full, sizeof full, "%.150s (%s)", what, way->name);
    trial_fill(want, seed);
    trial_fill(got, seed);
    compare_passes(full, got, want, tolerance);
    compare_tensors(&products, got->product, want->product, tolerance);
    trial_close(want);
    trial_close(got);
}

void compare_all_ways(const char *what, const struct graph *g, uint64_t seed, double exact,
                      double fastest)
{
    for (const struct cpu_way *way = cpu_ways; way->name; way++)
        compare_backends(what, g, way, seed, way->options.exact ? exact : fastest);
}
