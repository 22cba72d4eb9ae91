/* A spectrum of a net so small that its Hessian can be written down, column by column. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe/lanczos.h"
#include "probe/state.h"
#include "probe/tables.h"
#include "probe_record.h"
#include "record.h"
#include "support.h"

#define N_MAX 320

/* 40 digits, 10 classes, two channels: 140 numbers or so, on the reference backend. */
static struct engine_job small_job(void)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);

    job.dataset.train_limit = 40;
    job.batch_size = 16;
    job.model.width = 2;
    job.model.blocks = (struct spec_int_list){1, {1}};
    job.epochs = 2;
    return job;
}

static struct engine_probe small_spectrum(void)
{
    struct engine_probe probe = probe_defaults(PROBE_SPECTRUM);

    probe.samples = 24;
    probe.batch_size = 10; /* 10, 10 and 4 */
    probe.runs = 2;
    probe.steps = 12;
    probe.bins = 50;
    probe.trace_draws = 6;
    return probe;
}

struct fixture {
    struct engine_job job;
    struct checkpoint weights;
    struct engine_probe_start start;
    int n;
    double hessian[N_MAX][N_MAX]; /* without the layout's gaps */
    double eigenvalue[N_MAX];     /* ascending */
    size_t place[N_MAX];          /* of element i in the layout */
    int first[64], params;        /* of each parameter */
} fixture;

static const atomic_int go_on = ENGINE_CONTINUE;

/* Eigenvalues of a symmetric matrix by Jacobi's rotations. */
static void jacobi(int n, double (*a)[N_MAX], double *eigenvalue)
{
    for (int sweep = 0; sweep < 12; sweep++)
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++) {
                double angle = 0.5 * atan2(2 * a[p][q], a[q][q] - a[p][p]);
                double c = cos(angle), s = sin(angle);

                for (int k = 0; k < n; k++) {
                    double x = a[k][p], y = a[k][q];

                    a[k][p] = c * x - s * y;
                    a[k][q] = s * x + c * y;
                }
                for (int k = 0; k < n; k++) {
                    double x = a[p][k], y = a[q][k];

                    a[p][k] = c * x - s * y;
                    a[q][k] = s * x + c * y;
                }
            }
    for (int i = 0; i < n; i++)
        eigenvalue[i] = a[i][i];
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && eigenvalue[j] < eigenvalue[j - 1]; j--) {
            double kept = eigenvalue[j];

            eigenvalue[j] = eigenvalue[j - 1];
            eigenvalue[j - 1] = kept;
        }
}

static void eigenvalues_of_block(int first, int n, double *eigenvalue)
{
    static double block[N_MAX][N_MAX];

    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            block[i][j] = fixture.hessian[first + i][first + j];
    jacobi(n, block, eigenvalue);
}

static void write_hessian(struct engine_probe_run *run)
{
    size_t size = run->params->size;
    float *unit = calloc(size, sizeof *unit);
    double *column = calloc(size, sizeof *column);

    assert_non_null(unit);
    assert_non_null(column);
    fixture.params = run->params->n;
    for (int p = 0; p < run->params->n; p++) {
        fixture.first[p] = fixture.n;
        for (size_t i = 0; i < run->params->tensor[p].size; i++) {
            assert_true(fixture.n < N_MAX);
            fixture.place[fixture.n++] = run->params->tensor[p].offset + i;
        }
    }
    for (int j = 0; j < fixture.n; j++) {
        unit[fixture.place[j]] = 1;
        assert_ok(probe_product(run, unit, column, err));
        unit[fixture.place[j]] = 0;
        for (int i = 0; i < fixture.n; i++)
            fixture.hessian[i][j] = column[fixture.place[i]];
    }
    free(unit);
    free(column);
}

static int set_up(void **state)
{
    struct engine_probe_sink sink = {0};
    struct engine_probe probe = small_spectrum();
    struct engine_probe_run *run = NULL;

    (void)state;
    fixture.job = small_job();
    train_checkpoint(&fixture.job, &fixture.weights);
    fixture.start.weights = &fixture.weights;
    assert_ok(engine_probe_open(&run, &fixture.job, &probe, 1, &fixture.start, &sink, err));
    run->request = &go_on;
    write_hessian(run);
    engine_probe_close(run);
    eigenvalues_of_block(0, fixture.n, fixture.eigenvalue);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    checkpoint_clear(&fixture.weights);
    return 0;
}

