/* What kernels do beyond one operation of a graph, as their source runs on the host, against the
 * reference backend's operations one after another: ReLUs with masks, ends of residual blocks,
 * running statistics. And numbers that are none. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "kernel_arrays.h"
#include "support.h"

#define N     3
#define C     24
#define SIDE  5
#define ROWS  (N * SIDE * SIDE)
#define COUNT (ROWS * C)
#define EPS   1e-5

static const double tolerances[] = {[ELEMENT_F32] = 1e-5, [ELEMENT_BF16] = 4e-3};

/* Numbers of [rows,c] in the device's order and as doubles. */
struct numbers {
    double at[COUNT];
    void *array;
};

static void fill(struct numbers *x, enum element type, uint64_t seed, double low)
{
    fill_uniform(seed, low, 1, x->at, COUNT);
    for (int i = 0; i < COUNT; i++)
        x->at[i] = rounded_to(type, x->at[i]);
    x->array = device_array(type, x->at, COUNT);
}

static void compare(const char *what, enum element type, void *got, const double *want, int n)
{
    double *numbers = calloc((size_t)n, sizeof *numbers);

    take_array(type, got, numbers, n);
    assert_close(what, numbers, want, (size_t)n, tolerances[type]);
    free(numbers);
}

static void compare_mask(const uint8_t *mask, const double *want, int n)
{
    for (int i = 0; i < n; i++)
        assert_int_equal(mask[i / 8] >> i % 8 & 1, want[i] > 0);
}

/* A normalisation's parameters and statistics, and what it makes of a number. */
struct norm {
    double mean[C], var[C], gamma[C], beta[C];
    float *device[4];
};

static void fill_norm(struct norm *n, uint64_t seed)
{
    fill_uniform(seed, -1, 1, n->mean, C);
    fill_uniform(seed + 1, 0.5, 1.5, n->var, C);
    fill_uniform(seed + 2, -1, 1, n->gamma, C);
    fill_uniform(seed + 3, -1, 1, n->beta, C);
    n->device[0] = device_floats(n->mean, C);
    n->device[1] = device_floats(n->var, C);
    n->device[2] = device_floats(n->gamma, C);
    n->device[3] = device_floats(n->beta, C);
}

static void free_norm(struct norm *n)
{
    for (int i = 0; i < 4; i++)
        free(n->device[i]);
}

static double normal(const struct norm *n, double x, int c)
{
    return (x - n->mean[c]) / sqrt(n->var[c] + EPS) * n->gamma[c] + n->beta[c];
}

static struct normalised normalised_of(const struct norm *n, const struct numbers *x)
{
    return (struct normalised){x->array,     n->device[0], n->device[1],
                               n->device[2], n->device[3], (float)EPS};
}

/* ---- forward ------------------------------------------------------------------------------- */

static void block_end(enum element type, bool second, bool residual, bool relu)
{
    struct numbers x, projected, kept;
    struct norm first, other;
    double want[COUNT];
    struct batch_norm_apply b = {.type = type, .rows = ROWS, .c = C, .relu = relu};

    fill(&x, type, 1, -1);
    fill(&projected, type, 2, -1);
    fill(&kept, type, 3, -1);
    fill_norm(&first, 10);
    fill_norm(&other, 20);
    b.first = normalised_of(&first, &x);
    if (second)
        b.second = normalised_of(&other, &projected);
    if (residual)
        b.residual = kept.array;
    b.mask = device_new(COUNT / 8);
    b.y = x.array;
    for (int i = 0; i < COUNT; i++) {
        want[i] = normal(&first, x.at[i], i % C);
        want[i] += second ? normal(&other, projected.at[i], i % C) : 0;
        want[i] += residual ? kept.at[i] : 0;
        want[i] = relu && want[i] < 0 ? 0 : want[i];
    }
    launched(launch_batch_norm_apply(NULL, &b));
    compare_mask(b.mask, want, COUNT);
    compare("block's end", type, x.array, want, COUNT);
    free(b.mask);
    free(projected.array);
    free(kept.array);
    free_norm(&first);
    free_norm(&other);
}

static void ends_of_blocks(void **state)
{
    (void)state;
    for (int type = ELEMENT_F32; type <= ELEMENT_BF16; type++)
        for (int how = 0; how < 8; how++)
            block_end(type, how & 1, how & 2, how & 4);
}

