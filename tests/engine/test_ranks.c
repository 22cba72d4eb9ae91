/* An update spread over ranks: together they do what one rank does, bit for bit the same on all,
 * however a run ends. What each has to do is test_ranks_plan's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "record.h"
#include "run/state.h"

/* oneDNN keeps primitives for all threads, and ThreadSanitizer cannot see how it guards them. */
#if defined(__SANITIZE_THREAD__)
static const int devices[] = {DEVICE_REFERENCE};
#else
static const int devices[] = {DEVICE_REFERENCE, DEVICE_CPU};
#endif

/* --- numbers ---------------------------------------------------------------------------------- */

static double value_of(const struct tensor *tensor, size_t i)
{
    return tensor->type == TENSOR_F32   ? (double)((const float *)tensor->data)[i]
           : tensor->type == TENSOR_F64 ? ((const double *)tensor->data)[i]
                                        : (double)((const int64_t *)tensor->data)[i];
}

/* All that a run knows at its end, each tensor by its largest number. */
static void assert_checkpoints_near(const struct checkpoint *a, const struct checkpoint *b,
                                    double tolerance)
{
    assert_int_equal(a->update, b->update);
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (int t = 0; t < a->n_tensors; t++) {
        double most = 1e-3, apart = 0;

        for (size_t i = 0; i < tensor_elements(&a->tensors[t]); i++) {
            double x = value_of(&a->tensors[t], i), y = value_of(&b->tensors[t], i);

            most = fmax(most, fabs(y));
            apart = fmax(apart, fabs(x - y));
        }
        if (!(apart <= tolerance * most))
            fail_msg("%s (role %d): %g apart of %g", a->tensors[t].name, a->tensors[t].role, apart,
                     most);
    }
}

/* Without batch norm and dropout, so that a sample's gradient is its own. */
static struct engine_job plain_job(int method, int device)
{
    struct engine_job job = tiny_job(method, device), vit;

    engine_job_defaults(&vit, MODEL_VIT, DATASET_DIGITS, method);
    job.model = vit.model;
    job.model.width = 8;
    job.model.depth = 1;
    job.model.heads = 2;
    job.model.mlp = 8;
    job.model.patch = 4;
    job.model.dropout = job.model.embedding_dropout = 0;
    job.epochs = 2;
    job.telemetry.every_updates = 3;
    return job;
}

static void compare_told(const struct record *a, const struct record *b, double tolerance)
{
    assert_int_equal(a->n_updates, b->n_updates);
    for (int i = 0; i < a->n_updates; i++) {
        const struct engine_update *x = &a->update[i], *y = &b->update[i];

        assert_true(fabs(x->loss - y->loss) <= tolerance * y->loss);
        assert_true(fabs(x->perturbed_loss - y->perturbed_loss) <= tolerance * y->loss);
    }
    assert_int_equal(a->n_epochs, b->n_epochs);
    for (int i = 0; i < a->n_epochs; i++)
        assert_true(a->epoch[i].train_top1 == b->epoch[i].train_top1);
    assert_int_equal(a->n_telemetry, b->n_telemetry);
    for (int i = 0; i < a->n_telemetry; i++)
        for (int v = 0; v < TELEMETRY_VALUES; v++) {
            double x = a->telemetry[i].value[v], y = b->telemetry[i].value[v];

            assert_int_equal(a->telemetry[i].known[v], b->telemetry[i].known[v]);
            if (a->telemetry[i].known[v])
                assert_true(fabs(x - y) <= 10 * tolerance * fmax(fabs(y), 1e-3));
        }
}

/* fp32 rounds sums in another order: over a few updates only. */
static void ranks_do_what_one_does(void **state)
{
    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++)
        for (int method = METHOD_SGD; method < METHOD_KINDS; method++) {
            double tolerance = devices[d] == DEVICE_REFERENCE ? 1e-12 : 1e-5;
            struct engine_job job = plain_job(method, devices[d]);
            struct record *one = record_new();

            if (devices[d] == DEVICE_CPU) {
                job.epochs = 0;
                job.updates = 3;
            }
            record_run_well(one, &job, NULL);
            for (job.world_size = 2; job.world_size <= 4; job.world_size++) {
                struct record *many = record_new();

                record_run_well(many, &job, NULL);
                compare_told(many, one, tolerance);
                assert_checkpoints_near(&many->checkpoint, &one->checkpoint, tolerance);
                record_free(many);
            }
            record_free(one);
        }
}

