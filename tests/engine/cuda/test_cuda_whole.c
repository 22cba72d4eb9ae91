/* Whole updates on the CUDA backend, with the host in the place of the GPU: captured, replayed,
 * with weights cast by the step before and several of them in flight, against the same wave by wave
 * with all casts anew: the same bits, on a device that is always late too. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "host_gpu.h"
#include "record.h"
#include "run/state.h"

static const struct host_gpu *gpu;

static struct engine_run *run_new(const struct engine_job *job, struct record *record)
{
    struct engine_sink sink = record_sink(record);
    struct engine_run *run;
    struct err err = {0};

    if (engine_run_open(&run, job, 1, &sink, &err))
        fail_msg("%s", err.message);
    return run;
}

static void update(struct engine_run *run, int n)
{
    struct err err = {0};

    for (int i = 0; i < n; i++)
        if (run_update(run, &err))
            fail_msg("%s", err.message);
}

enum how { IN_PARTS, WHOLE, LATE };

/* So many updates and a checkpoint, without an evaluation. */
static struct record *go(const struct engine_job *job, int n, enum how how)
{
    struct record *record = record_new();
    struct engine_run *run;
    struct err err = {0};

    gpu->in_parts(how == IN_PARTS);
    gpu->lazy(how == LATE);
    gpu->reset();
    run = run_new(job, record);
    update(run, n);
    assert_int_equal(run_write_checkpoint(run, false, &err), 0);
    engine_run_close(run);
    gpu->in_parts(false);
    gpu->lazy(false);
    assert_int_equal(gpu->open_things(), 0);
    return record;
}

static void assert_same_numbers(const char *what, const struct record *got,
                                const struct record *want)
{
    assert_int_equal(got->n_updates, want->n_updates);
    for (int i = 0; i < want->n_updates; i++) {
        const struct engine_update *a = &got->update[i], *b = &want->update[i];

        if (a->loss != b->loss || a->perturbed_loss != b->perturbed_loss || a->update != b->update)
            fail_msg("%s, update %d: losses %.9g and %.9g instead of %.9g and %.9g", what, i + 1,
                     a->loss, a->perturbed_loss, b->loss, b->perturbed_loss);
        assert_true(a->lr == b->lr && a->sigma == b->sigma && a->epoch == b->epoch);
        assert_true(a->seconds > 0);
    }
    assert_int_equal(got->n_telemetry, want->n_telemetry);
    for (int i = 0; i < want->n_telemetry; i++)
        assert_memory_equal(got->telemetry[i].value, want->telemetry[i].value,
                            sizeof want->telemetry[i].value);
    assert_checkpoints_equal(&got->checkpoint, &want->checkpoint);
}

/* Six updates: of a size that is seen four times, casts made and not, and of one seen once. */
static void compare(const char *what, const struct engine_job *job)
{
    struct record *want = go(job, 6, IN_PARTS), *got = go(job, 6, LATE);

    assert_true(gpu->captures() >= 1);
    assert_same_numbers(what, got, want);
    record_free(want);
    record_free(got);
}

/* The others come below. */
static void methods(void **state)
{
    static const struct {
        const char *name;
        int method;
    } some[] = {
        {"sgd", METHOD_SGD}, {"sam", METHOD_SAM}, {"rwp", METHOD_RWP}, {"asam", METHOD_ASAM}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(some); i++) {
        struct engine_job job = emulated_job(some[i].method);

        compare(some[i].name, &job);
    }
}

/* Inputs come from host memory, which the device reads late. */
static void loaded(void **state)
{
    struct engine_job job = emulated_job(METHOD_M_RWP);

    (void)state;
    gpu->left(0);
    compare("m-rwp, loaded", &job);
    job.method.samples = 2;
    compare("m-rwp with two samples, loaded", &job);
    gpu->left(PLENTY);
}

/* Not late: what is used by two streams in no order would be seen. */
static void at_once(void **state)
{
    struct engine_job job = emulated_job(METHOD_M_ARWP);
    struct record *want = go(&job, 5, IN_PARTS), *got = go(&job, 5, WHOLE);

    (void)state;
    assert_same_numbers("m-arwp at once", got, want);
    record_free(want);
    record_free(got);
}

static void in_bfloat16(void **state)
{
    struct engine_job job = emulated_job(METHOD_M_ARWP);

    (void)state;
    job.precision = PRECISION_BF16;
    compare("m-arwp in bfloat16", &job);
}

