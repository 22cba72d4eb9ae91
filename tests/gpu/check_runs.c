/* Whole runs through the engine, as a job has them, on a small net: each method against the
 * reference backend, with the same noise and the same batches; and runs that must end with the same
 * bits: twice, stopped and resumed, captured and given update by update, on one stream and on two.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "harness.h"
#include "model/model.h"
#include "record.h"
#include "shim.h"
#include "stand_in/cmocka.h"
#include "support.h"

enum { UPDATES = 4 }; /* of runs that are compared bit by bit */

struct run_case {
    int method, precision;
    double tolerance;
};

static const char *const methods[] = {"sgd", "sam", "rwp", "arwp", "m-rwp", "m-arwp", "asam"};
static const struct {
    int precision;
    const char *name;
} precisions[] = {{PRECISION_FP32, "fp32"}, {PRECISION_TF32, "tf32"}, {PRECISION_BF16, "bf16"}};

/* Updates 0: as long as the tiny job is. */
static struct engine_job job_of(const struct run_case *c, bool reference, int updates)
{
    struct engine_job job = tiny_job(c->method, reference ? DEVICE_REFERENCE : DEVICE_CUDA);

    job.evaluate.every_epochs = 100; /* the last epoch alone */
    job.deterministic = true;
    if (!reference)
        job.precision = c->precision;
    if (updates) {
        job.epochs = 0;
        job.updates = updates;
    }
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
    struct engine_job job = job_of(c, false, 0);
    struct record *got = record_new(), *want = record_new();
    double error;

    record_run_well(got, &job, NULL);
    job = job_of(c, true, 0);
    record_run_well(want, &job, NULL);
    error = worst_loss(got, want);
    record_free(got);
    record_free(want);
    harness_error(error, c->tolerance);
}

/* Each method in each precision; `quick`: one that has all that the others have, in one. */
static void in_each(bool quick, int quick_precision, const char *group, const double tolerance[3],
                    void (*run)(void *context))
{
    for (int method = METHOD_SGD; method < METHOD_KINDS; method++)
        for (size_t p = 0; p < ARRAY_LENGTH(precisions); p++) {
            struct run_case c = {method, precisions[p].precision, tolerance ? tolerance[p] : 0};
            char name[100];

            if (quick && (method != METHOD_M_ARWP || precisions[p].precision != quick_precision))
                continue;
            snprintf(name, sizeof name, "%s, %s", methods[method], precisions[p].name);
            harness_case(group, name, run, &c);
        }
}

void check_runs(bool quick)
{
    static const double tolerance[] = {2e-3, 5e-2, 0.2};

    in_each(quick, PRECISION_FP32, "run", tolerance, run_as_the_reference);
}

/* ---- The state after a few updates ---- */

static double element(const struct tensor *tensor, size_t i)
{
    return tensor->type == TENSOR_F32 ? (double)((const float *)tensor->data)[i]
                                      : ((const double *)tensor->data)[i];
}

/* ‖change of got − change of want‖/‖change of want‖ over all tensors of a role. Both begin as
 * `start`, which is the reference's, does; an fp32 run with that, rounded. */
static double change_error(enum tensor_role role, const struct checkpoint *got,
                           const struct checkpoint *want, const struct checkpoint *start)
{
    double difference = 0, size = 0;

    for (int t = 0; t < want->n_tensors; t++) {
        const struct tensor *tensor = &want->tensors[t], *other, *begin;

        if (tensor->role != role || tensor->type == TENSOR_I64)
            continue;
        other = checkpoint_find(got, role, tensor->name);
        begin = checkpoint_find(start, role, tensor->name);
        assert_int_equal(tensor_elements(tensor), tensor_elements(other));
        for (size_t i = 0; i < tensor_elements(tensor); i++) {
            double d = element(other, i) - element(tensor, i);
            double c = element(tensor, i) - element(begin, i);

            difference += d * d;
            size += c * c;
        }
    }
    return size > 0 ? sqrt(difference / size) : difference > 0 ? INFINITY : 0;
}