static void two_end_as_one(struct engine_job *job)
{
    struct record *one = record_new(), *two = record_new();

    record_run_well(one, job, NULL);
    job->world_size = 2;
    record_run_well(two, job, NULL);
    assert_checkpoints_equal(&one->checkpoint, &two->checkpoint);
    record_free(one);
    record_free(two);
}

/* Each term is whole on a rank of its own: batch norm and dropout see what they saw. */
static void whole_terms_keep_their_bits(void **state)
{
    struct engine_job normed = tiny_job(METHOD_M_ARWP, DEVICE_REFERENCE);
    struct engine_job dropping = plain_job(METHOD_M_RWP, DEVICE_REFERENCE);

    (void)state;
    dropping.model.dropout = dropping.model.embedding_dropout = 0.3;
    two_end_as_one(&normed);
    two_end_as_one(&dropping);
}

/* Of a batch that is split, the first piece moves the running statistics: those of a run whose
 * batches are so large. */
static void the_first_piece_moves_the_statistics(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct record *two = record_new(), *half = record_new();

    (void)state;
    job.epochs = 0;
    job.updates = 1;
    job.world_size = 2;
    record_run_well(two, &job, NULL);
    job.world_size = 1;
    job.batch_size /= 2;
    record_run_well(half, &job, NULL);
    for (int t = 0; t < two->checkpoint.n_tensors; t++) {
        const struct tensor *x = &two->checkpoint.tensors[t], *y = &half->checkpoint.tensors[t];

        if (x->role == TENSOR_BUFFER)
            assert_memory_equal(x->data, y->data, tensor_bytes(x));
    }
    record_free(two);
    record_free(half);
}

/* A run that is stopped after `updates`, from a checkpoint or from the start. */
static void run_until(struct record *record, const struct engine_job *job,
                      const struct checkpoint *from, uint64_t updates)
{
    atomic_store(&record->request, updates == 0 ? ENGINE_STOP : ENGINE_CONTINUE);
    record->ask_at = updates;
    record->ask = ENGINE_STOP;
    assert_int_equal(record_run_well(record, job, from), ENGINE_STOPPED);
}

/* Writes the parameters of `from` over those of a checkpoint, and forgets the momentum. */
static void put_back(struct checkpoint *checkpoint, const struct checkpoint *from)
{
    for (int t = 0; t < checkpoint->n_tensors; t++) {
        const struct tensor *tensor = &checkpoint->tensors[t];
        void *data;

        memcpy(&data, &tensor->data, sizeof data); /* the test's, so not const */
        if (tensor->role == TENSOR_PARAMETER)
            memcpy(data, from->tensors[t].data, tensor_bytes(tensor));
        if (tensor->role == TENSOR_MOMENTUM)
            memset(data, 0, tensor_bytes(tensor));
    }
}

/* What batch norm makes of a split batch, from runs of one rank: each half by itself from the same
 * weights, and the mean of where they end. */
static void a_split_batch_is_the_mean_of_its_halves(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE), half;
    struct record *start = record_new(), *first = record_new(), *second = record_new();
    struct record *two = record_new();

    (void)state;
    job.schedule.kind = SCHEDULE_CONSTANT;
    half = job;
    half.batch_size /= 2;
    run_until(start, &half, NULL, 0);
    run_until(first, &half, NULL, 1);
    checkpoint_copy(&second->checkpoint, &first->checkpoint);
    put_back(&second->checkpoint, &start->checkpoint);
    run_until(second, &half, &second->checkpoint, 2);
    job.world_size = 2;
    run_until(two, &job, NULL, 1);
    for (int t = 0; t < two->checkpoint.n_tensors; t++) {
        const struct tensor *tensor = &two->checkpoint.tensors[t];

        for (size_t i = 0; i < tensor_elements(tensor) && tensor->role == TENSOR_PARAMETER; i++)
            assert_true(fabs(value_of(tensor, i) - (value_of(&first->checkpoint.tensors[t], i) +
                                                    value_of(&second->checkpoint.tensors[t], i)) /
                                                       2) < 1e-14);
    }
    assert_true(fabs(two->update[0].loss - (first->update[0].loss + second->update[0].loss) / 2) <
                1e-13);
    record_free(start);
    record_free(first);
    record_free(second);
    record_free(two);
}

