/* Operations that the CPU backend does together, as whole blocks: each pattern that it looks for,
 * those that look like one and are none, and whole nets, forward and backward, against the
 * reference backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/profile.h"
#include "base/cleanup.h"
#include "cpu_compare.h"
#include "job/tables.h"
#include "model/model.h"

#define TOLERANCE     2e-5
#define NET_TOLERANCE 2e-4 /* deep nets with weights of ±1 carry their rounding far */

static const struct init uniform = {INIT_UNIFORM, 1};

static int images(struct graph *g, int64_t c)
{
    return graph_input(g, shape_of(4, (int64_t)5, c, (int64_t)9, (int64_t)7), VALUE_REAL);
}

static int conv(struct graph *g, int x, int64_t out, int64_t size, int stride, const char *name)
{
    int64_t in = x < 0 ? 1 : g->values[x].shape.dim[1];
    int w = graph_param(g, shape_of(4, out, in, size, size), uniform, "%s", name);

    return graph_conv(g, x, w, stride, (int)size / 2);
}

/* Commands of the compiled graph by this algorithm. */
static int count_commands(const struct graph *g, const char *algorithm)
{
    struct support_options options = {.threads = 1};
    struct trial *trial = trial_open(g, &cpu_by_channel, &options);
    struct cpu_profile_row row;
    int n = 0;

    assert_ok(cpu_profile_start(trial->program, err));
    for (int i = 0; cpu_profile_row(trial->program, i, &row); i++)
        n += row.algorithm && strcmp(row.algorithm, algorithm) == 0;
    trial_close(trial);
    return n;
}

static void compare(const char *what, struct graph *g)
{
    compare_all_ways(what, g, 3, TOLERANCE, TOLERANCE);
    graph_free(g);
}

static void compare_with_derivatives(const char *what, struct graph *g, int y)
{
    graph_output(g, y);
    add_derivatives(g);
    compare(what, g);
}

/* Sizes with which the CPU backend takes its own Winograd convolutions: borders, tiles that reach
 * past the edge, groups of tiles that end early, channels that fill no block. */
static void winograd(void **state)
{
    static const struct {
        int64_t n, c, k, h, w;
    } sizes[] = {{9, 16, 16, 16, 16},
                 {20, 17, 40, 15, 15},
                 {41, 40, 17, 8, 8},
                 {160, 20, 33, 4, 4},
                 {2, 16, 48, 44, 43}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct graph *g = graph_new(true);
        int x =
            graph_input(g, shape_of(4, sizes[i].n, sizes[i].c, sizes[i].h, sizes[i].w), VALUE_REAL);
        int y = conv(g, x, sizes[i].k, 3, 1, "w");

        graph_output(g, y);
        add_derivatives(g);
        assert_int_equal(count_commands(g, "winograd"), 3);
        compare("winograd", g);
    }
}

static void norm_relu(void **state)
{
    (void)state;
    for (int64_t c = 8; c <= 40; c += 16) {
        struct graph *g = graph_new(true);
        int y = graph_relu(g, graph_batch_norm(g, conv(g, images(g, 3), c, 3, 1, "w"), "bn"));

        compare_with_derivatives("norm, relu", g, y);
    }
}

static void norm_add_relu(void **state)
{
    (void)state;
    for (int swapped = 0; swapped < 2; swapped++) {
        struct graph *g = graph_new(true);
        int x = images(g, 20), y = graph_batch_norm(g, conv(g, x, 20, 3, 1, "w"), "bn");

        y = graph_relu(g, swapped ? graph_add(g, x, y) : graph_add(g, y, x));
        compare_with_derivatives("norm, add, relu", g, y);
    }
}

static void two_norms_add_relu(void **state)
{
    struct graph *g = graph_new(true);
    int x = images(g, 12), a = graph_batch_norm(g, conv(g, x, 20, 3, 2, "w1"), "bn1");
    int b = graph_batch_norm(g, conv(g, x, 20, 1, 2, "w2"), "bn2");

    (void)state;
    compare_with_derivatives("two norms, add, relu", g, graph_relu(g, graph_add(g, a, b)));
}

static void norm_add_without_relu(void **state)
{
    struct graph *g = graph_new(true);
    int x = images(g, 6), y = graph_batch_norm(g, x, "bn");

    (void)state;
    compare_with_derivatives("norm, add", g, graph_add(g, x, y));
}