/* Two updates: the second has momentum and Fisher sums of the first. */
static void update_as_the_reference(void *context)
{
    static const enum tensor_role roles[] = {TENSOR_PARAMETER, TENSOR_BUFFER, TENSOR_MOMENTUM,
                                             TENSOR_FISHER};
    const struct run_case *c = context;
    struct engine_job job = job_of(c, true, 2);
    struct record *start = record_new(), *got = record_new(), *want = record_new();
    double worst = 0;

    atomic_store(&start->request, ENGINE_STOP);
    record_run_well(start, &job, NULL);
    record_run_well(want, &job, NULL);
    job = job_of(c, false, 2);
    record_run_well(got, &job, NULL);
    for (size_t r = 0; r < ARRAY_LENGTH(roles); r++) {
        double error =
            change_error(roles[r], &got->checkpoint, &want->checkpoint, &start->checkpoint);

        if (!(error <= worst))
            worst = error;
    }
    record_free(start);
    record_free(got);
    record_free(want);
    harness_error(worst, c->tolerance);
}

void check_updates(bool quick)
{
    static const double tolerance[] = {1e-3, 5e-2, 0.5};

    in_each(quick, PRECISION_FP32, "update", tolerance, update_as_the_reference);
}

/* ---- The same bits ---- */

static void run_again(void *context)
{
    const struct run_case *c = context;
    struct engine_job job = job_of(c, false, UPDATES);
    struct record *first = record_new(), *second = record_new();

    record_run_well(first, &job, NULL);
    record_run_well(second, &job, NULL);
    assert_checkpoints_equal(&first->checkpoint, &second->checkpoint);
    record_free(first);
    record_free(second);
}

/* An update that is the first of its run is given to the device as it is; from the second one on
 * they are captured and replayed. A run that ends goes on from its checkpoint when it may be
 * longer; nothing in it depends on its length here. */
static void run_in_pieces(void *context)
{
    const struct run_case *c = context;
    struct engine_job job = job_of(c, false, 0);
    struct record *whole = record_new(), *piece = record_new();

    job.dataset.train_limit = job.batch_size;
    job.epochs = UPDATES;
    job.schedule.kind = SCHEDULE_CONSTANT;
    job.method.ramp = 0;
    record_run_well(whole, &job, NULL);
    for (int64_t update = 1; update <= UPDATES; update++) {
        struct record *next = record_new();

        job.epochs = update;
        record_run_well(next, &job, update > 1 ? &piece->checkpoint : NULL);
        assert_int_equal(next->checkpoint.update, update);
        record_free(piece);
        piece = next;
    }
    assert_checkpoints_equal(&whole->checkpoint, &piece->checkpoint);
    record_free(whole);
    record_free(piece);
}

static void run_on_one_stream(void *context)
{
    const struct run_case *c = context;
    struct engine_job job = job_of(c, false, UPDATES);
    struct record *two = record_new(), *one = record_new();
    int parted = shim_parted();

    record_run_well(two, &job, NULL);
    assert_int_equal(shim_parted(), parted);
    shim_one_stream(true);
    record_run_well(one, &job, NULL);
    shim_one_stream(false);
    assert_true(shim_parted() >= parted + UPDATES); /* or both runs were the same */
    assert_checkpoints_equal(&two->checkpoint, &one->checkpoint);
    record_free(two);
    record_free(one);
}

void check_twice(bool quick)
{
    in_each(quick, PRECISION_BF16, "the same bits twice", NULL, run_again);
}

void check_captured(bool quick)
{
    in_each(quick, PRECISION_BF16, "captured as given one by one, and resumed", NULL,
            run_in_pieces);
}

void check_streams(bool quick)
{
    for (int method = METHOD_M_RWP; method <= METHOD_M_ARWP; method++)
        for (size_t p = 0; p < ARRAY_LENGTH(precisions); p++) {
            struct run_case c = {method, precisions[p].precision, 0};
            char name[100];

            if (quick && (method != METHOD_M_ARWP || p != 2))
                continue;
            snprintf(name, sizeof name, "%s, %s", methods[method], precisions[p].name);
            harness_case("one stream as two", name, run_on_one_stream, &c);
        }
}

/* ---- One pass ---- */

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

void check_graphs(bool quick)
{
    for (int compute = quick ? COMPUTE_BF16 : COMPUTE_F32; compute <= COMPUTE_BF16; compute++) {
        enum compute c = (enum compute)compute;

        harness_case("captured and replayed", compute_name(c), run_three_times, &c);
    }
}
