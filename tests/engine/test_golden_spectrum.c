/* Spectra of trained ResNets against PyTorch's, which has written the whole Hessian down by double
 * backward in float64 (tests/torch/make_golden.py, spectra.txt). The run is trained by the
 * reference backend, which follows PyTorch's; each backend then measures the same checkpoint. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "golden_run.h"
#include "probe/tables.h"
#include "probe_record.h"
#include "record.h"
#include "support.h"

#define BLOCKS_MAX 64

struct golden_spectrum {
    char run[40];
    struct engine_probe probe;
    double loss, gradient_norm, trace, largest[5], smallest;
    int n_blocks;
    struct {
        double size, largest, trace;
    } block[BLOCKS_MAX];
};

static void read_spectrum(const char *name, struct golden_spectrum *out)
{
    FILE *file = golden_open("spectra.txt");
    char *line;

    memset(out, 0, sizeof *out);
    out->probe = probe_defaults(PROBE_SPECTRUM);
    while ((line = golden_next(file, "spectrum")) && strcmp(golden_word(&line), name) != 0)
        continue;
    assert_non_null(line);
    out->probe.samples = (int64_t)golden_integer(&line);
    out->probe.batch_size = (int64_t)golden_integer(&line);
    out->probe.batch_norm = (int)golden_integer(&line);
    out->loss = golden_number(&line);
    out->gradient_norm = golden_number(&line);
    out->trace = golden_number(&line);
    line = golden_next(file, "largest");
    for (int i = 0; i < 5; i++)
        out->largest[i] = golden_number(&line);
    line = golden_next(file, "smallest");
    out->smallest = golden_number(&line);
    fclose(file);
}

/* The blocks of the file's first spectrum. */
static void read_blocks(struct golden_spectrum *out, int n)
{
    FILE *file = golden_open("spectra.txt");

    for (int i = 0; i < n; i++) {
        char *line = golden_next(file, "block");

        golden_word(&line);
        out->block[i].size = (double)golden_integer(&line);
        out->block[i].largest = golden_number(&line);
        out->block[i].trace = golden_number(&line);
    }
    fclose(file);
}

/* Trained runs, kept from test to test: the file has two. */
static struct trained {
    char name[40];
    struct golden_run *run;
    struct record *record;
} trained[2];

static const struct trained *train(const char *name)
{
    struct trained *own = trained;

    while (own->run && strcmp(own->name, name) != 0)
        own++;
    if (own->run)
        return own;
    strncpy(own->name, name, sizeof own->name - 1);
    own->run = golden_run_open(name);
    own->run->job.device = DEVICE_REFERENCE;
    own->record = golden_train(&own->run->job, UINT64_MAX);
    return own;
}

static int forget(void **state)
{
    (void)state;
    for (int i = 0; i < 2 && trained[i].run; i++) {
        record_free(trained[i].record);
        golden_run_close(trained[i].run);
    }
    return 0;
}

static void measure(struct probe_record *record, const char *name, const struct engine_probe *probe,
                    int device)
{
    const struct trained *own = train(name);
    struct engine_probe_start start = {.weights = &own->record->checkpoint};
    struct engine_job job = own->run->job;

    job.device = device;
    probe_record_whole(record, &job, probe, &start);
}

/* The sanitizers' subject is the code, not the numbers: one of these is enough for them. */
static void not_under_sanitizers(void)
{
    if (getenv("GOLDEN_UPDATES"))
        skip();
}

static void assert_spectrum(const char *name, int device, double tolerance)
{
    struct golden_spectrum golden;
    struct probe_record record = {0};
    const double *summary;

    read_spectrum(name, &golden);
    golden.probe.runs = 1;
    golden.probe.steps = 70;
    golden.probe.trace_draws = 40;
    measure(&record, name, &golden.probe, device);
    summary = probe_row_of(&record, TABLE_SUMMARY, 0);
    assert_near(summary[SPECTRUM_LOSS], golden.loss, tolerance * golden.loss);
    assert_near(summary[SPECTRUM_GRADIENT_NORM], golden.gradient_norm,
                tolerance * golden.gradient_norm);
    for (int i = 0; i < 5; i++)
        assert_near(probe_row_of(&record, SPECTRUM_EIGENVALUES, i)[1], golden.largest[i],
                    tolerance * golden.largest[i]);
    assert_near(summary[SPECTRUM_LAMBDA_MIN], golden.smallest, 10 * tolerance);
    assert_near(summary[SPECTRUM_TRACE], golden.trace, 2 * summary[SPECTRUM_TRACE_STANDARD_ERROR]);
    assert_true(summary[SPECTRUM_TRACE_STANDARD_ERROR] < 0.1 * golden.trace);
    probe_record_free(&record);
}

static void the_reference_has_pytorchs_eigenvalues(void **state)
{
    (void)state;
    not_under_sanitizers();
    assert_spectrum("nesterov", DEVICE_REFERENCE, 1e-5);
}

static void the_cpu_has_pytorchs_eigenvalues(void **state)
{
    (void)state;
    assert_spectrum("nesterov", DEVICE_CPU, 1e-4);
}

/* A drawn subset, label smoothing, and batch norm in training mode. */
static void so_it_is_with_batch_statistics(void **state)
{
    (void)state;
    not_under_sanitizers();
    assert_spectrum("warm-up", DEVICE_CPU, 1e-3);
}

static void blocks_are_pytorchs(void **state)
{
    struct golden_spectrum golden;
    struct probe_record record = {0};
    int n;

    (void)state;
    not_under_sanitizers();
    read_spectrum("nesterov", &golden);
    golden.probe.runs = 1;
    golden.probe.steps = 12;
    golden.probe.top_k = 0;
    golden.probe.trace_draws = 0;
    golden.probe.layers = LAYERS_SPECTRUM;
    measure(&record, "nesterov", &golden.probe, DEVICE_CPU);
    n = (int)probe_rows_of(&record, SPECTRUM_LAYERS);
    assert_in_range(n, 10, BLOCKS_MAX);
    read_blocks(&golden, n);
    for (int p = 0; p < n; p++) {
        const double *row = probe_row_of(&record, SPECTRUM_LAYERS, p);

        assert_near(row[1], golden.block[p].size, 0);
        assert_near(row[4], golden.block[p].largest, 1e-2 * golden.block[p].largest);
    }
    probe_record_free(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_has_pytorchs_eigenvalues),
        cmocka_unit_test(the_cpu_has_pytorchs_eigenvalues),
        cmocka_unit_test(so_it_is_with_batch_statistics),
        cmocka_unit_test(blocks_are_pytorchs),
    };

    return cmocka_run_group_tests(tests, NULL, forget);
}
