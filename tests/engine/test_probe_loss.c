/* Landscapes, radii and sharpness of a tiny net: against the loss that its weights have, written
 * down otherwise. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/digest.h"
#include "probe/directions.h"
#include "probe/tables.h"
#include "probe_record.h"
#include "record.h"
#include "support.h"

struct fixture {
    struct engine_job job;
    struct checkpoint weights, other;
    struct engine_probe_start start;
} fixture;

/* The other job drew other samples; the end of a line is measured with the first one's. */
static void forget_data(struct checkpoint *checkpoint)
{
    for (int i = 0; i < checkpoint->n_tensors; i++)
        if (!strcmp(checkpoint->tensors[i].name, DATASET_DIGEST_NAME))
            checkpoint->tensors[i].name[0] = '-';
}

static int set_up(void **state)
{
    (void)state;
    fixture.job = tiny_job(METHOD_M_ARWP, DEVICE_REFERENCE);
    fixture.job.model.width = 2;
    train_checkpoint(&fixture.job, &fixture.weights);
    fixture.job.seed = 2;
    train_checkpoint(&fixture.job, &fixture.other);
    forget_data(&fixture.other);
    fixture.job.seed = 1;
    fixture.start.weights = &fixture.weights;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    checkpoint_clear(&fixture.weights);
    checkpoint_clear(&fixture.other);
    return 0;
}

static struct engine_probe small_probe(int kind)
{
    struct engine_probe probe = probe_defaults(kind);

    probe.samples = 30;
    probe.draws = 3;
    probe.points = 3;
    probe.x.points = 5;
    probe.y.points = 3;
    return probe;
}

static struct probe_record measured(const struct engine_probe *probe,
                                    const struct engine_probe_start *start)
{
    struct probe_record record = {0};

    probe_record_whole(&record, &fixture.job, probe, start);
    return record;
}

/* The loss at a checkpoint, which any probe says. */
static double loss_of(const struct checkpoint *weights)
{
    struct engine_probe probe = small_probe(PROBE_SHARPNESS);
    struct engine_probe_start start = {.weights = weights};
    struct probe_record record = measured(&probe, &start);
    double loss = probe_row_of(&record, TABLE_SUMMARY, 0)[SHARPNESS_LOSS];

    probe_record_free(&record);
    return loss;
}

/* ---- landscape ---- */

static const double *point_of(const struct probe_record *record, int64_t number)
{
    return probe_row_of(record, LANDSCAPE_POINTS, number);
}

static void a_grids_middle_is_the_checkpoint(void **state)
{
    static const int directions[] = {DIRECTION_RANDOM, DIRECTION_GRADIENT, DIRECTION_EIGENVECTOR};
    struct engine_probe probe = small_probe(PROBE_LANDSCAPE);
    double loss = loss_of(&fixture.weights);

    (void)state;
    probe.steps = 10;
    probe.y.direction = DIRECTION_RANDOM;
    for (size_t i = 0; i < sizeof directions / sizeof *directions; i++) {
        struct probe_record record;

        probe.x.direction = directions[i];
        record = measured(&probe, &fixture.start);
        assert_int_equal(probe_rows_of(&record, LANDSCAPE_POINTS), 15);
        assert_near(point_of(&record, 7)[0], 0, 0);
        assert_near(point_of(&record, 7)[1], 0, 0);
        assert_near(point_of(&record, 7)[2], loss, 1e-12);
        assert_near(point_of(&record, 3)[0], 0.5, 0);
        assert_near(point_of(&record, 3)[1], -1, 0);
        assert_true(point_of(&record, 3)[2] != loss);
        assert_near(probe_row_of(&record, TABLE_SUMMARY, 0)[LANDSCAPE_LOSS], loss, 1e-12);
        probe_record_free(&record);
    }
}

static const float *part(const struct probe_record *record, const char *name)
{
    return checkpoint_find(&record->vectors, TENSOR_PARAMETER, name)->data;
}

