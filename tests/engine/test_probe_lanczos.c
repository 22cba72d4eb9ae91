/* The arithmetic of spectra on matrices whose eigenvalues are known: tridiagonal ones by formula,
 * large ones by construction, A = D or A = (I − 2uuᵀ)·D·(I − 2uuᵀ), which has D's eigenvalues. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe/density.h"
#include "probe/lanczos.h"
#include "probe/tridiagonal.h"
#include "probe/vectors.h"
#include "support.h"

#define N 600

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.17g is not within %g of %.17g", got, tolerance, want);
}

/* ---- tridiagonal matrices ---- */

/* 2 on the diagonal, −1 beside it: 2 − 2·cos(kπ/(n+1)), components sin(jkπ/(n+1))·√(2/(n+1)). */
static void second_differences_have_their_eigenvalues(void **state)
{
    enum { n = 200 };
    static double d[n], e[n], first[n], last[n];
    double *rows[] = {first, last};

    (void)state;
    for (int i = 0; i < n; i++) {
        d[i] = 2;
        e[i] = -1;
        first[i] = i == 0;
        last[i] = i == n - 1;
    }
    assert_ok(tridiagonal_eigen(n, d, e, rows, 2, err));
    for (int k = 1; k <= n; k++) {
        double angle = k * M_PI / (n + 1), component = sin(angle) * sqrt(2. / (n + 1));

        assert_near(d[k - 1], 2 - 2 * cos(angle), 1e-13);
        assert_near(fabs(first[k - 1]), component, 1e-11);
        assert_near(fabs(last[k - 1]), component, 1e-11);
    }
}

/* Graded over twelve decades, with a zero beside the diagonal: trace and squares are kept, the
 * vectors are orthonormal and are eigenvectors. */
static void odd_matrices_are_solved(void **state)
{
    enum { n = 40 };
    static double d[n], e[n], values[n], beside[n], square[n][n];
    double *rows[n], trace = 0;

    (void)state;
    for (int i = 0; i < n; i++) {
        d[i] = pow(10, -i * 0.3) * (i % 3 ? 1 : -1);
        e[i] = i == 17 || i == n - 1 ? 0 : pow(10, -i * 0.3 - 0.2);
        rows[i] = square[i];
        square[i][i] = 1;
        trace += d[i];
    }
    memcpy(values, d, sizeof d);
    memcpy(beside, e, sizeof e);
    assert_ok(tridiagonal_eigen(n, values, beside, rows, n, err));
    for (int k = 0; k < n; k++) {
        trace -= values[k];
        assert_true(k == 0 || values[k] >= values[k - 1]);
        for (int i = 0; i < n; i++) {
            double product = d[i] * square[i][k], dot = 0;

            if (i > 0)
                product += e[i - 1] * square[i - 1][k];
            if (i < n - 1)
                product += e[i] * square[i + 1][k];
            assert_near(product, values[k] * square[i][k], 1e-14);
            for (int j = 0; j < n; j++)
                dot += square[j][i] * square[j][k];
            assert_near(dot, i == k, 1e-13);
        }
    }
    assert_near(trace, 0, 1e-13);
}

static void tiny_and_broken_matrices(void **state)
{
    double d[2] = {3, 1}, e[2] = {0, 0}, one = 5, beside = 7, bad[2] = {1, NAN};
    double row_of[1] = {1};
    double *rows[] = {row_of};

    (void)state;
    assert_ok(tridiagonal_eigen(2, d, e, NULL, 0, err));
    assert_near(d[0], 1, 0);
    assert_near(d[1], 3, 0);
    assert_ok(tridiagonal_eigen(1, &one, &beside, rows, 1, err));
    assert_near(one, 5, 0);
    assert_near(row_of[0], 1, 0);
    assert_refused(tridiagonal_eigen(2, bad, e, NULL, 0, err), ERR_DIVERGED, "nan");
}

/* ---- Lanczos ---- */

struct matrix {
    double eigenvalue[N];
    double u[N]; /* length 1, or all 0 */
    int products;
    int fail_at; /* 0: never */
};

static int multiply(void *context, const float *x, double *y, struct err *err)
{
    struct matrix *matrix = context;
    double turned[N], dot = 0;

    if (++matrix->products == matrix->fail_at)
        return err_set(err, ERR_DEVICE, "as asked");
    for (int i = 0; i < N; i++)
        dot += matrix->u[i] * (double)x[i];
    for (int i = 0; i < N; i++)
        turned[i] = matrix->eigenvalue[i] * ((double)x[i] - 2 * dot * matrix->u[i]);
    dot = 0;
    for (int i = 0; i < N; i++)
        dot += matrix->u[i] * turned[i];
    for (int i = 0; i < N; i++)
        y[i] = turned[i] - 2 * dot * matrix->u[i];
    return 0;
}

