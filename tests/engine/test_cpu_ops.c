/* Every operation of the CPU backend, and its derivative, against the reference backend: the small
 * odd sizes that all backends are tried with, and sizes that reach each path of this one: whole and
 * broken blocks of channels, several tiles of a normalisation, Winograd and direct convolutions,
 * one thread and two. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cpu_compare.h"
#include "op_cases.h"

#define TOLERANCE          1e-5
#define WINOGRAD_TOLERANCE 2e-4

static const struct init uniform = {INIT_UNIFORM, 1};

static void compare_case(const struct op_case *op_case, bool gradient, uint64_t seed)
{
    struct graph *g = op_case_graph(op_case);
    char name[100];

    if (gradient)
        add_derivatives(g);
    compare_all_ways(op_case_name(op_case, name), g, seed, TOLERANCE, TOLERANCE);
    graph_free(g);
}

static void every_operation(void **state)
{
    struct op_case op_case;

    (void)state;
    for (int i = 0; op_case_at(i, &op_case); i++)
        compare_case(&op_case, false, (uint64_t)i + 1);
}

static void every_derivative(void **state)
{
    struct op_case op_case;

    (void)state;
    for (int i = 0; op_case_at(i, &op_case); i++)
        if (op_case_differentiable(&op_case))
            compare_case(&op_case, true, (uint64_t)i + 7);
}

struct conv_size {
    int64_t n, c, h, w, k, r;
    int stride, pad;
};

static struct graph *conv_graph(const struct conv_size *s)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape_of(4, s->n, s->c, s->h, s->w), VALUE_REAL);
    int w = graph_param(g, shape_of(4, s->k, s->c, s->r, s->r), uniform, "w");

    graph_output(g, graph_conv(g, x, w, s->stride, s->pad));
    add_derivatives(g);
    return g;
}

static void convolutions_of_nets(void **state)
{
    static const struct conv_size sizes[] = {
        {4, 3, 32, 32, 64, 3, 1, 1},   {2, 1, 28, 28, 20, 3, 1, 1},   {4, 64, 32, 32, 64, 3, 1, 1},
        {4, 64, 16, 16, 128, 3, 2, 1}, {4, 64, 16, 16, 128, 1, 2, 0}, {3, 128, 8, 8, 128, 3, 1, 1},
        {3, 256, 4, 4, 256, 3, 1, 1},  {2, 40, 9, 7, 72, 3, 1, 1},    {2, 24, 15, 13, 40, 3, 2, 1},
        {2, 17, 8, 8, 33, 3, 1, 1},    {3, 48, 6, 6, 32, 5, 1, 2},    {5, 32, 7, 7, 32, 3, 1, 1},
        {2, 4, 12, 12, 48, 3, 1, 1},   {5, 64, 2, 2, 80, 3, 1, 1},    {3, 72, 3, 3, 64, 3, 1, 1},
        {4, 65, 5, 5, 96, 3, 2, 1},    {2, 64, 1, 1, 64, 3, 1, 1},    {3, 64, 7, 2, 64, 5, 3, 2},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct graph *g = conv_graph(&sizes[i]);
        char name[80];

        snprintf(name, sizeof name, "convolution %zu", i);
        compare_all_ways(name, g, i + 1, TOLERANCE, WINOGRAD_TOLERANCE);
        graph_free(g);
    }
}

/* Several tiles an image, several images a tile, broken tiles. */
static void normalisations_of_nets(void **state)
{
    static const int64_t sizes[][4] = {
        {4, 64, 32, 32}, {3, 20, 17, 19}, {70, 16, 3, 3}, {9, 33, 2, 2}, {2, 8, 23, 23}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct graph *g = graph_new(true);
        const int64_t *s = sizes[i];
        int x = graph_input(g, shape_of(4, s[0], s[1], s[2], s[3]), VALUE_REAL);
        char name[80];

        graph_output(g, graph_batch_norm(g, x, "bn"));
        add_derivatives(g);
        snprintf(name, sizeof name, "normalisation %zu", i);
        compare_all_ways(name, g, i + 1, TOLERANCE, TOLERANCE);
        graph_free(g);
    }
}

/* Heads that are read and written where they lie, and, with `apart`, heads that somebody else wants
 * too. */