/* Along the gradient, of length 1, the loss rises as its norm says; eigenvectors are the
 * spectrum's, the second one where both axes ask for one. (No differences of second order: a ReLU's
 * kinks spoil them.) */
static void directions_are_what_they_say(void **state)
{
    struct engine_probe probe = small_probe(PROBE_LANDSCAPE);
    struct engine_probe spectrum = small_probe(PROBE_SPECTRUM);
    struct probe_record record, truth;
    double norm, step = 1e-4;

    (void)state;
    spectrum.runs = 1;
    spectrum.steps = probe.steps = 30;
    spectrum.trace_draws = 0;
    spectrum.save_vectors = probe.save_vectors = true;
    truth = measured(&spectrum, &fixture.start);
    norm = probe_row_of(&truth, TABLE_SUMMARY, 0)[SPECTRUM_GRADIENT_NORM];
    probe.x = (struct probe_axis){DIRECTION_GRADIENT, NORMALISE_AUTO, -step, step, 3};
    probe.y = (struct probe_axis){DIRECTION_EIGENVECTOR, NORMALISE_AUTO, 0, 0, 1};
    record = measured(&probe, &fixture.start);
    assert_near((point_of(&record, 2)[2] - point_of(&record, 0)[2]) / (2 * step), norm,
                0.01 * norm);
    assert_near(probe_row_of(&record, TABLE_SUMMARY, 0)[LANDSCAPE_X_NORM], 1, 1e-6);
    for (int i = 0; i < 10; i++)
        assert_near((double)part(&record, "y/fc.bias")[i],
                    (double)part(&truth, "eigenvector1/fc.bias")[i], 1e-6);
    probe_record_free(&record);
    probe.x.direction = DIRECTION_EIGENVECTOR;
    record = measured(&probe, &fixture.start);
    for (int i = 0; i < 10; i++)
        assert_near((double)part(&record, "y/fc.bias")[i],
                    (double)part(&truth, "eigenvector2/fc.bias")[i], 1e-6);
    assert_near(probe_row_of(&record, TABLE_SUMMARY, 0)[LANDSCAPE_COSINE], 0, 1e-6);
    probe_record_free(&record);
    probe_record_free(&truth);
}

static void a_line_joins_two_checkpoints(void **state)
{
    struct engine_probe probe = small_probe(PROBE_LANDSCAPE);
    struct engine_probe_start start = fixture.start;
    struct probe_record record;

    (void)state;
    probe.x = (struct probe_axis){DIRECTION_LINE, NORMALISE_AUTO, -1, 1, 5};
    probe.other.update = 4;
    start.other = &fixture.other;
    record = measured(&probe, &start);
    assert_near(point_of(&record, 2)[2], loss_of(&fixture.weights), 1e-12);
    assert_near(point_of(&record, 4)[2], loss_of(&fixture.other), 1e-12);
    assert_true(record.n_messages > 0);
    probe_record_free(&record);
}

/* Goldstein's: each filter has its weights' length, one-dimensional parameters stay; what was
 * taken away and is given again makes the same points. */
static void goldsteins_directions_can_be_given_again(void **state)
{
    struct engine_probe probe = small_probe(PROBE_LANDSCAPE);
    struct engine_probe_start start = fixture.start;
    struct probe_record one, two;
    const struct tensor *weight = checkpoint_find(&fixture.weights, TENSOR_PARAMETER, "fc.weight");

    (void)state;
    probe.preset = PRESET_NAMED;
    probe.y.direction = DIRECTION_RANDOM;
    probe.save_vectors = true;
    one = measured(&probe, &fixture.start);
    for (int64_t f = 0; f < weight->dim[0]; f++) {
        size_t n = (size_t)weight->dim[1], at = (size_t)f * n;

        assert_near(vectors_norm_f32(part(&one, "x/fc.weight") + at, n),
                    vectors_norm((const double *)weight->data + at, n), 1e-6);
    }
    for (int i = 0; i < 10; i++)
        assert_near((double)part(&one, "y/fc.bias")[i], 0, 0);
    start.vectors = &one.vectors;
    probe.preset = PRESET_NONE;
    probe.upload = 1;
    probe.x.direction = probe.y.direction = DIRECTION_GIVEN;
    two = measured(&probe, &start);
    for (int i = 0; i < 15; i++)
        assert_near(point_of(&two, i)[2], point_of(&one, i)[2], 0);
    probe_record_free(&one);
    probe_record_free(&two);
}

