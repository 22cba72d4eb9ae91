/* The spectrum of the Hessian of the mean loss: stochastic Lanczos quadrature, and what follows
 * from its nodes. */
#include "probe/spectrum.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "probe/density.h"
#include "probe/tables.h"

#define VECTORS_MAX                                                                                \
    103 /* gradient, start and product, and as many eigenvectors as top_k may be                   \
         */

/* What the last run leaves behind for those who want vectors. */
struct kept {
    float *start, *gradient, *product; /* [size] each */
    int n;
    float *vector[VECTORS_MAX]; /* eigenvectors */
};

static int64_t steps_of(const struct engine_probe_run *run)
{
    int64_t parameters = model_parameters(run->graph);

    return run->probe.steps < parameters ? run->probe.steps : parameters;
}

static struct nodes nodes_of(const struct engine_probe_run *run, int64_t number)
{
    return nodes_find(run, SPECTRUM_NODES, number * run->probe.steps, run->probe.steps);
}

/* ---- The runs ---- */

struct run_under_way {
    struct engine_probe_run *run;
    int64_t number;
};

static int tell_step(void *context, int step, double alpha, double beta, struct err *err)
{
    const struct run_under_way *under_way = context;
    double row[] = {(double)under_way->number, step, alpha, beta};

    return probe_tell(under_way->run, SPECTRUM_STEPS,
                      under_way->number * under_way->run->probe.steps + step - 1, row, err);
}

static int multiply(void *context, const float *x, double *y, struct err *err)
{
    const struct run_under_way *under_way = context;

    return probe_product(under_way->run, x, y, err);
}

static int go_on(const void *context)
{
    const struct run_under_way *under_way = context;

    return probe_continue(under_way->run);
}

static void make_start(const struct engine_probe_run *run, int64_t number, float *out)
{
    struct probe_drawing drawing = {
        (uint64_t)run->probe.seed, DRAW_START, (uint64_t)number,
        run->probe.start == START_NORMAL ? DRAW_NORMAL : DRAW_RADEMACHER, -1};

    if (run->probe.start != START_GIVEN) {
        vectors_draw(run->params, &drawing, out);
        return;
    }
    for (size_t i = 0; i < run->params->size; i++)
        out[i] = run->given[0][i];
}

static int keep_vectors(struct engine_probe_run *run, const struct lanczos *lanczos,
                        struct kept *kept, struct err *err)
{
    int found = lanczos_steps(lanczos);

    kept->n = run->probe.top_k < found ? (int)run->probe.top_k : found;
    for (int i = 0; i < kept->n; i++) {
        kept->vector[i] = malloc(run->params->size * sizeof *kept->vector[i]);
        if (!kept->vector[i])
            return err_no_memory(err);
    }
    return lanczos_vectors(lanczos, kept->n, kept->vector, err);
}

static int do_run(struct engine_probe_run *run, struct lanczos *lanczos, int64_t number,
                  struct kept *kept, struct err *err)
{
    struct run_under_way under_way = {run, number};
    struct lanczos_callbacks callbacks = {multiply, tell_step, go_on, &under_way};
    struct nodes nodes = nodes_of(run, number);
    bool wanted = run->probe.save_vectors && number == run->probe.runs - 1;
    double before[] = {(double)number};
    int rc;

    if (nodes.n > 0 && !wanted)
        return probe_progress(run, (double)steps_of(run) * COST_PRODUCT, err);
    make_start(run, number, kept->start);
    rc = lanczos_run(lanczos, kept->start, (int)steps_of(run), &callbacks, err);
    if (!rc)
        rc = nodes_tell(run, lanczos, &nodes, before, err);
    return rc || !wanted ? rc : keep_vectors(run, lanczos, kept, err);
}

static int do_runs(struct engine_probe_run *run, struct kept *kept, struct err *err)
{
    struct lanczos *lanczos = NULL;
    int rc = lanczos_open(&lanczos, run->params->size, (int)steps_of(run), err);

    for (int64_t i = 0; i < run->probe.runs && !rc; i++)
        rc = do_run(run, lanczos, i, kept, err);
    lanczos_close(lanczos);
    return rc;
}

/* ---- What follows from the nodes ---- */

static int tell_eigenvalues(struct engine_probe_run *run, struct err *err)
{
    struct nodes nodes = nodes_of(run, run->probe.runs - 1);
    const double *low = node_at(run, &nodes, 0), *high = node_at(run, &nodes, nodes.n - 1);
    int rc = 0;

    run->summary[SPECTRUM_LAMBDA_MAX] = high[NODE_VALUE];
    run->summary[SPECTRUM_LAMBDA_MAX_RESIDUAL] = high[NODE_RESIDUAL];
    run->summary[SPECTRUM_LAMBDA_MIN] = low[NODE_VALUE];
    run->summary[SPECTRUM_LAMBDA_MIN_RESIDUAL] = low[NODE_RESIDUAL];
    for (int i = 0; i < run->probe.top_k && i < nodes.n && !rc; i++) {
        const double *node = node_at(run, &nodes, nodes.n - 1 - i);
        double row[] = {i + 1, node[NODE_VALUE], node[NODE_RESIDUAL]};

        rc = probe_tell(run, SPECTRUM_EIGENVALUES, i, row, err);
    }
    return rc;
}