/* --- ranks ------------------------------------------------------------------------------------ */

static void *bits_of(const struct engine_run *run, const struct vector *vector, size_t n)
{
    void *bits = malloc(n * sizeof(double));
    struct err err;

    assert_non_null(bits);
    if (run->class->vector_read(vector, 0, n, bits, &err))
        fail_msg("%s", err.message);
    return bits;
}

static void assert_same(const struct engine_run *run, const struct vector *first,
                        const struct engine_run *other, const struct vector *second, size_t n)
{
    void *a, *b;

    if (!first)
        return;
    a = bits_of(run, first, n);
    b = bits_of(other, second, n);
    assert_memory_equal(a, b, n * real_bytes(run->class->real));
    free(a);
    free(b);
}

static void all_ranks_have_the_same_bits(void **state)
{
    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++)
        for (int method = METHOD_SGD; method < METHOD_KINDS; method++) {
            struct engine_job job = tiny_job(method, devices[d]);
            struct record *record = record_new();
            struct engine_sink sink = record_sink(record);
            enum engine_outcome outcome;
            struct engine_run *run;
            struct err err;

            job.world_size = 3;
            job.optimizer.clip_norm = 1;
            job.epochs = 1;
            if (engine_run_open(&run, &job, 2, &sink, &err) ||
                engine_run_train(run, &record->request, &outcome, &err))
                fail_msg("%s", err.message);
            for (int r = 1; r < 3; r++) {
                const struct engine_run *other = run_rank(run, r);
                size_t n = run->params->size;

                assert_same(run, run->weights, other, other->weights, n);
                assert_same(run, run->momentum, other, other->momentum, n);
                assert_same(run, run->fisher, other, other->fisher, run->params->fisher_size);
                assert_same(run, run->states, other, other->states, run->states_layout->size);
            }
            engine_run_close(run);
            record_free(record);
        }
}

static void a_run_in_pieces_ends_with_the_same_bits(void **state)
{
    static const int methods[] = {METHOD_SGD, METHOD_SAM, METHOD_M_ARWP};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(methods) * ARRAY_LENGTH(devices); i++) {
        struct engine_job job = tiny_job(methods[i % 3], devices[i / 3]);
        struct record *whole = record_new(), *parts = record_new();

        job.world_size = 3;
        job.method.statistics = STATISTICS_PERTURBED;
        record_run_well(whole, &job, NULL);
        for (uint64_t stop = 1; stop < TINY_UPDATES; stop += 5) {
            const struct checkpoint *from = stop == 1 ? NULL : &parts->checkpoint;
            struct checkpoint copy = {0};

            if (from)
                checkpoint_copy(&copy, from);
            record_rewind(parts);
            parts->ask_at = stop;
            parts->ask = ENGINE_STOP;
            assert_int_equal(record_run_well(parts, &job, from ? &copy : NULL), ENGINE_STOPPED);
            assert_int_equal(parts->checkpoint.update, stop);
            checkpoint_clear(&copy);
        }
        record_rewind(parts);
        assert_int_equal(record_run_well(parts, &job, &parts->checkpoint), ENGINE_FINISHED);
        assert_checkpoints_equal(&whole->checkpoint, &parts->checkpoint);
        record_free(whole);
        record_free(parts);
    }
}

/* --- ends ------------------------------------------------------------------------------------- */

static void abandoning_ends_all_ranks(void **state)
{
    struct engine_job job = tiny_job(METHOD_M_RWP, DEVICE_REFERENCE);
    struct record *record = record_new();

    (void)state;
    job.world_size = 4;
    record->ask_at = 3;
    record->ask = ENGINE_ABANDON;
    assert_int_equal(record_run_well(record, &job, NULL), ENGINE_ABANDONED);
    assert_int_equal(record->n_updates, 3);
    record_free(record);
}

static int left_to_do;