static void normalised_filters_have_their_lengths(void **state)
{
    struct layout_tensor tensors[] = {
        {.offset = 0, .size = 6, .filters = 2, .filter_size = 3},
        {.offset = 16, .size = 4, .filters = 1, .filter_size = 4, .elementwise = true}};
    struct layout layout = {.n = 2, .tensor = tensors, .size = 32};
    double w[32] = {3, 4, 0, 0, 0, 0, [16] = 1, 1, 1, 1};
    float d[32] = {1, 1, 1, 1, 1, 1, [16] = 2, 0, 0, 0};

    (void)state;
    directions_filter_normalise(&layout, w, d);
    assert_near(vectors_norm_f32(d, 3), 5, 1e-6);
    assert_near(vectors_norm_f32(d + 3, 3), 0, 0);
    assert_near((double)d[16], 2, 1e-6);
    directions_zero_1d(&layout, d);
    assert_near(vectors_norm_f32(d + 16, 4), 0, 0);
    assert_near(vectors_norm_f32(d, 3), 5, 1e-6);
}

/* ---- radius and sharpness ---- */

static const double *radius_row(const struct probe_record *record, int kind, int64_t point)
{
    return probe_row_of(record, RADIUS_POINTS, kind * 3 + point);
}

static void small_radii_change_little_and_large_ones_much(void **state)
{
    struct engine_probe probe = small_probe(PROBE_RADIUS);
    struct probe_record record;
    const double *summary;

    (void)state;
    probe.adaptive = true;
    probe.radius_min = 1e-6;
    probe.radius_max = 1;
    record = measured(&probe, &fixture.start);
    summary = probe_row_of(&record, TABLE_SUMMARY, 0);
    for (int kind = PERTURBED_PLAIN; kind <= PERTURBED_ADVERSARIAL; kind++) {
        const double *first = radius_row(&record, kind, 0), *last = radius_row(&record, kind, 2);

        assert_near(first[1], 1e-6, 1e-18);
        assert_near(radius_row(&record, kind, 1)[1], 1e-3, 1e-12);
        assert_near(first[2] * summary[RADIUS_WEIGHTS_NORM], 1e-6, 1e-12);
        assert_near(first[4], summary[RADIUS_LOSS], 1e-4);
        assert_true(fabs(last[4] - summary[RADIUS_LOSS]) > 1e-3);
        assert_true(kind == PERTURBED_ADVERSARIAL ? isnan(last[5]) : last[5] > 0);
        assert_near(last[7], kind == PERTURBED_ADVERSARIAL ? 1 : 3, 0);
    }
    /* First order: up along the gradient by its norm. */
    assert_near((radius_row(&record, PERTURBED_ADVERSARIAL, 0)[4] - summary[RADIUS_LOSS]) / 1e-6,
                summary[RADIUS_GRADIENT_NORM], 1e-3 * summary[RADIUS_GRADIENT_NORM]);
    assert_true(radius_row(&record, PERTURBED_ADVERSARIAL, 2)[4] >
                radius_row(&record, PERTURBED_FILTERWISE, 2)[4]);
    /* The Fisher numbers change the noise. */
    assert_true(radius_row(&record, PERTURBED_ADAPTIVE, 2)[4] !=
                radius_row(&record, PERTURBED_FILTERWISE, 2)[4]);
    probe_record_free(&record);
}

