/* Losses and gradients: means over the samples, batch by batch in their order, sums in double. */
#include <math.h>
#include <string.h>

#include "probe/state.h"

enum program_kind { PROGRAM_FORWARD, PROGRAM_SLOPE };

static int open_graph(const struct engine_probe_run *run, const struct probe_set *set,
                      int64_t batch, enum program_kind kind, struct graph **out, struct err *err)
{
    struct model_input input = probe_set_input(run, set, batch);
    struct job_model plain = run->job.model;

    if (kind == PROGRAM_SLOPE)
        return model_slope_graph(out, &run->job.model, &input, set->batch_statistics, err);
    plain.dropout = plain.embedding_dropout = 0;
    return model_forward_graph(out, &plain, &input, set->batch_statistics, err);
}

static int program_for(struct engine_probe_run *run, struct probe_set *set, int64_t batch,
                       enum program_kind kind, struct program **out, struct err *err)
{
    struct size_programs *have = kind == PROGRAM_SLOPE ? &set->slope : &set->forward;
    struct program_options options = {.exact = true, .side_by_side = 1};
    int64_t samples = probe_set_size(set, batch);
    struct graph *graph;
    int rc;

    for (int i = 0; i < have->n; i++)
        if (have->samples[i] == samples) {
            *out = have->program[i];
            return 0;
        }
    rc = open_graph(run, set, batch, kind, &graph, err);
    if (rc)
        return rc;
    rc = run->class->program_open(run->backend, graph, run->params, run->states_layout, &options,
                                  out, err);
    graph_free(graph);
    if (rc)
        return rc;
    have->samples[have->n] = samples;
    have->program[have->n++] = *out;
    return 0;
}

static double real_at(const struct engine_probe_run *run, const void *raw)
{
    return run->class->real == REAL_F32 ? (double)*(const float *)raw : *(const double *)raw;
}

/* Runs one batch and adds its sums to *totals. `gradient` NULL: only forward. */
static int run_batch(struct engine_probe_run *run, struct probe_set *set, int64_t batch,
                     const struct probe_point *point, struct vector *gradient,
                     struct probe_loss *totals, struct err *err)
{
    double raw[MODEL_OUTPUTS], n = (double)probe_set_size(set, batch);
    void *outputs[MODEL_OUTPUTS] = {&raw[0], &raw[1], &raw[2]};
    const void *inputs[MODEL_INPUTS];
    struct pass pass = {.weights = point->weights,
                        .states = point->states,
                        .inputs = inputs,
                        .outputs = outputs,
                        .gradient = gradient};
    int rc = probe_continue(run);

    if (!rc)
        rc = program_for(run, set, batch, gradient ? PROGRAM_SLOPE : PROGRAM_FORWARD, &pass.program,
                         err);
    if (rc)
        return rc;
    if (point->perturbation)
        pass.perturbation = *point->perturbation;
    rc = probe_set_load(run, set, batch, inputs, err);
    if (!rc)
        rc = run->class->execute(run->backend, &pass, 1, err);
    if (rc)
        return rc;
    totals->loss += real_at(run, outputs[MODEL_OUTPUT_LOSS]) * n;
    totals->top1 += real_at(run, outputs[MODEL_OUTPUT_TOP1]);
    totals->top5 += real_at(run, outputs[MODEL_OUTPUT_TOP5]);
    return probe_progress(run, (gradient ? COST_GRADIENT : COST_FORWARD) * n / (double)set->n, err);
}

static void finish(struct probe_loss *totals, const struct probe_set *set)
{
    totals->loss /= (double)set->n;
    totals->top1 /= (double)set->n;
    totals->top5 /= (double)set->n;
}

int probe_loss_at(struct engine_probe_run *run, struct probe_set *set,
                  const struct probe_point *point, struct probe_loss *out, struct err *err)
{
    int rc = 0;

    *out = (struct probe_loss){0};
    for (int64_t b = 0; b < set->batches && !rc; b++)
        rc = run_batch(run, set, b, point, NULL, out, err);
    finish(out, set);
    return rc;
}

static struct probe_point at_checkpoint(const struct engine_probe_run *run)
{
    return (struct probe_point){.weights = run->weights, .states = run->states};
}

int probe_gradient(struct engine_probe_run *run, struct probe_set *set, double *gradient,
                   struct probe_loss *out, struct err *err)
{
    struct probe_point point = at_checkpoint(run);
    int rc = 0;

    *out = (struct probe_loss){0};
    memset(gradient, 0, run->params->size * sizeof *gradient);
    for (int64_t b = 0; b < set->batches && !rc; b++) {
        double share = (double)probe_set_size(set, b) / (double)set->n;

        rc = run_batch(run, set, b, &point, run->slope, out, err);
        if (!rc)
            rc = probe_read(run, run->slope, run->sum, err);
        for (size_t i = 0; i < run->params->size && !rc; i++)
            gradient[i] += share * run->sum[i];
    }
    finish(out, set);
    return rc;
}

int probe_ascent_loss(struct engine_probe_run *run, struct probe_set *set, double rho,
                      struct probe_loss *out, struct err *err)
{
    struct perturbation up = {.kind = PERTURB_DIRECTION, .rho = rho, .direction = run->slope};
    struct probe_point clean = at_checkpoint(run), point = at_checkpoint(run);
    struct probe_loss ignored = {0};
    int rc = 0;

    point.perturbation = &up;
    if (run->probe.ascent == ASCENT_SAMPLES) {
        rc = probe_write(run, run->slope, run->gradient, run->params->size, err);
        return rc ? rc : probe_loss_at(run, set, &point, out, err);
    }
    *out = (struct probe_loss){0};
    for (int64_t b = 0; b < set->batches && !rc; b++) {
        rc = run_batch(run, set, b, &clean, run->slope, &ignored, err);
        if (!rc)
            rc = run_batch(run, set, b, &point, NULL, out, err);
    }
    finish(out, set);
    return rc;
}
