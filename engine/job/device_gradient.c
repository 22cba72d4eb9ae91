/* Weights, images and labels are made up by one rule from their places, so that each run of the
 * test is the same. A wrong kernel or algorithm makes errors as large as the numbers themselves;
 * what rounding makes, also where it turns a ReLU over, stays well below the limits. */
#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "job/device_test.h"
#include "model/model.h"

enum { SAMPLES = 4, CHANNELS = 3, SIDE = 8, CLASSES = 10 };

static const struct job_model models[] = {
    {.kind = MODEL_RESNET, .width = 8, .blocks = {.n = 2, .item = {1, 1}}},
    {.kind = MODEL_VIT, .width = 16, .depth = 1, .patch = 4, .heads = 2, .mlp = 32},
};

static const struct {
    enum compute compute;
    const char *name;
    double limit; /* of ‖g − reference‖/‖reference‖ */
} computes[] = {
    {COMPUTE_F32, "fp32", 0.03}, {COMPUTE_TF32, "tf32", 0.1}, {COMPUTE_BF16, "bf16", 0.4}};

struct trial {
    struct graph *graph;
    struct layout *params, *states;
    double *weights, *reference, *gradient;
    double images[SAMPLES * CHANNELS * SIDE * SIDE];
    int32_t labels[SAMPLES];
};

/* From −1 to 1. */
static double number(size_t place)
{
    return (double)((uint32_t)place * UINT32_C(2654435761) >> 8) * 0x1p-23 - 1;
}

static void make_up(struct trial *trial)
{
    for (int i = 0; i < trial->params->n; i++) {
        const struct layout_tensor *t = &trial->params->tensor[i];
        double bound = t->elementwise ? 0.1 : 1.5 / sqrt((double)t->filter_size);

        for (size_t e = t->offset; e < t->offset + t->size; e++)
            trial->weights[e] = bound * number(e) + (t->elementwise && t->weight ? 1 : 0);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(trial->images); i++)
        trial->images[i] = number(i + 7);
    for (int i = 0; i < SAMPLES; i++)
        trial->labels[i] = i * 3 % CLASSES;
}

static int open_trial(struct trial *trial, const struct job_model *model, struct err *err)
{
    const struct model_input input = {SAMPLES, CHANNELS, SIDE, SIDE, CLASSES, 0};
    int rc = model_graph(&trial->graph, model, &input, true, err);

    if (!rc)
        rc = layout_open(&trial->params, trial->graph->params, trial->graph->n_params, err);
    if (!rc)
        rc = layout_open(&trial->states, trial->graph->states, trial->graph->n_states, err);
    if (rc)
        return rc;
    trial->weights = calloc(trial->params->size, sizeof *trial->weights);
    trial->reference = calloc(trial->params->size, sizeof *trial->reference);
    trial->gradient = calloc(trial->params->size, sizeof *trial->gradient);
    if (!trial->weights || !trial->reference || !trial->gradient)
        return err_no_memory(err);
    make_up(trial);
    return 0;
}

static void close_trial(struct trial *trial)
{
    graph_free(trial->graph);
    layout_close(trial->params);
    layout_close(trial->states);
    free(trial->weights);
    free(trial->reference);
    free(trial->gradient);
}

/* ---- One pass ---- */

struct place {
    const struct backend_class *class;
    struct backend *backend;
    struct program *program;
    struct vector *weights, *states, *gradient;
    void *room; /* of the backend's real type, for the most that goes over */
    void *images;
};

static void narrow(const struct place *place, void *to, const double *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (place->class->real == REAL_F32)
            ((float *)to)[i] = (float)from[i];
        else
            ((double *)to)[i] = from[i];
}

