/* Probes of each kind through the CUDA backend, with the host in the place of the GPU: against the
 * reference backend, in pieces, and on a GPU that is not there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "host_gpu.h"
#include "probe/tables.h"
#include "probe_record.h"
#include "record.h"
#include "support.h"

/* Of float's products and losses, of which a few steps of Lanczos' make more. */
#define TOLERANCE 2e-3

static const struct host_gpu *gpu;

static struct fixture {
    struct engine_job job; /* on the reference */
    struct checkpoint weights;
    struct engine_probe_start start;
} fixture;

static int set_up(void **state)
{
    (void)state;
    fixture.job = tiny_job(METHOD_M_ARWP, DEVICE_REFERENCE);
    fixture.job.dataset.train_limit = 40;
    fixture.job.epochs = 2;
    train_checkpoint(&fixture.job, &fixture.weights);
    fixture.start.weights = &fixture.weights;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    checkpoint_clear(&fixture.weights);
    return 0;
}

static struct engine_job on_gpu(int precision)
{
    struct engine_job job = fixture.job;

    job.device = DEVICE_CUDA;
    job.precision = precision;
    return job;
}

static struct engine_probe small_probe(int kind)
{
    struct engine_probe probe = probe_defaults(kind);

    probe.samples = 12;
    probe.batch_size = 5; /* 5, 5 and 2 */
    probe.runs = 1;
    probe.steps = 4;
    probe.top_k = 2;
    probe.bins = 20;
    probe.trace_draws = 2;
    probe.draws = 2;
    probe.points = 2;
    probe.x.points = 3;
    probe.y.points = 3;
    return probe;
}

static int launches(void)
{
    const struct host_launch *all;

    return gpu->launches(&all);
}

/* Runs on both, and says that the GPU had to do with one of them. */
static void on_both(int kind, struct probe_record *got, struct probe_record *want)
{
    struct engine_probe probe = small_probe(kind);
    struct engine_job job = on_gpu(PRECISION_FP32);

    gpu->reset();
    probe_record_whole(want, &fixture.job, &probe, &fixture.start);
    assert_int_equal(launches(), 0);
    probe_record_whole(got, &job, &probe, &fixture.start);
    assert_true(launches() > 0);
    assert_int_equal(got->n_rows, want->n_rows);
}

static void compare(const struct probe_record *got, const struct probe_record *want, int table,
                    int column)
{
    for (int64_t i = 0; i < want->n_rows; i++) {
        const struct probe_row *row = &want->row[i];
        double value;

        if (row->table != table)
            continue;
        value = probe_row_of(got, table, row->number)[column];
        if (!(fabs(value - row->value[column]) <= TOLERANCE * fabs(row->value[column])))
            fail_msg("table %d, row %lld, column %d: %.9g instead of %.9g", table,
                     (long long)row->number, column, value, row->value[column]);
    }
}

static void compare_columns(int kind, const int (*columns)[2], size_t n)
{
    struct probe_record got = {0}, want = {0};

    on_both(kind, &got, &want);
    for (size_t i = 0; i < n; i++)
        compare(&got, &want, columns[i][0], columns[i][1]);
    probe_record_free(&got);
    probe_record_free(&want);
}

#define COMPARE(kind, columns) compare_columns(kind, columns, sizeof(columns) / sizeof *(columns))

static void spectrum(void **state)
{
    static const int columns[][2] = {{TABLE_SUMMARY, SPECTRUM_LOSS},
                                     {TABLE_SUMMARY, SPECTRUM_GRADIENT_NORM},
                                     {TABLE_SUMMARY, SPECTRUM_LAMBDA_MAX},
                                     {TABLE_SUMMARY, SPECTRUM_TRACE},
                                     {TABLE_SUMMARY, SPECTRUM_PRODUCTS}};

    (void)state;
    COMPARE(PROBE_SPECTRUM, columns);
}

static void landscape(void **state)
{
    static const int columns[][2] = {
        {TABLE_SUMMARY, LANDSCAPE_LOSS}, {TABLE_SUMMARY, LANDSCAPE_X_NORM}, {LANDSCAPE_POINTS, 2}};

    (void)state;
    COMPARE(PROBE_LANDSCAPE, columns);
}

static void radius(void **state)
{
    static const int columns[][2] = {{TABLE_SUMMARY, RADIUS_LOSS},
                                     {TABLE_SUMMARY, RADIUS_GRADIENT_NORM},
                                     {TABLE_SUMMARY, RADIUS_WEIGHTS_NORM}};

    (void)state;
    COMPARE(PROBE_RADIUS, columns);
}

static void sharpness(void **state)
{
    static const int columns[][2] = {{TABLE_SUMMARY, SHARPNESS_LOSS},
                                     {TABLE_SUMMARY, SHARPNESS_WORST_LOSS},
                                     {TABLE_SUMMARY, SHARPNESS_AVERAGE_LOSS}};

    (void)state;
    COMPARE(PROBE_SHARPNESS, columns);
}

/* A spectrum on the GPU, stopped after so many steps of progress (0: never) and gone on with. */
static struct probe_record measured(int precision, int ask_at)
{
    struct engine_probe probe = small_probe(PROBE_SPECTRUM);
    struct engine_job job = on_gpu(precision);
    struct probe_record record = {.ask_at = ask_at};
    enum engine_outcome outcome;

    gpu->reset();
    if (ask_at > 0) {
        assert_ok(probe_record_run(&record, &job, &probe, &fixture.start, &outcome, err));
        assert_int_equal(outcome, ENGINE_STOPPED);
        record.ask_at = 0;
        gpu->reset();
    }
    probe_record_whole(&record, &job, &probe, &fixture.start);
    return record;
}

/* Whatever arithmetic the job trains with; and the same bits in two pieces. */
static void all_is_in_float(void **state)
{
    static const struct {
        int precision, ask_at;
    } ways[] = {{PRECISION_AUTO, 0}, {PRECISION_BF16, 0}, {PRECISION_FP32, 7}};
    struct probe_record want = measured(PRECISION_FP32, 0);

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct probe_record got = measured(ways[i].precision, ways[i].ask_at);

        assert_rows_equal(&want, &got);
        probe_record_free(&got);
    }
    probe_record_free(&want);
}

static void a_gpu_that_is_gone(void **state)
{
    struct engine_probe probe = small_probe(PROBE_SHARPNESS);
    struct engine_job job = on_gpu(PRECISION_AUTO);
    struct probe_record record = {0};
    enum engine_outcome outcome;
    struct err err;

    (void)state;
    job.device = DEVICE_CUDA + 1 + 7;
    assert_int_equal(probe_record_run(&record, &job, &probe, &fixture.start, &outcome, &err),
                     ERR_DEVICE);
    probe_record_free(&record);
}

static void everything_is_closed(void **state)
{
    (void)state;
    assert_int_equal(gpu->open_things(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spectrum),
        cmocka_unit_test(landscape),
        cmocka_unit_test(radius),
        cmocka_unit_test(sharpness),
        cmocka_unit_test(all_is_in_float),
        cmocka_unit_test(a_gpu_that_is_gone),
        cmocka_unit_test(everything_is_closed),
    };

    gpu = host_gpu_open();
    return gpu ? cmocka_run_group_tests(tests, set_up, tear_down) : 1;
}