static void turn_by_random_vector(struct matrix *matrix)
{
    double length;

    fill_uniform(5, -1, 1, matrix->u, N);
    length = vectors_norm(matrix->u, N);
    for (int i = 0; i < N; i++)
        matrix->u[i] /= length;
}

static void draw_start(float *start, uint64_t number)
{
    struct layout_tensor tensor = {.size = N};
    struct layout layout = {.n = 1, .tensor = &tensor, .size = N};
    struct probe_drawing drawing = {3, DRAW_START, number, DRAW_NORMAL, -1};

    vectors_draw(&layout, &drawing, start);
}

/* A bulk between 0 and 1 and five outliers, one of them negative: the shape that networks have. */
static void give_outliers(struct matrix *matrix)
{
    static const double outlier[] = {40, 25, 17, 9, -3};

    for (int i = 0; i < N; i++)
        matrix->eigenvalue[i] = i < 5 ? outlier[i] : (i - 5.) / (N - 5);
}

static void outliers_are_found_with_their_vectors(void **state)
{
    static struct matrix matrix;
    static float start[N], room[4][N];
    static struct lanczos_node nodes[40];
    float *vectors[] = {room[0], room[1], room[2], room[3]};
    struct lanczos_callbacks callbacks = {.product = multiply, .context = &matrix};
    struct lanczos *lanczos = NULL;

    (void)state;
    give_outliers(&matrix);
    turn_by_random_vector(&matrix);
    draw_start(start, 0);
    assert_ok(lanczos_open(&lanczos, N, 40, err));
    assert_ok(lanczos_run(lanczos, start, 40, &callbacks, err));
    assert_int_equal(lanczos_steps(lanczos), 40);
    assert_ok(lanczos_nodes(lanczos, nodes, err));
    assert_ok(lanczos_vectors(lanczos, 4, vectors, err));
    assert_near(nodes[0].value, -3, 1e-5);
    for (int k = 0; k < 4; k++) {
        double product[N], far = 0;

        assert_near(nodes[39 - k].value, matrix.eigenvalue[k], 1e-5);
        assert_true(nodes[39 - k].residual < 1e-4);
        assert_near(vectors_norm_f32(vectors[k], N), 1, 1e-6);
        assert_ok(multiply(&matrix, vectors[k], product, err));
        for (int i = 0; i < N; i++)
            far = fmax(far, fabs(product[i] - matrix.eigenvalue[k] * (double)vectors[k][i]));
        assert_true(far < 1e-4);
        for (int other = 0; other < k; other++)
            assert_near(vectors_dot_f32(vectors[k], vectors[other], N), 0, 1e-6);
    }
    lanczos_close(lanczos);
}

/* A residual is what it says: an eigenvalue lies within it, however few the steps. */
static void residuals_are_bounds(void **state)
{
    static struct matrix matrix;
    static float start[N];
    static struct lanczos_node nodes[12];
    struct lanczos_callbacks callbacks = {.product = multiply, .context = &matrix};
    struct lanczos *lanczos = NULL;

    (void)state;
    give_outliers(&matrix);
    draw_start(start, 1);
    assert_ok(lanczos_open(&lanczos, N, 12, err));
    for (int steps = 1; steps <= 12; steps++) {
        assert_ok(lanczos_run(lanczos, start, steps, &callbacks, err));
        assert_ok(lanczos_nodes(lanczos, nodes, err));
        for (int i = 0; i < steps; i++) {
            double nearest = INFINITY;

            for (int j = 0; j < N; j++)
                nearest = fmin(nearest, fabs(matrix.eigenvalue[j] - nodes[i].value));
            assert_true(nearest <= nodes[i].residual + 1e-5);
        }
    }
    lanczos_close(lanczos);
}

/* m steps give the first 2m moments vᵀAᵖv exactly. */
static void quadrature_is_gauss(void **state)
{
    enum { m = 8 };
    static struct matrix matrix;
    static float start[N];
    static struct lanczos_node nodes[m];
    struct lanczos_callbacks callbacks = {.product = multiply, .context = &matrix};
    struct lanczos *lanczos = NULL;

    (void)state;
    for (int i = 0; i < N; i++)
        matrix.eigenvalue[i] = cos(i * 0.37) + 0.2;
    draw_start(start, 2);
    assert_ok(lanczos_open(&lanczos, N, m, err));
    assert_ok(lanczos_run(lanczos, start, m, &callbacks, err));
    assert_ok(lanczos_nodes(lanczos, nodes, err));
    for (int power = 0; power < 2 * m; power++) {
        double length = vectors_norm_f32(start, N), want = 0, got = 0;

        for (int i = 0; i < N; i++)
            want += pow(matrix.eigenvalue[i], power) * pow((double)start[i] / length, 2);
        for (int i = 0; i < m; i++)
            got += nodes[i].weight * pow(nodes[i].value, power);
        assert_near(got, want, 1e-6);
    }
    lanczos_close(lanczos);
}

