/* Products of the Hessian with a vector, at the checkpoint: the tangent of the gradient graph,
 * batch by batch, and their mean. Where memory allows and the backend gains by it, each batch has a
 * program of its own, which keeps what does not depend on the direction from one product to the
 * next. */
#include <stdlib.h>
#include <string.h>

#include "probe/state.h"

/* Most of the device's memory that programs of their own may take, by the size of all values
 * that their graphs have: several probes may run at a time. */
#define MEMORY_SHARE 0.125

struct batch_program {
    int64_t samples;
    struct program *program;
    int64_t kept; /* the batch that it has kept; -1: none */
};

struct curvature {
    bool keep; /* programs[b] is batch b's */
    int64_t n;
    struct batch_program *programs;
};

static int open_graph(const struct engine_probe_run *run, int64_t batch, struct graph **out,
                      struct err *err)
{
    struct model_input input = probe_set_input(run, &run->set, batch);

    return model_curvature_graph(out, &run->job.model, &input, run->set.batch_statistics, err);
}

static int decide(const struct engine_probe_run *run, struct curvature *curvature, struct err *err)
{
    double reals = 0, memory;
    struct graph *graph;
    int rc;

    curvature->n = SET_SIZES_MAX;
    if (!run->class->keeps_primal || run->short_of_memory)
        return 0;
    rc = open_graph(run, 0, &graph, err);
    if (rc)
        return rc;
    for (int v = 0; v < graph->n_values; v++)
        reals += (double)shape_elements(&graph->values[v].shape);
    graph_free(graph);
    memory = (double)run->place.memory_bytes;
    curvature->keep = reals * (double)real_bytes(run->class->real) * (double)run->set.batches <=
                      MEMORY_SHARE * memory;
    if (curvature->keep)
        curvature->n = run->set.batches;
    return 0;
}

static int curvature_open(struct engine_probe_run *run, struct err *err)
{
    struct curvature *curvature = calloc(1, sizeof *curvature);
    int rc;

    if (!curvature)
        return err_no_memory(err);
    run->curvature = curvature;
    rc = decide(run, curvature, err);
    if (rc)
        return rc;
    curvature->programs = calloc((size_t)curvature->n, sizeof *curvature->programs);
    if (!curvature->programs)
        return err_no_memory(err);
    for (int64_t i = 0; i < curvature->n; i++)
        curvature->programs[i].kept = -1;
    return 0;
}

void curvature_close(struct engine_probe_run *run)
{
    struct curvature *curvature = run->curvature;

    if (!curvature)
        return;
    for (int64_t i = 0; curvature->programs && i < curvature->n; i++)
        if (curvature->programs[i].program)
            run->class->program_close(curvature->programs[i].program);
    free(curvature->programs);
    free(curvature);
    run->curvature = NULL;
}

static int program_for(struct engine_probe_run *run, int64_t batch, struct batch_program **out,
                       struct err *err)
{
    struct curvature *curvature = run->curvature;
    int64_t samples = probe_set_size(&run->set, batch), i = batch;
    struct program_options options = {
        .exact = true, .side_by_side = 1, .keep_primal = curvature->keep};
    struct batch_program *found;
    struct graph *graph;
    int rc;

    if (!curvature->keep) /* place 0: full batches; place 1: the last one */
        i = samples == run->set.batch_size ? 0 : 1;
    found = *out = &curvature->programs[i];
    if (found->program)
        return 0;
    rc = open_graph(run, batch, &graph, err);
    if (rc)
        return rc;
    rc = run->class->program_open(run->backend, graph, run->params, run->states_layout, &options,
                                  &found->program, err);
    graph_free(graph);
    found->samples = samples;
    return rc;
}

/* The product of one batch's Hessian and run->direction: in run->product. */
static int run_batch(struct engine_probe_run *run, int64_t batch, struct err *err)
{
    double raw[MODEL_OUTPUTS];
    void *outputs[MODEL_OUTPUTS] = {&raw[0], &raw[1], &raw[2]};
    const void *inputs[MODEL_INPUTS];
    struct batch_program *by = NULL;
    struct pass pass = {.weights = run->weights,
                        .states = run->states,
                        .inputs = inputs,
                        .outputs = outputs,
                        .gradient = run->slope,
                        .direction = run->direction,
                        .product = run->product};
    int rc = probe_continue(run);

    if (!rc)
        rc = program_for(run, batch, &by, err);
    if (!rc)
        rc = probe_set_load(run, &run->set, batch, inputs, err);
    if (rc)
        return rc;
    pass.program = by->program;
    pass.primal_kept = by->kept == batch;
    by->kept = -1;
    rc = run->class->execute(run->backend, &pass, 1, err);
    if (!rc && run->curvature->keep)
        by->kept = batch;
    return rc;
}

int probe_product(void *context, const float *x, double *y, struct err *err)
{
    struct engine_probe_run *run = context;
    size_t size = run->params->size;
    int rc = 0;

    if (!run->curvature)
        rc = curvature_open(run, err);
    if (!rc)
        rc = probe_write_f32(run, run->direction, x, err);
    memset(y, 0, size * sizeof *y);
    for (int64_t b = 0; b < run->set.batches && !rc; b++) {
        double share = (double)probe_set_size(&run->set, b) / (double)run->set.n;

        rc = run_batch(run, b, err);
        if (!rc)
            rc = probe_read(run, run->product, run->sum, err);
        for (size_t i = 0; i < size && !rc; i++)
            y[i] += share * run->sum[i];
        if (!rc)
            rc = probe_progress(run, COST_PRODUCT * share, err);
    }
    return rc;
}
