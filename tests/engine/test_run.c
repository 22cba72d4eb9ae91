/* What a run says and when, on both backends: updates, epochs, checkpoints, ends. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "close.h"
#include "record.h"

static const int devices[] = {DEVICE_REFERENCE, DEVICE_CPU};

/* --- a whole run ------------------------------------------------------------------------------ */

static void check_updates(const struct record *record, const struct engine_job *job)
{
    bool noisy = job->method.kind >= METHOD_RWP && job->method.kind <= METHOD_M_ARWP,
         pure = job->method.kind == METHOD_RWP || job->method.kind == METHOD_ARWP;

    assert_int_equal(record->n_updates, TINY_UPDATES);
    for (int i = 0; i < TINY_UPDATES; i++) {
        const struct engine_update *update = &record->update[i];

        assert_int_equal(update->update, i + 1);
        assert_int_equal(update->epoch, i / TINY_PER_EPOCH + 1);
        assert_true(update->loss > 0 && update->loss < 20);
        assert_int_equal(update->has_perturbed, job->method.kind != METHOD_SGD);
        if (pure)
            assert_true(update->loss == update->perturbed_loss);
        else if (update->has_perturbed)
            assert_true(update->loss != update->perturbed_loss);
        assert_close(update->lr, 0.05 * (1 + cos(M_PI * i / TINY_UPDATES)), 1e-15);
        assert_int_equal(update->sigma > 0, noisy);
        assert_true(update->seconds > 0);
    }
}

/* Batches of 16, 16, 16 and 2: the clean one of each update. The mixed methods read every other
 * batch of the stream for it. */
static void check_epochs(const struct record *record, int terms, int batches)
{
    static const int sizes[TINY_PER_EPOCH] = {16, 16, 16, 2};

    assert_int_equal(record->n_epochs, TINY_EPOCHS);
    for (int e = 0; e < TINY_EPOCHS; e++) {
        const struct engine_epoch *epoch = &record->epoch[e];
        double loss = 0, samples = 0;

        for (int i = 0; i < TINY_PER_EPOCH; i++) {
            int size = sizes[i * batches % TINY_PER_EPOCH];

            loss += record->update[e * TINY_PER_EPOCH + i].loss * size;
            samples += size;
        }
        assert_int_equal(epoch->epoch, e + 1);
        assert_int_equal(epoch->update, (e + 1) * TINY_PER_EPOCH);
        assert_close(epoch->train_loss, loss / samples, 1e-12);
        assert_close(fmod(epoch->train_top1 * samples + 0.5, 1), 0.5, 1e-9);
        assert_true(epoch->evaluated);
        assert_true(epoch->test_loss > 0 && epoch->test_top1 <= epoch->test_top5);
        assert_close(fmod(epoch->test_top1 * 500 + 0.5, 1), 0.5, 1e-9);
        assert_true(epoch->test_top5 > 0.3 && epoch->test_top5 <= 1);
        assert_int_equal(epoch->gradient_evaluations, (e + 1) * TINY_PER_EPOCH * terms);
    }
}

static void a_run_tells_all(void **state)
{
    static const int terms[] = {1, 2, 1, 1, 2, 2, 2}, batches[] = {1, 1, 1, 1, 2, 2, 1};

    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++)
        for (int method = METHOD_SGD; method < METHOD_KINDS; method++) {
            struct engine_job job = tiny_job(method, devices[d]);
            struct record *record = record_new();

            assert_int_equal(record_run_well(record, &job, NULL), ENGINE_FINISHED);
            check_updates(record, &job);
            check_epochs(record, terms[method], batches[method]);
            assert_int_equal(record->n_checkpoints, TINY_EPOCHS);
            assert_true(record->final);
            assert_int_equal(record->n_messages, 1);
            record_free(record);
        }
}

static void training_learns(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct record *record = record_new();

    (void)state;
    job.dataset = (struct job_dataset){.kind = DATASET_DIGITS, .train_limit = 200};
    job.epochs = 10;
    record_run_well(record, &job, NULL);
    assert_true(record->epoch[9].test_top1 > 0.6);
    assert_true(record->epoch[9].train_top1 > 0.85);
    record_free(record);
}

