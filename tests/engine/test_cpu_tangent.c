/* What the CPU backend does together in a tangent (engine/backend/cpu/fusion_tangent.c): graphs
 * that have each pattern, that have almost one, and that have one in the way of another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cpu_products.h"

static const struct init uniform = {INIT_UNIFORM, 1};

static int weights(struct graph *g, int64_t out, int64_t in, int64_t r, int64_t s, const char *name)
{
    return graph_param(g, shape_of(4, out, in, r, s), uniform, "%s.weight", name);
}

static int64_t channels(const struct graph *g, int x)
{
    return x < 0 ? 1 : g->values[x].shape.dim[1];
}

static int conv(struct graph *g, int x, int64_t out, int64_t size, int stride, const char *name)
{
    return graph_conv(g, x, weights(g, out, channels(g, x), size, size, name), stride,
                      (int)size / 2);
}

static int biased(struct graph *g, int x, const char *name)
{
    return graph_bias(g, x, graph_param(g, shape_of(1, channels(g, x)), uniform, "%s", name));
}

/* Each makes an image with as many channels as there are classes, or more. */
static int convolutions(struct graph *g, int x)
{
    int y = graph_relu(g, conv(g, x, 20, 3, 1, "a"));

    y = graph_relu(g, conv(g, y, 18, 3, 2, "b"));
    y = graph_relu(g, graph_conv(g, y, weights(g, 17, 18, 1, 1, "c"), 1, 1));
    y = graph_relu(g, graph_conv(g, y, weights(g, 16, 17, 2, 3, "d"), 1, 1));
    y = graph_relu(g, graph_conv(g, y, weights(g, 16, 16, 3, 3, "e"), 1, 0));
    return conv(g, y, 5, 5, 3, "f");
}

static int shared_weights(struct graph *g, int x)
{
    int w = weights(g, 8, 8, 3, 3, "w"), y = graph_relu(g, conv(g, x, 8, 3, 1, "a"));

    y = graph_relu(g, graph_conv(g, y, w, 1, 1));
    y = graph_relu(g, graph_conv(g, y, w, 1, 1));
    return graph_add(g, graph_conv(g, y, w, 1, 1), y);
}

static int norms(struct graph *g, int x)
{
    int y = graph_relu(g, graph_batch_norm(g, conv(g, x, 20, 3, 1, "a"), "bn1"));

    y = graph_batch_norm(g, conv(g, y, 20, 1, 1, "b"), "bn2");
    if (g->training) /* else bn2.weight would be without any effect, and its part rounding */
        y = graph_relu(g, y);
    return graph_batch_norm(g, y, "bn3");
}

/* What is added are normalised values, plain ones, and the same ones twice. */
static int sums(struct graph *g, int x)
{
    int y = graph_relu(g, graph_batch_norm(g, conv(g, x, 12, 3, 1, "a"), "bn1")), z, u;

    z = graph_batch_norm(g, conv(g, y, 12, 3, 1, "b"), "bn2");
    u = graph_batch_norm(g, conv(g, y, 12, 1, 1, "c"), "bn3");
    y = graph_relu(g, graph_add(g, graph_add(g, z, u), y));
    z = graph_batch_norm(g, conv(g, y, 12, 3, 1, "d"), "bn4");
    y = graph_add(g, graph_add(g, z, y), graph_add(g, conv(g, y, 12, 1, 1, "e"), y));
    z = graph_relu(g, y);
    return graph_add(g, graph_relu(g, graph_add(g, z, z)), y);
}

/* Six terms and more: too many for one sum. */
static int long_sums(struct graph *g, int x)
{
    int y = graph_relu(g, conv(g, x, 6, 3, 1, "a")), sum = y;

    for (int i = 0; i < 4; i++) {
        char name[2][20];

        snprintf(name[0], sizeof name[0], "conv%d", i);
        snprintf(name[1], sizeof name[1], "bn%d", i);
        sum = graph_add(g, graph_batch_norm(g, conv(g, y, 6, 3, 1, name[0]), name[1]), sum);
    }
    return graph_add(g, graph_relu(g, sum), sum);
}

/* A norm's input and result that others read too. */
static int several_readers(struct graph *g, int x)
{
    int a = conv(g, x, 10, 3, 1, "a"), y = graph_batch_norm(g, a, "bn1"), z = graph_relu(g, y);

    z = graph_add(g, graph_batch_norm(g, z, "bn2"), graph_add(g, y, a));
    return graph_add(g, graph_relu(g, graph_batch_norm(g, z, "bn3")), graph_relu(g, z));
}

