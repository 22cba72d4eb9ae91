/* The reference backend against PyTorch's float64: every update of the run that is named as
 * argument, for a method's name the 600 of the demonstration. Nothing is shared with PyTorch but
 * the draws' definition, so an error in a gradient, a method, a schedule or the order of anything
 * shows in some loss.
 *
 * GOLDEN_UPDATES=N in the environment stops each run after N updates: under a sanitizer, whose
 * subject is the code and not the numbers, the rest would only repeat them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "golden_run.h"

/* Relative where a number is above 1, else absolute. */
#define TOLERANCE 1e-8

static const char *name;
static struct golden_run *golden;
static struct record *ours;
static struct record *first; /* stopped after the first update */
static int n_updates;        /* of the run, or fewer where the environment asks for fewer */

static void agree(double have, double want, const char *what, uint64_t number)
{
    if (isnan(have) && isnan(want))
        return;
    /* Written so that one NaN fails. */
    if (!(fabs(have - want) <= TOLERANCE * fmax(1, fabs(want))))
        fail_msg("%s %llu: %.17g, PyTorch has %.17g, off by %.3g", what, (unsigned long long)number,
                 have, want, have - want);
}

static int train(void **state)
{
    const char *fewer = getenv("GOLDEN_UPDATES");
    struct engine_job job;

    (void)state;
    golden = golden_run_open(name);
    n_updates = golden->n_updates;
    if (fewer && atoi(fewer) > 0 && atoi(fewer) < n_updates)
        n_updates = atoi(fewer);
    job = golden->job;
    job.device = DEVICE_REFERENCE;
    job.precision = PRECISION_FP64;
    first = golden_train(&job, 1);
    ours = golden_train(&job, n_updates < golden->n_updates ? (uint64_t)n_updates : UINT64_MAX);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    if (first)
        record_free(first);
    if (ours)
        record_free(ours);
    golden_run_close(golden);
    return 0;
}

static void every_loss_agrees(void **state)
{
    (void)state;
    assert_int_equal(ours->n_updates, n_updates);
    for (int i = 0; i < n_updates; i++) {
        const struct engine_update *update = &ours->update[i];

        assert_int_equal(update->update, i + 1);
        agree(update->loss, golden->updates[i].loss, "loss of update", update->update);
        agree(update->has_perturbed ? update->perturbed_loss : NAN,
              golden->updates[i].perturbed_loss, "perturbed loss of update", update->update);
    }
}

static void schedules_agree(void **state)
{
    (void)state;
    for (int i = 0; i < golden->n_steps && golden->steps[i].update <= (uint64_t)n_updates; i++) {
        const struct golden_step *step = &golden->steps[i];
        const struct engine_update *update = &ours->update[step->update - 1];

        agree(update->lr, step->lr, "learning rate of update", step->update);
        agree(update->sigma, step->sigma, "sigma of update", step->update);
    }
}

static void telemetry_agrees(void **state)
{
    int n = 0;

    (void)state;
    while (n < golden->n_telemetry && golden->telemetry[n].update <= (uint64_t)n_updates)
        n++;
    assert_int_equal(ours->n_telemetry, n);
    for (int i = 0; i < n; i++) {
        const struct golden_telemetry *want = &golden->telemetry[i];
        const struct telemetry *have = &ours->telemetry[i];

        assert_int_equal(have->update, want->update);
        for (int v = 0; v < TELEMETRY_VALUES; v++) {
            if (have->known[v] == isnan(want->value[v]))
                fail_msg("%s is told for %s", telemetry_names[v], name);
            agree(have->known[v] ? have->value[v] : NAN, want->value[v], telemetry_names[v],
                  want->update);
        }
    }
}