static double trace_of(int first, int n)
{
    double trace = 0;

    for (int i = first; i < first + n; i++)
        trace += fixture.hessian[i][i];
    return trace;
}

static void the_hessian_is_symmetric(void **state)
{
    double scale = fixture.eigenvalue[fixture.n - 1];

    (void)state;
    assert_true(scale > 0);
    for (int i = 0; i < fixture.n; i++)
        for (int j = 0; j < i; j++)
            assert_near(fixture.hessian[i][j], fixture.hessian[j][i], 1e-12 * scale);
}

static void extremes_are_the_hessians(void **state)
{
    struct engine_probe probe = small_spectrum();
    struct probe_record record = {0};
    const double *summary;
    double scale = fixture.eigenvalue[fixture.n - 1];

    (void)state;
    probe.runs = 1;
    probe.steps = 60;
    probe_record_whole(&record, &fixture.job, &probe, &fixture.start);
    summary = probe_row_of(&record, TABLE_SUMMARY, 0);
    assert_near(summary[SPECTRUM_LAMBDA_MAX], scale, 1e-5 * scale);
    assert_near(summary[SPECTRUM_LAMBDA_MIN], fixture.eigenvalue[0], 1e-5 * scale);
    assert_true(summary[SPECTRUM_LAMBDA_MAX_RESIDUAL] < 1e-4 * scale);
    assert_near(summary[SPECTRUM_PARAMETERS], fixture.n, 0);
    assert_near(summary[SPECTRUM_SAMPLES], 24, 0);
    assert_near(summary[SPECTRUM_PRODUCTS], 66, 0);
    assert_int_equal(probe_rows_of(&record, SPECTRUM_EIGENVALUES), 5);
    for (int i = 0; i < 5; i++) {
        const double *row = probe_row_of(&record, SPECTRUM_EIGENVALUES, i);

        assert_near(row[0], i + 1, 0);
        assert_near(row[1], fixture.eigenvalue[fixture.n - 1 - i], 1e-4 * scale);
    }
    probe_record_free(&record);
}

static void moments_and_density_are_right(void **state)
{
    struct engine_probe probe = small_spectrum();
    struct probe_record record = {0};
    double sum = 0, width;

    (void)state;
    probe_record_whole(&record, &fixture.job, &probe, &fixture.start);
    for (int run = 0; run < 2; run++) {
        double weights = 0;

        for (int i = 0; i < 12; i++) {
            const double *row = probe_row_of(&record, SPECTRUM_NODES, run * 12 + i);

            assert_near(row[0], run, 0);
            weights += row[2];
        }
        assert_near(weights, 1, 1e-12);
    }
    width = probe_row_of(&record, SPECTRUM_DENSITY, 1)[0] -
            probe_row_of(&record, SPECTRUM_DENSITY, 0)[0];
    for (int b = 0; b < 50; b++)
        sum += probe_row_of(&record, SPECTRUM_DENSITY, b)[1] * width;
    assert_near(sum, 1, 1e-7);
    assert_int_equal(probe_rows_of(&record, SPECTRUM_DENSITY), 50);
    assert_int_equal(probe_rows_of(&record, SPECTRUM_STEPS), 24);
    probe_record_free(&record);
}

/* Hutchinson's standard error is that of the draws: the true trace is not five of them away.
 * Hutch++ comes nearer with as many products. */
static void traces_are_the_hessians(void **state)
{
    struct engine_probe probe = small_spectrum();
    double trace = trace_of(0, fixture.n), scale = fixture.eigenvalue[fixture.n - 1];
    double error[2];

    (void)state;
    probe.steps = 2;
    probe.top_k = 0;
    probe.trace_draws = 90;
    for (int how = 0; how < 2; how++) {
        struct probe_record record = {0};
        const double *summary;

        probe.trace = how;
        probe_record_whole(&record, &fixture.job, &probe, &fixture.start);
        summary = probe_row_of(&record, TABLE_SUMMARY, 0);
        error[how] = summary[SPECTRUM_TRACE_STANDARD_ERROR];
        assert_true(error[how] > 0 && error[how] < scale);
        assert_near(summary[SPECTRUM_TRACE], trace, 5 * error[how]);
        probe_record_free(&record);
    }
    assert_true(error[TRACE_HUTCHPP] < error[TRACE_HUTCHINSON] / 3);
}

