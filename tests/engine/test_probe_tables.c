/* What probes take and result in, as tables: consistent, and refused where it makes no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "idx_folder.h"
#include "job/resolve.h"
#include "probe/tables.h"
#include "probe_record.h"
#include "record.h"

static size_t struct_bytes(const struct spec_field *field)
{
    return !strcmp(field->name, "other") ? sizeof(struct probe_other) : sizeof(struct probe_axis);
}

static void check_fields(const struct spec_object *object, size_t size)
{
    assert_non_null(object->doc);
    for (int i = 0; i < object->n_fields; i++) {
        const struct spec_field *field = &object->fields[i];
        size_t length = strlen(field->doc);

        assert_true(length > 0 && field->doc[length - 1] == '.');
        assert_true(field->offset < size);
        if (field->type == SPEC_OBJECT)
            check_fields(field->object, struct_bytes(field));
        if (field->type == SPEC_INT || field->type == SPEC_REAL)
            assert_true(field->number >= field->min && field->number <= field->max &&
                        (!field->above_min || field->number > field->min));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(field->name, object->fields[j].name);
    }
}

static void kinds_have_the_same_fields_in_jobs_and_by_themselves(void **state)
{
    static const char *const names[] = {"spectrum", "landscape", "radius", "sharpness"};
    int n, n_job;
    const struct spec_object *alone = engine_probe_kinds(&n);
    const struct spec_object *in_job = engine_job_probe_kinds(&n_job);

    (void)state;
    assert_int_equal(n, PROBE_KINDS);
    assert_int_equal(n_job, PROBE_KINDS);
    for (int k = 0; k < n; k++) {
        assert_string_equal(alone[k].name, names[k]);
        assert_string_equal(in_job[k].name, names[k]);
        check_fields(&alone[k], sizeof(struct engine_probe));
        check_fields(&in_job[k], sizeof(struct engine_probe));
        assert_int_equal(alone[k].n_fields, in_job[k].n_fields);
        assert_string_equal(alone[k].fields[0].name, "update");
        assert_string_equal(in_job[k].fields[0].name, "every_epochs");
        for (int i = 1; i < alone[k].n_fields; i++)
            assert_memory_equal(&alone[k].fields[i], &in_job[k].fields[i],
                                sizeof alone[k].fields[i]);
    }
}

static void results_are_described(void **state)
{
    (void)state;
    for (int kind = 0; kind < PROBE_KINDS; kind++) {
        int n;
        const struct probe_table *tables = engine_probe_tables(kind, &n);

        assert_in_range(n, 1, PROBE_TABLES_MAX);
        assert_string_equal(tables[0].name, "summary");
        for (int t = 0; t < n; t++) {
            assert_true(strlen(tables[t].doc) > 0);
            assert_in_range(tables[t].n_columns, 1, PROBE_COLUMNS_MAX);
            for (int c = 0; c < tables[t].n_columns; c++) {
                const char *doc = tables[t].columns[c].doc;

                assert_true(doc[strlen(doc) - 1] == '.');
                for (int other = 0; other < c; other++)
                    assert_string_not_equal(tables[t].columns[c].name,
                                            tables[t].columns[other].name);
            }
            for (int other = 0; other < t; other++)
                assert_string_not_equal(tables[t].name, tables[other].name);
        }
    }
}

struct found {
    int n;
    char pointer[64];
};

static void find(void *to, const char *pointer, const char *message)
{
    struct found *found = to;

    assert_true(strlen(message) > 0);
    found->n++;
    snprintf(found->pointer, sizeof found->pointer, "%s", pointer);
}

static void assert_blamed(const struct engine_job *job, const struct engine_probe *probe,
                          const char *pointer)
{
    struct found found = {0};
    struct problems problems = {.tell = find, .to = &found};

    engine_probe_check(job, probe, &problems);
    assert_int_equal(problems.n, found.n);
    assert_int_equal(found.n, pointer ? 1 : 0);
    if (pointer)
        assert_string_equal(found.pointer, pointer);
}

/* One member of a probe that is right is set wrong. */
#define BLAME(kind, what, at)                                                                      \
    do {                                                                                           \
        struct engine_probe probe = probe_defaults(kind);                                          \
        what;                                                                                      \
        assert_blamed(&job, &probe, at);                                                           \
    } while (0)

