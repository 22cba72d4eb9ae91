/* A pass's time, forecast: a pass of one or two samples, since each sample takes as long. */
#include <stdlib.h>

#include "backend/reference/reference.h"
#include "base/clock.h"

#define SAMPLES 2

struct timing {
    struct graph *graph;
    struct program *part;
    struct vector *weights, *states, *gradient;
    const void **inputs;
    void **outputs;
};

static int open_host(struct timing *timing, struct err *err)
{
    const struct graph *g = timing->graph;

    timing->inputs = calloc((size_t)g->n_inputs + 1, sizeof *timing->inputs);
    timing->outputs =
        calloc((size_t)g->n_inputs + (size_t)g->n_outputs + 1, sizeof *timing->outputs);
    if (!timing->inputs || !timing->outputs)
        return err_no_memory(err);
    for (int i = 0; i < g->n_outputs + g->n_inputs; i++) {
        int value = i < g->n_outputs ? g->outputs[i] : g->inputs[i - g->n_outputs];
        size_t n = (size_t)shape_elements(&g->values[value].shape);

        timing->outputs[i] = calloc(n, sizeof(double));
        if (!timing->outputs[i])
            return err_no_memory(err);
        if (i >= g->n_outputs)
            timing->inputs[i - g->n_outputs] = timing->outputs[i];
    }
    return 0;
}

static int open_part(struct timing *timing, struct backend *backend,
                     const struct pass_sample *sample, struct err *err)
{
    const struct layout *params = reference_params(sample->whole);
    const struct layout *states = reference_states(sample->whole);
    const struct backend_class *class = backend->class;
    int64_t all = reference_samples(sample->whole);
    int rc = sample->graph(sample->context, all < SAMPLES ? all : SAMPLES, &timing->graph, err);

    if (!rc)
        rc = reference_program_open(backend, timing->graph, params, states,
                                    &(struct program_options){.side_by_side = 1}, &timing->part,
                                    err);
    if (!rc)
        rc = class->vector_open(backend, params->size, &timing->weights, err);
    if (!rc)
        rc = class->vector_open(backend, params->size, &timing->gradient, err);
    if (!rc)
        rc = class->vector_open(backend, states->size, &timing->states, err);
    return rc ? rc : open_host(timing, err);
}

static void close_part(struct timing *timing, const struct backend_class *class)
{
    int n = timing->graph ? timing->graph->n_inputs + timing->graph->n_outputs : 0;

    reference_program_close(timing->part);
    class->vector_close(timing->weights);
    class->vector_close(timing->gradient);
    class->vector_close(timing->states);
    for (int i = 0; timing->outputs && i < n; i++)
        free(timing->outputs[i]);
    free(timing->inputs);
    free(timing->outputs);
    graph_free(timing->graph);
}

int reference_time_pass(struct backend *backend, const struct pass_sample *sample,
                        struct pass_seconds *out, struct err *err)
{
    struct timing timing = {0};
    int rc = open_part(&timing, backend, sample, err);

    if (!rc) {
        struct pass pass = {.program = timing.part,
                            .weights = timing.weights,
                            .states = timing.states,
                            .inputs = timing.inputs,
                            .outputs = timing.outputs,
                            .gradient = timing.gradient};
        double start = clock_seconds();

        rc = reference_execute(backend, &pass, 1, err);
        out->all = (clock_seconds() - start) * (double)reference_samples(sample->whole) /
                   (double)reference_samples(timing.part);
        out->forward = out->all; /* it leaves nothing out */
        out->beside = false;
    }
    close_part(&timing, backend->class);
    return rc;
}
