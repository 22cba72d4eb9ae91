/* The models' parameters: numbers, and the ResNet's names, as the PyTorch modules have them (the
 * other names are in test_golden_models.c); starts; which images they fit. */
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

static const struct job_model resnet18 = {
    .kind = MODEL_RESNET18, .width = 64, .blocks = {4, {2, 2, 2, 2}}};
static const struct job_model demonstration = {
    .kind = MODEL_RESNET, .width = 8, .blocks = {3, {1, 1, 1}}};

/* A kind with its defaults. */
static struct job_model standard(int kind)
{
    struct engine_job job;

    engine_job_defaults(&job, kind, DATASET_DIGITS, METHOD_SGD);
    return job.model;
}

static void assert_parameters(const struct job_model *model, const struct model_input *input,
                              int64_t parameters, int tensors)
{
    struct graph *graph = build(model, input, false);

    assert_int_equal(model_parameters(graph), parameters);
    if (tensors)
        assert_int_equal(graph->n_params, tensors);
    graph_free(graph);
}

static void numbers_of_parameters(void **state)
{
    static const struct {
        int kind;
        int64_t ten, hundred;
        int tensors;
    } known[] = {
        {MODEL_RESNET18, 11173962, 11220132, 62},  {MODEL_RESNET34, 21282122, 21328292, 110},
        {MODEL_RESNET50, 23520842, 23705252, 161}, {MODEL_RESNET101, 42512970, 42697380, 314},
        {MODEL_VGG16_BN, 15253578, 15299748, 58},  {MODEL_VGG19_BN, 20565834, 20612004, 70},
        {MODEL_WRN16_8, 10961370, 11007540, 0},    {MODEL_WRN28_10, 36479194, 36536884, 0},
        {MODEL_WRN22_8, 17158106, 17204276, 0},    {MODEL_WRN34_10, 46160474, 46218164, 0},
        {MODEL_PRERESNET164, 1703258, 1726388, 0}, {MODEL_VIT, 9523722, 9569892, 74},
    };
    struct model_input cifar100 = cifar;
    struct model_input digits = {
        .batch = 30, .channels = 1, .height = 8, .width = 8, .classes = 10};

    (void)state;
    cifar100.classes = 100;
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        struct job_model model = standard(known[i].kind);

        assert_parameters(&model, &cifar, known[i].ten, known[i].tensors);
        assert_parameters(&model, &cifar100, known[i].hundred, known[i].tensors);
    }
    assert_parameters(&demonstration, &digits, 19810, 29);
}

/* torchvision's and timm's, for 1,000 classes. */
static void numbers_of_parameters_for_large_images(void **state)
{
    static const struct {
        int kind;
        int64_t parameters;
        int tensors;
    } known[] = {{MODEL_RESNET18, 11689512, 62},  {MODEL_RESNET34, 21797672, 110},
                 {MODEL_RESNET50, 25557032, 161}, {MODEL_RESNET101, 44549160, 314},
                 {MODEL_VIT_S32, 22878952, 152},  {MODEL_VIT_S16, 22050664, 152},
                 {MODEL_VIT_B16, 86567656, 152}};
    const struct model_input imagenet = {
        .batch = 1, .channels = 3, .height = 224, .width = 224, .classes = 1000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        struct job_model model = standard(known[i].kind);

        assert_parameters(&model, &imagenet, known[i].parameters, known[i].tensors);
    }
}