/* Moments and their corrections, a clipped gradient; what is measured between two updates. */
static void adam_clipping_and_telemetry(void **state)
{
    struct engine_job job = emulated_job(METHOD_ARWP);

    (void)state;
    job.optimizer.kind = OPTIMIZER_ADAMW;
    job.optimizer.lr = 1e-3;
    job.optimizer.beta1 = 0.9;
    job.optimizer.beta2 = 0.99;
    job.optimizer.eps = 1e-8;
    job.optimizer.clip_norm = 0.5;
    job.telemetry.every_updates = 4;
    compare("arwp with AdamW, clipped and measured", &job);
    job.optimizer.kind = OPTIMIZER_ADAM;
    job.telemetry.every_updates = 0;
    compare("arwp with Adam, clipped", &job);
}

/* Parts of a batch, whose passes share a program in different waves: inputs wait in a stage. */
static void samples_and_statistics(void **state)
{
    struct engine_job job = emulated_job(METHOD_M_ARWP);

    (void)state;
    job.method.samples = 2;
    job.batch_size = 10;
    compare("m-arwp with two samples", &job);
    job = emulated_job(METHOD_M_RWP);
    job.method.statistics = STATISTICS_BOTH;
    compare("m-rwp that moves the statistics in both terms", &job);
    job = emulated_job(METHOD_RWP);
    job.method.statistics = STATISTICS_CLEAN;
    compare("rwp that moves the statistics in a clean pass", &job);
}

/* Masks are drawn for the update's number, which the device knows. */
static void dropout(void **state)
{
    struct engine_job job;

    (void)state;
    engine_job_defaults(&job, MODEL_VIT, DATASET_DIGITS, METHOD_M_RWP);
    job.model.width = 12;
    job.model.depth = 1;
    job.model.patch = 4;
    job.model.heads = 3;
    job.model.mlp = 8;
    job.model.dropout = 0.3;
    job.dataset.train_limit = 24;
    job.batch_size = 8;
    job.device = DEVICE_CUDA;
    job.precision = PRECISION_FP32;
    compare("m-rwp with dropout", &job);
}

/* Epochs are evaluated and written; and a run that goes on from such a checkpoint, whose first
 * update casts what the other had cast with the step, goes the same way. */
static void resumed(void **state)
{
    struct engine_job job = emulated_job(METHOD_M_ARWP);
    struct record *all = record_new(), *first = record_new(), *rest = record_new();

    (void)state;
    job.epochs = 2;
    job.checkpoint.every_epochs = 1;
    record_run_well(all, &job, NULL);
    first->ask_at = 3;
    first->ask = ENGINE_STOP;
    gpu->lazy(true);
    record_run_well(first, &job, NULL);
    assert_in_range(first->n_updates, 3, 4);
    record_run_well(rest, &job, &first->checkpoint);
    gpu->lazy(false);
    assert_checkpoints_equal(&rest->checkpoint, &all->checkpoint);
    record_free(all);
    record_free(first);
    record_free(rest);
}

/* Updates are told of up to the one that went wrong, though the device has gone further. */
static void divergence(void **state)
{
    struct engine_job job = emulated_job(METHOD_M_RWP);
    struct record *got = record_new(), *want = record_new();
    enum engine_outcome outcome;
    struct err one = {0}, other = {0};

    (void)state;
    job.optimizer.lr = 1e30;
    job.batch_size = 5;
    gpu->in_parts(true);
    assert_int_equal(record_run(want, &job, NULL, &outcome, &one), ERR_DIVERGED);
    gpu->in_parts(false);
    assert_int_equal(record_run(got, &job, NULL, &outcome, &other), ERR_DIVERGED);
    assert_string_equal(one.message, other.message);
    assert_int_equal(got->n_updates, want->n_updates);
    assert_true(got->n_updates < 8);
    record_free(got);
    record_free(want);
}

/* A sink that has no room for an update hears of none after it. */
static void refusal(void **state)
{
    struct engine_job job = emulated_job(METHOD_SGD);
    struct record *record = record_new();
    enum engine_outcome outcome;
    struct err err = {0};

    (void)state;
    job.batch_size = 5;
    record->refuse_update = 2;
    gpu->lazy(true);
    assert_int_equal(record_run(record, &job, NULL, &outcome, &err), ERR_FULL);
    gpu->lazy(false);
    assert_int_equal(record->n_updates, 2);
    assert_int_equal(gpu->open_things(), 0);
    record_free(record);
}

/* ---- runs whose updates are begun by hand -------------------------------------------------- */

/* The host is ahead by some updates, tells of them one after the other, and gives the device
 * nothing of an update but a graph and, where data is not there, its inputs. It does not wait for a
 * stream. */
