/* The trace of the Hessian. Hutchinson: E zᵀHz over vectors of ±1. Hutch++ (Meyer, Musco, Musco
 * and Woodruff 2021): with Q an orthonormal basis of H·S, tr(H) = tr(QᵀHQ) + E zᵀ(1 − QQᵀ)H(1 −
 * QQᵀ)z, of which the first part is exact and takes what varies most. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probe/spectrum.h"
#include "probe/tables.h"

#define DEPENDENT 1e-6 /* a vector of which less is left is in the span of those before */

enum { ROW_DRAW, ROW_PART, ROW_PARAMETER, ROW_VALUE, ROW_COLUMNS };
enum { PART_SUBSPACE, PART_RANDOM };

/* Room for one product, and hutch++'s basis. */
struct trace {
    float *z;                 /* [size] */
    double *y;                /* [size] */
    int64_t subspace, random; /* draws of each part */
    float *basis;             /* [subspace,size]; NULL: not needed */
};

static int64_t subspace_of(const struct engine_probe *probe)
{
    return probe->trace == TRACE_HUTCHPP ? probe->trace_draws / 3 : 0;
}

int64_t trace_products(const struct engine_probe_run *run)
{
    return run->probe.trace_draws;
}

double trace_cost(const struct engine_probe_run *run)
{
    return (double)trace_products(run) * COST_PRODUCT;
}

int64_t trace_row(const struct engine_probe_run *run, int64_t draw, int param)
{
    return draw * (1 + run->params->n) + 1 + param;
}

static bool known(const struct engine_probe_run *run, int64_t draw)
{
    return rows_find(run->rows, SPECTRUM_DRAWS, trace_row(run, draw, -1)) != NULL;
}

static int tell(struct engine_probe_run *run, int64_t draw, int part, int param, double value,
                struct err *err)
{
    double row[ROW_COLUMNS] = {(double)draw, part, param, value};

    if (!isfinite(value))
        return err_set(err, ERR_DIVERGED, "draw %lld: a product of the Hessian is not finite",
                       (long long)draw);
    return probe_tell(run, SPECTRUM_DRAWS, trace_row(run, draw, param), row, err);
}

static void draw(const struct engine_probe_run *run, enum probe_draw what, int64_t number,
                 float *out)
{
    struct probe_drawing drawing = {(uint64_t)run->probe.seed, what, (uint64_t)number,
                                    DRAW_RADEMACHER, -1};

    vectors_draw(run->params, &drawing, out);
}

/* E z_p·(Hz)_p is the trace of parameter p's block, since what the others add is 0 on average. The
 * whole comes last: with it the draw is finished. */
static int tell_draw(struct engine_probe_run *run, const struct trace *trace, int64_t number,
                     struct err *err)
{
    const struct layout *layout = run->params;
    int rc = 0;

    for (int p = 0; run->probe.layers == LAYERS_TRACE && p < layout->n && !rc; p++) {
        size_t at = layout->tensor[p].offset;

        rc = tell(run, number, PART_RANDOM, p,
                  vectors_dot(trace->z + at, trace->y + at, layout->tensor[p].size), err);
    }
    return rc ? rc
              : tell(run, number, PART_RANDOM, -1, vectors_dot(trace->z, trace->y, layout->size),
                     err);
}

/* Takes what lies in the span of the first n vectors of the basis out of x. */
static int project(const struct engine_probe_run *run, const struct trace *trace, int64_t n,
                   double *x)
{
    size_t size = run->params->size;
    int rc = 0;

    for (int again = 0; again < 2; again++)
        for (int64_t i = 0; i < n && !(rc = probe_continue(run)); i++) {
            const float *q = trace->basis + (size_t)i * size;

            vectors_add(x, -vectors_dot(q, x, size), q, size);
        }
    return rc;
}

static int measure_random(struct engine_probe_run *run, struct trace *trace, int64_t number,
                          struct err *err)
{
    size_t size = run->params->size;
    int rc = 0;

    draw(run, DRAW_TRACE, number, trace->z);
    if (trace->basis) {
        for (size_t i = 0; i < size; i++)
            trace->y[i] = (double)trace->z[i];
        rc = project(run, trace, trace->subspace, trace->y);
        vectors_scale(trace->z, 1, trace->y, size);
    }
    if (!rc)
        rc = probe_product(run, trace->z, trace->y, err);
    return rc ? rc : tell_draw(run, trace, number, err);
}

