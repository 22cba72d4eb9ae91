/* The loss on a grid of weights: w + x·first + y·second, computed in double and rounded once, or
 * for a line (1 − x)·w + x·w′, so that both its ends are exact. The running statistics are the
 * checkpoint's; on a line they are mixed as the weights are, with variances below 0 (beyond its
 * ends) taken as 0. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probe/directions.h"
#include "probe/tables.h"

enum { POINT_X, POINT_Y, POINT_LOSS, POINT_TOP1, POINT_TOP5, POINT_COLUMNS };

static double place_of(const struct probe_axis *axis, int64_t point)
{
    if (axis->points < 2)
        return axis->from;
    return axis->from + (double)point * (axis->to - axis->from) / (double)(axis->points - 1);
}

static int64_t rows_of(const struct engine_probe *probe)
{
    return probe->y.direction == DIRECTION_NONE ? 1 : probe->y.points;
}

static int move_on_grid(struct engine_probe_run *run, float *const axis[2], double x, double y,
                        struct err *err)
{
    for (size_t i = 0; i < run->params->size; i++)
        run->sum[i] = run->w[i] + x * (double)axis[0][i];
    for (size_t i = 0; axis[1] && i < run->params->size; i++)
        run->sum[i] += y * (double)axis[1][i];
    return probe_write(run, run->moved, run->sum, run->params->size, err);
}

static bool is_variance(const struct graph_tensor *state)
{
    static const char suffix[] = "running_var";
    size_t length = strlen(state->name), tail = sizeof suffix - 1;

    return length >= tail && !strcmp(state->name + length - tail, suffix);
}

static int mix_states(struct engine_probe_run *run, double x, struct err *err)
{
    const struct layout *layout = run->states_layout;
    double *mixed = calloc(layout->size + 1, sizeof *mixed);
    int rc;

    if (!mixed)
        return err_no_memory(err);
    for (int t = 0; t < layout->n; t++)
        for (size_t i = layout->tensor[t].offset;
             i < layout->tensor[t].offset + layout->tensor[t].size; i++) {
            mixed[i] = (1 - x) * run->s[i] + x * run->other_s[i];
            if (is_variance(&run->graph->states[t]))
                mixed[i] = fmax(mixed[i], 0);
        }
    rc = probe_write(run, run->moved_states, mixed, layout->size, err);
    free(mixed);
    return rc;
}

static int move_on_line(struct engine_probe_run *run, double x, struct err *err)
{
    int rc;

    for (size_t i = 0; i < run->params->size; i++)
        run->sum[i] = (1 - x) * run->w[i] + x * run->other_w[i];
    rc = probe_write(run, run->moved, run->sum, run->params->size, err);
    return rc ? rc : mix_states(run, x, err);
}

static int measure_point(struct engine_probe_run *run, float *const axis[2], int64_t number,
                         struct err *err)
{
    const struct engine_probe *probe = &run->probe;
    bool line = probe->x.direction == DIRECTION_LINE;
    double row[POINT_COLUMNS] = {place_of(&probe->x, number % probe->x.points),
                                 axis[1] ? place_of(&probe->y, number / probe->x.points) : 0};
    struct probe_point point = {run->moved, line ? run->moved_states : run->states, NULL};
    struct probe_loss loss;
    int rc;

    if (rows_find(run->rows, LANDSCAPE_POINTS, number))
        return probe_progress(run, COST_FORWARD, err);
    rc = line ? move_on_line(run, row[POINT_X], err)
              : move_on_grid(run, axis, row[POINT_X], row[POINT_Y], err);
    if (!rc)
        rc = probe_loss_at(run, &run->set, &point, &loss, err);
    if (rc)
        return rc;
    row[POINT_LOSS] = loss.loss;
    row[POINT_TOP1] = loss.top1;
    row[POINT_TOP5] = loss.top5;
    return probe_tell(run, LANDSCAPE_POINTS, number, row, err);
}

/* From all rows. Points whose loss is no number are none of the lowest or highest. */
static void add_extremes(struct engine_probe_run *run, int64_t points)
{
    double *summary = run->summary;

    for (int64_t i = 0; i < points; i++) {
        const double *row = rows_find(run->rows, LANDSCAPE_POINTS, i);

        if (isnan(row[POINT_LOSS]))
            continue;
        if (!(summary[LANDSCAPE_LOSS_MIN] <= row[POINT_LOSS])) {
            summary[LANDSCAPE_LOSS_MIN] = row[POINT_LOSS];
            summary[LANDSCAPE_X_MIN] = row[POINT_X];
            summary[LANDSCAPE_Y_MIN] = row[POINT_Y];
        }
        if (!(summary[LANDSCAPE_LOSS_MAX] >= row[POINT_LOSS]))
            summary[LANDSCAPE_LOSS_MAX] = row[POINT_LOSS];
    }
}