static void attention_of(int64_t samples, int64_t tokens, int64_t heads, int64_t size, bool apart)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape_of(3, samples, tokens, 3 * heads * size), VALUE_REAL);
    int q = graph_split_heads(g, x, 3, (int)heads), scores, y, merged;
    char name[80];

    scores = graph_matmul(g, q, q + 1, (struct matmul){.transpose_b = true, .scale = 0.3});
    y = graph_matmul(g, graph_softmax(g, scores), q + 2, (struct matmul){.scale = 1});
    merged = graph_merge_heads(g, y);
    graph_output(g, graph_gelu(g, merged));
    if (apart) {
        graph_output(g, q + 1);
        graph_output(g, y);
    }
    add_derivatives(g);
    snprintf(name, sizeof name, "attention, %lld heads of %lld%s", (long long)heads,
             (long long)size, apart ? ", apart" : "");
    compare_all_ways(name, g, (uint64_t)size, TOLERANCE, TOLERANCE);
    graph_free(g);
}

static void attention(void **state)
{
    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        attention_of(2, 5, 3, 7, apart);
        attention_of(1, 1, 1, 1, apart);
        attention_of(3, 17, 2, 64, apart);
        attention_of(2, 65, 4, 16, apart);
    }
}

static int linear(struct graph *g, int x, int64_t out, const char *name)
{
    const struct shape *shape = &g->values[x].shape;
    int w = graph_param(g, shape_of(2, out, shape->dim[shape->rank - 1]),
                        (struct init){INIT_UNIFORM, 0.1}, "%s.weight", name);

    return graph_linear(g, x, w, graph_param(g, shape_of(1, out), uniform, "%s.bias", name));
}

/* From images to features, with enough work for two threads. */
static struct graph *transformer(void)
{
    struct graph *g = graph_new(true);
    int64_t n = 9, channels = 3, side = 32, tokens = 65, width = 128, one = 1;
    int x = graph_input(g, shape_of(4, n, channels, side, side), VALUE_REAL), q, y;

    x = linear(g, graph_patches(g, x, 4, true), width, "embed");
    x = graph_prepend(g, x, graph_param(g, shape_of(3, one, one, width), uniform, "token"));
    x = graph_add_each(g, x, graph_param(g, shape_of(3, one, tokens, width), uniform, "positions"));
    x = graph_dropout(g, x, 0.2);
    q = graph_split_heads(g, linear(g, graph_layer_norm(g, x, 1e-5, "norm1"), 3 * width, "qkv"), 3,
                          4);
    y = graph_matmul(g, q, q + 1, (struct matmul){.transpose_b = true, .scale = 0.2});
    y = graph_matmul(g, graph_softmax(g, y), q + 2, (struct matmul){.scale = 1});
    x = graph_add(g, graph_dropout(g, linear(g, graph_merge_heads(g, y), width, "out"), 0.1), x);
    y = linear(g, graph_layer_norm(g, x, 1e-5, "norm2"), width + 3, "first");
    x = graph_add(g, linear(g, graph_gelu(g, y), width, "second"), x);
    graph_output(g, graph_layer_norm(g, graph_token(g, x, 0), 1e-5, "norm"));
    return g;
}

static void whole_transformer(void **state)
{
    struct graph *g = transformer();

    (void)state;
    add_derivatives(g);
    compare_all_ways("transformer", g, 3, TOLERANCE, TOLERANCE);
    graph_free(g);
}

/* Random numbers of the other tests are within ±1. */
static void compare_wide(const struct cpu_way *way, enum op op, double factor)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape_of(2, (int64_t)37, (int64_t)101), VALUE_REAL);
    struct trial *trials[2];

    graph_output(g, graph_node(g, op, &x, 1, NULL));
    add_derivatives(g);
    trials[0] = trial_open(g, &backend_reference, NULL);
    trials[1] = trial_open(g, way->class, &way->options);
    for (size_t i = 0; i < 2; i++) {
        trial_fill(trials[i], 5);
        for (int64_t k = 0; k < 37 * 101; k++)
            trials[i]->input[0][k] = (double)(float)(trials[i]->input[0][k] * factor);
        trial_run(trials[i]);
    }
    for (int i = 0; i < g->n_outputs; i++)
        assert_close(op_name(op), trials[1]->output[i], trials[0]->output[i], 37 * 101, 1e-6);
    trial_close(trials[0]);
    trial_close(trials[1]);
    graph_free(g);
}