static void blocks_are_the_hessians(void **state)
{
    struct engine_probe probe = small_spectrum();
    double scale = fixture.eigenvalue[fixture.n - 1];

    (void)state;
    probe.trace_draws = 60;
    for (int how = LAYERS_TRACE; how <= LAYERS_SPECTRUM; how++) {
        struct probe_record record = {0};

        probe.layers = how;
        probe.steps = how == LAYERS_SPECTRUM ? 20 : 2;
        probe.runs = 1;
        probe.top_k = 0;
        probe_record_whole(&record, &fixture.job, &probe, &fixture.start);
        assert_int_equal(probe_rows_of(&record, SPECTRUM_LAYERS), fixture.params);
        for (int p = 0; p < fixture.params; p++) {
            const double *row = probe_row_of(&record, SPECTRUM_LAYERS, p);
            int end = p + 1 < fixture.params ? fixture.first[p + 1] : fixture.n;
            int n = end - fixture.first[p];
            double own[N_MAX];

            assert_near(row[1], n, 0);
            if (how == LAYERS_TRACE)
                assert_near(row[2], trace_of(fixture.first[p], n), 5 * row[3] + 1e-9);
            if (how == LAYERS_TRACE)
                continue;
            eigenvalues_of_block(fixture.first[p], n, own);
            assert_near(row[4], own[n - 1], 1e-3 * scale);
            assert_near(row[6], own[0], 1e-3 * scale);
        }
        probe_record_free(&record);
    }
}

/* With programs that keep what they can and with those that share one, with whole batches and a
 * tail, on both backends. */
static void nothing_depends_on_what_is_kept(void **state)
{
    struct engine_probe_sink sink = {0};
    struct engine_probe probe = small_spectrum();

    (void)state;
    for (int device = DEVICE_CPU; device <= DEVICE_REFERENCE; device++) {
        struct engine_job job = fixture.job;
        struct engine_probe_run *run[2];
        size_t size;
        double *y[2];
        float *x;

        job.device = device;
        for (int i = 0; i < 2; i++) {
            assert_ok(engine_probe_open(&run[i], &job, &probe, 2, &fixture.start, &sink, err));
            run[i]->request = &go_on;
            run[i]->short_of_memory = i == 1;
        }
        size = run[0]->params->size;
        x = calloc(size, sizeof *x);
        y[0] = calloc(size, sizeof *y[0]);
        y[1] = calloc(size, sizeof *y[1]);
        assert_true(x && y[0] && y[1]);
        for (uint64_t number = 0; number < 3; number++) {
            struct probe_drawing drawing = {7, DRAW_TRACE, number, DRAW_NORMAL, -1};

            vectors_draw(run[0]->params, &drawing, x);
            assert_ok(probe_product(run[0], x, y[0], err));
            assert_ok(probe_product(run[1], x, y[1], err));
            assert_close("H·x", y[0], y[1], size, 1e-6);
        }
        for (int i = 0; i < 2; i++) {
            engine_probe_close(run[i]);
            free(y[i]);
        }
        free(x);
    }
}

static void pieces_make_the_whole(void **state)
{
    struct engine_probe probe = small_spectrum();
    struct probe_record whole = {0}, again = {0};

    (void)state;
    for (int how = 0; how < 2; how++) {
        probe.trace = how;
        probe.layers = how ? LAYERS_SPECTRUM : LAYERS_TRACE;
        probe.steps = how ? 4 : 12;
        probe.top_k = 3;
        probe_record_whole(&whole, &fixture.job, &probe, &fixture.start);
        probe_record_whole(&again, &fixture.job, &probe, &fixture.start);
        assert_rows_equal(&whole, &again);
        assert_true(assert_pieces_equal(&whole, &fixture.job, &probe, &fixture.start) > 4);
        probe_record_free(&again);
        probe_record_free(&whole);
    }
}

static void seeds_differ(void **state)
{
    struct engine_probe probe = small_spectrum();
    struct probe_record one = {0}, two = {0};

    (void)state;
    probe_record_whole(&one, &fixture.job, &probe, &fixture.start);
    probe.seed = 2;
    probe_record_whole(&two, &fixture.job, &probe, &fixture.start);
    assert_true(probe_row_of(&one, TABLE_SUMMARY, 0)[SPECTRUM_LOSS] !=
                probe_row_of(&two, TABLE_SUMMARY, 0)[SPECTRUM_LOSS]);
    probe_record_free(&one);
    probe_record_free(&two);
}

static const float *vector_part(const struct probe_record *record, const char *name)
{
    return checkpoint_find(&record->vectors, TENSOR_PARAMETER, name)->data;
}

