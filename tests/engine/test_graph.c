/* Building graphs: inferred shapes, what is refused and in which words, what reverse mode appends,
 * where tensors lie in flat vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "graph/graph.h"
#include "graph/layout.h"
#include "support.h"

static const struct init uniform = {INIT_UNIFORM, 0.5};

static struct shape shape_from(const int64_t *dims, size_t rank)
{
    struct shape shape = {.rank = (int)rank};

    memcpy(shape.dim, dims, rank * sizeof *dims);
    return shape;
}

#define SHAPE(...) shape_from((int64_t[]){__VA_ARGS__}, ARRAY_LENGTH(((int64_t[]){__VA_ARGS__})))

static int real_input(struct graph *g, struct shape shape)
{
    return graph_input(g, shape, VALUE_REAL);
}

static int param(struct graph *g, struct shape shape, const char *name)
{
    return graph_param(g, shape, uniform, "%s", name);
}

static void assert_shape(const struct graph *g, int value, struct shape wanted)
{
    assert_in_range(value, 0, g->n_values - 1);
    assert_true(shape_equal(&g->values[value].shape, &wanted));
}

static void assert_mistake(struct graph *g, const char *text)
{
    assert_refused(graph_check(g, err), ERR_INVALID, text);
    graph_free(g);
}

static void shapes_are_inferred(void **state)
{
    struct graph *g = graph_new(true);
    int x = real_input(g, SHAPE(2, 3, 9, 7)), y;

    (void)state;
    y = graph_conv(g, x, param(g, SHAPE(8, 3, 3, 3), "a"), 1, 1);
    assert_shape(g, y, SHAPE(2, 8, 9, 7));
    assert_shape(g, graph_conv(g, y, param(g, SHAPE(4, 8, 3, 3), "b"), 2, 1), SHAPE(2, 4, 5, 4));
    assert_shape(g, graph_conv(g, y, param(g, SHAPE(4, 8, 1, 1), "c"), 2, 0), SHAPE(2, 4, 5, 4));
    assert_shape(g, graph_conv(g, y, param(g, SHAPE(4, 8, 5, 3), "d"), 3, 0), SHAPE(2, 4, 2, 2));
    y = graph_batch_norm(g, y, "bn");
    assert_shape(g, y, SHAPE(2, 8, 9, 7));
    assert_shape(g, y + 1, SHAPE(8));
    assert_shape(g, y + 2, SHAPE(8));
    y = graph_global_avg_pool(g, graph_relu(g, graph_add(g, y, y)));
    assert_shape(g, y, SHAPE(2, 8));
    y = graph_linear(g, y, param(g, SHAPE(5, 8), "fc.w"), param(g, SHAPE(5), "fc.b"));
    assert_shape(g, y, SHAPE(2, 5));
    x = graph_input(g, SHAPE(2), VALUE_INDEX);
    assert_shape(g, graph_cross_entropy(g, y, x), SHAPE(1));
    assert_shape(g, graph_correct(g, y, x, 5), SHAPE(1));
    assert_ok(graph_check(g, err));
    graph_free(g);
}

static void batch_norm_brings_its_tensors(void **state)
{
    static const char *const names[] = {"bn1.weight", "bn1.bias", "bn1.running_mean",
                                        "bn1.running_var"};

    (void)state;
    for (int training = 0; training < 2; training++) {
        struct graph *g = graph_new(training);
        int y = graph_batch_norm(g, real_input(g, SHAPE(4, 3, 2, 5)), "bn1");
        assert_ok(graph_check(g, err));
        assert_int_equal(g->n_params, 2);
        assert_int_equal(g->n_states, 2);
        for (int i = 0; i < 2; i++) {
            assert_string_equal(g->params[i].name, names[i]);
            assert_string_equal(g->states[i].name, names[2 + i]);
            assert_int_equal(g->params[i].init.kind, i == 0 ? INIT_ONE : INIT_ZERO);
            assert_int_equal(g->states[i].init.kind, i == 0 ? INIT_ZERO : INIT_ONE);
        }
        assert_int_equal(g->nodes[g->values[y].node].op,
                         training ? OP_BATCH_NORM : OP_BATCH_NORM_EVAL);
        assert_int_equal(g->n_moments, training);
        if (training) {
            assert_int_equal(g->moments[0].mean, y + 1);
            assert_int_equal(g->moments[0].var, y + 2);
            assert_int_equal(g->moments[0].running_var, 1);
            assert_int_equal(g->moments[0].count, 40);
        }
        graph_free(g);
    }
}

static void convolution_mistakes(void **state)
{
    struct graph *g = graph_new(true);

    (void)state;
    graph_conv(g, real_input(g, SHAPE(1, 3, 8, 8)), param(g, SHAPE(4, 8, 3, 3), "w"), 1, 1);
    assert_mistake(g, "conv: x has 3 channels, w wants 8");
    g = graph_new(true);
    graph_conv(g, real_input(g, SHAPE(1, 3, 2, 8)), param(g, SHAPE(4, 3, 5, 5), "w"), 1, 1);
    assert_mistake(g, "conv: a 5x5 kernel on a 2x8 image");
    g = graph_new(true);
    graph_conv(g, real_input(g, SHAPE(1, 3, 8, 8)), param(g, SHAPE(4, 3, 3, 3), "w"), 0, 1);
    assert_mistake(g, "conv: stride 0, pad 1");
    g = graph_new(true);
    graph_conv(g, real_input(g, SHAPE(1, 3)), param(g, SHAPE(4, 3, 3, 3), "w"), 1, 1);
    assert_mistake(g, "conv: x has 2 dimensions, [1,3]; it needs 4");
}

static void batch_norm_mistakes(void **state)
{
    struct graph *g = graph_new(true);

    (void)state;
    graph_batch_norm(g, real_input(g, SHAPE(1, 8, 1, 1)), "bn");
    assert_mistake(g, "batch_norm: one value a channel has no variance");
    g = graph_new(false);
    graph_batch_norm(g, real_input(g, SHAPE(1, 8, 1, 1)), "bn");
    assert_ok(graph_check(g, err));
    graph_batch_norm(g, real_input(g, SHAPE(4, 8, 2, 2)), "bn");
    assert_mistake(g, "two tensors are named bn.weight");
}

static void other_mistakes(void **state)
{
    struct graph *g = graph_new(true);

    (void)state;
    graph_add(g, real_input(g, SHAPE(1, 3, 8, 8)), real_input(g, SHAPE(1, 3, 8, 4)));
    assert_mistake(g, "add: b is [1,3,8,4] and should be [1,3,8,8]");
    g = graph_new(true);
    graph_linear(g, real_input(g, SHAPE(2, 8)), param(g, SHAPE(5, 9), "w"),
                 param(g, SHAPE(5), "b"));
    assert_mistake(g, "linear: x has 8 features, w wants 9");
    g = graph_new(true);
    graph_linear(g, real_input(g, SHAPE(2, 8)), param(g, SHAPE(5, 8), "w"),
                 param(g, SHAPE(8), "b"));
    assert_mistake(g, "linear: b is [8] and should be [5]");
    g = graph_new(true);
    graph_cross_entropy(g, real_input(g, SHAPE(2, 8)), real_input(g, SHAPE(2)));
    assert_mistake(g, "cross_entropy: labels must be class numbers");
    g = graph_new(true);
    graph_cross_entropy(g, real_input(g, SHAPE(2, 8)), graph_input(g, SHAPE(3), VALUE_INDEX));
    assert_mistake(g, "cross_entropy: labels is [3] and should be [2]");
    g = graph_new(true);
    graph_correct(g, real_input(g, SHAPE(2, 8)), graph_input(g, SHAPE(2), VALUE_INDEX), 0);
    assert_mistake(g, "correct: k is 0");
    g = graph_new(true);
    graph_relu(g, graph_input(g, SHAPE(2), VALUE_INDEX));
    assert_mistake(g, "relu: x must be real numbers");
    g = graph_new(true);
    real_input(g, SHAPE(2, 0));
    assert_mistake(g, "input: shape [2,0] has an empty dimension");
    g = graph_new(true);
    real_input(g, SHAPE(1 << 30, 1 << 30));
    assert_mistake(g, "is too large");
    g = graph_new(true);
    graph_output(g, 3);
    assert_mistake(g, "output: there is no value 3");
}

/* Later calls neither act nor hide the first mistake. */
static void transformer_mistakes(void **state)
{
    struct graph *g;
    int x, part, dy, dx;

    (void)state;
    g = graph_new(true);
    graph_patches(g, real_input(g, SHAPE(2, 3, 8, 6)), 4, true);
    assert_mistake(g, "patches: patches of 4x4 on a 8x6 image");
    g = graph_new(true);
    graph_prepend(g, real_input(g, SHAPE(2, 3, 8)), param(g, SHAPE(1, 1, 7), "t"));
    assert_mistake(g, "prepend: token is [1,1,7] and should be [1,1,8]");
    g = graph_new(true);
    graph_token(g, real_input(g, SHAPE(2, 3, 8)), 3);
    assert_mistake(g, "token: there is no token 3 of 3");
    g = graph_new(true);
    graph_add_each(g, real_input(g, SHAPE(2, 3, 8)), param(g, SHAPE(3, 8), "b"));
    assert_mistake(g, "add_each: b is [3,8] and should be [1,3,8]");
    g = graph_new(true);
    graph_split_heads(g, real_input(g, SHAPE(2, 3, 24)), 3, 5);
    assert_mistake(g, "split_heads: 24 features into 3 parts of 5 heads");
    g = graph_new(true);
    graph_matmul(g, real_input(g, SHAPE(2, 3, 8)), real_input(g, SHAPE(2, 7, 4)),
                 (struct matmul){.scale = 1});
    assert_mistake(g, "matmul: a has 8 columns, b 7 rows");
    g = graph_new(true);
    graph_matmul(g, real_input(g, SHAPE(2, 3, 8)), real_input(g, SHAPE(8, 4)),
                 (struct matmul){.scale = 1});
    assert_mistake(g, "matmul: a has 3 dimensions, b 2");
    g = graph_new(true);
    graph_linear(g, real_input(g, SHAPE(2, 3, 48)), param(g, SHAPE(5, 3, 4, 3), "w"), -1);
    assert_mistake(g, "linear: x has 48 features, w wants 36");
    g = graph_new(true);
    x = real_input(g, SHAPE(2, 3, 24));
    part = graph_split_heads(g, x, 3, 2);
    dy = graph_input(g, g->values[part].shape, VALUE_REAL);
    graph_gradient_from(g, part, dy, &x, 1, &dx);
    assert_refused(graph_check(g, err), ERR_UNSUPPORTED,
                   "no derivative of split_heads is known where only some of its parts");
    graph_free(g);
}