/* As a device that breaks in the middle of a run. */
static int failing_execute(struct backend *backend, const struct pass *passes, int n,
                           struct err *err)
{
    if (left_to_do-- == 0)
        return err_set(err, ERR_DEVICE, "the device fell off the bus");
    return backend_reference.execute(backend, passes, n, err);
}

static int failing_update(struct backend *backend, const struct update *update, struct err *err)
{
    return failing_execute(backend, update->passes, update->n_passes, err);
}

/* The others wait for its gradient then. */
static void a_rank_that_fails_ends_the_run(void **state)
{
    (void)state;
    for (int failing = 0; failing < 3; failing++) {
        struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
        struct backend_class class = backend_reference;
        struct record *record = record_new();
        struct engine_sink sink = record_sink(record);
        enum engine_outcome outcome;
        struct engine_run *run;
        struct err err = {0};

        job.world_size = 3;
        if (engine_run_open(&run, &job, 3, &sink, &err))
            fail_msg("%s", err.message);
        class.execute = failing_execute;
        class.update = failing_update;
        left_to_do = 0;
        run_rank(run, failing)->class = &class;
        assert_int_equal(engine_run_train(run, &record->request, &outcome, &err), ERR_DEVICE);
        assert_string_equal(err.message, "the device fell off the bus");
        assert_int_equal(record->n_updates, 0);
        engine_run_close(run);
        record_free(record);
    }
}

static uint32_t drawn[4];

/* Notes what each rank's masks are drawn for. */
static int watched_update(struct backend *backend, const struct update *update, struct err *err)
{
    drawn[update->rank] = update->passes[0].draws.term;
    return backend_reference.update(backend, update, err);
}

static void the_passes_have_those_masks(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct backend_class class = backend_reference;
    struct record *record = record_new();
    struct engine_sink sink = record_sink(record);
    enum engine_outcome outcome;
    struct engine_run *run;
    struct err err;

    (void)state;
    job.world_size = 4;
    job.epochs = 0;
    job.updates = 1;
    assert_int_equal(engine_run_open(&run, &job, 1, &sink, &err), 0);
    class.update = watched_update;
    for (int r = 0; r < 4; r++)
        run_rank(run, r)->class = &class;
    assert_int_equal(engine_run_train(run, &record->request, &outcome, &err), 0);
    engine_run_close(run);
    for (int r = 0; r < 4; r++)
        assert_int_equal(drawn[r], recipe_draws(0, r));
    record_free(record);
}

static void divergence_is_told_as_on_one_rank(void **state)
{
    struct engine_job job = tiny_job(METHOD_M_RWP, DEVICE_REFERENCE);
    struct record *record = record_new();
    enum engine_outcome outcome;
    struct err err = {0};

    (void)state;
    job.world_size = 2;
    job.optimizer.lr = 1e200;
    assert_int_equal(record_run(record, &job, NULL, &outcome, &err), ERR_DIVERGED);
    assert_non_null(strstr(err.message, "loss of update"));
    record_free(record);
    record = record_new();
    job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    job.world_size = 4;
    record->refuse_update = 2;
    assert_int_equal(record_run(record, &job, NULL, &outcome, &err), ERR_FULL);
    record_free(record);
}

/* A run that is closed before it begins, and one that has more ranks than threads. */
static void a_run_need_not_begin(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, devices[ARRAY_LENGTH(devices) - 1]);
    const struct engine_sink sink = {0};
    struct engine_run *run;
    struct err err;

    (void)state;
    job.world_size = 8;
    assert_int_equal(engine_run_open(&run, &job, 1, &sink, &err), 0);
    engine_run_close(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_passes_have_those_masks),
        cmocka_unit_test(ranks_do_what_one_does),
        cmocka_unit_test(whole_terms_keep_their_bits),
        cmocka_unit_test(the_first_piece_moves_the_statistics),
        cmocka_unit_test(a_split_batch_is_the_mean_of_its_halves),
        cmocka_unit_test(all_ranks_have_the_same_bits),
        cmocka_unit_test(a_run_in_pieces_ends_with_the_same_bits),
        cmocka_unit_test(abandoning_ends_all_ranks),
        cmocka_unit_test(a_rank_that_fails_ends_the_run),
        cmocka_unit_test(divergence_is_told_as_on_one_rank),
        cmocka_unit_test(a_run_need_not_begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
