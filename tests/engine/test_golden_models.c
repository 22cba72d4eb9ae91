/* Names, order and shapes of each model's parameters and running statistics, with the kind's
 * defaults, against those of the PyTorch modules: the catalogue in tests/golden/models.txt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "golden_run.h"
#include "model/model.h"

/* FNV-1a, going on from `hash`. */
static uint64_t fnv1a(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001B3u;
    return hash;
}

static uint64_t add_tensors(uint64_t hash, const struct graph_tensor *tensors, int n)
{
    char number[32];

    for (int i = 0; i < n; i++) {
        hash = fnv1a(hash, tensors[i].name);
        for (int d = 0; d < tensors[i].shape.rank; d++) {
            snprintf(number, sizeof number, " %lld", (long long)tensors[i].shape.dim[d]);
            hash = fnv1a(hash, number);
        }
        hash = fnv1a(hash, "\n");
    }
    return hash;
}

static void compare_line(char *line)
{
    int kind = golden_model(golden_word(&line));
    struct model_input input = {.batch = 1};
    struct engine_job job;
    struct graph *graph;
    struct err err;

    input.channels = (int64_t)golden_integer(&line);
    input.classes = (int)golden_integer(&line);
    input.height = input.width = (int64_t)golden_integer(&line);
    engine_job_defaults(&job, kind, DATASET_DIGITS, METHOD_SGD);
    if (model_forward_graph(&graph, &job.model, &input, false, &err))
        fail_msg("%s", err.message);
    assert_int_equal(model_parameters(graph), golden_integer(&line));
    assert_int_equal(graph->n_params, golden_integer(&line));
    assert_int_equal(graph->n_states, golden_integer(&line));
    assert_true(add_tensors(add_tensors(0xCBF29CE484222325u, graph->params, graph->n_params),
                            graph->states, graph->n_states) == golden_integer(&line));
    graph_free(graph);
}

static void names_and_shapes_are_pytorchs(void **state)
{
    FILE *file = golden_open("models.txt");
    int n = 0;

    (void)state;
    for (char *line; (line = golden_next(file, "model")); n++)
        compare_line(line);
    fclose(file);
    assert_int_equal(n, 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_and_shapes_are_pytorchs)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
