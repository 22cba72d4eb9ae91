/* The CPU backend's fp32 against PyTorch's float64, each run: the first update tightly, and ten
 * updates loosely (the paths of two precisions part at a ReLU's kink sooner or later). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "golden_run.h"

#define UPDATES      10
#define FIRST_LOSS   2e-6 /* relative */
#define LATER_LOSS   1e-2
#define FIRST_TENSOR 5e-5 /* of the root mean square of the tensor */
#define NOTHING      1e-12 /* a root mean square that is rounding alone: a bias before a batch norm */
#define ROUNDING     1e-6 /* what fp32 may make of nothing */

static void losses_agree(const struct golden_run *golden, const struct record *record)
{
    assert_int_equal(record->n_updates, UPDATES);
    for (int i = 0; i < UPDATES; i++) {
        const struct golden_update *want = &golden->updates[i];
        const struct engine_update *have = &record->update[i];
        double tolerance = i == 0 ? FIRST_LOSS : LATER_LOSS;

        if (!(fabs(have->loss - want->loss) <= tolerance * want->loss))
            fail_msg("loss of update %d: %.9g, PyTorch has %.9g", i + 1, have->loss, want->loss);
        assert_int_equal(have->has_perturbed, !isnan(want->perturbed_loss));
        if (have->has_perturbed && !(fabs(have->perturbed_loss - want->perturbed_loss) <=
                                     tolerance * want->perturbed_loss))
            fail_msg("perturbed loss of update %d: %.9g, PyTorch has %.9g", i + 1,
                     have->perturbed_loss, want->perturbed_loss);
    }
}

/* Weights, statistics, momentum (which is the gradient here) and Fisher numbers. */
static void tensor_agrees(const struct golden_tensor *want, const struct tensor *have)
{
    double scale = sqrt(want->squares / (double)want->n), norm = 0;

    assert_int_equal(tensor_elements(have), want->n);
    if (scale < NOTHING) {
        for (size_t i = 0; i < want->n; i++)
            assert_true(fabs(tensor_element(have, i)) <= ROUNDING);
        return;
    }
    for (int i = 0; i < want->n_places; i++) {
        double value = tensor_element(have, want->at[i]);

        if (!(fabs(value - want->value[i]) <= FIRST_TENSOR * scale))
            fail_msg("%s (role %d) element %zu after the first update: %.9g, PyTorch has %.9g",
                     want->name, (int)want->role, want->at[i], value, want->value[i]);
    }
    for (size_t i = 0; i < want->n; i++)
        norm += pow(tensor_element(have, i), 2);
    if (!(fabs(norm - want->squares) <= FIRST_TENSOR * want->squares))
        fail_msg("%s (role %d) squares after the first update: %.9g, PyTorch has %.9g", want->name,
                 (int)want->role, norm, want->squares);
}

static void compare_run(const char *name)
{
    struct golden_run *golden = golden_run_open(name);
    struct record *first, *ten;

    golden->job.device = DEVICE_CPU;
    golden->job.precision = PRECISION_FP32;
    first = golden_train(&golden->job, 1);
    ten = golden_train(&golden->job, UPDATES);
    for (int i = 0; i < golden->n_tensors; i++) {
        const struct golden_tensor *want = &golden->tensors[i];

        if (want->update == 1)
            tensor_agrees(want, checkpoint_find(&first->checkpoint, want->role, want->name));
    }
    losses_agree(golden, ten);
    record_free(first);
    record_free(ten);
    golden_run_close(golden);
}

static void run_follows_pytorch(void **state)
{
    compare_run(*state);
}

int main(void)
{
    static char runs[][16] = {"sgd",       "sam",      "rwp",
                              "arwp",      "m-rwp",    "m-arwp",
                              "uneven",    "resnet50", "resnet101",
                              "preresnet", "vgg16",    "resnet18-large",
                              "wrn",       "vgg19",    "resnet50-large",
                              "vit",       "vit-sgd",  "vit-s16",
                              "nesterov",  "adam",     "adamw",
                              "clipped",   "warm-up",  "steps",
                              "passes",    "asam",     "samples",
                              "m-samples", "sam-both", "sam-perturbed",
                              "rwp-clean", "m-both",   "vit-samples",
                              "wrn-both"};
    struct CMUnitTest tests[ARRAY_LENGTH(runs)];

    for (size_t i = 0; i < ARRAY_LENGTH(runs); i++)
        tests[i] = (struct CMUnitTest){
            .name = runs[i], .test_func = run_follows_pytorch, .initial_state = runs[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
