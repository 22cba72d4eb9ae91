/* Runs over two GPUs, each a thread's with the host in its place, and sums that threads make in
 * NCCL's: what two ranks do is what one does, or what two ranks of the reference backend do. */
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

static const struct host_gpu *gpu;

static struct engine_job job_of(int method, int ranks)
{
    struct engine_job job = emulated_job(method);

    job.world_size = ranks;
    return job;
}

/* Clean on one, perturbed on the other: not a bit is another than with both on one, whether the
 * devices make their batches or are sent them. */
static void a_gradient_each(void **state)
{
    (void)state;
    for (int made = 0; made < 2; made++) {
        struct engine_job one = job_of(METHOD_M_ARWP, 1), two = job_of(METHOD_M_ARWP, 2);
        struct record *want = record_new(), *got = record_new();

        gpu->left(made ? PLENTY : 0);
        two.telemetry.every_updates = 5;
        record_run_well(want, &one, NULL);
        gpu->reset();
        record_run_well(got, &two, NULL);
        assert_int_equal(gpu->launches_of("all_reduce"),
                         2 * TINY_UPDATES); /* seen by the first rank */
        assert_int_equal(gpu->launches_of("broadcast"), 4 + TINY_UPDATES); /* what all begin with */
        assert_int_equal(gpu->launches_of("batch") > 0, made);
        assert_true(gpu->replays() > 0);
        assert_int_equal(gpu->open_things(), 0);
        assert_checkpoints_equal(&got->checkpoint, &want->checkpoint);
        for (int i = 0; i < want->n_updates; i++) {
            assert_true(got->update[i].loss == want->update[i].loss);
            assert_true(got->update[i].perturbed_loss == want->update[i].perturbed_loss);
        }
        record_free(want);
        record_free(got);
    }
    gpu->left(PLENTY);
}

/* Half of a batch each; of the last batch of two, batch norm has one sample at 8×8. */
static void half_a_batch_each(void **state)
{
    static const int methods[] = {METHOD_SGD, METHOD_SAM, METHOD_ARWP};

    (void)state;
    for (size_t m = 0; m < ARRAY_LENGTH(methods); m++) {
        struct engine_job job = job_of(methods[m], 2);
        struct record *want = record_new(), *got = record_new();

        job.epochs = 0;
        job.updates = 6;
        record_run_well(got, &job, NULL);
        job.device = DEVICE_REFERENCE;
        job.precision = PRECISION_AUTO;
        record_run_well(want, &job, NULL);
        for (int i = 0; i < want->n_updates; i++) {
            double a = got->update[i].loss, b = want->update[i].loss;

            if (!(fabs(a - b) <= 2e-3 * b))
                fail_msg("method %d, update %d: %.8g instead of %.8g", methods[m], i + 1, a, b);
        }
        assert_true(got->epoch[0].train_top1 == want->epoch[0].train_top1);
        record_free(want);
        record_free(got);
    }
}

static void resumed(void **state)
{
    struct engine_job job = job_of(METHOD_ARWP, 2);
    struct record *whole = record_new(), *first = record_new(), *rest = record_new();

    (void)state;
    record_run_well(whole, &job, NULL);
    first->ask_at = 3;
    first->ask = ENGINE_STOP;
    assert_int_equal(record_run_well(first, &job, NULL), ENGINE_STOPPED);
    record_run_well(rest, &job, &first->checkpoint);
    assert_checkpoints_equal(&whole->checkpoint, &rest->checkpoint);
    record_free(whole);
    record_free(first);
    record_free(rest);
}

/* Of the GPU that needs most, which is the first one: it evaluates. */
static void memory_is_forecast(void **state)
{
    struct engine_job one = job_of(METHOD_M_ARWP, 1), two = job_of(METHOD_M_ARWP, 2);
    struct engine_estimate alone, estimate;
    const struct engine_sink sink = {0};
    atomic_int request = ENGINE_CONTINUE;
    enum engine_outcome outcome;
    struct engine_run *run;
    struct err err = {0};

    (void)state;
    if (engine_estimate_memory(&one, 2, &alone, &err) ||
        engine_estimate_memory(&two, 2, &estimate, &err) ||
        engine_run_open(&run, &two, 2, &sink, &err) ||
        engine_run_train(run, &request, &outcome, &err))
        fail_msg("%s", err.message);
    assert_int_equal(estimate.device_bytes, engine_run_device_memory(run));
    assert_int_equal(estimate.memory_bytes, engine_run_memory(run));
    assert_true(estimate.device_bytes > 0 && estimate.device_bytes < alone.device_bytes);
    engine_run_close(run);
}

/* The first rank's device is full sooner or later; the other one has all that it wants. */
static void a_full_device_is_told(void **state)
{
    struct engine_job job = job_of(METHOD_SGD, 2);
    const struct engine_sink sink = {0};
    int full = 0;

    (void)state;
    for (int rc = ERR_NO_MEMORY; rc; full++) {
        struct engine_run *run;
        struct err err = {0};

        gpu->fail_after(full);
        rc = engine_run_open(&run, &job, 2, &sink, &err);
        gpu->fail_after(-1);
        if (rc)
            assert_int_equal(rc, ERR_NO_MEMORY);
        else
            engine_run_close(run);
        assert_int_equal(gpu->open_things(), 0);
    }
    assert_true(full > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gradient_each),
        cmocka_unit_test(half_a_batch_each),
        cmocka_unit_test(resumed),
        cmocka_unit_test(memory_is_forecast),
        cmocka_unit_test(a_full_device_is_told),
    };

    gpu = host_gpu_open();
    return gpu ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