/* running ← 0.8·running + 0.2·batch, the variance unbiased. */
static void running_statistics(void **state)
{
    struct numbers x;
    struct norm running;
    double mean[C] = {0}, var[C] = {0};
    float *got[2] = {device_new(C * sizeof(float)), device_new(C * sizeof(float))};
    float *room = device_new(batch_norm_workspace(ROWS, C) * sizeof *room);
    struct batch_norm_statistics b = {ELEMENT_F32, ROWS, C,    NULL, got[0],
                                      got[1],      NULL, NULL, 0,    room};

    (void)state;
    fill(&x, ELEMENT_F32, 5, 0.2);
    fill_norm(&running, 30);
    for (int i = 0; i < COUNT; i++)
        mean[i % C] += x.at[i] / ROWS;
    for (int i = 0; i < COUNT; i++)
        var[i % C] += pow(x.at[i] - mean[i % C], 2) / (ROWS - 1);
    for (int c = 0; c < C; c++) {
        mean[c] = 0.8 * running.mean[c] + 0.2 * mean[c];
        var[c] = 0.8 * running.var[c] + 0.2 * var[c];
    }
    b.x = x.array;
    b.running_mean = running.device[0];
    b.running_var = running.device[1];
    b.momentum = 0.2f;
    launched(launch_batch_norm_statistics(NULL, &b));
    for (int c = 0; c < C; c++) {
        assert_true(fabs((double)running.device[0][c] - mean[c]) < 1e-6);
        assert_true(fabs((double)running.device[1][c] - var[c]) < 1e-6);
    }
    free(x.array);
    free(got[0]);
    free(got[1]);
    free(room);
    free_norm(&running);
}

/* Far from zero, where Σx² − (Σx)²/n would have lost all digits. */
static void statistics_survive_an_offset(void **state)
{
    struct numbers x;
    double mean[C] = {0}, var[C] = {0};
    float *got[2] = {device_new(C * sizeof(float)), device_new(C * sizeof(float))};
    float *room = device_new(batch_norm_workspace(ROWS, C) * sizeof *room);
    struct batch_norm_statistics b = {ELEMENT_F32, ROWS, C,    NULL, got[0],
                                      got[1],      NULL, NULL, 0,    room};

    (void)state;
    fill(&x, ELEMENT_F32, 6, -1);
    for (int i = 0; i < COUNT; i++) {
        x.at[i] = rounded_to(ELEMENT_F32, x.at[i] + 1000);
        ((float *)x.array)[i] = (float)x.at[i];
        mean[i % C] += x.at[i] / ROWS;
    }
    for (int i = 0; i < COUNT; i++)
        var[i % C] += pow(x.at[i] - mean[i % C], 2) / ROWS;
    b.x = x.array;
    launched(launch_batch_norm_statistics(NULL, &b));
    compare("mean", ELEMENT_F32, got[0], mean, C);
    compare("variance", ELEMENT_F32, got[1], var, C);
    free(x.array);
    free(room);
}

/* ---- backward ------------------------------------------------------------------------------ */

/* The reference backend's batch norm gradient of dz, in [N,C,H,W] with one pixel an image. */
static void reference_grad(const double *dz, const double *x, const struct norm *n, double *dx,
                           double *dgamma, double *dbeta)
{
    struct shape image = shape_of(4, (int64_t)ROWS, (int64_t)C, (int64_t)1, (int64_t)1);
    struct node node = {.attr.eps = EPS};
    struct operands o = {.node = &node,
                         .in = {dz, x, n->gamma, n->mean, n->var},
                         .out = {dx, dgamma, dbeta},
                         .in_shape = {&image, &image}};

    reference_batch_norm_grad(&o);
}

static void norm_grad(enum element type, enum relu_known relu, bool wants_dz)
{
    struct numbers x, dy, y;
    struct norm norm;
    double dz[COUNT], dx[COUNT], dgamma[C], dbeta[C];
    struct batch_norm_grad b = {
        .type = type, .rows = ROWS, .c = C, .eps = (float)EPS, .relu = relu};
    uint8_t *mask = device_new(COUNT / 8);

    fill(&x, type, 1, -1);
    fill(&dy, type, 2, -1);
    fill(&y, type, 3, -1);
    fill_norm(&norm, 40);
    memset(mask, 0, COUNT / 8);
    for (int i = 0; i < COUNT; i++) {
        double known = relu == RELU_AGAIN ? normal(&norm, x.at[i], i % C) : y.at[i];

        mask[i / 8] |= (uint8_t)((known > 0) << i % 8);
        dz[i] = known > 0 || relu == RELU_NONE ? dy.at[i] : 0;
    }
    reference_grad(dz, x.at, &norm, dx, dgamma, dbeta);
    b.dy = dy.array;
    b.x = x.array;
    b.mean = norm.device[0];
    b.var = norm.device[1];
    b.gamma = norm.device[2];
    b.beta = norm.device[3];
    b.mask = relu == RELU_MASK ? mask : NULL;
    b.y = relu == RELU_Y ? y.array : NULL;
    b.dx = device_new(COUNT * element_bytes(type));
    b.dz = wants_dz ? dy.array : NULL;
    b.dgamma = device_new(C * sizeof(float));
    b.dbeta = device_new(C * sizeof(float));
    b.workspace = device_new(batch_norm_workspace(ROWS, C) * sizeof(float));
    launched(launch_batch_norm_grad(NULL, &b));
    compare("dx", type, b.dx, dx, COUNT);
    compare("dgamma", ELEMENT_F32, b.dgamma, dgamma, C);
    compare("dbeta", ELEMENT_F32, b.dbeta, dbeta, C);
    if (wants_dz)
        compare("dz", type, dy.array, dz, COUNT);
    else
        free(dy.array);
    free(x.array);
    free(y.array);
    free(mask);
    free(b.workspace);
    free_norm(&norm);
}

