/* Models in their full size, whose convolutions and products take other ways than small ones do:
 * gradients in tf32 and bf16 as training computes them (algorithms chosen by timing them) against
 * those in fp32 of the same GPU, whose algorithms, held against the reference by the other parts,
 * are chosen without. */
#include <math.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "compare.h"
#include "harness.h"
#include "model/model.h"
#include "stand_in/cmocka.h"

static const struct size_case {
    const char *name;
    int kind;
    struct model_input input;
} full[] = {{"resnet18", MODEL_RESNET18, {64, 3, 32, 32, 10}},
            {"wrn28_10", MODEL_WRN28_10, {32, 3, 32, 32, 10}},
            {"vgg16_bn", MODEL_VGG16_BN, {64, 3, 32, 32, 10}},
            {"vit", MODEL_VIT, {32, 3, 32, 32, 10}},
            {"resnet50", MODEL_RESNET50, {16, 3, 224, 224, 1000}}};
static const struct size_case small = {"narrow resnet18", MODEL_RESNET18, {16, 3, 16, 16, 10}};

struct precision_case {
    const struct size_case *size;
    const struct graph *graph;
    enum compute compute;
    double tolerance;
};

/* As models start, so that signals keep their size through all layers; what starts at zero starts
 * a little beside it, or there would be no gradients behind it. */
static void begin(struct trial *trial)
{
    for (int i = 0; i < trial->params->n; i++) {
        const struct layout_tensor *t = &trial->params->tensor[i];
        const struct init *init = &trial->graph->params[i].init;
        double *to = trial->weights + t->offset, bound = 0.02, middle = 0;

        if (init->kind == INIT_UNIFORM)
            bound = init->bound;
        else if (init->kind == INIT_NORMAL)
            bound = init->deviation * sqrt(3);
        else if (init->kind == INIT_ONE)
            middle = 1;
        fill_uniform((uint64_t)i + 100, middle - bound, middle + bound, to, t->size);
    }
}

static struct trial *run(const struct graph *graph, const struct backend_class *class)
{
    struct trial *trial = trial_open(graph, class, NULL);

    trial_fill(trial, 1);
    begin(trial);
    trial_run(trial);
    return trial;
}

static void compare(void *context)
{
    const struct precision_case *c = context;
    struct trial *want = run(c->graph, gpu_backend(COMPUTE_F32));
    struct trial *got = run(c->graph, gpu_backend_timed(c->compute));
    double error = whole_error(got->gradient, want->gradient, want->params->size);

    trial_close(want);
    trial_close(got);
    harness_error(error, c->tolerance);
}

static void check_size(const struct size_case *size)
{
    static const double tolerance[] = {[COMPUTE_TF32] = 0.1, [COMPUTE_BF16] = 0.5};
    struct job_model model;
    struct engine_job job;
    struct graph *graph;
    struct err err = {0};

    engine_job_defaults(&job, size->kind, DATASET_CIFAR10, METHOD_SGD);
    model = job.model;
    if (size == &small)
        model.width = 8;
    if (model_graph(&graph, &model, &size->input, true, &err)) {
        fprintf(stderr, "%s: %s\n", size->name, err.message);
        return;
    }
    for (int compute = COMPUTE_BF16; compute >= COMPUTE_TF32; compute--) {
        struct precision_case c = {size, graph, (enum compute)compute, tolerance[compute]};
        char name[100];

        snprintf(name, sizeof name, "%s, %s", size->name, compute_name(c.compute));
        harness_case("full size", name, compare, &c);
    }
    graph_free(graph);
}

void check_sizes(bool quick)
{
    if (quick)
        check_size(&small);
    for (size_t i = 0; i < ARRAY_LENGTH(full) && !quick; i++)
        check_size(&full[i]);
}