static void every_epoch_agrees(void **state)
{
    (void)state;
    /* A run that is stopped ends before it evaluates the epoch that its last update ended. */
    assert_int_equal(ours->n_epochs, n_updates < golden->n_updates
                                         ? (n_updates - 1) * golden->n_epochs / golden->n_updates
                                         : golden->n_epochs);
    for (int i = 0; i < ours->n_epochs; i++) {
        const struct golden_epoch *want = &golden->epochs[i];
        const struct engine_epoch *have = &ours->epoch[i];
        uint64_t number = (uint64_t)have->epoch;

        assert_int_equal(number, i + 1);
        assert_true(have->evaluated);
        agree(have->train_loss, want->train_loss, "training loss of epoch", number);
        agree(have->train_top1, want->train_top1, "training top-1 of epoch", number);
        agree(have->test_loss, want->test_loss, "test loss of epoch", number);
        agree(have->test_top1, want->test_top1, "test top-1 of epoch", number);
        agree(have->test_top5, want->test_top5, "test top-5 of epoch", number);
    }
}

static void tensor_agrees(const struct record *record, const struct golden_tensor *want)
{
    const struct tensor *have = checkpoint_find(&record->checkpoint, want->role, want->name);
    double sum = 0, squares = 0;
    char what[TENSOR_NAME_MAX + 40];

    assert_int_equal(tensor_elements(have), want->n);
    snprintf(what, sizeof what, "%s (role %d) element", want->name, (int)want->role);
    for (int i = 0; i < want->n_places; i++)
        agree(tensor_element(have, want->at[i]), want->value[i], what, want->at[i]);
    for (size_t i = 0; i < want->n; i++) {
        double value = tensor_element(have, i);

        sum += value;
        squares += value * value;
    }
    snprintf(what, sizeof what, "%s (role %d) sum after update", want->name, (int)want->role);
    agree(sum, want->sum, what, want->update);
    snprintf(what, sizeof what, "%s (role %d) squares after update", want->name, (int)want->role);
    agree(squares, want->squares, what, want->update);
}

/* Compares what the golden file has of this update; it has every tensor that trains. */
static void state_agrees(const struct record *record, uint64_t update)
{
    int n = 0;

    assert_int_equal(record->checkpoint.update, update);
    for (int i = 0; i < golden->n_tensors; i++) {
        if (golden->tensors[i].update != update)
            continue;
        tensor_agrees(record, &golden->tensors[i]);
        n++;
    }
    for (int i = 0; i < record->checkpoint.n_tensors; i++) {
        const struct tensor *tensor = &record->checkpoint.tensors[i];

        n -= tensor->role != TENSOR_PROGRESS && tensor->type != TENSOR_I64;
    }
    assert_int_equal(n, 0);
}

static void the_state_agrees_after_one_update(void **state)
{
    (void)state;
    state_agrees(first, 1);
}

static void the_state_agrees_at_the_end(void **state)
{
    (void)state;
    if (n_updates < golden->n_updates)
        skip();
    assert_true(ours->final);
    state_agrees(ours, (uint64_t)golden->n_updates);
}

/* Each model's weights, those after one update, begin a job of another method on either device. */
static void another_run_begins_with_the_weights(void **state)
{
    (void)state;
    for (int device = DEVICE_CPU; device <= DEVICE_REFERENCE; device++) {
        struct engine_job job = golden->job;
        struct record *own = record_new();

        job.device = device;
        job.method = (struct job_method){.kind = METHOD_SAM, .rho = 0.05};
        record_begin(own, &job, &first->checkpoint);
        assert_begun(&own->checkpoint, &first->checkpoint, device == DEVICE_REFERENCE);
        record_free(own);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_state_agrees_after_one_update),
        cmocka_unit_test(schedules_agree),
        cmocka_unit_test(every_loss_agrees),
        cmocka_unit_test(telemetry_agrees),
        cmocka_unit_test(every_epoch_agrees),
        cmocka_unit_test(the_state_agrees_at_the_end),
        cmocka_unit_test(another_run_begins_with_the_weights),
    };

    if (argc != 2) {
        fprintf(stderr, "usage: %s RUN\n", argv[0]);
        return 2;
    }
    name = argv[1];
    return cmocka_run_group_tests_name(name, tests, train, clean_up);
}
