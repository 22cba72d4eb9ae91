/* Whole runs through the CUDA backend, with the host in the place of the GPU: every method against
 * the reference backend, captured updates, what runs on which stream, resuming. That nothing is
 * read before it was written, and nothing used by two streams in no order, the device itself
 * watches (host_device.h). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "engine/estimate.h"
#include "host_gpu.h"
#include "record.h"
#include "run/state.h"
#include "support.h"

static const struct host_gpu *gpu;

static struct engine_job job_of(int method, int device)
{
    struct engine_job job = tiny_job(method, device);

    job.evaluate.every_epochs = 100; /* the last epoch alone */
    job.epochs = 0;
    job.updates = 5; /* batches of 16, 16, 16, 2, 16: one size is captured, and replayed twice */
    return job;
}

static void compare_losses(const char *method, const struct record *got, const struct record *want,
                           double tolerance)
{
    assert_int_equal(got->n_updates, want->n_updates);
    for (int i = 0; i < want->n_updates; i++) {
        const struct engine_update *a = &got->update[i], *b = &want->update[i];

        if (!(fabs(a->loss - b->loss) <= tolerance * b->loss) ||
            !(fabs(a->perturbed_loss - b->perturbed_loss) <= tolerance * b->perturbed_loss))
            fail_msg("%s, update %d: losses %.8g and %.8g instead of %.8g and %.8g", method, i + 1,
                     a->loss, a->perturbed_loss, b->loss, b->perturbed_loss);
    }
    assert_true(fabs(got->epoch[0].train_loss - want->epoch[0].train_loss) <=
                tolerance * want->epoch[0].train_loss);
    assert_true(
        fabs(got->epoch[got->n_epochs - 1].test_loss - want->epoch[want->n_epochs - 1].test_loss) <=
        tolerance * want->epoch[want->n_epochs - 1].test_loss);
}

static const char *const names[] = {
    [METHOD_SAM] = "sam", [METHOD_M_ARWP] = "m-arwp", [METHOD_ASAM] = "asam"};

/* In float the same numbers but for rounding, which the updates multiply. One method a kind of
 * perturbation. */
static void methods_in_float(void **state)
{
    static const int methods[] = {METHOD_SAM, METHOD_M_ARWP, METHOD_ASAM};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
        int method = methods[i];
        struct engine_job job = job_of(method, DEVICE_CUDA);
        struct record *got = record_new(), *want = record_new();

        job.precision = PRECISION_FP32;
        record_run_well(got, &job, NULL);
        job = job_of(method, DEVICE_REFERENCE);
        record_run_well(want, &job, NULL);
        compare_losses(names[method], got, want, 2e-3);
        assert_int_equal(gpu->open_things(), 0);
        record_free(got);
        record_free(want);
    }
}

/* In bfloat16 the run is another one, but goes the same way. */
static void bfloat16(void **state)
{
    struct engine_job job = job_of(METHOD_M_ARWP, DEVICE_CUDA);
    struct record *got = record_new(), *want = record_new();

    (void)state;
    job.precision = PRECISION_BF16;
    record_run_well(got, &job, NULL);
    job = job_of(METHOD_M_ARWP, DEVICE_REFERENCE);
    record_run_well(want, &job, NULL);
    compare_losses("m-arwp in bfloat16", got, want, 0.1);
    record_free(got);
    record_free(want);
}

/* Reads gradients and weights back, and materialises on its own. */
static void compare_telemetry(const struct record *got, const struct record *want)
{
    assert_int_equal(got->n_telemetry, 2);
    for (int i = 0; i < got->n_telemetry; i++)
        for (int v = 0; v < TELEMETRY_VALUES; v++) {
            double a = got->telemetry[i].value[v], b = want->telemetry[i].value[v];

            assert_true(got->telemetry[i].known[v] == want->telemetry[i].known[v]);
            assert_true(fabs(a - b) <= 5e-3 * fabs(b) + 1e-6);
        }
}

/* An optimizer with moments, a clipped gradient, and what is measured on the way. */
static void adam_and_clipping(void **state)
{
    struct engine_job job = job_of(METHOD_M_ARWP, DEVICE_CUDA);
    struct record *got = record_new(), *want = record_new();

    (void)state;
    job.optimizer.kind = OPTIMIZER_ADAMW;
    job.optimizer.lr = 1e-3;
    job.optimizer.beta1 = 0.9;
    job.optimizer.beta2 = 0.99;
    job.optimizer.eps = 1e-8;
    job.optimizer.clip_norm = 0.5;
    job.telemetry.every_updates = 2;
    job.precision = PRECISION_FP32;
    record_run_well(got, &job, NULL);
    job.device = DEVICE_REFERENCE;
    job.precision = PRECISION_AUTO;
    record_run_well(want, &job, NULL);
    compare_losses("m-arwp with AdamW", got, want, 2e-3);
    compare_telemetry(got, want);
    record_free(got);
    record_free(want);
}

static int count(const struct host_launch *launches, int n, const char *what, int stream)
{
    int found = 0;

    for (int i = 0; i < n; i++)
        found += !strcmp(launches[i].what, what) && (stream < 0 || launches[i].stream == stream);
    return found;
}

