/* The expected loss over the radius of a perturbation (the paper's figure 1): each perturbation is
 * scaled to the radius exactly, draw by draw. A draw is the same at each radius, only longer. */
#include <math.h>
#include <stdlib.h>

#include "probe/radius.h"
#include "probe/state.h"
#include "probe/tables.h"

enum { DRAW_KIND, DRAW_POINT, DRAW_NUMBER, DRAW_SIGMA, DRAW_LOSS, DRAW_TOP1, DRAW_COLUMNS };
enum {
    POINT_KIND,
    POINT_RADIUS,
    POINT_RELATIVE,
    POINT_SIGMA,
    POINT_LOSS,
    POINT_ERROR,
    POINT_TOP1,
    POINT_DRAWS,
    POINT_COLUMNS
};

static int64_t draws_of(const struct engine_probe_run *run, int kind)
{
    return kind == PERTURBED_ADVERSARIAL ? 1 : run->probe.draws;
}

static double radius_of(const struct engine_probe *probe, int64_t point)
{
    double share = probe->points > 1 ? (double)point / (double)(probe->points - 1) : 0;

    return probe->radius_min * pow(probe->radius_max / probe->radius_min, share);
}

static int64_t draw_number(const struct engine_probe_run *run, int kind, int64_t point,
                           int64_t draw)
{
    return (kind * run->probe.points + point) * run->probe.draws + draw;
}

static int measure_plain(struct engine_probe_run *run, int64_t draw, double radius,
                         struct probe_loss *out, struct err *err)
{
    struct perturbation by = {
        .kind = PERTURB_DIRECTION, .rho = radius, .direction = run->direction};
    struct probe_point point = {run->weights, run->states, &by};
    struct probe_drawing drawing = {(uint64_t)run->probe.seed, DRAW_PLAIN, (uint64_t)draw,
                                    DRAW_NORMAL, -1};
    float *direction = calloc(run->params->size, sizeof *direction);
    int rc;

    if (!direction)
        return err_no_memory(err);
    vectors_draw(run->params, &drawing, direction);
    rc = probe_write_f32(run, run->direction, direction, err);
    free(direction);
    return rc ? rc : probe_loss_at(run, &run->set, &point, out, err);
}

/* Noise is proportional to sigma: its length at 1 says which sigma gives the radius. */
static int measure_noise(struct engine_probe_run *run, bool adaptive, int64_t draw, double radius,
                         double *sigma, struct probe_loss *out, struct err *err)
{
    struct perturbation by = probe_noise_perturbation(run, adaptive, draw, 1);
    struct probe_point point = {run->weights, run->states, &by};
    double norm;
    int rc = probe_noise_norm(run, &by, &norm, err);

    if (rc)
        return rc;
    if (norm == 0) /* of weights that are no numbers it is none, and so are the losses */
        return err_set(err, ERR_INVALID, "all weights are 0: the filters' noise has no length");
    *sigma = by.sigma = radius / norm;
    return probe_loss_at(run, &run->set, &point, out, err);
}

static int measure_draw(struct engine_probe_run *run, int kind, int64_t point, int64_t draw,
                        struct err *err)
{
    double radius = radius_of(&run->probe, point);
    double row[DRAW_COLUMNS] = {kind, (double)point, (double)draw, NAN};
    struct probe_loss loss;
    int rc;

    if (rows_find(run->rows, RADIUS_DRAWS, draw_number(run, kind, point, draw)))
        return probe_progress(run, COST_FORWARD, err);
    if (kind == PERTURBED_PLAIN)
        rc = measure_plain(run, draw, radius, &loss, err);
    else if (kind == PERTURBED_ADVERSARIAL)
        rc = probe_ascent_loss(run, &run->set, radius, &loss, err);
    else
        rc = measure_noise(run, kind == PERTURBED_ADAPTIVE, draw, radius, &row[DRAW_SIGMA], &loss,
                           err);
    if (rc)
        return rc;
    row[DRAW_LOSS] = loss.loss;
    row[DRAW_TOP1] = loss.top1;
    return probe_tell(run, RADIUS_DRAWS, draw_number(run, kind, point, draw), row, err);
}

