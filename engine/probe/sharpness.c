/* Two numbers for how sharp a minimum is: the loss a step up the slope (Foret et al. 2021), and
 * the mean loss over the method's own noise (Li et al. 2024). */
#include <stdlib.h>

#include "probe/state.h"
#include "probe/tables.h"

enum { DRAW_RADIUS = 1, DRAW_LOSS, DRAW_TOP1, DRAW_COLUMNS };

static int measure_draw(struct engine_probe_run *run, int64_t draw, struct err *err)
{
    struct perturbation noise =
        probe_noise_perturbation(run, run->probe.adaptive, draw, run->probe.sigma);
    struct probe_point point = {run->weights, run->states, &noise};
    double row[DRAW_COLUMNS] = {(double)draw};
    struct probe_loss loss;
    int rc;

    if (rows_find(run->rows, SHARPNESS_DRAWS, draw))
        return probe_progress(run, COST_FORWARD, err);
    rc = probe_noise_norm(run, &noise, &row[DRAW_RADIUS], err);
    if (!rc)
        rc = probe_loss_at(run, &run->set, &point, &loss, err);
    if (rc)
        return rc;
    row[DRAW_LOSS] = loss.loss;
    row[DRAW_TOP1] = loss.top1;
    return probe_tell(run, SHARPNESS_DRAWS, draw, row, err);
}

static int add_average(struct engine_probe_run *run, struct err *err)
{
    int64_t n = run->probe.draws;
    double *losses = probe_numbers(2 * n), *top1;
    struct probe_mean mean;

    if (!losses)
        return err_no_memory(err);
    top1 = losses + n;
    for (int64_t i = 0; i < n; i++) {
        const double *row = rows_find(run->rows, SHARPNESS_DRAWS, i);

        losses[i] = row[DRAW_LOSS];
        top1[i] = row[DRAW_TOP1];
    }
    mean = probe_mean_of(losses, n);
    run->summary[SHARPNESS_AVERAGE_LOSS] = mean.mean;
    run->summary[SHARPNESS_AVERAGE_RISE] = mean.mean - run->summary[SHARPNESS_LOSS];
    run->summary[SHARPNESS_AVERAGE_STANDARD_ERROR] = mean.standard_error;
    run->summary[SHARPNESS_AVERAGE_TOP1] = probe_mean_of(top1, n).mean;
    free(losses);
    return 0;
}

/* Loss, gradient and the step up. */
static int measure_worst(struct engine_probe_run *run, struct err *err)
{
    struct probe_point here = {run->weights, run->states, NULL};
    struct probe_loss loss, ignored, worst;
    double *summary = run->summary;
    int rc = probe_gradient(run, &run->set, run->gradient, &ignored, err);

    if (!rc)
        rc = probe_loss_at(run, &run->set, &here, &loss, err);
    if (!rc)
        rc = probe_ascent_loss(run, &run->set, run->probe.rho, &worst, err);
    if (rc)
        return rc;
    summary[SHARPNESS_LOSS] = loss.loss;
    summary[SHARPNESS_TOP1] = loss.top1;
    summary[SHARPNESS_GRADIENT_NORM] = vectors_norm(run->gradient, run->params->size);
    summary[SHARPNESS_RHO] = run->probe.rho;
    summary[SHARPNESS_WORST_LOSS] = worst.loss;
    summary[SHARPNESS_WORST_RISE] = worst.loss - loss.loss;
    summary[SHARPNESS_SIGMA] = run->probe.sigma;
    summary[SHARPNESS_SAMPLES] = (double)run->set.n;
    summary[SHARPNESS_PARAMETERS] = (double)model_parameters(run->graph);
    summary[SHARPNESS_N_DRAWS] = (double)run->probe.draws;
    return probe_tell_summary(run, err);
}

int sharpness_measure(struct engine_probe_run *run, struct err *err)
{
    int rc;

    run->total_cost = COST_GRADIENT + 2 * COST_FORWARD + (double)run->probe.draws * COST_FORWARD;
    if (run->probe.ascent == ASCENT_BATCH)
        run->total_cost += COST_GRADIENT;
    rc = measure_worst(run, err);
    for (int64_t i = 0; i < run->probe.draws && !rc; i++)
        rc = measure_draw(run, i, err);
    if (!rc)
        rc = add_average(run, err);
    return rc ? rc : probe_tell_summary(run, err);
}