/* A result that others read too, or twice, must not be left to one reader. */
static void results_with_several_readers(void **state)
{
    struct graph *g = graph_new(true);
    int x = images(g, 6), y = graph_batch_norm(g, x, "bn"), z = graph_relu(g, y);

    (void)state;
    compare_with_derivatives("norm read twice", g, graph_add(g, y, z));
    g = graph_new(true);
    y = graph_batch_norm(g, images(g, 6), "bn");
    compare_with_derivatives("norm added to itself", g, graph_relu(g, graph_add(g, y, y)));
    g = graph_new(true);
    x = images(g, 6);
    y = graph_add(g, graph_batch_norm(g, x, "bn"), x);
    z = graph_relu(g, y);
    compare_with_derivatives("sum read twice", g, graph_add(g, y, z));
}

/* A chain of residual blocks: sums of derivatives, ReLU's derivatives that are read twice. */
static void residual_chain(void **state)
{
    struct graph *g = graph_new(true);
    int x = graph_relu(g, graph_batch_norm(g, conv(g, images(g, 1), 16, 3, 1, "stem"), "bn0"));

    (void)state;
    for (int i = 0; i < 3; i++) {
        char name[20];
        int y = conv(g, x, 16, 3, 1, i == 0 ? "a0" : i == 1 ? "a1" : "a2");

        snprintf(name, sizeof name, "bn%d.1", i);
        y = graph_relu(g, graph_batch_norm(g, y, name));
        y = conv(g, y, 16, 3, 1, i == 0 ? "b0" : i == 1 ? "b1" : "b2");
        snprintf(name, sizeof name, "bn%d.2", i);
        x = graph_relu(g, graph_add(g, graph_batch_norm(g, y, name), x));
    }
    compare_with_derivatives("residual chain", g, x);
}

/* Weights that two convolutions share get the sum of both gradients; so do two parameters that
 * are only ever added. */
static void shared_parameters(void **state)
{
    struct graph *g = graph_new(true);
    struct shape shape = shape_of(4, (int64_t)18, (int64_t)18, (int64_t)3, (int64_t)3);
    int w = graph_param(g, shape, uniform, "w"), x = images(g, 18);

    (void)state;
    compare_with_derivatives("one weight, two convolutions", g,
                             graph_conv(g, graph_conv(g, x, w, 1, 1), w, 2, 1));
    g = graph_new(true);
    w = graph_add(g, graph_param(g, shape, uniform, "a"), graph_param(g, shape, uniform, "b"));
    compare_with_derivatives("two parameters, one gradient", g,
                             graph_conv(g, images(g, 18), w, 1, 1));
}

static void evaluation(void **state)
{
    struct graph *g = graph_new(false);
    int x = images(g, 12), y;

    (void)state;
    x = graph_relu(g, graph_batch_norm(g, conv(g, x, 24, 3, 1, "w0"), "bn0"));
    y = graph_batch_norm(g, conv(g, x, 40, 3, 2, "w1"), "bn1");
    y = graph_add(g, graph_batch_norm(g, conv(g, x, 40, 1, 2, "w2"), "bn2"), y);
    graph_output(g, graph_global_avg_pool(g, graph_relu(g, y)));
    compare("evaluation", g);
}

static int biased(struct graph *g, int x, const char *name)
{
    int64_t channels = x < 0 ? 1 : g->values[x].shape.dim[1];

    return graph_bias(g, x, graph_param(g, shape_of(1, channels), uniform, "%s", name));
}

/* A bias that a normalisation takes out again, with what may follow; one that it does not; and one
 * whose normalisation's mean somebody looks at. */
static void biases(void **state)
{
    (void)state;
    for (int64_t c = 8; c <= 40; c += 16)
        for (int training = 0; training < 2; training++) {
            struct graph *g = graph_new(training);
            int x = images(g, 3), y = biased(g, conv(g, x, c, 3, 1, "w"), "b");
            int z = biased(g, conv(g, x, c, 1, 1, "v"), "d");

            y = graph_relu(g, graph_batch_norm(g, y, "bn"));
            y = graph_add(g, graph_batch_norm(g, z, "bn2"), y);
            if (training)
                compare_with_derivatives("bias, norm", g, y);
            else {
                graph_output(g, y);
                compare("bias, norm, evaluated", g);
            }
        }
    for (int mean = 0; mean < 2; mean++) {
        struct graph *g = graph_new(true);
        int x = biased(g, conv(g, images(g, 3), 24, 3, 1, "w"), "b");
        int y = graph_batch_norm(g, x, "bn");

        if (!mean)
            y = graph_add(g, y, graph_relu(g, x));
        graph_output(g, y);
        if (mean)
            graph_output(g, g->nodes[g->values[y].node].output[1]);
        add_derivatives(g);
        compare(mean ? "bias, norm, its mean" : "bias, norm and another", g);
    }
}

