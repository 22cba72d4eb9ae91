/* Max-pooling, dropout and the bias of channels on the reference backend, by hand: ties and NaN,
 * which elements a mask keeps, and when two masks differ. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "random/philox.h"
#include "support.h"

static struct shape shape4(int64_t n, int64_t c, int64_t h, int64_t w)
{
    return shape_of(4, n, c, h, w);
}

/* max_pool of a single 3×3 plane with windows of 2×2, stride 1, and dx for dy of ones. */
static struct trial *pool_trial(struct graph *g)
{
    int x = graph_input(g, shape4(1, 1, 3, 3), VALUE_REAL);
    int y = graph_max_pool(g, x, 2, 1, 0), dy, dx;
    struct trial *t;

    graph_output(g, y);
    dy = graph_input(g, shape4(1, 1, 2, 2), VALUE_REAL);
    assert_ok((graph_gradient_from(g, y, dy, &x, 1, &dx), graph_check(g, err)));
    graph_output(g, dx);
    t = trial_open(g, &backend_reference, NULL);
    for (int i = 0; i < 4; i++)
        t->input[1][i] = 1;
    return t;
}

static void the_first_of_equal_pixels_takes_the_derivative(void **state)
{
    static const double x[9] = {1, 1, 0, 1, 1, 0, 0, 0, 0}, y[4] = {1, 1, 1, 1};
    static const double dx[9] = {1, 1, 0, 1, 1, 0, 0, 0, 0};
    struct graph *g = graph_new(true);
    struct trial *t = pool_trial(g);

    (void)state;
    memcpy(t->input[0], x, sizeof x);
    trial_run(t);
    assert_memory_equal(t->output[0], y, sizeof y);
    assert_memory_equal(t->output[1], dx, sizeof dx);
    trial_close(t);
    graph_free(g);
}

static void nan_is_the_largest(void **state)
{
    static const double x[9] = {5, 1, 0, 1, NAN, 0, 9, 0, -INFINITY};
    static const double dx[9] = {0, 0, 0, 0, 4, 0, 0, 0, 0};
    struct graph *g = graph_new(true);
    struct trial *t = pool_trial(g);

    (void)state;
    memcpy(t->input[0], x, sizeof x);
    trial_run(t);
    for (int i = 0; i < 4; i++)
        assert_true(isnan(t->output[0][i]));
    assert_memory_equal(t->output[1], dx, sizeof dx);
    trial_close(t);
    graph_free(g);
}

/* Nothing but padding and −∞: still the first pixel within the image. */
static void a_window_of_minus_infinity(void **state)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape4(1, 1, 1, 2), VALUE_REAL), y = graph_max_pool(g, x, 2, 2, 1);
    struct trial *t;

    (void)state;
    assert_int_equal(g->values[y].shape.dim[2], 1);
    assert_int_equal(g->values[y].shape.dim[3], 2);
    graph_output(g, y);
    t = trial_open(g, &backend_reference, NULL);
    t->input[0][0] = t->input[0][1] = -INFINITY;
    trial_run(t);
    assert_true(isinf(t->output[0][0]) && isinf(t->output[0][1]));
    trial_close(t);
    graph_free(g);
}

static void pool_mistakes(void **state)
{
    static const int sizes[][3] = {{0, 1, 0}, {2, 0, 0}, {2, 2, 2}, {3, 1, -1}, {9, 1, 0}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct graph *g = graph_new(true);
        int x = graph_input(g, shape4(1, 1, 8, 8), VALUE_REAL);

        graph_max_pool(g, x, sizes[i][0], sizes[i][1], sizes[i][2]);
        assert_refused(graph_check(g, err), ERR_INVALID, "max_pool: ");
        graph_free(g);
    }
}

#define N 4096

/* Two masks over ones, of different rates. */
static struct trial *dropout_trial(struct graph *g)
{
    int x = graph_input(g, shape_of(1, (int64_t)N), VALUE_REAL);
    struct trial *t;

    graph_output(g, graph_dropout(g, x, 0.25));
    graph_output(g, graph_dropout(g, x, 0.25));
    assert_ok(graph_check(g, err));
    t = trial_open(g, &backend_reference, NULL);
    for (int i = 0; i < N; i++)
        t->input[0][i] = 1;
    return t;
}