static void the_first_mistake_is_kept(void **state)
{
    struct graph *g = graph_new(true);
    int x = real_input(g, SHAPE(2, 3, 4, 4)), n_nodes;

    (void)state;
    assert_int_equal(graph_relu(g, 17), -1);
    n_nodes = g->n_nodes;
    assert_int_equal(graph_relu(g, x), -1);
    assert_int_equal(graph_batch_norm(g, x, "bn"), -1);
    assert_int_equal(param(g, SHAPE(3), "p"), -1);
    assert_int_equal(real_input(g, SHAPE(3)), -1);
    assert_int_equal(graph_output(g, x), -1);
    assert_int_equal(graph_gradient(g, x), ERR_INVALID);
    assert_int_equal(g->n_nodes, n_nodes);
    assert_mistake(g, "relu: x is value 17, which does not exist");
}

static int count_ops(const struct graph *g, enum op op)
{
    int n = 0;

    for (int i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

/* x → conv → relu → y; y + conv(y) → pool → linear → loss */
static struct graph *small_net(int *loss)
{
    struct graph *g = graph_new(true);
    int x = real_input(g, SHAPE(2, 3, 4, 4)), labels = graph_input(g, SHAPE(2), VALUE_INDEX);
    int y = graph_relu(g, graph_conv(g, x, param(g, SHAPE(4, 3, 3, 3), "a"), 1, 1));

    y = graph_add(g, y, graph_conv(g, y, param(g, SHAPE(4, 4, 3, 3), "b"), 1, 1));
    y = graph_linear(g, graph_global_avg_pool(g, y), param(g, SHAPE(5, 4), "w"),
                     param(g, SHAPE(5), "bias"));
    *loss = graph_cross_entropy(g, y, labels);
    return g;
}

static void reverse_mode_appends_what_is_needed(void **state)
{
    int loss;
    struct graph *g = small_net(&loss);

    (void)state;
    for (int i = 0; i < g->n_params; i++)
        assert_int_equal(g->params[i].gradient, -1);
    assert_ok((graph_gradient(g, loss), graph_check(g, err)));
    for (int i = 0; i < g->n_params; i++)
        assert_shape(g, g->params[i].gradient, g->params[i].shape);
    assert_int_equal(count_ops(g, OP_CONV_GRAD_W), 2);
    assert_int_equal(count_ops(g, OP_CONV_GRAD_X), 1); /* not by the images */
    assert_int_equal(count_ops(g, OP_ADD), 2); /* the net's own, and the sum of y's two uses */
    graph_free(g);
}

/* By the images only when asked. */
static void derivatives_of_inputs_on_request(void **state)
{
    int loss, x, dx = -1;
    struct graph *g = small_net(&loss);
    int logits = g->nodes[g->values[loss].node].input[0];
    int dy = real_input(g, SHAPE(2, 5));

    (void)state;
    x = g->inputs[0];
    assert_ok((graph_gradient_from(g, logits, dy, &x, 1, &dx), graph_check(g, err)));
    assert_shape(g, dx, SHAPE(2, 3, 4, 4));
    assert_int_equal(count_ops(g, OP_CONV_GRAD_X), 2);
    graph_free(g);
}

static void gradient_mistakes(void **state)
{
    int loss, input;
    struct graph *g = small_net(&loss);

    (void)state;
    graph_gradient(g, loss - 1);
    assert_mistake(g, "is no cross-entropy");
    g = small_net(&loss);
    param(g, SHAPE(3), "idle");
    graph_gradient(g, loss);
    assert_mistake(g, "the loss does not depend on parameter idle");
    g = small_net(&loss);
    graph_gradient_from(g, loss - 1, loss, NULL, 0, NULL);
    assert_mistake(g, "a derivative has the shape of its value");
    g = graph_new(true);
    loss = graph_correct(g, real_input(g, SHAPE(4, 3)), graph_input(g, SHAPE(4), VALUE_INDEX), 1);
    input = g->inputs[0];
    graph_gradient_from(g, loss, real_input(g, SHAPE(1)), &input, 1, &(int){0});
    assert_refused(graph_check(g, err), ERR_UNSUPPORTED, "no derivative of correct is known");
    graph_free(g);
}

/* A copy stands by itself and can be built on, whatever the numbers of its items. */
static void copies_are_independent(void **state)
{
    (void)state;
    for (int extra = 0; extra < 9; extra++) {
        int loss, n_nodes;
        struct graph *g = small_net(&loss), *copy;
        for (int i = 0; i < extra; i++)
            graph_relu(g, 0);
        graph_output(g, loss);
        copy = graph_copy(g);
        n_nodes = g->n_nodes;
        assert_non_null(copy);
        assert_int_equal(graph_gradient(copy, loss), 0);
        assert_int_equal(g->n_nodes, n_nodes);
        assert_int_equal(g->params[0].gradient, -1);
        graph_free(g);
        assert_string_equal(copy->params[1].name, "b");
        assert_int_equal(copy->outputs[0], loss);
        graph_free(copy);
    }
}

static void layouts_are_aligned_and_packed(void **state)
{
    struct graph *g = graph_new(true);
    struct layout *layout;
    const struct layout_tensor *t;

    (void)state;
    param(g, SHAPE(5, 3, 3, 3), "conv");
    param(g, SHAPE(7), "scale");
    param(g, SHAPE(4, 8), "linear");
    param(g, SHAPE(1), "one");
    assert_ok(layout_open(&layout, g->params, g->n_params, err));
    t = layout->tensor;
    assert_int_equal(layout->n, 4);
    for (int i = 0; i < layout->n; i++) {
        size_t end = i + 1 < layout->n ? t[i + 1].offset : layout->size;
        assert_int_equal(t[i].offset % LAYOUT_ALIGN, 0);
        assert_true(t[i].offset + t[i].size <= end);
        assert_true(end - (t[i].offset + t[i].size) < LAYOUT_ALIGN);
        assert_int_equal(t[i].size, shape_elements(&g->params[i].shape));
        assert_int_equal(t[i].filters * t[i].filter_size, t[i].size);
    }
    assert_int_equal(t[0].filters, 5);
    assert_int_equal(t[0].filter_size, 27);
    assert_int_equal(t[2].filters, 4);
    assert_true(t[1].elementwise && t[3].elementwise && !t[0].elementwise && !t[2].elementwise);
    assert_int_equal(t[0].fisher_offset, 0);
    assert_int_equal(t[1].fisher_offset, 5);
    assert_int_equal(t[2].fisher_offset, 5 + 7);
    assert_int_equal(t[3].fisher_offset, 5 + 7 + 4);
    assert_int_equal(layout->fisher_size, 5 + 7 + 4 + 1);
    layout_close(layout);
    assert_ok(layout_open(&layout, NULL, 0, err));
    assert_int_equal(layout->size, 0);
    layout_close(layout);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_inferred),
        cmocka_unit_test(batch_norm_brings_its_tensors),
        cmocka_unit_test(convolution_mistakes),
        cmocka_unit_test(batch_norm_mistakes),
        cmocka_unit_test(other_mistakes),
        cmocka_unit_test(transformer_mistakes),
        cmocka_unit_test(the_first_mistake_is_kept),
        cmocka_unit_test(reverse_mode_appends_what_is_needed),
        cmocka_unit_test(derivatives_of_inputs_on_request),
        cmocka_unit_test(gradient_mistakes),
        cmocka_unit_test(copies_are_independent),
        cmocka_unit_test(layouts_are_aligned_and_packed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