static void wide_ranges(void **state)
{
    (void)state;
    for (const struct cpu_way *way = cpu_ways; way->name; way++)
        for (double factor = 3; factor < 1000; factor *= 5) {
            compare_wide(way, OP_GELU, factor);
            compare_wide(way, OP_SOFTMAX, factor);
        }
}

/* GELU's small values below 0 keep their digits; what is far out is 0 or itself; NaN stays. */
static void gelu_of_extremes(void **state)
{
    static const double x[] = {-30, -6, -4.5, -3, -1e-30, 0, 1e-30, 30, 1e30, -1e30, NAN};
    struct graph *g = graph_new(true);
    int n = ARRAY_LENGTH(x), in = graph_input(g, shape_of(1, (int64_t)n), VALUE_REAL);
    struct trial *t;

    (void)state;
    graph_output(g, graph_gelu(g, in));
    t = trial_open(g, &backend_cpu, NULL);
    memcpy(t->input[0], x, sizeof x);
    trial_run(t);
    for (int i = 0; i < n - 1; i++) {
        double want = x[i] * erfc(-x[i] * 0.70710678118654752) / 2, got = t->output[0][i];

        if (!(fabs(got - want) <= 2e-6 * fabs(want) + 1e-7 * (x[i] < -10 ? 1 : 0)))
            fail_msg("gelu(%g) is %.9g and should be %.9g", x[i], got, want);
    }
    assert_true(isnan(t->output[0][n - 1]));
    trial_close(t);
    graph_free(g);
}

/* Far from zero, where Σx² − (Σx)²/n would have lost all digits. */
static void statistics_survive_an_offset(void **state)
{
    (void)state;
    for (const struct cpu_way *way = cpu_ways; way->name; way++) {
        struct graph *g = graph_new(true);
        int64_t n = 8, c = 16, side = 20;
        int x = graph_input(g, shape_of(4, n, c, side, side), VALUE_REAL);
        int y = graph_batch_norm(g, x, "bn");
        struct trial *trials[2];

        graph_output(g, g->nodes[g->values[y].node].output[2]);
        trials[0] = trial_open(g, &backend_reference, NULL);
        trials[1] = trial_open(g, way->class, &way->options);
        for (size_t i = 0; i < 2; i++) {
            trial_fill(trials[i], 3);
            for (int64_t k = 0; k < n * c * side * side; k++)
                trials[i]->input[0][k] = (double)(float)(trials[i]->input[0][k] + 1000);
            trial_run(trials[i]);
        }
        assert_close(way->name, trials[1]->output[0], trials[0]->output[0], 16, 1e-5);
        trial_close(trials[0]);
        trial_close(trials[1]);
        graph_free(g);
    }
}

/* A diverged pass must be seen: NaN goes through every fused path to the loss. */
static void nan_comes_through(void **state)
{
    (void)state;
    for (const struct cpu_way *way = cpu_ways; way->name; way++) {
        struct graph *g = graph_new(true);
        int64_t n = 2, c = 3, side = 8, k = 20, three = 3;
        int x = graph_input(g, shape_of(4, n, c, side, side), VALUE_REAL);
        int w = graph_param(g, shape_of(4, k, c, three, three), uniform, "w");
        int y = graph_relu(g, graph_batch_norm(g, graph_conv(g, x, w, 1, 1), "bn"));
        struct trial *t;

        graph_output(g, graph_global_avg_pool(g, graph_relu(g, graph_add(g, y, y))));
        t = trial_open(g, way->class, &way->options);
        trial_fill(t, 1);
        t->input[0][5] = NAN;
        trial_run(t);
        for (size_t i = 0; i < trial_output_size(t, 0); i++)
            assert_true(isnan(t->output[0][i]));
        trial_close(t);
        graph_free(g);
    }
}

/* Equal logits: the lower class comes first. NaN is never right, and before all others; so a model
 * that has diverged does not look like a perfect one. */
