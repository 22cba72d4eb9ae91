/* The directions of a landscape's axes: found, shaped, normalised. */
#include <stdlib.h>
#include <string.h>

#include "probe/directions.h"

/* So that a filter of zeros divides nothing by 0 (Li et al. 2018). */
#define TINY 1e-10

static void draw(const struct engine_probe_run *run, int number, float *out)
{
    struct probe_drawing drawing = {(uint64_t)run->probe.seed, DRAW_DIRECTION, (uint64_t)number,
                                    DRAW_NORMAL, -1};

    vectors_draw(run->params, &drawing, out);
}

static void take_gradient(const struct engine_probe_run *run, float *out)
{
    vectors_scale(out, 1, run->gradient, run->params->size);
}

/* The difference; where the points lie, landscape.c says without it. */
static void take_line(const struct engine_probe_run *run, float *out)
{
    for (size_t i = 0; i < run->params->size; i++)
        out[i] = (float)(run->other_w[i] - run->w[i]);
}

double directions_cost(const struct engine_probe_run *run)
{
    const struct engine_probe *probe = &run->probe;
    bool eigen =
        probe->x.direction == DIRECTION_EIGENVECTOR || probe->y.direction == DIRECTION_EIGENVECTOR;

    return eigen ? (double)probe->steps * COST_PRODUCT : 0;
}

/* The k eigenvectors of the largest eigenvalues: by one Lanczos run. */
static int find_eigenvectors(struct engine_probe_run *run, int k, float *const *out,
                             struct err *err)
{
    struct lanczos_callbacks callbacks = {
        .product = probe_product, .go_on = probe_go_on, .context = run};
    struct probe_drawing drawing = {(uint64_t)run->probe.seed, DRAW_START, 0, DRAW_RADEMACHER, -1};
    struct lanczos *lanczos = NULL;
    int rc = lanczos_open(&lanczos, run->params->size, (int)run->probe.steps, err);

    if (!rc) {
        vectors_draw(run->params, &drawing, out[0]);
        rc = lanczos_run(lanczos, out[0], (int)run->probe.steps, &callbacks, err);
    }
    if (!rc && lanczos_steps(lanczos) < k)
        rc = err_set(err, ERR_INVALID, "/y/direction: the Hessian has no second eigenvector here");
    if (!rc)
        rc = lanczos_vectors(lanczos, k, out, err);
    lanczos_close(lanczos);
    return rc;
}

static int find_all_eigenvectors(struct engine_probe_run *run, float *axis[2], struct err *err)
{
    bool x = run->probe.x.direction == DIRECTION_EIGENVECTOR;
    bool y = axis[1] && run->probe.y.direction == DIRECTION_EIGENVECTOR;

    if (x)
        return find_eigenvectors(run, y ? 2 : 1, axis, err);
    return y ? find_eigenvectors(run, 1, &axis[1], err) : 0;
}

static void scale_to(float *part, size_t n, double length)
{
    double factor = length / (vectors_norm_f32(part, n) + TINY);

    for (size_t i = 0; i < n; i++)
        part[i] = (float)(factor * (double)part[i]);
}

void directions_filter_normalise(const struct layout *layout, const double *w, float *direction)
{
    for (int t = 0; t < layout->n; t++) {
        const struct layout_tensor *tensor = &layout->tensor[t];

        for (size_t f = 0; f < tensor->filters; f++) {
            size_t at = tensor->offset + f * tensor->filter_size;

            scale_to(direction + at, tensor->filter_size,
                     vectors_norm(w + at, tensor->filter_size));
        }
    }
}

void directions_zero_1d(const struct layout *layout, float *direction)
{
    for (int t = 0; t < layout->n; t++)
        if (layout->tensor[t].elementwise)
            memset(direction + layout->tensor[t].offset, 0,
                   layout->tensor[t].size * sizeof *direction);
}

static int normalisation_of(const struct probe_axis *axis)
{
    if (axis->normalise != NORMALISE_AUTO)
        return axis->normalise;
    switch (axis->direction) {
    case DIRECTION_RANDOM:
        return NORMALISE_FILTER;
    case DIRECTION_GRADIENT:
    case DIRECTION_EIGENVECTOR:
        return NORMALISE_UNIT;
    default:
        return NORMALISE_NONE;
    }
}

static void shape(const struct engine_probe_run *run, const struct probe_axis *axis,
                  float *direction)
{
    int how = normalisation_of(axis);

    if (run->probe.vectors_1d == VECTORS_1D_ZERO && axis->direction != DIRECTION_LINE)
        directions_zero_1d(run->params, direction);
    if (how == NORMALISE_FILTER)
        directions_filter_normalise(run->params, run->w, direction);
    if (how == NORMALISE_UNIT)
        scale_to(direction, run->params->size, 1);
}

static void make(const struct engine_probe_run *run, const struct probe_axis *axis, int number,
                 float *out)
{
    switch (axis->direction) {
    case DIRECTION_RANDOM:
        draw(run, number, out);
        break;
    case DIRECTION_GRADIENT:
        take_gradient(run, out);
        break;
    case DIRECTION_GIVEN:
        memcpy(out, run->given[number], run->params->size * sizeof *out);
        break;
    case DIRECTION_LINE:
        take_line(run, out);
        break;
    default: /* eigenvectors are there already */
        break;
    }
    shape(run, axis, out);
}

int directions_find(struct engine_probe_run *run, float *axis[2], struct err *err)
{
    int rc = find_all_eigenvectors(run, axis, err);

    if (rc)
        return rc;
    make(run, &run->probe.x, 0, axis[0]);
    if (axis[1])
        make(run, &run->probe.y, 1, axis[1]);
    return 0;
}