/* As many vectors of the job's weights as half of the memory holds. */
static int64_t steps_that_fit(const struct engine_job *job)
{
    struct engine_job_facts facts;
    struct err err;
    int64_t steps;
    int n;

    assert_int_equal(engine_job_facts(job, &facts, &err), 0);
    steps = engine_devices(&n)[0].memory_bytes / 2 / (facts.parameters * (int64_t)sizeof(float));
    assert_true(steps >= 2);
    return steps < 2000 ? steps : 2000;
}

static void combinations_are_checked(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    int64_t most;

    (void)state;
    for (int kind = 0; kind < PROBE_KINDS; kind++)
        BLAME(kind, (void)0, NULL);
    BLAME(PROBE_SPECTRUM, probe.start = START_GIVEN, "/upload");
    BLAME(PROBE_SPECTRUM, probe.upload = 1, "/upload");
    BLAME(PROBE_SPECTRUM, (probe.start = START_GIVEN, probe.upload = 1), NULL);
    BLAME(PROBE_SPECTRUM, (probe.start = START_GIVEN, probe.upload = 1, probe.runs = 2), "/runs");
    BLAME(PROBE_SPECTRUM, probe.steps = 4, "/top_k");
    BLAME(PROBE_SPECTRUM, (probe.trace = TRACE_HUTCHPP, probe.trace_draws = 5), "/trace_draws");
    BLAME(PROBE_SPECTRUM, (probe.trace = TRACE_HUTCHPP, probe.layers = LAYERS_TRACE), "/layers");
    BLAME(PROBE_SPECTRUM, (probe.trace_draws = 0, probe.layers = LAYERS_TRACE), "/layers");
    BLAME(PROBE_LANDSCAPE, probe.x.direction = DIRECTION_NONE, "/x/direction");
    BLAME(PROBE_LANDSCAPE, probe.x.direction = DIRECTION_LINE, "/other");
    BLAME(PROBE_LANDSCAPE, (probe.x.direction = DIRECTION_LINE, probe.other.update = 5), NULL);
    BLAME(PROBE_LANDSCAPE, probe.other.update = 5, "/other");
    BLAME(PROBE_LANDSCAPE, probe.x.to = -1, "/x/to");
    BLAME(PROBE_LANDSCAPE, (probe.y.direction = DIRECTION_RANDOM, probe.y.from = 2), "/y/to");
    BLAME(PROBE_LANDSCAPE, probe.y.direction = DIRECTION_LINE, "/y/direction");
    BLAME(PROBE_LANDSCAPE, probe.y.points = 5, "/y/points");
    BLAME(PROBE_LANDSCAPE, probe.y.from = -2, "/y/from");
    BLAME(PROBE_LANDSCAPE, probe.y.to = 2, "/y/to");
    BLAME(PROBE_LANDSCAPE, probe.y.normalise = NORMALISE_UNIT, "/y/normalise");
    BLAME(PROBE_LANDSCAPE, engine_probe_resolve(&probe), NULL); /* as it is shown */
    BLAME(PROBE_LANDSCAPE, (probe.preset = PRESET_NAMED, engine_probe_resolve(&probe)), NULL);
    BLAME(PROBE_LANDSCAPE, (probe.y.direction = DIRECTION_RANDOM, probe.y.points = 5), NULL);
    BLAME(PROBE_LANDSCAPE,
          (probe.y.direction = DIRECTION_RANDOM, probe.x.points = probe.y.points = 1000),
          "/y/points");
    BLAME(PROBE_LANDSCAPE, probe.x.direction = DIRECTION_GIVEN, "/upload");
    BLAME(PROBE_RADIUS, probe.radius_min = 10, "/radius_max");
    BLAME(PROBE_RADIUS, probe.adaptive = true, "/adaptive");
    BLAME(PROBE_RADIUS, probe.plain = probe.filterwise = probe.adversarial = false, "/plain");
    BLAME(PROBE_SHARPNESS, probe.adaptive = true, "/adaptive");
    job = tiny_job(METHOD_ARWP, DEVICE_REFERENCE);
    BLAME(PROBE_SHARPNESS, probe.adaptive = true, NULL);
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_DIGITS, METHOD_SGD);
    BLAME(PROBE_SPECTRUM,
          (probe.steps = 5, probe.trace = TRACE_HUTCHPP, probe.trace_draws = 100000),
          "/trace_draws");
    job.model.width = 256;
    BLAME(PROBE_SPECTRUM, probe.steps = 2000, "/steps");
    most = steps_that_fit(&job);
    BLAME(PROBE_SPECTRUM, (probe.steps = most, probe.top_k = most < 100 ? most : 100), NULL);
    BLAME(PROBE_SPECTRUM,
          (probe.steps = most, probe.top_k = most < 100 ? most : 100, probe.save_vectors = true),
          "/steps");
    BLAME(PROBE_LANDSCAPE, (probe.steps = 2000, probe.x.direction = DIRECTION_EIGENVECTOR),
          "/steps");
}