/* The launches of the last update, which end with the change of the weights. */
static int last_update(const struct host_launch **out)
{
    const struct host_launch *launches;
    int n = gpu->launches(&launches), end, begin;

    for (end = n; end > 0 && strcmp(launches[end - 1].what, "weight_step");)
        end--;
    assert_true(end > 0);
    for (begin = end - 1; begin > 0 && strcmp(launches[begin - 1].what, "weight_step");)
        begin--;
    *out = launches + begin;
    return end - begin;
}

/* Updates of one size: the second finds its first weights cast, the third is captured, two more are
 * replayed. */
static void run_with(int method)
{
    struct engine_job job = job_of(method, DEVICE_CUDA);
    struct record *record = record_new();

    job.batch_size = 10;
    gpu->reset();
    record_run_well(record, &job, NULL);
    assert_true(gpu->captures() >= 1);
    assert_true(gpu->replays() > gpu->captures());
    record_free(record);
}

/* SGD: the turn, forward, back, gradient, losses, step, all on one stream; the step before has cast
 * the weights. */
static void order_of_sgd(void **state)
{
    static const char *const order[] = {"advance",       "conv",        "batch_norm_statistics",
                                        "cross_entropy", "conv_grad_w", "gradient_unpack",
                                        "record",        "weight_step"};
    const struct host_launch *launches;
    int n, at = 0;

    (void)state;
    run_with(METHOD_SGD);
    n = last_update(&launches);
    for (int i = 0; i < n; i++) {
        assert_int_equal(launches[i].stream, 0);
        at += !strcmp(launches[i].what, order[at]);
    }
    assert_int_equal(at, ARRAY_LENGTH(order));
    assert_int_equal(count(launches, n, "materialise", -1), 0);
    assert_int_equal(count(launches, n, "gradient_unpack", 0), 1);
}

/* m-ARWP: the clean and the perturbed pass on a stream each, as much on one as on the other, but
 * for the turn and the step on the first. Both find their weights cast. */
static void order_of_m_arwp(void **state)
{
    const struct host_launch *launches;
    int n, on[2] = {0};

    (void)state;
    run_with(METHOD_M_ARWP);
    n = last_update(&launches);
    for (int i = 0; i < n; i++) {
        assert_in_range(launches[i].stream, 0, 1);
        on[launches[i].stream]++;
    }
    assert_int_equal(on[0], on[1] + 2);
    assert_int_equal(count(launches, n, "materialise", -1), 0);
    for (int stream = 0; stream < 2; stream++) {
        assert_int_equal(count(launches, n, "gradient_unpack", stream), 1);
        assert_int_equal(count(launches, n, "record", stream), 1);
    }
    assert_int_equal(count(launches, n, "advance", 0), 1);
    assert_int_equal(count(launches, n, "weight_step", 0), 1);
}

/* SAM's second pass needs the first one's gradient: one stream, two passes, and weights of its
 * own. */
static void order_of_sam(void **state)
{
    const struct host_launch *launches;
    int n;

    (void)state;
    run_with(METHOD_SAM);
    n = last_update(&launches);
    assert_int_equal(count(launches, n, "materialise", 0), 1);
    assert_int_equal(count(launches, n, "gradient_unpack", 0), 2);
    assert_int_equal(count(launches, n, "inputs", -1), 0); /* the same batch */
    for (int i = 0; i < n; i++)
        assert_int_equal(launches[i].stream, 0);
}

/* Twice the same bits; and the same once more when it was stopped on its way. */
static void same_bits_and_resumed(void **state)
{
    struct engine_job job = job_of(METHOD_M_ARWP, DEVICE_CUDA);
    struct record *first = record_new(), *second = record_new(), *rest = record_new();

    (void)state;
    record_run_well(first, &job, NULL);
    second->ask_at = 2;
    second->ask = ENGINE_STOP;
    record_run_well(second, &job, NULL);
    assert_in_range(second->n_updates, 2, 4); /* the device was ahead of what was told */
    record_run_well(rest, &job, &second->checkpoint);
    assert_checkpoints_equal(&first->checkpoint, &rest->checkpoint);
    record_free(first);
    record_free(second);
    record_free(rest);
}

static int never_told(void *context, const struct engine_update *update, struct err *err)
{
    (void)context;
    (void)update;
    (void)err;
    return 0;
}

/* Bytes that a run says it holds, and how many of them are the device's. */
static void run_for_memory(const struct engine_job *job, int64_t *bytes, int64_t *device_bytes)
{
    struct engine_sink sink = {.update = never_told};
    atomic_int request = ENGINE_CONTINUE;
    enum engine_outcome outcome;
    struct engine_run *run;

    assert_ok(engine_run_open(&run, job, 2, &sink, err));
    assert_ok(engine_run_train(run, &request, &outcome, err));
    *bytes = engine_run_memory(run);
    *device_bytes = engine_run_device_memory(run);
    engine_run_close(run);
}

