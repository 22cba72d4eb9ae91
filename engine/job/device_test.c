/* Numbers are eighths below 2¹⁴, so that all that is done to them is exact in float. */
#include "job/device_test.h"

#include <stdlib.h>

enum { FILTERS = 32, FILTER_SIZE = 128, ELEMENTS = FILTERS * FILTER_SIZE };

struct test {
    const struct backend_class *class;
    struct backend *backend;
    struct vector *weights, *gradient, *momentum, *copy;
    float *given, *found;
};

static float weight(int i)
{
    return 0.125f * (float)(i * 37 % ELEMENTS) - 100;
}

static int compare(const struct test *test, const struct vector *vector, float of_weight,
                   const char *what, struct err *err)
{
    int rc = test->class->vector_read(vector, 0, ELEMENTS, test->found, err);

    for (int i = 0; i < ELEMENTS && !rc; i++)
        if (test->found[i] != of_weight * weight(i))
            rc = err_set(err, ERR_DEVICE, "the device's test: %s: %g instead of %g at %d", what,
                         (double)test->found[i], (double)(of_weight * weight(i)), i);
    return rc;
}

static int open_vectors(struct test *test, struct err *err)
{
    struct vector **all[] = {&test->weights, &test->gradient, &test->momentum, &test->copy};
    int rc = 0;

    for (int i = 0; i < 4 && !rc; i++)
        rc = test->class->vector_open(test->backend, ELEMENTS, all[i], err);
    for (int i = 0; i < 2 && !rc; i++)
        rc = test->class->vector_write(*all[i], 0, ELEMENTS, test->given, err);
    return rc;
}

/* The weights as they are, and then less a quarter of themselves: w − ¼·g with g = w. */
static int compute(const struct test *test, struct err *err)
{
    struct layout_tensor tensor = {.size = ELEMENTS,
                                   .filters = FILTERS,
                                   .filter_size = FILTER_SIZE,
                                   .weight = true,
                                   .fisher_size = FILTERS};
    const struct layout layout = {
        .n = 1, .tensor = &tensor, .size = ELEMENTS, .fisher_size = FILTERS};
    const struct perturbation none = {.kind = PERTURB_NONE};
    const struct gradient_term term = {.gradient = test->gradient, .weight = 1};
    const struct step step = {.rule = STEP_SGD,
                              .layout = &layout,
                              .weights = test->weights,
                              .momentum_vector = test->momentum,
                              .terms = &term,
                              .n_terms = 1,
                              .number = 1,
                              .lr = 0.25};
    int rc =
        test->class->materialise(test->backend, &layout, test->weights, &none, test->copy, err);

    if (!rc)
        rc = compare(test, test->copy, 1, "a copy", err);
    if (!rc)
        rc = test->class->step(test->backend, &step, err);
    return rc ? rc : compare(test, test->weights, 0.75f, "a sum", err);
}

static void close_all(struct test *test)
{
    struct vector *all[] = {test->weights, test->gradient, test->momentum, test->copy};

    for (int i = 0; i < 4; i++)
        if (all[i])
            test->class->vector_close(all[i]);
    if (test->backend)
        test->class->close(test->backend);
    free(test->given);
    free(test->found);
}

int device_test(const struct backend_class *class, int device, struct err *err)
{
    const struct backend_options options = {
        .threads = 1, .device = device, .compute = COMPUTE_F32, .deterministic = true};
    struct test test = {.class = class,
                        .given = malloc(ELEMENTS * sizeof *test.given),
                        .found = malloc(ELEMENTS * sizeof *test.found)};
    int rc = test.given && test.found ? 0 : err_no_memory(err);

    for (int i = 0; i < ELEMENTS && !rc; i++)
        test.given[i] = weight(i);
    if (!rc)
        rc = class->open(&test.backend, &options, err);
    if (!rc)
        rc = open_vectors(&test, err);
    if (!rc)
        rc = compute(&test, err);
    close_all(&test);
    return rc;
}