static void pools_and_masks(void **state)
{
    (void)state;
    for (int64_t c = 8; c <= 40; c += 16) {
        struct graph *g = graph_new(true);
        int y = graph_relu(g, graph_batch_norm(g, conv(g, images(g, 3), c, 3, 1, "w"), "bn"));

        y = graph_max_pool(g, y, c == 24 ? 3 : 2, 2, c == 24 ? 1 : 0);
        y = graph_dropout(g, conv(g, graph_dropout(g, y, 0.4), 12, 3, 1, "v"), 0.3);
        compare_with_derivatives("norm, relu, max_pool, dropout", g, y);
    }
}

/* A ReLU before a max_pool that somebody else reads too: another pool, a convolution, an output. */
static void pools_that_do_not_own_their_relu(void **state)
{
    const struct shape two = shape_of(4, (int64_t)20, (int64_t)20, (int64_t)2, (int64_t)2);

    (void)state;
    for (int reader = 0; reader < 4; reader++) {
        struct graph *g = graph_new(true);
        int x = images(g, 20);
        int y = graph_relu(g, graph_batch_norm(g, conv(g, x, 20, 3, 1, "w"), "bn"));
        int z = graph_max_pool(g, y, 2, 2, 0);

        if (reader == 1)
            z = graph_add(g, z, graph_max_pool(g, y, 2, 2, 0));
        if (reader == 2)
            z = graph_add(g, z, graph_conv(g, y, graph_param(g, two, uniform, "v"), 2, 0));
        graph_output(g, graph_max_pool(g, z, 2, 3, 0));
        if (reader == 3)
            graph_output(g, y);
        add_derivatives(g);
        compare("a relu with readers", g);
    }
}

static void compare_model(int64_t width, struct spec_int_list blocks,
                          const struct model_input *input)
{
    struct job_model model = {.kind = MODEL_RESNET, .width = width, .blocks = blocks};

    for (int training = 0; training < 2; training++) {
        struct graph *g;
        char name[160];

        assert_ok(model_graph(&g, &model, input, training, err));
        snprintf(name, sizeof name, "resnet of width %d, training %d", (int)width, training);
        compare(name, g);
    }
}

static void residual_nets(void **state)
{
    (void)state;
    compare_model(8, (struct spec_int_list){3, {1, 1, 1}}, &(struct model_input){30, 1, 8, 8, 10});
    compare_model(12, (struct spec_int_list){2, {2, 1}}, &(struct model_input){3, 3, 17, 17, 7});
    compare_model(24, (struct spec_int_list){2, {1, 2}}, &(struct model_input){33, 2, 6, 10, 3});
}

/* One of each other family, on images that are no multiple of anything. */
static void other_nets(void **state)
{
    static const struct {
        struct job_model model;
        struct model_input input;
    } nets[] = {
        {{.kind = MODEL_RESNET50, .width = 4, .blocks = {2, {1, 2}}}, {5, 3, 9, 9, 5}},
        {{.kind = MODEL_RESNET50, .width = 8, .blocks = {3, {1, 1, 1}}, .stem = STEM_IMAGENET},
         {5, 3, 33, 21, 5}},
        {{.kind = MODEL_PRERESNET, .width = 6, .depth = 20}, {6, 3, 9, 7, 5}},
        {{.kind = MODEL_VGG16_BN, .width = 5, .dropout = 0.5}, {18, 3, 37, 32, 5}},
        {{.kind = MODEL_WRN, .depth = 16, .widen = 1, .dropout = 0.3}, {6, 3, 9, 7, 5}},
        {{.kind = MODEL_WRN, .depth = 10, .widen = 2}, {18, 1, 8, 8, 3}},
    };

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LENGTH(nets); i++) {
        const char *kind = job_model_kinds[nets[i / 2].model.kind].name;
        struct graph *g;
        char name[160];

        assert_ok(model_graph(&g, &nets[i / 2].model, &nets[i / 2].input, i % 2, err));
        snprintf(name, sizeof name, "net %zu, %s, training %d", i / 2, kind, (int)i % 2);
        compare_all_ways(name, g, 3, NET_TOLERANCE, NET_TOLERANCE);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(winograd),
        cmocka_unit_test(norm_relu),
        cmocka_unit_test(norm_add_relu),
        cmocka_unit_test(two_norms_add_relu),
        cmocka_unit_test(norm_add_without_relu),
        cmocka_unit_test(results_with_several_readers),
        cmocka_unit_test(residual_chain),
        cmocka_unit_test(shared_parameters),
        cmocka_unit_test(evaluation),
        cmocka_unit_test(biases),
        cmocka_unit_test(pools_and_masks),
        cmocka_unit_test(pools_that_do_not_own_their_relu),
        cmocka_unit_test(residual_nets),
        cmocka_unit_test(other_nets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