/* At the sigma that a radius names, sharpness' noise has that radius, and the same loss. */
static void radius_and_sharpness_agree(void **state)
{
    struct engine_probe radius = small_probe(PROBE_RADIUS);
    struct engine_probe sharpness = small_probe(PROBE_SHARPNESS);
    struct probe_record a, b;
    const double *draw, *summary;

    (void)state;
    radius.plain = false;
    radius.points = radius.draws = sharpness.draws = 1;
    radius.radius_min = 0.3;
    a = measured(&radius, &fixture.start);
    draw = probe_row_of(&a, RADIUS_DRAWS, 1);
    sharpness.sigma = draw[3];
    sharpness.rho = 0.3;
    b = measured(&sharpness, &fixture.start);
    summary = probe_row_of(&b, TABLE_SUMMARY, 0);
    assert_near(probe_row_of(&b, SHARPNESS_DRAWS, 0)[1], 0.3, 1e-12);
    assert_near(summary[SHARPNESS_AVERAGE_LOSS], draw[4], 1e-12);
    assert_near(summary[SHARPNESS_WORST_LOSS], probe_row_of(&a, RADIUS_POINTS, 3)[4], 1e-12);
    assert_near(summary[SHARPNESS_WORST_RISE],
                summary[SHARPNESS_WORST_LOSS] - summary[SHARPNESS_LOSS], 1e-12);
    assert_true(isnan(summary[SHARPNESS_AVERAGE_STANDARD_ERROR]));
    probe_record_free(&a);
    probe_record_free(&b);
}

/* With one batch, its own gradient is that of all samples; with several, it is another step. */
static void each_batch_can_climb_by_itself(void **state)
{
    struct engine_probe probe = small_probe(PROBE_SHARPNESS);
    double worst[2][2];

    (void)state;
    probe.rho = 0.5;
    for (int one = 0; one < 2; one++)
        for (int ascent = 0; ascent < 2; ascent++) {
            struct probe_record record;

            probe.batch_size = one ? 30 : 10;
            probe.ascent = ascent;
            record = measured(&probe, &fixture.start);
            worst[one][ascent] = probe_row_of(&record, TABLE_SUMMARY, 0)[SHARPNESS_WORST_LOSS];
            probe_record_free(&record);
        }
    assert_near(worst[1][ASCENT_BATCH], worst[1][ASCENT_SAMPLES], 1e-12);
    assert_true(worst[0][ASCENT_BATCH] > worst[0][ASCENT_SAMPLES]);
}

/* The suggestion is where the share is what was asked for, between two sigmas of the table. */
static void a_sigma_is_suggested(void **state)
{
    struct engine_probe probe = small_probe(PROBE_RADIUS);
    struct engine_job untrained = fixture.job;
    struct record *begin = record_new();
    struct engine_probe_start start = fixture.start;
    struct probe_record record;
    const double *summary, *low, *high;
    int64_t n;

    (void)state;
    probe.plain = probe.filterwise = probe.adversarial = false;
    probe.suggest = true;
    record = measured(&probe, &fixture.start);
    summary = probe_row_of(&record, TABLE_SUMMARY, 0);
    n = probe_rows_of(&record, RADIUS_SIGMAS);
    assert_true(n > 1);
    low = probe_row_of(&record, RADIUS_SIGMAS, n - 2);
    high = probe_row_of(&record, RADIUS_SIGMAS, n - 1);
    assert_true(low[5] <= 0.5 && high[5] > 0.5);
    assert_true(summary[RADIUS_SUGGESTED_SIGMA] >= low[0] &&
                summary[RADIUS_SUGGESTED_SIGMA] <= high[0]);
    assert_near(summary[RADIUS_GUESSING_LOSS], log(10), 1e-12);
    assert_non_null(strstr(record.message, "suggested sigma"));
    probe_record_free(&record);
    /* Nothing has been learnt at the start. */
    record_begin(begin, &untrained, &fixture.weights);
    for (int t = 0; t < begin->checkpoint.n_tensors; t++) {
        const struct tensor *tensor = &begin->checkpoint.tensors[t];
        void *data;

        memcpy(&data, &tensor->data, sizeof data);
        if (tensor->role == TENSOR_PARAMETER)
            memset(data, 0, tensor_bytes(tensor));
    }
    start.weights = &begin->checkpoint;
    record = measured(&probe, &start);
    assert_true(isnan(probe_row_of(&record, TABLE_SUMMARY, 0)[RADIUS_SUGGESTED_SIGMA]));
    assert_non_null(strstr(record.message, "no sigma is suggested"));
    probe_record_free(&record);
    record_free(begin);
}