/* The same numbers, to what fp32 allows over a first few updates. */
static void the_backends_agree(void **state)
{
    (void)state;
    for (int method = METHOD_SGD; method < METHOD_KINDS; method++) {
        struct record *a = record_new(), *b = record_new();
        struct engine_job job = tiny_job(method, DEVICE_REFERENCE);

        job.epochs = 1;
        record_run_well(a, &job, NULL);
        job.device = DEVICE_CPU;
        record_run_well(b, &job, NULL);
        for (int i = 0; i < TINY_PER_EPOCH; i++)
            assert_close(a->update[i].loss, b->update[i].loss, i == 0 ? 1e-5 : 1e-3);
        record_free(a);
        record_free(b);
    }
}

/* Of the first update tightly: the reference's telemetry is PyTorch's (test_golden). */
static void compare_telemetry(const struct telemetry *a, const struct telemetry *b)
{
    assert_int_equal(a->update, 1);
    assert_int_equal(b->update, 1);
    for (int i = 0; i < TELEMETRY_VALUES; i++) {
        assert_int_equal(a->known[i], b->known[i]);
        if (a->known[i])
            assert_close(a->value[i] / b->value[i], 1, 1e-4);
    }
}

static void telemetry_is_the_same_on_both_backends(void **state)
{
    (void)state;
    for (int method = METHOD_SGD; method < METHOD_KINDS; method++) {
        struct record *a = record_new(), *b = record_new();
        struct engine_job job = tiny_job(method, DEVICE_REFERENCE);

        job.epochs = 1;
        job.telemetry.every_updates = 1;
        record_run_well(a, &job, NULL);
        job.device = DEVICE_CPU;
        record_run_well(b, &job, NULL);
        assert_int_equal(a->n_telemetry, TINY_PER_EPOCH);
        assert_int_equal(b->n_telemetry, TINY_PER_EPOCH);
        compare_telemetry(&a->telemetry[0], &b->telemetry[0]);
        record_free(a);
        record_free(b);
    }
}

/* Measuring changes nothing. */
static void a_measured_run_has_the_same_bits(void **state)
{
    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++)
        for (int method = METHOD_SGD; method < METHOD_KINDS; method++) {
            struct record *plain = record_new(), *measured = record_new();
            struct engine_job job = tiny_job(method, devices[d]);

            record_run_well(plain, &job, NULL);
            job.telemetry.every_updates = 3;
            record_run_well(measured, &job, NULL);
            assert_int_equal(measured->n_telemetry, TINY_UPDATES / 3);
            assert_int_equal(plain->n_telemetry, 0);
            assert_checkpoints_equal(&plain->checkpoint, &measured->checkpoint);
            record_free(plain);
            record_free(measured);
        }
}

/* --- checkpoints ------------------------------------------------------------------------------ */

static void count_roles(const struct checkpoint *checkpoint, int counts[TENSOR_ROLES])
{
    memset(counts, 0, sizeof(int) * TENSOR_ROLES);
    for (int i = 0; i < checkpoint->n_tensors; i++)
        counts[checkpoint->tensors[i].role]++;
}

static void assert_shape(const struct tensor *tensor, enum tensor_type type, int rank,
                         const int64_t *dim)
{
    assert_int_equal(tensor->type, type);
    assert_int_equal(tensor->rank, rank);
    for (int d = 0; d < rank; d++)
        assert_int_equal(tensor->dim[d], dim[d]);
}

