/* Measures the perturbation of the update under way. Vectors are read in pieces, on this thread and
 * in one order, so that the same run measures the same bits. */
#include <math.h>
#include <stdlib.h>

#include "run/state.h"

#define PIECE 8192 /* elements; each is a trip to the device */

/* Sums over all parameters. */
struct products {
    double clean, perturbed, both; /* ‖c‖², ‖p‖², c·p */
};

bool telemetry_due(const struct engine_run *run)
{
    int64_t every = run->job.telemetry.every_updates;

    return every > 0 && (run->update + 1) % (uint64_t)every == 0;
}

int telemetry_open(struct engine_run *run, struct err *err)
{
    if (run->job.telemetry.every_updates == 0)
        return 0;
    run->fisher_scales = calloc(2 * run->params->fisher_size + 1, sizeof *run->fisher_scales);
    if (!run->fisher_scales)
        return err_no_memory(err);
    if (run->recipe.perturbed_term < 0)
        return 0;
    return run->class->vector_open(run->backend, run->params->size, &run->perturbed, err);
}

void telemetry_close(struct engine_run *run)
{
    if (run->perturbed)
        run->class->vector_close(run->perturbed);
    free(run->fisher_scales);
}

/* Elements as doubles, whatever the backend's type. `raw` has room for n doubles. */
static int read_reals(const struct engine_run *run, const struct vector *vector, size_t offset,
                      size_t n, void *raw, double *out, struct err *err)
{
    int rc = run->class->vector_read(vector, offset, n, raw, err);

    for (size_t i = 0; i < n && !rc; i++)
        out[i] = run->class->real == REAL_F32 ? (double)((const float *)raw)[i]
                                              : ((const double *)raw)[i];
    return rc;
}

/* Adds the terms' gradients of one kind, weighed by their shares, to `sum`. */
static int add_gradients(const struct engine_run *run, bool perturbed, size_t offset, size_t n,
                         double *sum, struct err *err)
{
    double raw[PIECE], own[PIECE];
    int rc = 0;

    for (int t = 0; t < run->recipe.n_terms && !rc; t++) {
        bool noisy = run->recipe.term[t].perturbation != PERTURB_NONE;
        double share = run_share(run, t);

        if (noisy != perturbed || !run->gradient[t])
            continue;
        rc = read_reals(run, run->gradient[t], offset, n, raw, own, err);
        for (size_t i = 0; i < n && !rc; i++)
            sum[i] += share * own[i];
    }
    return rc;
}

static int multiply_gradients(const struct engine_run *run, struct products *out, struct err *err)
{
    size_t size = run->params->size;
    int rc = 0;

    for (size_t offset = 0; offset < size && !rc; offset += PIECE) {
        double clean[PIECE] = {0}, perturbed[PIECE] = {0};
        size_t n = size - offset < PIECE ? size - offset : PIECE;

        rc = add_gradients(run, false, offset, n, clean, err);
        if (!rc)
            rc = add_gradients(run, true, offset, n, perturbed, err);
        for (size_t i = 0; i < n; i++) {
            out->clean += clean[i] * clean[i];
            out->perturbed += perturbed[i] * perturbed[i];
            out->both += clean[i] * perturbed[i];
        }
    }
    return rc;
}

/* Adds ‖w̃ − w‖² of a term's pass. */
static int add_distance(struct engine_run *run, int term, double sigma, double *sum,
                        struct err *err)
{
    struct perturbation perturbation = run_perturbation(run, term, sigma);
    size_t size = run->params->size;
    int rc = run->class->materialise(run->backend, run->params, run->weights, &perturbation,
                                     run->perturbed, err);

    for (size_t offset = 0; offset < size && !rc; offset += PIECE) {
        double raw[PIECE], from[PIECE], to[PIECE];
        size_t n = size - offset < PIECE ? size - offset : PIECE;

        rc = read_reals(run, run->weights, offset, n, raw, from, err);
        if (!rc)
            rc = read_reals(run, run->perturbed, offset, n, raw, to, err);
        for (size_t i = 0; i < n && !rc; i++)
            *sum += (to[i] - from[i]) * (to[i] - from[i]);
    }
    return rc;
}

static void set(struct engine_run *run, enum telemetry_value which, double value)
{
    run->telemetry.known[which] = true;
    run->telemetry.value[which] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Over the filters of all tensors that have filters. */
static int measure_fisher(struct engine_run *run, struct err *err)
{
    size_t size = run->params->fisher_size, n = 0;
    double *scales = run->fisher_scales, *raw = scales + size;
    int rc = read_reals(run, run->fisher, 0, size, raw, scales, err);

    if (rc)
        return rc;
    for (int t = 0; t < run->params->n; t++) {
        const struct layout_tensor *tensor = &run->params->tensor[t];

        for (size_t i = 0; i < tensor->fisher_size && !tensor->elementwise; i++)
            scales[n++] = 1 / sqrt(1 + run->job.method.eta * scales[tensor->fisher_offset + i]);
    }
    qsort(scales, n, sizeof *scales, compare);
    if (n == 0)
        return 0;
    set(run, TELEMETRY_FISHER_SCALE_MIN, scales[0]);
    set(run, TELEMETRY_FISHER_SCALE_MEDIAN, (scales[(n - 1) / 2] + scales[n / 2]) / 2);
    set(run, TELEMETRY_FISHER_SCALE_MAX, scales[n - 1]);
    return 0;
}

static int measure_gradients(struct engine_run *run, struct err *err)
{
    const struct recipe *recipe = &run->recipe;
    struct products products = {0};
    bool clean = false;
    int rc = multiply_gradients(run, &products, err);

    for (int t = 0; t < recipe->n_terms; t++)
        clean = clean || (recipe->term[t].perturbation == PERTURB_NONE && run->gradient[t]);
    if (clean)
        set(run, TELEMETRY_GRADIENT_NORM, sqrt(products.clean));
    if (recipe->perturbed_term >= 0)
        set(run, TELEMETRY_PERTURBED_GRADIENT_NORM, sqrt(products.perturbed));
    if (clean && recipe->perturbed_term >= 0)
        set(run, TELEMETRY_COSINE,
            products.both / (sqrt(products.clean) * sqrt(products.perturbed)));
    return rc;
}

int telemetry_measure(struct engine_run *run, double sigma, struct err *err)
{
    const struct recipe *recipe = &run->recipe;
    int first = recipe->perturbed_term, parts = first < 0 ? 0 : recipe->term[first].parts;
    double sum = 0;
    int rc;

    run->telemetry = (struct telemetry){0};
    rc = measure_gradients(run, err);
    for (int part = 0; part < parts && !rc; part++)
        rc = add_distance(run, first + part, sigma, &sum, err);
    if (!rc && parts > 0)
        set(run, TELEMETRY_PERTURBATION_NORM, sqrt(sum / parts));
    if (!rc && recipe->has_fisher)
        rc = measure_fisher(run, err);
    return rc;
}
