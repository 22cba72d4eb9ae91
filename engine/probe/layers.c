/* The blocks of the Hessian that belong to one parameter: their traces, from the draws of the
 * whole trace, or their spectra, from Lanczos runs whose vectors are 0 everywhere else. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probe/spectrum.h"
#include "probe/tables.h"

enum {
    ROW_PARAMETER,
    ROW_SIZE,
    ROW_TRACE,
    ROW_TRACE_ERROR,
    ROW_LAMBDA_MAX,
    ROW_LAMBDA_MAX_RESIDUAL,
    ROW_LAMBDA_MIN,
    ROW_LAMBDA_MIN_RESIDUAL,
    ROW_COLUMNS
};

enum { DRAW_VALUE = 3 };

struct block {
    struct engine_probe_run *run;
    int param;
};

static int64_t steps_of(const struct engine_probe_run *run, int param)
{
    int64_t size = (int64_t)run->params->tensor[param].size;

    return run->probe.steps < size ? run->probe.steps : size;
}

int64_t layers_products(const struct engine_probe_run *run)
{
    int64_t products = 0;

    if (run->probe.layers != LAYERS_SPECTRUM)
        return 0;
    for (int p = 0; p < run->params->n; p++)
        products += run->probe.runs * steps_of(run, p);
    return products;
}

double layers_cost(const struct engine_probe_run *run)
{
    return (double)layers_products(run) * COST_PRODUCT;
}

static int block_product(void *context, const float *x, double *y, struct err *err)
{
    const struct block *block = context;
    const struct layout *layout = block->run->params;
    const struct layout_tensor *own = &layout->tensor[block->param];
    int rc = probe_product(block->run, x, y, err);

    memset(y, 0, own->offset * sizeof *y);
    memset(y + own->offset + own->size, 0, (layout->size - own->offset - own->size) * sizeof *y);
    return rc;
}

static int go_on(const void *context)
{
    const struct block *block = context;

    return probe_continue(block->run);
}

static struct nodes nodes_of(const struct engine_probe_run *run, int param, int64_t number)
{
    int64_t first = (param * run->probe.runs + number) * run->probe.steps;

    return nodes_find(run, SPECTRUM_LAYER_NODES, first, steps_of(run, param));
}

static int run_block(struct engine_probe_run *run, struct lanczos *lanczos, float *start, int param,
                     int64_t number, struct err *err)
{
    struct probe_drawing drawing = {
        (uint64_t)run->probe.seed, DRAW_START, (uint64_t)number,
        run->probe.start == START_NORMAL ? DRAW_NORMAL : DRAW_RADEMACHER, param};
    struct block block = {run, param};
    struct lanczos_callbacks callbacks = {
        .product = block_product, .go_on = go_on, .context = &block};
    struct nodes nodes = nodes_of(run, param, number);
    double before[] = {param, (double)number};
    int steps = (int)steps_of(run, param), rc;

    if (nodes.n > 0)
        return probe_progress(run, steps * COST_PRODUCT, err);
    vectors_draw(run->params, &drawing, start);
    rc = lanczos_run(lanczos, start, steps, &callbacks, err);
    return rc ? rc : nodes_tell(run, lanczos, &nodes, before, err);
}

/* From the rows of the last run, and for the trace of all. */
static int tell_spectrum(struct engine_probe_run *run, int param, struct err *err)
{
    int64_t runs = run->probe.runs;
    double size = (double)run->params->tensor[param].size;
    double *traces = probe_numbers(runs);
    struct probe_mean mean;
    struct nodes nodes;
    const double *low, *high;

    if (!traces)
        return err_no_memory(err);
    for (int64_t i = 0; i < runs; i++) {
        nodes = nodes_of(run, param, i);
        traces[i] = size * nodes_mean(run, &nodes);
    }
    mean = probe_mean_of(traces, runs);
    free(traces);
    low = node_at(run, &nodes, 0);
    high = node_at(run, &nodes, nodes.n - 1);

    double row[ROW_COLUMNS] = {
        [ROW_PARAMETER] = param,
        [ROW_SIZE] = size,
        [ROW_TRACE] = mean.mean,
        [ROW_TRACE_ERROR] = mean.standard_error,
        [ROW_LAMBDA_MAX] = high[NODE_VALUE],
        [ROW_LAMBDA_MAX_RESIDUAL] = high[NODE_RESIDUAL],
        [ROW_LAMBDA_MIN] = low[NODE_VALUE],
        [ROW_LAMBDA_MIN_RESIDUAL] = low[NODE_RESIDUAL],
    };
    return probe_tell(run, SPECTRUM_LAYERS, param, row, err);
}

static int tell_trace(struct engine_probe_run *run, int param, struct err *err)
{
    int64_t draws = run->probe.trace_draws;
    double *values = probe_numbers(draws);
    double row[ROW_COLUMNS] = {
        param, (double)run->params->tensor[param].size, NAN, NAN, NAN, NAN, NAN, NAN};
    struct probe_mean mean;

    if (!values)
        return err_no_memory(err);
    for (int64_t i = 0; i < draws; i++)
        values[i] = rows_find(run->rows, SPECTRUM_DRAWS, trace_row(run, i, param))[DRAW_VALUE];
    mean = probe_mean_of(values, draws);
    free(values);
    row[ROW_TRACE] = mean.mean;
    row[ROW_TRACE_ERROR] = mean.standard_error;
    return probe_tell(run, SPECTRUM_LAYERS, param, row, err);
}

static int measure_spectra(struct engine_probe_run *run, struct err *err)
{
    size_t size = run->params->size;
    float *start = calloc(size, sizeof *start);
    struct lanczos *lanczos = NULL;
    int rc = start ? lanczos_open(&lanczos, size, (int)run->probe.steps, err) : err_no_memory(err);

    for (int p = 0; p < run->params->n && !rc; p++) {
        for (int64_t i = 0; i < run->probe.runs && !rc; i++)
            rc = run_block(run, lanczos, start, p, i, err);
        if (!rc)
            rc = tell_spectrum(run, p, err);
    }
    lanczos_close(lanczos);
    free(start);
    return rc;
}

int layers_measure(struct engine_probe_run *run, struct err *err)
{
    int rc = 0;

    if (run->probe.layers == LAYERS_SPECTRUM)
        return measure_spectra(run, err);
    for (int p = 0; run->probe.layers == LAYERS_TRACE && p < run->params->n && !rc; p++)
        rc = tell_trace(run, p, err);
    return rc;
}