static void look_at_flight(size_t left, int calls)
{
    struct engine_job job = emulated_job(METHOD_SGD);
    struct record *record = record_new();
    struct engine_run *run;
    struct err err = {0};
    int told;

    job.dataset.train_limit = 50; /* within an epoch */
    job.batch_size = 5;
    gpu->left(left);
    run = run_new(&job, record);
    update(run, 6); /* of ten; the next epoch's order is given in the middle */
    assert_int_equal(run_settle(run, 0, &err), 0);
    assert_int_equal(record->n_updates, 6);
    gpu->lazy(true);
    gpu->reset();
    update(run, 3);
    assert_int_equal(gpu->calls(), 3 * calls);
    assert_int_equal(gpu->replays(), 3);
    assert_int_equal(gpu->captures(), 0);
    assert_int_equal(gpu->waits(), 0);
    told = record->n_updates;
    assert_true(run->pending.n > 0 && told + run->pending.n == 9);
    assert_int_equal(run_settle(run, 1, &err), 0);
    assert_int_equal(record->n_updates, 8);
    assert_int_equal(run->pending.n, 1);
    assert_int_equal(run_settle(run, 0, &err), 0);
    assert_int_equal(record->n_updates, 9);
    for (int i = 0; i < 9; i++)
        assert_true(record->update[i].update == (uint64_t)i + 1 &&
                    isfinite(record->update[i].loss));
    gpu->lazy(false);
    engine_run_close(run);
    record_free(record);
    gpu->left(PLENTY);
}

static void in_flight(void **state)
{
    (void)state;
    look_at_flight(PLENTY, 1);
    look_at_flight(0, 3); /* images, labels, a graph */
}

enum { MANY = 12, BATCH = 5 };

/* So many updates are begun that the device has no place for more; the first are finished then, the
 * others when they are settled. */
static void begin_many(float out[MANY][MODEL_OUTPUTS], bool at_once)
{
    struct engine_job job = emulated_job(METHOD_SGD);
    struct record *record = record_new();
    int32_t labels[BATCH] = {3, 1, 4, 1, 5};
    struct err err = {0};
    struct engine_run *run;
    float *images;
    int left;

    job.batch_size = BATCH;
    gpu->left(0);
    run = run_new(&job, record);
    images = calloc(BATCH, run->image_bytes);
    assert_non_null(images);
    for (size_t i = 0; i < BATCH * run->image_bytes / sizeof *images; i++)
        images[i] = (float)(i % 7) - 3;
    gpu->in_parts(at_once);
    gpu->lazy(!at_once);
    for (int i = 0; i < MANY; i++) {
        const void *inputs[] = {images, labels};
        void *outputs[] = {&out[i][0], &out[i][1], &out[i][2]};
        struct gradient_term term = {run->gradient[0], 1, 0};
        struct pass pass = {.program = program_of(&run->training[0], BATCH),
                            .weights = run->weights,
                            .draws = {.update = (uint64_t)i},
                            .states = run->states,
                            .inputs = inputs,
                            .outputs = outputs,
                            .gradient = run->gradient[0]};
        struct step step = {.layout = run->params,
                            .weights = run->weights,
                            .momentum_vector = run->momentum,
                            .terms = &term,
                            .n_terms = 1,
                            .number = (uint64_t)i + 1,
                            .lr = 0.01 * (i + 1)};
        struct update update = {.passes = &pass, .wave = (int[]){0}, .n_passes = 1, .step = &step};

        for (int o = 0; o < MODEL_OUTPUTS; o++)
            out[i][o] = NAN;
        assert_int_equal(run->class->update(run->backend, &update, &err), 0);
    }
    for (int i = 0; i < MANY && !at_once; i++)
        assert_true(isfinite(out[i][0]) == (i < MANY - 8));
    assert_int_equal(run->class->settle(run->backend, 3, &left, &err), 0);
    assert_int_equal(left, at_once ? 0 : 3);
    for (int i = 0; i < MANY && !at_once; i++)
        assert_true(isfinite(out[i][0]) == (i < MANY - 3));
    assert_int_equal(run->class->settle(run->backend, 0, &left, &err), 0);
    assert_int_equal(left, 0);
    gpu->lazy(false);
    gpu->in_parts(false);
    gpu->left(PLENTY);
    engine_run_close(run);
    record_free(record);
    free(images);
}