static void gradients_behind_relus(void **state)
{
    (void)state;
    for (int type = ELEMENT_F32; type <= ELEMENT_BF16; type++)
        for (int relu = RELU_NONE; relu <= RELU_AGAIN; relu++)
            for (int dz = 0; dz < 2; dz++)
                norm_grad(type, relu, dz);
}

/* dx, dz, dgamma and dbeta one after another, as bytes; the caller's to free. */
static unsigned char *derivative_bytes(struct batch_norm_grad b, size_t *bytes)
{
    size_t image = COUNT * element_bytes(b.type), channels = C * sizeof(float);
    unsigned char *all;

    *bytes = 2 * image + 2 * channels;
    all = device_new(*bytes);
    b.dx = all;
    b.dz = all + image;
    b.dgamma = (float *)(void *)(all + 2 * image);
    b.dbeta = b.dgamma + C;
    b.workspace = device_new(batch_norm_workspace(ROWS, C) * sizeof(float));
    launched(launch_batch_norm_grad(NULL, &b));
    free(b.workspace);
    return all;
}

/* The signs that a block's end keeps tell its derivative to the bit what its result does. */
static void signs_for_a_result(enum element type)
{
    struct numbers x, kept, dy;
    struct norm norm;
    struct batch_norm_apply end = {.type = type, .rows = ROWS, .c = C, .relu = true};
    struct batch_norm_grad b = {.type = type, .rows = ROWS, .c = C, .eps = (float)EPS};
    unsigned char *by_result, *by_signs;
    size_t bytes;

    fill(&x, type, 1, -1);
    fill(&kept, type, 2, -1);
    fill(&dy, type, 3, -1);
    fill_norm(&norm, 50);
    end.first = normalised_of(&norm, &x);
    end.residual = kept.array;
    end.y = device_new(COUNT * element_bytes(type));
    end.mask = device_new(COUNT / 8);
    launched(launch_batch_norm_apply(NULL, &end));
    b.dy = dy.array;
    b.x = x.array;
    b.mean = norm.device[0];
    b.var = norm.device[1];
    b.gamma = norm.device[2];
    b.y = end.y;
    b.relu = RELU_Y;
    by_result = derivative_bytes(b, &bytes);
    b.y = NULL;
    b.mask = end.mask;
    b.relu = RELU_MASK;
    by_signs = derivative_bytes(b, &bytes);
    assert_memory_equal(by_result, by_signs, bytes);
    free(by_result);
    free(by_signs);
    free(end.y);
    free(end.mask);
    free(x.array);
    free(kept.array);
    free(dy.array);
    free_norm(&norm);
}

static void signs_do_for_results(void **state)
{
    (void)state;
    signs_for_a_result(ELEMENT_F32);
    signs_for_a_result(ELEMENT_BF16);
}

/* ---- elementwise --------------------------------------------------------------------------- */

/* With a last byte of the mask that is not whole. */
static void masks(void **state)
{
    const int n = COUNT - 3;

    (void)state;
    for (int type = ELEMENT_F32; type <= ELEMENT_BF16; type++) {
        struct numbers a, b;
        double sum[COUNT], dx[COUNT];
        uint8_t *mask = device_new(COUNT / 8);
        struct elementwise e = {.type = type, .n = n, .mask = mask, .relu = true};

        fill(&a, type, 1, -1);
        fill(&b, type, 2, -1);
        for (int i = 0; i < n; i++) {
            sum[i] = a.at[i] + b.at[i] > 0 ? a.at[i] + b.at[i] : 0;
            dx[i] = sum[i] > 0 ? a.at[i] : 0;
        }
        e.a = a.array;
        e.b = b.array;
        e.y = b.array;
        launched(launch_add(NULL, &e));
        compare_mask(mask, sum, n);
        compare("sum", type, b.array, sum, n);
        e.b = NULL;
        e.y = a.array;
        launched(launch_relu_grad(NULL, &e));
        compare("derivative", type, a.array, dx, n);
        free(mask);
    }
}

