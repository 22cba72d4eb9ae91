/* The ResNets' parameters: numbers and names as torchvision's modules have them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "close.h"
#include "model/model.h"

static struct graph *build(const struct job_model *model, const struct model_input *input,
                           bool training)
{
    struct graph *graph;
    struct err err = {0};

    if (model_graph(&graph, model, input, training, &err))
        fail_msg("%s", err.message);
    return graph;
}

static const struct model_input cifar = {
    .batch = 4, .channels = 3, .height = 32, .width = 32, .classes = 10};

static const struct job_model resnet18 = {MODEL_RESNET18, 64, {4, {2, 2, 2, 2}}};
static const struct job_model resnet34 = {MODEL_RESNET34, 64, {4, {3, 4, 6, 3}}};
static const struct job_model demonstration = {MODEL_RESNET, 8, {3, {1, 1, 1}}};

static void assert_parameters(const struct job_model *model, const struct model_input *input,
                              int64_t parameters, int tensors)
{
    struct graph *graph = build(model, input, false);

    assert_int_equal(model_parameters(graph), parameters);
    assert_int_equal(graph->n_params, tensors);
    graph_free(graph);
}

static void numbers_of_parameters(void **state)
{
    struct model_input cifar100 = cifar;
    struct model_input digits = {
        .batch = 30, .channels = 1, .height = 8, .width = 8, .classes = 10};

    (void)state;
    cifar100.classes = 100;
    assert_parameters(&resnet18, &cifar, 11173962, 62);
    assert_parameters(&resnet18, &cifar100, 11220132, 62);
    assert_parameters(&resnet34, &cifar, 21282122, 110);
    assert_parameters(&demonstration, &digits, 19810, 29);
}

/* [n for n, _ in torchvision.models.resnet18().named_parameters()], its middle spelt by rule */
static void names_and_order_are_torchvisions(void **state)
{
    static const char *const block[] = {"conv1.weight", "bn1.weight", "bn1.bias",
                                        "conv2.weight", "bn2.weight", "bn2.bias"};
    static const char *const shortcut[] = {"downsample.0.weight", "downsample.1.weight",
                                           "downsample.1.bias"};
    static const char *const stem[] = {"conv1.weight", "bn1.weight", "bn1.bias"};
    struct graph *graph = build(&resnet18, &cifar, true);
    char name[TENSOR_NAME_MAX];
    int at = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(stem); i++)
        assert_string_equal(graph->params[at++].name, stem[i]);
    for (int layer = 1; layer <= 4; layer++)
        for (int b = 0; b < 2; b++) {
            for (size_t i = 0; i < ARRAY_LENGTH(block); i++) {
                snprintf(name, sizeof name, "layer%d.%d.%s", layer, b, block[i]);
                assert_string_equal(graph->params[at++].name, name);
            }
            for (size_t i = 0; layer > 1 && b == 0 && i < ARRAY_LENGTH(shortcut); i++) {
                snprintf(name, sizeof name, "layer%d.%d.%s", layer, b, shortcut[i]);
                assert_string_equal(graph->params[at++].name, name);
            }
        }
    assert_string_equal(graph->params[at++].name, "fc.weight");
    assert_string_equal(graph->params[at++].name, "fc.bias");
    assert_int_equal(at, graph->n_params);
    assert_string_equal(graph->states[0].name, "bn1.running_mean");
    assert_string_equal(graph->states[1].name, "bn1.running_var");
    assert_int_equal(graph->n_states, 2 * 20);
    graph_free(graph);
}

static const struct graph_tensor *param(const struct graph *graph, const char *name)
{
    for (int i = 0; i < graph->n_params; i++)
        if (!strcmp(graph->params[i].name, name))
            return &graph->params[i];
    fail_msg("no parameter %s", name);
    return NULL;
}

static void starts_are_pytorchs_defaults(void **state)
{
    struct graph *graph = build(&resnet18, &cifar, false);

    (void)state;
    assert_close(param(graph, "conv1.weight")->init.bound, 1 / sqrt(27.0), 1e-15);
    assert_close(param(graph, "layer2.0.conv1.weight")->init.bound, 1 / sqrt(576.0), 1e-15);
    assert_close(param(graph, "layer2.0.downsample.0.weight")->init.bound, 0.125, 1e-15);
    assert_close(param(graph, "fc.weight")->init.bound, 1 / sqrt(512.0), 1e-15);
    /* PyTorch takes the linear layer's inputs for its bias too. */
    assert_close(param(graph, "fc.bias")->init.bound, 1 / sqrt(512.0), 1e-15);
    assert_int_equal(param(graph, "bn1.weight")->init.kind, INIT_ONE);
    assert_int_equal(param(graph, "bn1.bias")->init.kind, INIT_ZERO);
    graph_free(graph);
}

static void training_has_a_gradient_for_every_parameter(void **state)
{
    struct graph *graph = build(&demonstration, &cifar, true);

    (void)state;
    assert_int_equal(graph->n_outputs, MODEL_OUTPUTS);
    assert_int_equal(graph->n_inputs, MODEL_INPUTS);
    for (int i = 0; i < graph->n_params; i++) {
        assert_true(graph->params[i].gradient >= 0);
        assert_true(
            shape_equal(&graph->values[graph->params[i].gradient].shape, &graph->params[i].shape));
    }
    graph_free(graph);
}

static void stages_halve_the_resolution(void **state)
{
    int64_t height = 9, width = 5;

    (void)state;
    assert_true(model_resolution(&resnet18, &height, &width));
    assert_int_equal(height, 2); /* 9 → 5 → 3 → 2 */
    assert_int_equal(width, 1);  /* 5 → 3 → 2 → 1 */
    height = width = 4;
    assert_false(model_resolution(&resnet18, &height, &width)); /* 4 → 2 → 1 → none */
}

/* Odd sizes: what `model_resolution` says is what the graph has. */
static void the_graph_has_the_resolution_that_was_told(void **state)
{
    struct model_input odd = {.batch = 2, .channels = 1, .height = 11, .width = 7, .classes = 3};
    struct graph *graph = build(&resnet18, &odd, true);
    int64_t height = 11, width = 7;

    (void)state;
    assert_true(model_resolution(&resnet18, &height, &width));
    assert_int_equal(graph->moments[graph->n_moments - 1].count, 2 * height * width);
    graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_parameters),
        cmocka_unit_test(names_and_order_are_torchvisions),
        cmocka_unit_test(starts_are_pytorchs_defaults),
        cmocka_unit_test(training_has_a_gradient_for_every_parameter),
        cmocka_unit_test(stages_halve_the_resolution),
        cmocka_unit_test(the_graph_has_the_resolution_that_was_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