static void pieces_make_the_whole(void **state)
{
    struct engine_probe probes[] = {small_probe(PROBE_LANDSCAPE), small_probe(PROBE_RADIUS),
                                    small_probe(PROBE_SHARPNESS)};

    (void)state;
    probes[0].x.direction = DIRECTION_EIGENVECTOR;
    probes[0].steps = 4;
    probes[0].y.direction = DIRECTION_RANDOM;
    probes[1].suggest = probes[1].adaptive = true;
    probes[2].adaptive = true;
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        struct probe_record whole = measured(&probes[i], &fixture.start);

        assert_true(assert_pieces_equal(&whole, &fixture.job, &probes[i], &fixture.start) > 2);
        probe_record_free(&whole);
    }
}

/* The whole test set, in evaluation mode, is what training reports of its last epoch. */
static void test_losses_are_those_of_training(void **state)
{
    struct engine_probe probe = small_probe(PROBE_LANDSCAPE);
    struct record *trained = record_new();
    struct probe_record record;
    const struct engine_epoch *last;

    (void)state;
    assert_int_equal(record_run_well(trained, &fixture.job, NULL), ENGINE_FINISHED);
    last = &trained->epoch[trained->n_epochs - 1];
    probe.split = PROBE_TEST;
    probe.samples = 0;
    probe.x = (struct probe_axis){DIRECTION_RANDOM, NORMALISE_AUTO, 0, 0, 1};
    record = measured(&probe, &fixture.start);
    assert_near(point_of(&record, 0)[2], last->test_loss, 1e-12);
    assert_near(point_of(&record, 0)[3], last->test_top1, 1e-12);
    assert_near(point_of(&record, 0)[4], last->test_top5, 1e-12);
    probe_record_free(&record);
    record_free(trained);
}

/* No batch norm and so no running statistics, and dropout, which no probe knows: losses are the
 * same each time. */
static void transformers_can_be_probed(void **state)
{
    struct engine_job job = tiny_job(METHOD_M_RWP, DEVICE_CPU);
    struct checkpoint weights;
    struct engine_probe_start start = {.weights = &weights};

    (void)state;
    engine_job_defaults(&job, MODEL_VIT, DATASET_DIGITS, METHOD_M_RWP);
    job.model.width = 12;
    job.model.depth = 1;
    job.model.heads = 2;
    job.model.mlp = 10;
    job.dataset.train_limit = 40;
    job.batch_size = 16;
    job.epochs = 2;
    train_checkpoint(&job, &weights);
    for (int kind = 0; kind < PROBE_KINDS; kind++) {
        struct engine_probe probe = small_probe(kind);
        struct probe_record one = {0}, two = {0};
        const double *summary;

        probe.steps = 6;
        probe.suggest = kind == PROBE_RADIUS;
        probe.batch_norm = PROBE_BATCH_NORM_TRAINING;
        probe_record_whole(&one, &job, &probe, &start);
        probe_record_whole(&two, &job, &probe, &start);
        assert_rows_equal(&one, &two);
        summary = probe_row_of(&one, TABLE_SUMMARY, 0);
        assert_true(summary[0] > 0 && summary[0] < 10); /* the loss */
        probe_record_free(&one);
        probe_record_free(&two);
    }
    checkpoint_clear(&weights);
}