static void a_checkpoint_holds_the_pytorch_model_and_more(void **state)
{
    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++) {
        enum tensor_type real = devices[d] == DEVICE_CPU ? TENSOR_F32 : TENSOR_F64;
        struct engine_job job = tiny_job(METHOD_M_ARWP, devices[d]);
        struct record *record = record_new();
        const struct checkpoint *checkpoint = &record->checkpoint;
        const struct tensor *tracked;
        int counts[TENSOR_ROLES];

        record_run_well(record, &job, NULL);
        count_roles(checkpoint, counts);
        /* stem 3, first block 6, second block 9, linear 2; six batch norms */
        assert_int_equal(counts[TENSOR_PARAMETER], 20);
        assert_int_equal(counts[TENSOR_BUFFER], 3 * 6);
        assert_int_equal(counts[TENSOR_MOMENTUM], 20);
        assert_int_equal(counts[TENSOR_FISHER], 20);
        assert_int_equal(counts[TENSOR_PROGRESS], 2); /* sums, and the dataset's digest */
        assert_int_equal(counts[TENSOR_SQUARES], 0);  /* Adam's */
        assert_shape(checkpoint_find(checkpoint, TENSOR_PARAMETER, "layer2.0.conv1.weight"), real,
                     4, (int64_t[]){8, 4, 3, 3});
        assert_shape(checkpoint_find(checkpoint, TENSOR_MOMENTUM, "fc.weight"), real, 2,
                     (int64_t[]){10, 8});
        assert_shape(checkpoint_find(checkpoint, TENSOR_FISHER, "fc.weight"), real, 1,
                     (int64_t[]){10});
        assert_shape(checkpoint_find(checkpoint, TENSOR_FISHER, "layer2.0.bn1.bias"), real, 1,
                     (int64_t[]){8});
        assert_shape(
            checkpoint_find(checkpoint, TENSOR_BUFFER, "layer2.0.downsample.1.running_var"), real,
            1, (int64_t[]){8});
        tracked = checkpoint_find(checkpoint, TENSOR_BUFFER, "bn1.num_batches_tracked");
        assert_shape(tracked, TENSOR_I64, 0, NULL);
        assert_int_equal(*(const int64_t *)tracked->data, TINY_UPDATES);
        record_free(record);
    }
}

static void only_adaptive_methods_keep_fisher_numbers(void **state)
{
    (void)state;
    for (int method = METHOD_SGD; method < METHOD_KINDS; method++) {
        struct engine_job job = tiny_job(method, DEVICE_REFERENCE);
        struct record *record = record_new();
        int counts[TENSOR_ROLES];

        job.epochs = 1;
        record_run_well(record, &job, NULL);
        count_roles(&record->checkpoint, counts);
        assert_int_equal(counts[TENSOR_FISHER] > 0,
                         method == METHOD_ARWP || method == METHOD_M_ARWP);
        record_free(record);
    }
}