static int open_place(struct place *place, const struct backend_options *options,
                      const struct trial *trial, struct err *err)
{
    const struct program_options plain = {.side_by_side = 1};
    const struct backend_class *class = place->class;
    size_t n = trial->params->size;
    int rc;

    place->room = calloc(n, sizeof(double));
    place->images = calloc(1, sizeof trial->images);
    if (!place->room || !place->images)
        return err_no_memory(err);
    rc = class->open(&place->backend, options, err);
    if (!rc)
        rc = class->vector_open(place->backend, n, &place->weights, err);
    if (!rc)
        rc = class->vector_open(place->backend, n, &place->gradient, err);
    if (!rc)
        rc = class->vector_open(place->backend, trial->states->size, &place->states, err);
    narrow(place, place->room, trial->weights, n);
    if (!rc)
        rc = class->vector_write(place->weights, 0, n, place->room, err);
    return rc ? rc
              : class->program_open(place->backend, trial->graph, trial->params, trial->states,
                                    &plain, &place->program, err);
}

static void close_place(struct place *place)
{
    struct vector *all[] = {place->weights, place->gradient, place->states};

    if (place->program)
        place->class->program_close(place->program);
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
        if (all[i])
            place->class->vector_close(all[i]);
    if (place->backend)
        place->class->close(place->backend);
    free(place->room);
    free(place->images);
}

static int run_pass(struct place *place, const struct trial *trial, double *gradient,
                    struct err *err)
{
    const void *inputs[MODEL_INPUTS] = {place->images, trial->labels};
    double results[MODEL_OUTPUTS];
    void *outputs[MODEL_OUTPUTS];
    size_t n = trial->params->size;
    struct pass pass = {.program = place->program,
                        .weights = place->weights,
                        .states = place->states,
                        .inputs = inputs,
                        .outputs = outputs,
                        .gradient = place->gradient};
    int rc;

    for (int o = 0; o < MODEL_OUTPUTS; o++)
        outputs[o] = &results[o];
    narrow(place, place->images, trial->images, ARRAY_LENGTH(trial->images));
    rc = place->class->execute(place->backend, &pass, 1, err);
    if (!rc)
        rc = place->class->vector_read(place->gradient, 0, n, place->room, err);
    for (size_t i = 0; i < n && !rc; i++)
        gradient[i] = place->class->real == REAL_F32 ? (double)((float *)place->room)[i]
                                                     : ((double *)place->room)[i];
    return rc;
}

static int gradient_on(const struct backend_class *class, const struct backend_options *options,
                       const struct trial *trial, double *gradient, struct err *err)
{
    struct place place = {.class = class};
    int rc = open_place(&place, options, trial, err);

    if (!rc)
        rc = run_pass(&place, trial, gradient, err);
    close_place(&place);
    return rc;
}

/* ---- All of it ---- */

static double error_of(const struct trial *trial)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < trial->params->size; i++) {
        double d = trial->gradient[i] - trial->reference[i];

        difference += d * d;
        size += trial->reference[i] * trial->reference[i];
    }
    return sqrt(difference / size);
}

static int test_model(const struct backend_class *class, int device, struct trial *trial,
                      struct err *err)
{
    const struct backend_options host = {.threads = 1};
    int rc = gradient_on(&backend_reference, &host, trial, trial->reference, err);

    for (size_t c = 0; c < ARRAY_LENGTH(computes) && !rc; c++) {
        const struct backend_options options = {
            .threads = 1, .device = device, .compute = computes[c].compute, .deterministic = true};
        double error;

        rc = gradient_on(class, &options, trial, trial->gradient, err);
        error = rc ? 0 : error_of(trial);
        if (!(error <= computes[c].limit))
            rc = err_set(err, ERR_DEVICE,
                         "the device's test: a gradient in %s is off by %.3g of its size",
                         computes[c].name, error);
    }
    return rc;
}

int device_gradient_test(const struct backend_class *class, int device, struct err *err)
{
    int rc = 0;

    for (size_t m = 0; m < ARRAY_LENGTH(models) && !rc; m++) {
        struct trial trial = {0};

        rc = open_trial(&trial, &models[m], err);
        if (!rc)
            rc = test_model(class, device, &trial, err);
        close_trial(&trial);
    }
    return rc;
}