static bool needs_gradient(const struct engine_probe *probe)
{
    return probe->x.direction == DIRECTION_GRADIENT || probe->y.direction == DIRECTION_GRADIENT;
}

static int measure_here(struct engine_probe_run *run, struct err *err)
{
    const struct engine_probe *probe = &run->probe;
    struct probe_point here = {run->weights, run->states, NULL};
    struct probe_loss loss, ignored;
    int rc = probe_loss_at(run, &run->set, &here, &loss, err);

    if (!rc && needs_gradient(probe))
        rc = probe_gradient(run, &run->set, run->gradient, &ignored, err);
    if (rc)
        return rc;
    run->summary[LANDSCAPE_LOSS] = loss.loss;
    run->summary[LANDSCAPE_TOP1] = loss.top1;
    run->summary[LANDSCAPE_N_POINTS] = (double)(probe->x.points * rows_of(probe));
    run->summary[LANDSCAPE_SAMPLES] = (double)run->set.n;
    run->summary[LANDSCAPE_PARAMETERS] = (double)model_parameters(run->graph);
    return probe_tell_summary(run, err);
}

static int find_axes(struct engine_probe_run *run, float *axis[2], struct err *err)
{
    size_t n = run->params->size;
    double *summary = run->summary;
    int rc = directions_find(run, axis, err);

    if (rc)
        return rc;
    summary[LANDSCAPE_X_NORM] = vectors_norm_f32(axis[0], n);
    if (axis[1]) {
        summary[LANDSCAPE_Y_NORM] = vectors_norm_f32(axis[1], n);
        summary[LANDSCAPE_COSINE] = vectors_dot_f32(axis[0], axis[1], n) /
                                    (summary[LANDSCAPE_X_NORM] * summary[LANDSCAPE_Y_NORM]);
    }
    return probe_tell_summary(run, err);
}

static int measure_grid(struct engine_probe_run *run, float *axis[2], struct err *err)
{
    int64_t points = run->probe.x.points * rows_of(&run->probe);
    struct probe_vector vectors[] = {{"x", axis[0]}, {"y", axis[1]}};
    int rc = find_axes(run, axis, err);

    if (!rc && run->probe.x.direction == DIRECTION_LINE)
        probe_message(run, "on the line the running statistics of batch norm are mixed as the "
                           "weights are: (1 − x) of the checkpoint's and x of the other's");
    for (int64_t i = 0; i < points && !rc; i++)
        rc = measure_point(run, axis, i, err);
    if (rc)
        return rc;
    add_extremes(run, points);
    rc = probe_tell_summary(run, err);
    if (!rc && run->probe.save_vectors)
        rc = probe_give(run, vectors, axis[1] ? 2 : 1, err);
    return rc;
}

int landscape_measure(struct engine_probe_run *run, struct err *err)
{
    const struct engine_probe *probe = &run->probe;
    float *axis[2] = {calloc(run->params->size, sizeof *axis[0]), NULL};
    int rc = 0;

    if (probe->y.direction != DIRECTION_NONE)
        axis[1] = calloc(run->params->size, sizeof *axis[1]);
    if (!axis[0] || (probe->y.direction != DIRECTION_NONE && !axis[1]))
        rc = err_no_memory(err);
    run->total_cost = (needs_gradient(probe) ? COST_GRADIENT : 0) + COST_FORWARD +
                      directions_cost(run) +
                      (double)(probe->x.points * rows_of(probe)) * COST_FORWARD;
    if (!rc)
        rc = measure_here(run, err);
    if (!rc)
        rc = measure_grid(run, axis, err);
    free(axis[0]);
    free(axis[1]);
    return rc;
}