static void casts(void **state)
{
    struct numbers x;
    double rounded[COUNT];
    void *half = device_new(COUNT * 2), *whole = device_new(COUNT * 4);

    (void)state;
    fill(&x, ELEMENT_F32, 1, -1);
    for (int i = 0; i < COUNT; i++)
        rounded[i] = rounded_to(ELEMENT_BF16, x.at[i]);
    launched(launch_cast(NULL, ELEMENT_F32, x.array, ELEMENT_BF16, half, COUNT - 5));
    launched(launch_cast(NULL, ELEMENT_BF16, half, ELEMENT_F32, whole, COUNT - 5));
    free(half);
    free(x.array);
    compare("cast", ELEMENT_F32, whole, rounded, COUNT - 5);
}

/* ---- no numbers ---------------------------------------------------------------------------- */

/* ReLUs, pools and softmaxes let NaN through; a mask's bit is not set for it. */
static void nan_comes_through(void **state)
{
    float x[16] = {NAN, 1, 2, 3, 4, 5, 6, 7}, y[16], largest[1];
    uint8_t mask[2], place[1];
    struct elementwise e = {.n = 16, .a = x, .y = y, .mask = mask};
    struct max_pool m = {.n = 1, .h = 4, .w = 4, .c = 1, .p = 1, .q = 1, .size = 4, .stride = 1};
    struct softmax s = {.rows = 2, .d = 8, .x = x, .y = y};

    (void)state;
    launched(launch_relu(NULL, &e));
    assert_true(isnan(y[0]) && mask[0] == 0xfe && mask[1] == 0);
    m.x = x;
    m.y = largest;
    m.place = place;
    launched(launch_max_pool(NULL, &m));
    assert_true(isnan(largest[0]) && place[0] == 0);
    launched(launch_softmax(NULL, &s));
    for (int i = 0; i < 8; i++)
        assert_true(isnan(y[i]) && !isnan(y[8 + i]));
}

static void ties_and_nan_in_ranking(void **state)
{
    static const float logits[6][3] = {{1, 1, 1},   {1, 1, 1},   {1, 1, 1},
                                       {5, 4, NAN}, {NAN, 1, 2}, {NAN, NAN, NAN}};
    static const int32_t labels[] = {0, 1, 2, 1, 0, 2};
    static const float right[] = {1, 2, 4};
    float room[6], count;

    (void)state;
    for (int k = 1; k <= 3; k++) {
        struct class_scores s = {.rows = 6,
                                 .classes = 3,
                                 .pitch = 3,
                                 .logits = logits,
                                 .labels = labels,
                                 .k = k,
                                 .workspace = room};

        launched(launch_correct(NULL, &s, &count));
        assert_true(count == right[k - 1]);
    }
}

/* Logits whose exponentials overflow. */
static void large_logits(void **state)
{
    static const float logits[2][3] = {{1000, 999, -1000}, {-500, 88, 89}};
    static const int32_t labels[] = {1, 2};
    float room[2], loss;
    struct class_scores s = {.rows = 2,
                             .classes = 3,
                             .pitch = 3,
                             .logits = logits,
                             .labels = labels,
                             .smoothing = 0.1f,
                             .workspace = room};
    double one = log(1 + exp(-1)), smooth = 0.1 / 3;
    double want = (one + 1 * 0.9 + smooth * (0 + 1 + 2000) + one + smooth * (589 + 1)) / 2;

    (void)state;
    launched(launch_cross_entropy(NULL, &s, &loss));
    assert_true(fabs((double)loss - want) < 1e-4 * want);
}

/* A launch of nothing is refused as CUDA refuses it. */
static void launches_of_nothing_fail(void **state)
{
    struct elementwise e = {.n = 0};

    (void)state;
    assert_int_not_equal(launch_relu(NULL, &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_of_blocks),
        cmocka_unit_test(running_statistics),
        cmocka_unit_test(statistics_survive_an_offset),
        cmocka_unit_test(gradients_behind_relus),
        cmocka_unit_test(signs_do_for_results),
        cmocka_unit_test(masks),
        cmocka_unit_test(casts),
        cmocka_unit_test(nan_comes_through),
        cmocka_unit_test(ties_and_nan_in_ranking),
        cmocka_unit_test(large_logits),
        cmocka_unit_test(launches_of_nothing_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