/* Losses of a run that has diverged are no numbers: that is what is told, and no other reason. */
static void what_is_no_number_is_told(void **state)
{
    struct engine_probe probe = small_probe(PROBE_RADIUS);
    struct checkpoint diverged;
    struct engine_probe_start start = {.weights = &diverged};
    struct probe_record record;

    (void)state;
    checkpoint_copy(&diverged, &fixture.weights);
    for (int t = 0; t < diverged.n_tensors; t++)
        if (diverged.tensors[t].role == TENSOR_PARAMETER) {
            void *data;

            memcpy(&data, &diverged.tensors[t].data, sizeof data);
            memset(data, 0xff, tensor_bytes(&diverged.tensors[t])); /* NaN */
        }
    probe.suggest = probe.adaptive = true;
    record = measured(&probe, &start);
    assert_int_equal(probe_rows_of(&record, RADIUS_POINTS), 4 * probe.points);
    for (int64_t i = 0; i < 4 * probe.points; i++)
        assert_true(isnan(probe_row_of(&record, RADIUS_POINTS, i)[4]));
    assert_true(isnan(probe_row_of(&record, TABLE_SUMMARY, 0)[RADIUS_SUGGESTED_SIGMA]));
    probe_record_free(&record);
    checkpoint_clear(&diverged);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct engine_probe probe = small_probe(PROBE_LANDSCAPE);
    struct engine_probe_start start = fixture.start;
    struct engine_job wider = fixture.job, plain = fixture.job;
    struct checkpoint none = {0};
    struct probe_record record = {0};
    enum engine_outcome outcome;

    (void)state;
    wider.model.width = 3;
    assert_refused(probe_record_run(&record, &wider, &probe, &start, &outcome, err), ERR_INVALID,
                   "the checkpoint: ");
    probe.x.direction = DIRECTION_LINE;
    probe.other.update = 1;
    assert_refused(probe_record_run(&record, &fixture.job, &probe, &start, &outcome, err),
                   ERR_INVALID, "/other");
    probe = small_probe(PROBE_LANDSCAPE);
    probe.x.direction = DIRECTION_GIVEN;
    probe.upload = 1;
    assert_refused(probe_record_run(&record, &fixture.job, &probe, &start, &outcome, err),
                   ERR_INVALID, "/upload");
    start.vectors = &none;
    assert_refused(probe_record_run(&record, &fixture.job, &probe, &start, &outcome, err),
                   ERR_INVALID, "conv1.weight is missing");
    start.vectors = &fixture.weights; /* names alone will do */
    assert_ok(probe_record_run(&record, &fixture.job, &probe, &start, &outcome, err));
    probe = small_probe(PROBE_SHARPNESS);
    probe.adaptive = true;
    plain.method.kind = METHOD_SGD;
    assert_refused(probe_record_run(&record, &plain, &probe, &start, &outcome, err), ERR_INVALID,
                   "/adaptive");
    probe_record_free(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grids_middle_is_the_checkpoint),
        cmocka_unit_test(directions_are_what_they_say),
        cmocka_unit_test(a_line_joins_two_checkpoints),
        cmocka_unit_test(goldsteins_directions_can_be_given_again),
        cmocka_unit_test(normalised_filters_have_their_lengths),
        cmocka_unit_test(small_radii_change_little_and_large_ones_much),
        cmocka_unit_test(radius_and_sharpness_agree),
        cmocka_unit_test(each_batch_can_climb_by_itself),
        cmocka_unit_test(a_sigma_is_suggested),
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(test_losses_are_those_of_training),
        cmocka_unit_test(transformers_can_be_probed),
        cmocka_unit_test(what_is_no_number_is_told),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