/* Three different eigenvalues: three steps reach everything, and there the run ends. */
static void runs_end_where_nothing_is_left(void **state)
{
    static struct matrix matrix;
    static float start[N];
    struct lanczos_node nodes[20];
    struct lanczos_callbacks callbacks = {.product = multiply, .context = &matrix};
    struct lanczos *lanczos = NULL;

    (void)state;
    for (int i = 0; i < N; i++)
        matrix.eigenvalue[i] = i % 3 - 1;
    draw_start(start, 3);
    assert_ok(lanczos_open(&lanczos, N, 20, err));
    assert_ok(lanczos_run(lanczos, start, 20, &callbacks, err));
    assert_int_equal(lanczos_steps(lanczos), 3);
    assert_ok(lanczos_nodes(lanczos, nodes, err));
    for (int i = 0; i < 3; i++)
        assert_near(nodes[i].value, i - 1, 1e-6);
    memset(matrix.eigenvalue, 0, sizeof matrix.eigenvalue); /* the matrix 0 */
    assert_ok(lanczos_run(lanczos, start, 20, &callbacks, err));
    assert_int_equal(lanczos_steps(lanczos), 1);
    lanczos_close(lanczos);
}

static int left; /* how often count_down says to go on */

static int count_down(const void *context)
{
    (void)context;
    return left-- > 0 ? 0 : 7;
}

/* A late step is long: one need not wait for its end. Of step 4's 8 vectors the third is too much;
 * those before took 2, 4 and 6. */
static void runs_can_be_stopped_within_a_step(void **state)
{
    static struct matrix matrix;
    static float start[N];
    struct lanczos_callbacks callbacks = {
        .product = multiply, .go_on = count_down, .context = &matrix};
    struct lanczos *lanczos = NULL;

    (void)state;
    give_outliers(&matrix);
    draw_start(start, 0);
    assert_ok(lanczos_open(&lanczos, N, 5, err));
    left = 2 + 4 + 6 + 2;
    assert_int_equal(lanczos_run(lanczos, start, 5, &callbacks, NULL), 7);
    assert_int_equal(matrix.products, 4);
    assert_int_equal(lanczos_steps(lanczos), 3);
    left = 2 + 4 + 6 + 8 + 10;
    assert_ok(lanczos_run(lanczos, start, 5, &callbacks, err));
    lanczos_close(lanczos);
}

static void bad_products_and_starts_end_a_run(void **state)
{
    static struct matrix matrix;
    static float start[N];
    struct lanczos_callbacks callbacks = {.product = multiply, .context = &matrix};
    struct lanczos *lanczos = NULL;

    (void)state;
    give_outliers(&matrix);
    assert_ok(lanczos_open(&lanczos, N, 5, err));
    assert_refused(lanczos_run(lanczos, start, 5, &callbacks, err), ERR_INVALID, "length 0");
    draw_start(start, 0);
    matrix.fail_at = 3;
    assert_refused(lanczos_run(lanczos, start, 5, &callbacks, err), ERR_DEVICE, "as asked");
    matrix.eigenvalue[7] = NAN;
    assert_refused(lanczos_run(lanczos, start, 5, &callbacks, err), ERR_DIVERGED, "step 1");
    lanczos_close(lanczos);
    lanczos_close(NULL);
}

/* ---- density ---- */

#define RUNS 10

/* How many of the eigenvalues lie between two values, by the matrix and by runs of SLQ. */
static void slq_recovers_a_spectrum(void **state)
{
    enum { steps = 60, bins = 2000 };
    static struct matrix matrix;
    static float start[N];
    static struct lanczos_node nodes[steps];
    static struct density_node all[RUNS * steps];
    static double value[bins], density[bins];
    struct density_options options = {.runs = RUNS, .bins = bins, .variance = 1e-4};
    struct lanczos_callbacks callbacks = {.product = multiply, .context = &matrix};
    struct lanczos *lanczos = NULL;
    double sum = 0, below = 0, trace = 0, width;

    (void)state;
    for (int i = 0; i < N; i++) /* a quarter near −1, the rest between 0 and 4 */
        matrix.eigenvalue[i] = i < N / 4 ? -1 - i * 1e-3 / N : 4. * (i - N / 4) / (N - N / 4);
    turn_by_random_vector(&matrix);
    assert_ok(lanczos_open(&lanczos, N, steps, err));
    for (int run = 0; run < RUNS; run++) {
        draw_start(start, (uint64_t)run + 10);
        assert_ok(lanczos_run(lanczos, start, steps, &callbacks, err));
        assert_ok(lanczos_nodes(lanczos, nodes, err));
        for (int i = 0; i < lanczos_steps(lanczos); i++)
            all[run * steps + i] = (struct density_node){run, nodes[i].value, nodes[i].weight};
    }
    assert_int_equal(lanczos_steps(lanczos), steps);
    density_make(all, RUNS * steps, &options, value, density);
    width = value[1] - value[0];
    for (int b = 0; b < bins; b++) {
        sum += density[b] * width;
        below += value[b] < -0.5 ? density[b] * width : 0;
        trace += value[b] * density[b] * width;
    }
    assert_near(sum, 1, 1e-7);
    assert_near(below, 0.25, 0.025); /* √(2/(N·RUNS))·… of random starts: three of them */
    assert_near(trace, (-0.25 + 0.75 * 2), 0.08);
    lanczos_close(lanczos);
}