/* Vector i of the basis: H·s, orthogonal to those before; zeros when nothing is left. */
static int extend_basis(struct engine_probe_run *run, struct trace *trace, int64_t i,
                        struct err *err)
{
    size_t size = run->params->size;
    float *q = trace->basis + (size_t)i * size;
    double before, left;
    int rc;

    draw(run, DRAW_SKETCH, i, trace->z);
    rc = probe_product(run, trace->z, trace->y, err);
    if (rc)
        return rc;
    before = vectors_norm(trace->y, size);
    rc = project(run, trace, i, trace->y);
    if (rc)
        return rc;
    left = vectors_norm(trace->y, size);
    vectors_scale(q, left > DEPENDENT * before ? 1 / left : 0, trace->y, size);
    return 0;
}

static int measure_subspace(struct engine_probe_run *run, struct trace *trace, int64_t i,
                            struct err *err)
{
    size_t size = run->params->size;
    const float *q = trace->basis + (size_t)i * size;
    int rc;

    if (known(run, i))
        return probe_progress(run, COST_PRODUCT, err);
    rc = probe_product(run, q, trace->y, err);
    return rc ? rc : tell(run, i, PART_SUBSPACE, -1, vectors_dot(q, trace->y, size), err);
}

static int measure_draws(struct engine_probe_run *run, struct trace *trace, struct err *err)
{
    int rc = 0;

    for (int64_t i = 0; i < trace->subspace && !rc; i++)
        rc = extend_basis(run, trace, i, err);
    for (int64_t i = 0; i < trace->subspace && !rc; i++)
        rc = measure_subspace(run, trace, i, err);
    for (int64_t i = 0; i < trace->random && !rc; i++)
        rc = known(run, trace->subspace + i) ? probe_progress(run, COST_PRODUCT, err)
                                             : measure_random(run, trace, trace->subspace + i, err);
    return rc;
}

/* From the rows alone. */
static int add_trace(struct engine_probe_run *run, const struct trace *trace, struct err *err)
{
    double *values = probe_numbers(trace->random), exact = 0;
    struct probe_mean mean;

    if (!values)
        return err_no_memory(err);
    for (int64_t i = 0; i < trace->subspace; i++)
        exact += rows_find(run->rows, SPECTRUM_DRAWS, trace_row(run, i, -1))[ROW_VALUE];
    for (int64_t i = 0; i < trace->random; i++)
        values[i] = rows_find(run->rows, SPECTRUM_DRAWS,
                              trace_row(run, trace->subspace + i, -1))[ROW_VALUE];
    mean = probe_mean_of(values, trace->random);
    free(values);
    run->summary[SPECTRUM_TRACE] = exact + mean.mean;
    run->summary[SPECTRUM_TRACE_STANDARD_ERROR] = mean.standard_error;
    return 0;
}

static bool all_known(const struct engine_probe_run *run, int64_t draws)
{
    for (int64_t i = 0; i < draws; i++)
        if (!known(run, i))
            return false;
    return true;
}

static int measure_missing(struct engine_probe_run *run, struct trace *trace, struct err *err)
{
    size_t size = run->params->size;

    if (all_known(run, trace->subspace + trace->random))
        return probe_progress(run, trace_cost(run), err);
    trace->z = calloc(size, sizeof *trace->z);
    trace->y = calloc(size, sizeof *trace->y);
    if (trace->subspace > 0) /* at least 2 */
        trace->basis = calloc((size_t)trace->subspace * size, sizeof *trace->basis);
    if (!trace->z || !trace->y || (trace->subspace > 0 && !trace->basis))
        return err_no_memory(err);
    return measure_draws(run, trace, err);
}

int trace_measure(struct engine_probe_run *run, struct err *err)
{
    struct trace trace = {.subspace = subspace_of(&run->probe)};
    int rc;

    trace.random = run->probe.trace_draws - 2 * trace.subspace;
    if (run->probe.trace_draws == 0)
        return 0;
    rc = measure_missing(run, &trace, err);
    free(trace.z);
    free(trace.y);
    free(trace.basis);
    return rc ? rc : add_trace(run, &trace, err);
}