/* `wrn` and `preresnet` of the depths that have names. */
static void general_kinds_make_the_named_ones(void **state)
{
    struct job_model wrn = standard(MODEL_WRN), preresnet = standard(MODEL_PRERESNET);

    (void)state;
    wrn.depth = 16;
    wrn.widen = 8;
    assert_parameters(&wrn, &cifar, 10961370, 0);
    wrn.depth = 34;
    wrn.widen = 10;
    assert_parameters(&wrn, &cifar, 46160474, 0);
    assert_parameters(&preresnet, &cifar, 1703258, 0);
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

static void starts_are_the_originals(void **state)
{
    const struct model_input imagenet = {
        .batch = 1, .channels = 3, .height = 224, .width = 224, .classes = 1000};
    struct job_model model = standard(MODEL_RESNET50);
    struct graph *graph = build(&model, &imagenet, false);

    (void)state;
    assert_int_equal(param(graph, "conv1.weight")->init.kind, INIT_NORMAL);
    assert_close(param(graph, "conv1.weight")->init.deviation, sqrt(2.0 / (49 * 64)), 1e-15);
    assert_close(param(graph, "fc.bias")->init.bound, 1 / sqrt(2048.0), 1e-15);
    graph_free(graph);
    model = standard(MODEL_VGG16_BN);
    graph = build(&model, &cifar, false);
    assert_close(param(graph, "features.3.weight")->init.deviation, sqrt(2.0 / (9 * 64)), 1e-15);
    assert_int_equal(param(graph, "features.3.bias")->init.kind, INIT_ZERO);
    assert_close(param(graph, "classifier.6.weight")->init.bound, 1 / sqrt(512.0), 1e-15);
    graph_free(graph);
    model = standard(MODEL_WRN16_8);
    graph = build(&model, &cifar, false);
    assert_close(param(graph, "f.0_convolution.weight")->init.deviation, sqrt(2.0 / 27), 1e-15);
    assert_int_equal(param(graph, "f.8_classification.weight")->init.kind, INIT_ZERO);
    assert_int_equal(param(graph, "f.8_classification.bias")->init.kind, INIT_ZERO);
    graph_free(graph);
}

static int dropouts(const struct job_model *model, bool training)
{
    struct graph *graph = build(model, &cifar, training);
    int n = graph->n_dropouts;

    graph_free(graph);
    return n;
}

static void dropout_is_for_training(void **state)
{
    struct job_model vgg = standard(MODEL_VGG16_BN), wrn = standard(MODEL_WRN16_8);

    (void)state;
    assert_int_equal(dropouts(&vgg, true), 2);
    assert_int_equal(dropouts(&vgg, false), 0);
    assert_int_equal(dropouts(&wrn, true), 0);
    wrn.dropout = 0.3;
    assert_int_equal(dropouts(&wrn, true), 6);
    assert_int_equal(dropouts(&wrn, false), 0);
}

/* NULL: the model fits. */
static void assert_fit(const struct job_model *model, int64_t height, int64_t width,
                       const char *pointer)
{
    struct model_input input = {
        .batch = 2, .channels = 1, .height = height, .width = width, .classes = 10};
    struct model_problem problem = {0};
    struct graph *graph;

    assert_int_equal(model_fits(model, &input, &problem), pointer == NULL);
    if (pointer) {
        assert_string_equal(problem.pointer, pointer);
        assert_true(strlen(problem.message) > 10);
        return;
    }
    graph = build(model, &input, true); /* what is said to fit can be built */
    graph_free(graph);
}

static void images_may_be_too_small(void **state)
{
    struct job_model resnet = standard(MODEL_RESNET18), vgg = standard(MODEL_VGG19_BN);
    struct job_model wrn = standard(MODEL_WRN16_8), preresnet = standard(MODEL_PRERESNET164);

    (void)state;
    assert_fit(&resnet, 5, 9, NULL);
    assert_fit(&resnet, 4, 4, "/model/blocks"); /* 4 → 2 → 1 → none */
    resnet.stem = STEM_IMAGENET;
    assert_fit(&resnet, 2, 2, "/model/stem");
    assert_fit(&resnet, 16, 16, "/model/blocks");
    assert_fit(&resnet, 17, 16, NULL);
    assert_fit(&vgg, 31, 40, "/model/kind");
    assert_fit(&vgg, 32, 63, NULL);
    assert_fit(&vgg, 70, 64, NULL);
    assert_fit(&wrn, 2, 2, "/model/kind");
    assert_fit(&wrn, 3, 1, NULL);
    assert_fit(&preresnet, 1, 2, "/model/kind");
    assert_fit(&preresnet, 3, 3, NULL);
}

static void depths_come_in_steps(void **state)
{
    struct job_model wrn = standard(MODEL_WRN), preresnet = standard(MODEL_PRERESNET);

    (void)state;
    for (wrn.depth = 10; wrn.depth < 30; wrn.depth++)
        assert_fit(&wrn, 8, 8, (wrn.depth - 4) % 6 ? "/model/depth" : NULL);
    for (preresnet.depth = 10; preresnet.depth < 40; preresnet.depth++)
        assert_fit(&preresnet, 8, 8, (preresnet.depth - 2) % 9 ? "/model/depth" : NULL);
}

static void patches_and_heads_come_out_even(void **state)
{
    struct job_model vit = standard(MODEL_VIT), large = standard(MODEL_VIT_S16);

    (void)state;
    assert_fit(&vit, 32, 32, NULL);
    assert_fit(&vit, 4, 8, NULL);
    assert_fit(&vit, 28, 30, "/model/patch");
    assert_fit(&vit, 2, 4, "/model/patch");
    vit.heads = 7;
    assert_fit(&vit, 32, 32, "/model/heads");
    large.width = 24;
    large.heads = 6;
    assert_fit(&large, 48, 32, NULL);
    assert_fit(&large, 8, 8, "/model/patch");
}

/* Positions and class token N(0, 1); timm's 0.02 and 1e-6. */
static void transformers_start_as_the_originals(void **state)
{
    struct job_model vit = standard(MODEL_VIT), timm = standard(MODEL_VIT_S16);
    struct model_input input = cifar;
    struct graph *graph = build(&vit, &input, false);

    (void)state;
    assert_close(param(graph, "pos_embedding")->init.deviation, 1, 0);
    assert_close(param(graph, "cls_token")->init.deviation, 1, 0);
    assert_close(param(graph, "to_patch_embedding.1.bias")->init.bound, 1 / sqrt(48.0), 1e-15);
    assert_close(param(graph, "transformer.layers.5.0.fn.to_qkv.weight")->init.bound,
                 1 / sqrt(512.0), 1e-15);
    assert_int_equal(param(graph, "transformer.layers.0.0.norm.weight")->init.kind, INIT_ONE);
    graph_free(graph);
    graph = build(&timm, &input, false);
    assert_close(param(graph, "pos_embed")->init.deviation, 0.02, 0);
    assert_close(param(graph, "cls_token")->init.deviation, 1e-6, 0);
    assert_close(param(graph, "patch_embed.proj.weight")->init.bound, 1 / sqrt(768.0), 1e-15);
    assert_close(param(graph, "blocks.11.mlp.fc2.weight")->init.deviation, 0.02, 0);
    assert_int_equal(param(graph, "blocks.11.mlp.fc2.bias")->init.kind, INIT_ZERO);
    graph_free(graph);
}

/* 64 pixels are the border; a user may say otherwise. */
static void large_images_get_the_large_stem(void **state)
{
    static const struct {
        int stem;
        int64_t height, width, size;
    } cases[] = {{STEM_AUTO, 63, 200, 3},
                 {STEM_AUTO, 64, 64, 7},
                 {STEM_CIFAR, 64, 64, 3},
                 {STEM_IMAGENET, 33, 33, 7}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct model_input input = {.batch = 2,
                                    .channels = 3,
                                    .height = cases[i].height,
                                    .width = cases[i].width,
                                    .classes = 10};
        struct job_model model = standard(MODEL_RESNET18);
        struct graph *graph;

        model.stem = cases[i].stem;
        graph = build(&model, &input, true);
        assert_int_equal(param(graph, "conv1.weight")->shape.dim[3], cases[i].size);
        graph_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_parameters),
        cmocka_unit_test(numbers_of_parameters_for_large_images),
        cmocka_unit_test(general_kinds_make_the_named_ones),
        cmocka_unit_test(names_and_order_are_torchvisions),
        cmocka_unit_test(starts_are_pytorchs_defaults),
        cmocka_unit_test(training_has_a_gradient_for_every_parameter),
        cmocka_unit_test(starts_are_the_originals),
        cmocka_unit_test(dropout_is_for_training),
        cmocka_unit_test(images_may_be_too_small),
        cmocka_unit_test(depths_come_in_steps),
        cmocka_unit_test(patches_and_heads_come_out_even),
        cmocka_unit_test(transformers_start_as_the_originals),
        cmocka_unit_test(large_images_get_the_large_stem),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