static void densities_integrate_to_one(void **state)
{
    static double value[10000], density[10000];
    const struct density_node nodes[] = {{0, -0.5, 0.25}, {0, 3, 0.75}, {1, 90, 1}};

    (void)state;
    for (int bins = 1; bins <= 10000; bins *= 10) {
        struct density_options options = {.runs = 2, .bins = bins};
        double sum = 0;

        density_make(nodes, 3, &options, value, density);
        for (int b = 0; b < bins; b++)
            sum += density[b];
        if (bins > 1)
            assert_near(sum * (value[1] - value[0]), 1, 1e-8);
    }
}

static void densities_can_be_stopped(void **state)
{
    static double value[10], density[10];
    const struct density_node node = {0, 2, 1};

    (void)state;
    for (int pyhessian = 0; pyhessian < 2; pyhessian++) {
        struct density_options options = {
            .runs = 1, .bins = 10, .pyhessian = pyhessian, .go_on = count_down};

        left = 9;
        assert_int_equal(density_make(&node, 1, &options, value, density), 7);
        left = 10;
        assert_int_equal(density_make(&node, 1, &options, value, density), 0);
    }
}

/* One node: PyHessian's grid, and a Gaussian of variance 1e-5 by its formula. */
static void pyhessian_has_its_own_grid(void **state)
{
    static double value[10000], density[10000];
    const struct density_node node = {0, 2, 1};
    struct density_options options = {.runs = 1, .bins = 10000, .pyhessian = true};
    double sum = 0;

    (void)state;
    density_make(&node, 1, &options, value, density);
    assert_near(value[0], 1.99, 1e-12);
    assert_near(value[9999], 2.01, 1e-12);
    for (int b = 0; b < 10000; b++)
        sum += density[b];
    assert_near(sum * (value[1] - value[0]), 1, 1e-9);
    assert_near(density[2500] / density[5000],
                exp(-(pow(value[2500] - 2, 2) - pow(value[5000] - 2, 2)) / 2e-5), 1e-12);
}

/* ---- draws ---- */

static void draws_are_what_they_say(void **state)
{
    struct layout_tensor tensors[] = {{.offset = 0, .size = 10}, {.offset = 16, .size = N - 16}};
    struct layout layout = {.n = 2, .tensor = tensors, .size = N};
    struct probe_drawing drawing = {1, DRAW_TRACE, 0, DRAW_RADEMACHER, -1};
    float one[N], two[N];
    int up = 0;

    (void)state;
    vectors_draw(&layout, &drawing, one);
    for (int i = 0; i < N; i++) {
        assert_near(fabs((double)one[i]), i < 10 || i >= 16, 0);
        up += one[i] > 0;
    }
    assert_in_range(up, N / 2 - 60, N / 2 + 40);
    drawing.only = 1;
    vectors_draw(&layout, &drawing, two);
    assert_memory_equal(two + 16, one + 16, (N - 16) * sizeof *one);
    assert_near((double)two[3], 0, 0);
    drawing.number = 1;
    vectors_draw(&layout, &drawing, two);
    assert_memory_not_equal(two + 16, one + 16, (N - 16) * sizeof *one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_differences_have_their_eigenvalues),
        cmocka_unit_test(odd_matrices_are_solved),
        cmocka_unit_test(tiny_and_broken_matrices),
        cmocka_unit_test(outliers_are_found_with_their_vectors),
        cmocka_unit_test(residuals_are_bounds),
        cmocka_unit_test(quadrature_is_gauss),
        cmocka_unit_test(runs_end_where_nothing_is_left),
        cmocka_unit_test(runs_can_be_stopped_within_a_step),
        cmocka_unit_test(bad_products_and_starts_end_a_run),
        cmocka_unit_test(slq_recovers_a_spectrum),
        cmocka_unit_test(densities_integrate_to_one),
        cmocka_unit_test(densities_can_be_stopped),
        cmocka_unit_test(pyhessian_has_its_own_grid),
        cmocka_unit_test(draws_are_what_they_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