/* Activation before the convolution, a shortcut from before and from after it. */
static int preactivated(struct graph *g, int x)
{
    int y = conv(g, x, 16, 3, 1, "stem"), z;

    z = graph_relu(g, graph_batch_norm(g, y, "bn1"));
    y = graph_add(g, conv(g, z, 16, 3, 1, "a"), conv(g, z, 16, 1, 1, "b"));
    z = graph_relu(g, graph_batch_norm(g, y, "bn2"));
    y = graph_add(g, y, conv(g, z, 16, 3, 1, "c"));
    return graph_relu(g, graph_batch_norm(g, y, "bn3"));
}

static int biases(struct graph *g, int x)
{
    int y = biased(g, conv(g, x, 9, 3, 1, "a"), "a.bias"), z;

    z = graph_relu(g, graph_batch_norm(g, y, "bn1"));
    z = biased(g, conv(g, z, 9, 3, 1, "b"), "b.bias");
    z = graph_batch_norm(g, z, "bn2");
    return graph_relu(g, biased(g, graph_add(g, z, y), "last"));
}

static int pools(struct graph *g, int x)
{
    int y = graph_relu(g, graph_batch_norm(g, conv(g, x, 9, 3, 1, "a"), "bn1"));

    y = conv(g, graph_max_pool(g, y, 2, 2, 0), 9, 3, 1, "b");
    y = graph_max_pool(g, graph_relu(g, graph_batch_norm(g, y, "bn2")), 3, 2, 1);
    return conv(g, y, 9, 1, 1, "c");
}

/* The same gamma and beta for two norms. */
static int shared_norm(struct graph *g, int x)
{
    int y = conv(g, x, 7, 3, 1, "a"), first = graph_batch_norm(g, y, "bn");
    struct node node;

    if (first < 0)
        return -1;
    node = g->nodes[g->values[first].node];
    y = graph_relu(g, first);
    y = conv(g, y, 7, 3, 1, "b");
    node.input[0] = y;
    y = graph_node(g, node.op, node.input, node.n_inputs, &node);
    return graph_add(g, graph_relu(g, y), y);
}

static const struct {
    const char *name;
    int (*image)(struct graph *g, int x);
} nets[] = {
    {"convolutions", convolutions},
    {"shared weights", shared_weights},
    {"norms", norms},
    {"sums", sums},
    {"long sums", long_sums},
    {"several readers", several_readers},
    {"preactivated", preactivated},
    {"biases", biases},
    {"pools", pools},
    {"shared norm", shared_norm},
};

static void compare(const char *name, int (*image)(struct graph *, int), bool training,
                    int64_t batch)
{
    struct graph *g = graph_new(training);
    const int64_t sides[] = {3, 12, 9};
    int x = graph_input(g, shape_of(4, batch, sides[0], sides[1], sides[2]), VALUE_REAL), loss;
    int labels = graph_input(g, shape_of(1, batch), VALUE_INDEX);
    char full[100];

    snprintf(full, sizeof full, "%s, %d samples%s", name, (int)batch, training ? ", batch" : "");
    loss = graph_cross_entropy(g, graph_global_avg_pool(g, image(g, x)), labels);
    graph_output(g, loss);
    assert_ok((graph_gradient(g, loss), graph_tangent(g), graph_check(g, err)));
    compare_products(full, g, batch > 1);
    graph_free(g);
}

static void in_given_statistics(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++) {
        compare(nets[i].name, nets[i].image, false, 1);
        compare(nets[i].name, nets[i].image, false, 19);
    }
}

static void in_the_batch_s_statistics(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++)
        compare(nets[i].name, nets[i].image, true, 5);
}

/* Products are to be exact, but a program that is not must not be wrong: Winograd's convolutions,
 * which add to nothing, among those that do. */
static void with_the_fastest_algorithms(void **state)
{
    struct graph *g = graph_new(false);
    const int64_t size[] = {17, 48, 12, 12};
    int x = graph_input(g, shape_of(4, size[0], size[1], size[2], size[3]), VALUE_REAL), loss;
    int labels = graph_input(g, shape_of(1, size[0]), VALUE_INDEX);
    struct trial *want, *got;

    (void)state;
    for (int i = 0; i < 3; i++)
        x = graph_relu(g, conv(g, x, 48, 3, 1, (const char *[]){"a", "b", "c"}[i]));
    loss = graph_cross_entropy(g, graph_global_avg_pool(g, x), labels);
    graph_output(g, loss);
    assert_ok((graph_gradient(g, loss), graph_tangent(g), graph_check(g, err)));
    want = trial_open(g, &backend_reference, NULL);
    got = trial_open(g, &cpu_by_channel, NULL);
    fill_mildly(want, 3);
    fill_mildly(got, 3);
    trial_run(want);
    trial_run(got);
    assert_close("product", got->product, want->product, want->params->size, 1e-3);
    trial_close(want);
    trial_close(got);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_given_statistics),
        cmocka_unit_test(in_the_batch_s_statistics),
        cmocka_unit_test(with_the_fastest_algorithms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