static void masks_are_drawn_as_said(void **state)
{
    struct graph *g = graph_new(true);
    struct trial *t = dropout_trial(g);
    double sum = 0;

    (void)state;
    t->draws = (struct pass_draws){.seed = (uint64_t)7 << 40, .update = 12, .term = 1};
    trial_run(t);
    for (uint32_t e = 0; e < N; e++) {
        uint32_t word = philox((uint64_t)7 << 40, e / 4, 32u << 24 | 1u << 16 | 1u, 12).word[e % 4];

        assert_true(t->output[1][e] == (word >> 8 < 0x400000 ? 0 : 1 / 0.75));
        sum += t->output[1][e];
    }
    /* Mean 1, deviation √(0.25/0.75): five of them. */
    assert_true(fabs(sum / N - 1) < 5 * sqrt(0.25 / 0.75 / N));
    trial_close(t);
    graph_free(g);
}

/* How many elements of two masks are kept by only one: of independent ones 2·0.25·0.75. */
static void assert_independent(const double *a, const double *b)
{
    double differ = 0, want = 2 * 0.25 * 0.75;

    for (int i = 0; i < N; i++)
        differ += (a[i] == 0) != (b[i] == 0);
    assert_true(fabs(differ / N - want) < 5 * sqrt(want * (1 - want) / N));
}

static void each_pass_and_each_mask_has_its_own(void **state)
{
    static const struct pass_draws other[] = {{2, 3, 0}, {1, 4, 0}, {1, 3, 1}};
    struct graph *g = graph_new(true);
    struct trial *t = dropout_trial(g);
    double first[N];

    (void)state;
    t->draws = (struct pass_draws){1, 3, 0};
    trial_run(t);
    assert_independent(t->output[0], t->output[1]);
    memcpy(first, t->output[0], sizeof first);
    for (size_t i = 0; i < ARRAY_LENGTH(other); i++) {
        t->draws = other[i];
        trial_run(t);
        assert_independent(first, t->output[0]);
    }
    t->draws = (struct pass_draws){1, 3, 0};
    trial_run(t);
    assert_memory_equal(first, t->output[0], sizeof first);
    trial_close(t);
    graph_free(g);
}

static void nothing_is_dropped_outside_of_training(void **state)
{
    struct graph *training = graph_new(true), *evaluation = graph_new(false);
    int x = graph_input(training, shape_of(1, (int64_t)N), VALUE_REAL);
    int y = graph_input(evaluation, shape_of(1, (int64_t)N), VALUE_REAL);

    (void)state;
    assert_int_equal(graph_dropout(training, x, 0), x);
    assert_int_equal(graph_dropout(evaluation, y, 0.5), y);
    assert_int_not_equal(graph_dropout(training, x, 0.5), x);
    assert_ok(graph_check(training, err));
    graph_dropout(training, x, 1);
    assert_refused(graph_check(training, err), ERR_INVALID, "dropout: the rate is 1");
    graph_free(training);
    graph_free(evaluation);
}

static void a_bias_is_its_channels(void **state)
{
    struct graph *g = graph_new(true);
    int x = graph_input(g, shape4(2, 2, 1, 2), VALUE_REAL);
    int b = graph_param(g, shape_of(1, (int64_t)2), (struct init){INIT_ZERO}, "b");
    static const double y[8] = {10, 10, 20, 20, 10, 10, 20, 20};
    struct trial *t;

    (void)state;
    graph_output(g, graph_bias(g, x, b));
    t = trial_open(g, &backend_reference, NULL);
    t->weights[0] = 10;
    t->weights[1] = 20;
    trial_run(t);
    assert_memory_equal(t->output[0], y, sizeof y);
    trial_close(t);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_of_equal_pixels_takes_the_derivative),
        cmocka_unit_test(nan_is_the_largest),
        cmocka_unit_test(a_window_of_minus_infinity),
        cmocka_unit_test(pool_mistakes),
        cmocka_unit_test(masks_are_drawn_as_said),
        cmocka_unit_test(each_pass_and_each_mask_has_its_own),
        cmocka_unit_test(nothing_is_dropped_outside_of_training),
        cmocka_unit_test(a_bias_is_its_channels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