static void many_in_flight(void **state)
{
    float got[MANY][MODEL_OUTPUTS], want[MANY][MODEL_OUTPUTS];

    (void)state;
    begin_many(got, false);
    begin_many(want, true);
    assert_memory_equal(got, want, sizeof want);
    assert_true(want[0][0] != want[MANY - 1][0]);
}

/* Where updates take long, the host does not go far ahead: a run is to end soon when it is asked
 * to. */
static void long_updates(void **state)
{
    struct engine_job job = emulated_job(METHOD_SGD);
    struct record *record = record_new();
    struct engine_run *run;
    struct err err = {0};

    (void)state;
    job.batch_size = 1;
    run = run_new(&job, record);
    record->nap_at = 3; /* the update after it has taken more than a second */
    update(run, 6);
    assert_int_equal(run_settle(run, 1, &err), 0);
    assert_true(record->update[3].seconds > 1);
    run->pending.seconds = record->update[3].seconds;
    update(run, 1);
    assert_int_equal(run->pending.n, 1);
    run->pending.seconds = 1e-3;
    update(run, 1);
    assert_int_equal(run->pending.n, 2);
    engine_run_close(run);
    record_free(record);
}

static void read_weights(struct engine_run *run, float *to)
{
    struct err err = {0};

    assert_int_equal(run->class->vector_read(run->weights, 0, run->params->size, to, &err), 0);
}

static void write_weights(struct engine_run *run, const float *from)
{
    struct err err = {0};

    assert_int_equal(run->class->vector_write(run->weights, 0, run->params->size, from, &err), 0);
}

/* A pass at other weights by a program that updates use. */
static void pass_between(struct engine_run *run)
{
    float images[BATCH * 8 * 8] = {1, 2, 3}, out[MODEL_OUTPUTS];
    int32_t labels[BATCH] = {0};
    const void *inputs[] = {images, labels};
    void *outputs[] = {&out[0], &out[1], &out[2]};
    struct pass pass = {.program = program_of(&run->training[0], BATCH),
                        .weights = run->momentum,
                        .states = run->states,
                        .inputs = inputs,
                        .outputs = outputs};
    struct err err = {0};

    assert_int_equal(run->image_bytes * BATCH, sizeof images);
    assert_int_equal(run->class->execute(run->backend, &pass, 1, &err), 0);
}

/* The weights after updates between which weights, Fisher numbers and casts were changed. */
static void disturb(struct engine_run *run, float *weights)
{
    size_t n = run->params->size, f = run->params->fisher_size;
    float *fisher = calloc(f, sizeof *fisher);
    struct err err = {0};

    assert_non_null(fisher);
    update(run, 2);
    read_weights(run, weights);
    for (size_t i = 0; i < n; i++)
        weights[i] *= -0.5f;
    write_weights(run, weights);
    update(run, 1);
    for (size_t i = 0; i < f; i++)
        fisher[i] = (float)(i % 7);
    assert_int_equal(run->class->vector_write(run->fisher, 0, f, fisher, &err), 0);
    update(run, 1);
    pass_between(run);
    update(run, 1);
    read_weights(run, weights);
    free(fisher);
}

/* What was cast with the step is cast again where it has become wrong. */
static void written_between(void **state)
{
    struct engine_job job = emulated_job(METHOD_ARWP);
    struct record *record = record_new();
    float *weights[2];
    size_t n = 0;

    (void)state;
    job.batch_size = BATCH; /* five times in an epoch */
    for (int way = 0; way < 2; way++) {
        struct engine_run *run = run_new(&job, record);

        n = run->params->size;
        weights[way] = calloc(n, sizeof *weights[way]);
        assert_non_null(weights[way]);
        gpu->in_parts(way == 0);
        disturb(run, weights[way]);
        gpu->in_parts(false);
        engine_run_close(run);
    }
    assert_memory_equal(weights[0], weights[1], n * sizeof *weights[0]);
    free(weights[0]);
    free(weights[1]);
    record_free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods),
        cmocka_unit_test(loaded),
        cmocka_unit_test(at_once),
        cmocka_unit_test(in_bfloat16),
        cmocka_unit_test(adam_clipping_and_telemetry),
        cmocka_unit_test(samples_and_statistics),
        cmocka_unit_test(dropout),
        cmocka_unit_test(resumed),
        cmocka_unit_test(divergence),
        cmocka_unit_test(refusal),
        cmocka_unit_test(in_flight),
        cmocka_unit_test(long_updates),
        cmocka_unit_test(many_in_flight),
        cmocka_unit_test(written_between),
    };

    gpu = host_gpu_open();
    return gpu ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