static void ties_and_nan_in_ranking(void **state)
{
    static const double logits[6][3] = {{1, 1, 1},   {1, 1, 1},   {1, 1, 1},
                                        {5, 4, NAN}, {NAN, 1, 2}, {NAN, NAN, NAN}};
    static const int32_t labels[] = {0, 1, 2, 1, 0, 2};
    static const double right[] = {1, 2, 4}; /* among the first one, two, three */

    (void)state;
    for (const struct cpu_way *way = cpu_ways; way->name; way++) {
        struct graph *g = graph_new(true);
        int x = graph_input(g, shape_of(2, (int64_t)6, (int64_t)3), VALUE_REAL);
        int l = graph_input(g, shape_of(1, (int64_t)6), VALUE_INDEX);
        struct trial *t;

        for (int k = 1; k <= 3; k++)
            graph_output(g, graph_correct(g, x, l, k));
        t = trial_open(g, way->class, &way->options);
        memcpy(t->input[0], logits, sizeof logits);
        memcpy(t->labels[1], labels, sizeof labels);
        trial_run(t);
        for (int k = 0; k < 3; k++)
            assert_true(t->output[k][0] == right[k]);
        trial_close(t);
        graph_free(g);
    }
}

/* Layer norm, products, softmax: one bad number in a sample spoils that sample, and it alone. */
static void nan_comes_through_attention(void **state)
{
    (void)state;
    for (const struct cpu_way *way = cpu_ways; way->name; way++) {
        struct graph *g = graph_new(true);
        int x = graph_input(g, shape_of(3, (int64_t)2, (int64_t)5, (int64_t)18), VALUE_REAL);
        int q = graph_split_heads(g, graph_layer_norm(g, x, 1e-5, "norm"), 3, 1), y;
        struct trial *t;

        y = graph_matmul(g, q, q + 1, (struct matmul){.transpose_b = true, .scale = 1});
        y = graph_matmul(g, graph_softmax(g, y), q + 2, (struct matmul){.scale = 1});
        graph_output(g, graph_gelu(g, graph_merge_heads(g, y)));
        t = trial_open(g, way->class, &way->options);
        trial_fill(t, 1);
        t->input[0][18 + 7] = NAN;
        trial_run(t);
        for (size_t i = 0; i < trial_output_size(t, 0); i++)
            assert_true(isnan(t->output[0][i]) == (i < trial_output_size(t, 0) / 2));
        trial_close(t);
        graph_free(g);
    }
}

static int open_program(struct graph *g, struct program **out, struct err *failure)
{
    struct backend_options backend_options = {.threads = 1};
    struct program_options options = {.side_by_side = 1};
    struct layout *params, *states;
    struct backend *backend;
    int rc;

    assert_ok(layout_open(&params, g->params, g->n_params, err));
    assert_ok(layout_open(&states, g->states, g->n_states, err));
    assert_ok(backend_cpu.open(&backend, &backend_options, err));
    rc = backend_cpu.program_open(backend, g, params, states, &options, out, failure);
    backend_cpu.close(backend);
    layout_close(params);
    layout_close(states);
    return rc;
}

/* An operation of a later day. */
static void unknown_operations_are_refused(void **state)
{
    struct graph *g = graph_new(true);
    int64_t n = 2, c = 3, side = 4;
    struct program *program = NULL;

    (void)state;
    graph_output(g, graph_relu(g, graph_input(g, shape_of(4, n, c, side, side), VALUE_REAL)));
    g->nodes[g->values[g->outputs[0]].node].op = OP_COUNT;
    assert_refused(open_program(g, &program, err), ERR_UNSUPPORTED, "the CPU backend has no");
    assert_null(program);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation),
        cmocka_unit_test(every_derivative),
        cmocka_unit_test(convolutions_of_nets),
        cmocka_unit_test(normalisations_of_nets),
        cmocka_unit_test(attention),
        cmocka_unit_test(whole_transformer),
        cmocka_unit_test(wide_ranges),
        cmocka_unit_test(gelu_of_extremes),
        cmocka_unit_test(nan_comes_through_attention),
        cmocka_unit_test(statistics_survive_an_offset),
        cmocka_unit_test(nan_comes_through),
        cmocka_unit_test(ties_and_nan_in_ranking),
        cmocka_unit_test(unknown_operations_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