static int tell_bins(struct engine_probe_run *run, const double *value, const double *density,
                     struct err *err)
{
    int rc = 0;

    for (int64_t b = 0; b < run->probe.bins && !rc; b++) {
        double row[] = {value[b], density[b]};

        rc = probe_tell(run, SPECTRUM_DENSITY, b, row, err);
    }
    return rc;
}

static int gather(const struct engine_probe_run *run, struct density_node *all)
{
    int n = 0;

    for (int64_t r = 0; r < run->probe.runs; r++) {
        struct nodes nodes = nodes_of(run, r);

        for (int i = 0; i < nodes.n; i++) {
            const double *node = node_at(run, &nodes, i);

            all[n++] = (struct density_node){(int)r, node[NODE_VALUE], node[NODE_WEIGHT]};
        }
    }
    return n;
}

static int tell_density(struct engine_probe_run *run, struct err *err)
{
    const struct engine_probe *probe = &run->probe;
    struct density_options options = {.runs = (int)probe->runs,
                                      .bins = (int)probe->bins,
                                      .variance = probe->variance,
                                      .pyhessian = probe->preset == PRESET_NAMED,
                                      .go_on = probe_go_on,
                                      .context = run};
    struct density_node *all = calloc((size_t)(probe->runs * probe->steps), sizeof *all);
    double *value = calloc(2 * (size_t)probe->bins, sizeof *value);
    int rc = all && value ? 0 : err_no_memory(err);

    if (!rc)
        rc = density_make(all, gather(run, all), &options, value, value + probe->bins);
    if (!rc)
        rc = tell_bins(run, value, value + probe->bins, err);
    free(all);
    free(value);
    return rc;
}

/* ---- The whole ---- */

static int measure_here(struct engine_probe_run *run, struct err *err)
{
    struct probe_loss loss;
    int rc = probe_gradient(run, &run->set, run->gradient, &loss, err);

    if (rc)
        return rc;
    run->summary[SPECTRUM_LOSS] = loss.loss;
    run->summary[SPECTRUM_TOP1] = loss.top1;
    run->summary[SPECTRUM_GRADIENT_NORM] = vectors_norm(run->gradient, run->params->size);
    run->summary[SPECTRUM_SAMPLES] = (double)run->set.n;
    run->summary[SPECTRUM_PARAMETERS] = (double)model_parameters(run->graph);
    run->summary[SPECTRUM_PRODUCTS] =
        (double)(run->probe.runs * steps_of(run) + trace_products(run) + layers_products(run));
    return probe_tell_summary(run, err);
}

static int give(struct engine_probe_run *run, struct kept *kept, struct err *err)
{
    struct probe_vector vectors[VECTORS_MAX] = {
        {"gradient", kept->gradient}, {"start", kept->start}, {"product", kept->product}};
    char names[VECTORS_MAX][24];
    int rc;

    make_start(run, run->probe.runs - 1, kept->start);
    rc = probe_product(run, kept->start, run->gradient, err);
    if (rc)
        return rc;
    vectors_scale(kept->product, 1, run->gradient, run->params->size);
    for (int i = 0; i < kept->n; i++) {
        snprintf(names[i], sizeof names[i], "eigenvector%d", i + 1);
        vectors[3 + i] = (struct probe_vector){names[i], kept->vector[i]};
    }
    return probe_give(run, vectors, 3 + kept->n, err);
}

static int measure_all(struct engine_probe_run *run, struct kept *kept, struct err *err)
{
    int rc = measure_here(run, err);

    if (rc)
        return rc;
    vectors_scale(kept->gradient, 1, run->gradient, run->params->size);
    rc = do_runs(run, kept, err);
    if (!rc)
        rc = tell_eigenvalues(run, err);
    if (!rc)
        rc = tell_density(run, err);
    if (!rc)
        rc = probe_tell_summary(run, err);
    if (!rc)
        rc = trace_measure(run, err);
    if (!rc)
        rc = probe_tell_summary(run, err);
    if (!rc)
        rc = layers_measure(run, err);
    return rc || !run->probe.save_vectors ? rc : give(run, kept, err);
}

int spectrum_measure(struct engine_probe_run *run, struct err *err)
{
    size_t size = run->params->size;
    struct kept kept = {.start = calloc(size, sizeof *kept.start),
                        .gradient = calloc(size, sizeof *kept.gradient),
                        .product = calloc(size, sizeof *kept.product)};
    int rc = kept.start && kept.gradient && kept.product ? 0 : err_no_memory(err);

    run->total_cost = COST_GRADIENT + (double)(run->probe.runs * steps_of(run)) * COST_PRODUCT +
                      trace_cost(run) + layers_cost(run) +
                      (run->probe.save_vectors ? COST_PRODUCT : 0);
    if (!rc)
        rc = measure_all(run, &kept, err);
    free(kept.start);
    free(kept.gradient);
    free(kept.product);
    for (int i = 0; i < kept.n; i++)
        free(kept.vector[i]);
    return rc;
}