/* A point is made from its draws' rows. */
static int tell_point(struct engine_probe_run *run, int kind, int64_t point, struct err *err)
{
    int64_t n = draws_of(run, kind);
    double row[POINT_COLUMNS] = {kind, radius_of(&run->probe, point)};
    double *losses = probe_numbers(n), top1 = 0, sigma = 0;
    struct probe_mean mean;

    if (!losses)
        return err_no_memory(err);
    for (int64_t i = 0; i < n; i++) {
        const double *draw = rows_find(run->rows, RADIUS_DRAWS, draw_number(run, kind, point, i));

        losses[i] = draw[DRAW_LOSS];
        top1 += draw[DRAW_TOP1] / (double)n;
        sigma += draw[DRAW_SIGMA] / (double)n;
    }
    mean = probe_mean_of(losses, n);
    free(losses);
    row[POINT_RELATIVE] = row[POINT_RADIUS] / run->summary[RADIUS_WEIGHTS_NORM];
    row[POINT_SIGMA] = sigma;
    row[POINT_LOSS] = mean.mean;
    row[POINT_ERROR] = mean.standard_error;
    row[POINT_TOP1] = top1;
    row[POINT_DRAWS] = (double)n;
    return probe_tell(run, RADIUS_POINTS, kind * run->probe.points + point, row, err);
}

static int measure_series(struct engine_probe_run *run, int kind, struct err *err)
{
    int rc = 0;

    for (int64_t point = 0; point < run->probe.points && !rc; point++) {
        for (int64_t draw = 0; draw < draws_of(run, kind) && !rc; draw++)
            rc = measure_draw(run, kind, point, draw, err);
        if (!rc)
            rc = tell_point(run, kind, point, err);
    }
    return rc;
}

static int measure_here(struct engine_probe_run *run, struct err *err)
{
    struct probe_point here = {run->weights, run->states, NULL};
    struct probe_loss loss, ignored;
    double *summary = run->summary;
    int rc = probe_gradient(run, &run->set, run->gradient, &ignored, err);

    if (!rc)
        rc = probe_loss_at(run, &run->set, &here, &loss, err);
    if (rc)
        return rc;
    summary[RADIUS_LOSS] = loss.loss;
    summary[RADIUS_TOP1] = loss.top1;
    summary[RADIUS_GRADIENT_NORM] = vectors_norm(run->gradient, run->params->size);
    summary[RADIUS_WEIGHTS_NORM] = vectors_norm(run->w, run->params->size);
    summary[RADIUS_SAMPLES] = (double)run->set.n;
    summary[RADIUS_PARAMETERS] = (double)model_parameters(run->graph);
    summary[RADIUS_N_DRAWS] = (double)run->probe.draws;
    return probe_tell_summary(run, err);
}

int radius_measure(struct engine_probe_run *run, struct err *err)
{
    const struct engine_probe *probe = &run->probe;
    const bool wanted[] = {[PERTURBED_PLAIN] = probe->plain,
                           [PERTURBED_FILTERWISE] = probe->filterwise,
                           [PERTURBED_ADAPTIVE] = probe->adaptive,
                           [PERTURBED_ADVERSARIAL] = probe->adversarial};
    int kinds = (int)(sizeof wanted / sizeof *wanted), rc;

    run->total_cost = COST_GRADIENT + COST_FORWARD;
    for (int kind = 0; kind < kinds; kind++)
        if (wanted[kind])
            run->total_cost += (double)(probe->points * draws_of(run, kind)) * COST_FORWARD;
    if (probe->adversarial && probe->ascent == ASCENT_BATCH)
        run->total_cost += (double)probe->points * COST_GRADIENT;
    if (probe->suggest)
        run->total_cost += suggest_cost(run);
    rc = measure_here(run, err);
    if (!rc && probe->suggest)
        rc = suggest_measure(run, err);
    for (int kind = 0; kind < kinds && !rc; kind++)
        if (wanted[kind])
            rc = measure_series(run, kind, err);
    return rc ? rc : probe_tell_summary(run, err);
}