static void checkpoints_and_evaluations_come_as_asked(void **state)
{
    struct engine_job job = tiny_job(METHOD_RWP, DEVICE_REFERENCE);
    struct record *record = record_new();

    (void)state;
    job.epochs = 5;
    job.evaluate.every_epochs = 2;
    job.checkpoint.every_epochs = 3;
    record_run_well(record, &job, NULL);
    assert_int_equal(record->n_epochs, 5);
    for (int e = 0; e < 5; e++)
        assert_int_equal(record->epoch[e].evaluated, e == 1 || e >= 3);
    assert_int_equal(record->n_checkpoints, 2); /* epoch 3 and the end */
    record_rewind(record);
    job.checkpoint.every_epochs = 0;
    record_run_well(record, &job, NULL);
    assert_int_equal(record->n_checkpoints, 1);
    record_free(record);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void requests_are_heard(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct record *record = record_new();

    (void)state;
    job.checkpoint.every_epochs = 0;
    record->ask_at = 6;
    record->ask = ENGINE_ABANDON;
    assert_int_equal(record_run_well(record, &job, NULL), ENGINE_ABANDONED);
    assert_int_equal(record->n_updates, 6);
    assert_int_equal(record->n_checkpoints, 0);
    record_rewind(record);
    record->ask_at = 6;
    record->ask = ENGINE_STOP;
    assert_int_equal(record_run_well(record, &job, NULL), ENGINE_STOPPED);
    assert_int_equal(record->n_updates, 6);
    assert_int_equal(record->checkpoint.update, 6);
    assert_false(record->final);
    record_free(record);
}

static void assert_ends_full(struct record *record)
{
    struct engine_job job = tiny_job(METHOD_M_RWP, DEVICE_REFERENCE);
    enum engine_outcome outcome;
    struct err err = {0};

    assert_int_equal(record_run(record, &job, NULL, &outcome, &err), ERR_FULL);
    assert_string_equal(err.message, "no room in this test");
}

static void a_sinks_error_ends_the_run(void **state)
{
    struct record *record = record_new();

    (void)state;
    record->refuse_update = 3;
    assert_ends_full(record);
    assert_int_equal(record->n_updates, 3);
    record_rewind(record);
    record->refuse_epoch = 2;
    assert_ends_full(record);
    assert_int_equal(record->n_updates, 8);
    record_rewind(record);
    record->refuse_checkpoint = TINY_EPOCHS; /* the final one */
    assert_ends_full(record);
    assert_int_equal(record->n_updates, TINY_UPDATES);
    record_free(record);
}

static void a_sink_may_be_deaf(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct engine_sink sink = {0};
    atomic_int request = ENGINE_CONTINUE;
    enum engine_outcome outcome;
    struct engine_run *run;
    struct err err;

    (void)state;
    job.epochs = 1;
    assert_int_equal(engine_run_open(&run, &job, 1, &sink, &err), 0);
    assert_int_equal(engine_run_train(run, &request, &outcome, &err), 0);
    assert_int_equal(outcome, ENGINE_FINISHED);
    engine_run_close(run);
}

static void divergence_is_told(void **state)
{
    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++) {
        struct engine_job job = tiny_job(METHOD_SGD, devices[d]);
        struct record *record = record_new();
        enum engine_outcome outcome;
        struct err err = {0};
        char wanted[64];

        job.optimizer.lr = 1e9;
        job.schedule.kind = SCHEDULE_CONSTANT;
        job.epochs = 100;
        job.evaluate.every_epochs = 100;
        job.checkpoint.every_epochs = 0;
        assert_int_equal(record_run(record, &job, NULL, &outcome, &err), ERR_DIVERGED);
        assert_true(record->n_updates > 1);
        snprintf(wanted, sizeof wanted, "the loss of update %d is", record->n_updates);
        assert_non_null(strstr(err.message, wanted));
        assert_false(isfinite(record->update[record->n_updates - 1].loss));
        assert_true(isfinite(record->update[record->n_updates - 2].loss));
        assert_int_equal(record->n_checkpoints, 0);
        record_free(record);
    }
}

static void senseless_jobs_do_not_open(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_CPU);
    struct engine_sink sink = {0};
    struct engine_run *run = NULL;
    struct err err;

    (void)state;
    job.precision = PRECISION_FP64;
    assert_int_equal(engine_run_open(&run, &job, 1, &sink, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "/precision"));
    job = tiny_job(METHOD_SGD, DEVICE_CPU);
    job.batch_size = 51;
    assert_int_equal(engine_run_open(&run, &job, 1, &sink, &err), ERR_INVALID);
    job = tiny_job(METHOD_SGD, DEVICE_CPU);
    job.dataset = (struct job_dataset){.kind = DATASET_IDX, .path = "/nonexistent"};
    assert_int_equal(engine_run_open(&run, &job, 1, &sink, &err), ERR_NOT_FOUND);
    assert_null(run);
    engine_run_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_tells_all),
        cmocka_unit_test(training_learns),
        cmocka_unit_test(the_backends_agree),
        cmocka_unit_test(telemetry_is_the_same_on_both_backends),
        cmocka_unit_test(a_measured_run_has_the_same_bits),
        cmocka_unit_test(a_checkpoint_holds_the_pytorch_model_and_more),
        cmocka_unit_test(only_adaptive_methods_keep_fisher_numbers),
        cmocka_unit_test(checkpoints_and_evaluations_come_as_asked),
        cmocka_unit_test(requests_are_heard),
        cmocka_unit_test(a_sinks_error_ends_the_run),
        cmocka_unit_test(a_sink_may_be_deaf),
        cmocka_unit_test(divergence_is_told),
        cmocka_unit_test(senseless_jobs_do_not_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