/* What was taken away can be given again: start, product and eigenvectors fit the Hessian. */
static void vectors_are_taken_away_and_given(void **state)
{
    struct engine_probe probe = small_spectrum();
    struct engine_probe_start start = fixture.start;
    struct probe_record one = {0}, two = {0};
    const double *alpha;

    (void)state;
    probe.runs = 1;
    probe.steps = 60;
    probe.top_k = 2;
    probe.trace_draws = 0;
    probe.save_vectors = true;
    probe.start = START_NORMAL;
    probe_record_whole(&one, &fixture.job, &probe, &fixture.start);
    assert_int_equal(one.vectors.n_tensors, 5 * fixture.params);
    vector_part(&one, "gradient/fc.weight");
    vector_part(&one, "eigenvector2/fc.weight");
    start.vectors = &one.vectors;
    probe.start = START_GIVEN;
    probe.upload = 1;
    probe_record_whole(&two, &fixture.job, &probe, &start);
    alpha = probe_row_of(&two, SPECTRUM_STEPS, 0);
    assert_near(alpha[2], probe_row_of(&one, SPECTRUM_STEPS, 0)[2], 0);
    for (int i = 0; i < 20; i++)
        assert_near((double)vector_part(&two, "product/fc.bias")[i % 10],
                    (double)vector_part(&one, "product/fc.bias")[i % 10], 0);
    for (int p = 0; p < fixture.params; p++) { /* H·v = λ·v of the largest */
        double lambda = probe_row_of(&two, SPECTRUM_EIGENVALUES, 0)[1];
        const struct tensor *own = &two.vectors.tensors[3 * fixture.params + p];

        for (size_t i = 0; i < tensor_elements(own); i++) {
            double product = 0;
            size_t row = (size_t)fixture.first[p] + i;

            for (int q = 0; q < fixture.params; q++) {
                const struct tensor *other = &two.vectors.tensors[3 * fixture.params + q];

                for (size_t j = 0; j < tensor_elements(other); j++)
                    product += fixture.hessian[row][(size_t)fixture.first[q] + j] *
                               (double)((const float *)other->data)[j];
            }
            assert_near(product, lambda * (double)((const float *)own->data)[i], 1e-5 * lambda);
        }
    }
    probe_record_free(&one);
    probe_record_free(&two);
}

/* Labelled as such, batch norm in training mode is another loss with another Hessian. */
static void batch_statistics_leave_the_tail_out(void **state)
{
    struct engine_probe probe = small_spectrum();
    struct probe_record eval = {0}, training = {0};
    const double *a, *b;

    (void)state;
    probe_record_whole(&eval, &fixture.job, &probe, &fixture.start);
    probe.batch_norm = PROBE_BATCH_NORM_TRAINING;
    probe_record_whole(&training, &fixture.job, &probe, &fixture.start);
    a = probe_row_of(&eval, TABLE_SUMMARY, 0);
    b = probe_row_of(&training, TABLE_SUMMARY, 0);
    assert_near(b[SPECTRUM_SAMPLES], 20, 0);
    assert_int_equal(eval.n_messages, 0);
    assert_non_null(strstr(training.message, "training mode"));
    assert_true(a[SPECTRUM_LAMBDA_MAX] != b[SPECTRUM_LAMBDA_MAX]);
    probe_record_free(&eval);
    probe_record_free(&training);
}

static void presets_fill_in_what_is_not_given(void **state)
{
    struct engine_probe probe = probe_defaults(PROBE_SPECTRUM);

    (void)state;
    probe.preset = PRESET_NAMED;
    probe.steps = 33;
    engine_probe_resolve(&probe);
    assert_int_equal(probe.runs, 1);
    assert_int_equal(probe.steps, 33);
    assert_int_equal(probe.bins, 10000);
    assert_int_equal(probe.start, START_RADEMACHER);
    probe = probe_defaults(PROBE_SPECTRUM);
    engine_probe_resolve(&probe);
    assert_int_equal(probe.runs, 4);
    assert_int_equal(probe.bins, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hessian_is_symmetric),
        cmocka_unit_test(extremes_are_the_hessians),
        cmocka_unit_test(moments_and_density_are_right),
        cmocka_unit_test(traces_are_the_hessians),
        cmocka_unit_test(blocks_are_the_hessians),
        cmocka_unit_test(nothing_depends_on_what_is_kept),
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(vectors_are_taken_away_and_given),
        cmocka_unit_test(batch_statistics_leave_the_tail_out),
        cmocka_unit_test(presets_fill_in_what_is_not_given),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