/* What a run will hold is known to the byte before it is opened, by work that takes nothing of the
 * device: not even a stream is opened, and nothing is launched. */
static void memory_is_forecast(void **state)
{
    struct engine_job jobs[] = {job_of(METHOD_SGD, DEVICE_CUDA), job_of(METHOD_M_ARWP, DEVICE_CUDA),
                                job_of(METHOD_ASAM, DEVICE_CUDA)};

    (void)state;
    jobs[0].optimizer.kind = OPTIMIZER_ADAM;
    jobs[0].optimizer.beta1 = 0.9;
    jobs[0].optimizer.beta2 = 0.99;
    jobs[0].optimizer.eps = 1e-8;
    jobs[1].precision = PRECISION_BF16;
    jobs[1].telemetry.every_updates = 2;
    for (size_t i = 0; i < ARRAY_LENGTH(jobs); i++) {
        const struct host_launch *launches;
        struct engine_estimate estimate;
        int64_t bytes, device_bytes;

        gpu->reset();
        gpu->watch_opening(true);
        assert_ok(engine_estimate_memory(&jobs[i], 2, &estimate, err));
        gpu->watch_opening(false);
        assert_int_equal(gpu->launches(&launches), 0);
        run_for_memory(&jobs[i], &bytes, &device_bytes);
        assert_int_equal(estimate.device_bytes, device_bytes);
        assert_int_equal(estimate.memory_bytes, bytes);
        assert_ok(engine_estimate_time(&jobs[i], 2, &estimate, err));
        assert_false(estimate.timed);
    }
    assert_int_equal(gpu->open_things(), 0);
}

/* A communicator of one rank, whose sums are what was there: the update stays what it is, with an
 * exchange after the wave, captured with the rest. */
static void exchanges_are_part_of_the_update(void **state)
{
    struct engine_job job = job_of(METHOD_M_ARWP, DEVICE_CUDA);
    struct record *plain = record_new(), *record = record_new();
    struct engine_sink sink = record_sink(record);
    const struct host_launch *launches;
    enum engine_outcome outcome;
    struct engine_run *run;
    struct err err;
    int n, steps = 0;

    (void)state;
    job.batch_size = 10;
    record_run_well(plain, &job, NULL);
    gpu->reset();
    if (engine_run_open(&run, &job, 1, &sink, &err) ||
        run->class->communicator->open(&run->communicator, run->class, 1, 0, &err) ||
        engine_run_train(run, &record->request, &outcome, &err))
        fail_msg("%s", err.message);
    engine_run_close(run);
    assert_int_equal(gpu->open_things(), 0);
    assert_checkpoints_equal(&plain->checkpoint, &record->checkpoint);
    assert_true(gpu->captures() >= 1 && gpu->replays() > gpu->captures());
    n = last_update(&launches);
    assert_int_equal(count(launches, n, "all_reduce", 0), 2);
    assert_int_equal(count(launches, n, "broadcast", 0), 1);
    for (int i = 0; i < n; i++) {
        bool exchange =
            !strcmp(launches[i].what, "all_reduce") || !strcmp(launches[i].what, "broadcast");

        steps += exchange;
        if (!exchange && steps > 0) /* nothing but the change comes after them */
            assert_string_equal(launches[i].what, "weight_step");
    }
    record_free(plain);
    record_free(record);
}

/* Sooner or later nothing goes any more: that is told, and all is closed in order, the first stream
 * as well as the second. */
static void a_device_that_breaks_is_told(void **state)
{
    static const int methods[] = {METHOD_SGD, METHOD_M_ARWP};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
        struct engine_job job = job_of(methods[i], DEVICE_CUDA);
        int rc = ERR_DEVICE, broken = 0;

        job.model.blocks = (struct spec_int_list){1, {1}};
        job.model.width = 2;
        job.batch_size = 4;
        for (long n = 0; rc; n += 1 + n / 12, broken++) {
            const struct engine_sink sink = {0};
            atomic_int request = ENGINE_CONTINUE;
            enum engine_outcome outcome;
            struct engine_run *run = NULL;
            struct err err = {0};

            gpu->break_after(n);
            rc = engine_run_open(&run, &job, 1, &sink, &err);
            if (!rc)
                rc = engine_run_train(run, &request, &outcome, &err);
            engine_run_close(run);
            gpu->break_after(-1);
            if (rc && (rc != ERR_DEVICE || !strstr(err.message, "error 999")))
                fail_msg("after %ld: %d, %s", n, rc, err.message);
            assert_int_equal(gpu->open_things(), 0);
        }
        assert_true(broken > 25);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_in_float),      cmocka_unit_test(bfloat16),
        cmocka_unit_test(adam_and_clipping),     cmocka_unit_test(order_of_sgd),
        cmocka_unit_test(order_of_m_arwp),       cmocka_unit_test(order_of_sam),
        cmocka_unit_test(same_bits_and_resumed), cmocka_unit_test(exchanges_are_part_of_the_update),
        cmocka_unit_test(memory_is_forecast),    cmocka_unit_test(a_device_that_breaks_is_told),
    };

    gpu = host_gpu_open();
    return gpu ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
