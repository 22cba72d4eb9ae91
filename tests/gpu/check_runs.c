/* Whole runs: each method against the reference backend, the same bits twice and after a resume;
 * and one pass given as it is, captured and replayed, with the same bits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka.h"
#include "harness.h"
#include "model/model.h"
#include "record.h"
#include "support.h"

struct run_case {
    int method, precision;
    double tolerance;
};

static struct engine_job job_of(int method, int device)
{
    struct engine_job job = tiny_job(method, device);

    job.evaluate.every_epochs = 100; /* the last epoch alone */
    job.deterministic = true;
    return job;
}

static double worst_loss(const struct record *got, const struct record *want)
{
    double worst = 0;

    assert_int_equal(got->n_updates, want->n_updates);
    for (int i = 0; i < want->n_updates; i++) {
        double a = got->update[i].loss / want->update[i].loss - 1;
        double b = want->update[i].has_perturbed
                       ? got->update[i].perturbed_loss / want->update[i].perturbed_loss - 1
                       : 0;

        if (!(fabs(a) <= worst))
            worst = fabs(a);
        if (!(fabs(b) <= worst))
            worst = fabs(b);
    }
    return worst;
}

static void run_as_the_reference(void *context)
{
    const struct run_case *c = context;
    struct engine_job job = job_of(c->method, DEVICE_CUDA);
    struct record *got = record_new(), *want = record_new();
    double error;

    job.precision = c->precision;
    record_run_well(got, &job, NULL);
    job = job_of(c->method, DEVICE_REFERENCE);
    record_run_well(want, &job, NULL);
    error = worst_loss(got, want);
    record_free(got);
    record_free(want);
    harness_error(error, c->tolerance);
}

static void run_again(void *context)
{
    const struct run_case *c = context;
    struct engine_job job = job_of(c->method, DEVICE_CUDA);
    struct record *first = record_new(), *second = record_new(), *rest = record_new();

    job.precision = c->precision;
    record_run_well(first, &job, NULL);
    record_run_well(second, &job, NULL);
    assert_checkpoints_equal(&first->checkpoint, &second->checkpoint);
    record_free(second);
    second = record_new();
    second->ask_at = 5;
    second->ask = ENGINE_STOP;
    record_run_well(second, &job, NULL);
    record_run_well(rest, &job, &second->checkpoint);
    assert_checkpoints_equal(&first->checkpoint, &rest->checkpoint);
    record_free(first);
    record_free(second);
    record_free(rest);
}

void check_runs(bool quick)
{
    static const char *const methods[] = {"sgd", "sam", "rwp", "arwp", "m-rwp", "m-arwp", "asam"};
    static const struct {
        int precision;
        const char *name;
        double tolerance;
    } precisions[] = {{PRECISION_FP32, "fp32", 2e-3},
                      {PRECISION_TF32, "tf32", 5e-2},
                      {PRECISION_BF16, "bf16", 0.2}};

    for (int method = METHOD_SGD; method < METHOD_KINDS; method++)
        for (size_t p = 0; p < ARRAY_LENGTH(precisions); p++) {
            struct run_case c = {method, precisions[p].precision, precisions[p].tolerance};
            char name[100];

            if (quick && (method != METHOD_M_ARWP || p == 1))
                continue;
            snprintf(name, sizeof name, "%s, %s", methods[method], precisions[p].name);
            harness_case("run", name, run_as_the_reference, &c);
            if (!quick)
                harness_case("same bits", name, run_again, &c);
        }
}

/* The first run of a trial is given as it is, the second one captured, the third replayed. */
static void run_three_times(void *context)
{
    const enum compute *compute = context;
    struct job_model model = {.kind = MODEL_RESNET, .width = 16, .blocks = {2, {1, 1}}};
    struct model_input input = {16, 3, 16, 16, 10};
    struct graph *g;
    struct trial *t;
    double *first;
    size_t bytes;

    assert_ok(model_graph(&g, &model, &input, true, err));
    t = trial_open(g, gpu_backend(*compute), NULL);
    trial_fill(t, 3);
    trial_run(t);
    bytes = t->params->size * sizeof *first;
    first = malloc(bytes);
    assert_non_null(first);
    memcpy(first, t->gradient, bytes);
    for (int i = 0; i < 2; i++) {
        memset(t->gradient, 0, bytes);
        trial_run(t);
        assert_memory_equal(first, t->gradient, bytes);
    }
    free(first);
    trial_close(t);
    graph_free(g);
}

void check_graphs(void)
{
    for (int compute = COMPUTE_F32; compute <= COMPUTE_BF16; compute++) {
        enum compute c = (enum compute)compute;

        harness_case("captured and replayed", compute_name(c), run_three_times, &c);
    }
}