/* One that was stored before such members were refused goes on. */
static void a_stored_probe_keeps_what_says_nothing(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct engine_probe probe = probe_defaults(PROBE_LANDSCAPE);
    struct problems problems = {0};

    (void)state;
    probe.y.points = 5;
    probe_check_stored(&job, &probe, &problems);
    assert_int_equal(problems.n, 0);
    probe.x.direction = DIRECTION_NONE;
    probe_check_stored(&job, &probe, &problems);
    assert_int_equal(problems.n, 1);
}

/* Many large images, of which only the headers are written. */
static void much_data_make(struct job_dataset *dataset)
{
    static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 30, 0, 0, 0, 25};
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0xea, 0x60};

    idx_folder_make(dataset);
    idx_folder_patch(dataset, "train-images-idx3-ubyte", 0, images, sizeof images);
    idx_folder_resize(dataset, "train-images-idx3-ubyte", sizeof images + (size_t)60000 * 30 * 25);
    idx_folder_patch(dataset, "train-labels-idx1-ubyte", 0, labels, sizeof labels);
    idx_folder_resize(dataset, "train-labels-idx1-ubyte", sizeof labels + 60000);
    /* the test set's have the same size */
    idx_folder_patch(dataset, "t10k-images-idx3-ubyte", 8, images + 8, 8);
    idx_folder_resize(dataset, "t10k-images-idx3-ubyte", 16 + (size_t)IDX_TEST * 30 * 25);
}

/* A pass over all 60,000 would take the better part of a terabyte. */
static void batches_fit_into_memory(void **state)
{
    struct engine_job job;

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET101, DATASET_IDX, METHOD_SGD);
    much_data_make(&job.dataset);
    for (int kind = 0; kind < PROBE_KINDS; kind++) {
        BLAME(kind, (probe.samples = 0), NULL);
        BLAME(kind, (probe.samples = 100, probe.batch_size = 60000), NULL);
        if (kind != PROBE_LANDSCAPE)
            BLAME(kind, (probe.samples = 0, probe.batch_size = 60000), "/batch_size");
        BLAME(kind, (probe.samples = 0, probe.batch_size = 60000, probe.split = PROBE_TEST), NULL);
    }
    BLAME(PROBE_LANDSCAPE,
          (probe.samples = 0, probe.batch_size = 60000, probe.x.direction = DIRECTION_GRADIENT),
          "/batch_size");
    idx_folder_remove(&job.dataset);
}

/* What is told is kept, in memory and on disk: no request may fill either. */
static void rows_have_a_bound(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);

    (void)state;
    BLAME(PROBE_SPECTRUM, (probe.runs = 1000, probe.steps = 2000), "/runs");
    BLAME(PROBE_SPECTRUM, (probe.runs = 400, probe.steps = 1000), NULL);
    BLAME(PROBE_SPECTRUM, probe.trace_draws = 100000, NULL);
    BLAME(PROBE_SPECTRUM, (probe.trace_draws = 100000, probe.layers = LAYERS_TRACE), "/layers");
    BLAME(PROBE_RADIUS, (probe.points = 1000, probe.draws = 10000), "/draws");
    BLAME(PROBE_RADIUS, (probe.points = 40, probe.draws = 10000), NULL);
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_DIGITS, METHOD_SGD);
    BLAME(PROBE_SPECTRUM, (probe.runs = 1000, probe.layers = LAYERS_SPECTRUM), "/layers");
    BLAME(PROBE_SPECTRUM, (probe.runs = 100, probe.layers = LAYERS_SPECTRUM), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_have_the_same_fields_in_jobs_and_by_themselves),
        cmocka_unit_test(results_are_described),
        cmocka_unit_test(combinations_are_checked),
        cmocka_unit_test(a_stored_probe_keeps_what_says_nothing),
        cmocka_unit_test(batches_fit_into_memory),
        cmocka_unit_test(rows_have_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
