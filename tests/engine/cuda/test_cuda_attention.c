/* The attention kernels as their source runs on the host, tensor cores included (emulate.h),
 * against the definition in double: sizes that fill no tile and several, heads whose rows are at no
 * 16 bytes, logits whose exponentials overflow. */
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

#define GUARD 64 /* bytes after an array, which nobody may touch */

/* Float, float whose products are of TF32, bfloat16. */
static const struct precision {
    enum element type;
    bool tf32;
    double tolerance;
    double large; /* of large logits */
} precisions[] = {{ELEMENT_F32, false, 1e-5, 3e-4},
                  {ELEMENT_F32, true, 2e-3, 0.1},
                  {ELEMENT_BF16, false, 1e-2, 0.1}};

struct size {
    int n, t, heads, d;
};

/* Arrays in double; dqkv as qkv. */
struct numbers {
    struct size size;
    double scale, largest_logit;
    double *qkv, *y, *log_sums, *dy, *dqkv;
};

static int64_t rows(const struct size *s)
{
    return (int64_t)s->n * s->t;
}

static int64_t width(const struct size *s)
{
    return (int64_t)s->heads * s->d;
}

static double *new_numbers(int64_t n)
{
    double *x = calloc((size_t)n, sizeof *x);

    assert_non_null(x);
    return x;
}

static struct numbers numbers_open(const struct size *s, enum element type, double reach)
{
    int64_t n = rows(s) * width(s);
    struct numbers x = {.size = *s,
                        .scale = (double)(float)(1 / sqrt(s->d)),
                        .qkv = new_numbers(3 * n),
                        .y = new_numbers(n),
                        .log_sums = new_numbers(rows(s) * s->heads),
                        .dy = new_numbers(n),
                        .dqkv = new_numbers(3 * n)};

    fill_uniform((uint64_t)n, -reach, reach, x.qkv, (size_t)(3 * n));
    fill_uniform((uint64_t)n + 1, -1, 1, x.dy, (size_t)n);
    for (int64_t i = 0; i < 3 * n; i++)
        x.qkv[i] = rounded_to(type, x.qkv[i]);
    for (int64_t i = 0; i < n; i++)
        x.dy[i] = rounded_to(type, x.dy[i]);
    return x;
}

static void numbers_close(struct numbers *x)
{
    free(x->qkv);
    free(x->y);
    free(x->log_sums);
    free(x->dy);
    free(x->dqkv);
}

/* The d features of a head, of part 0 … parts − 1. */
static double *at(const struct numbers *x, double *array, int parts, int part, int sample,
                  int token, int head)
{
    const struct size *s = &x->size;

    return array + (((int64_t)sample * s->t + token) * parts + part) * width(s) + head * s->d;
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void add(double *to, const double *x, double by, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += by * x[i];
}

/* One query's probabilities; the value is log₂ Σ 2^…. */
static double probabilities(struct numbers *x, int sample, int head, int query, double *p)
{
    const struct size *s = &x->size;
    double largest = -INFINITY, sum = 0;

    for (int key = 0; key < s->t; key++) {
        p[key] = x->scale * dot(at(x, x->qkv, 3, 0, sample, query, head),
                                at(x, x->qkv, 3, 1, sample, key, head), s->d);
        largest = fmax(largest, p[key]);
        x->largest_logit = fmax(x->largest_logit, fabs(p[key]));
    }
    for (int key = 0; key < s->t; key++)
        sum += p[key] = exp(p[key] - largest);
    for (int key = 0; key < s->t; key++)
        p[key] /= sum;
    return (largest + log(sum)) / log(2);
}

/* One query's part in everything. */
static void define_query(struct numbers *x, int sample, int head, int query, double *p)
{
    const struct size *s = &x->size;
    int d = s->d, row = (sample * s->heads + head) * s->t + query;
    double *y = at(x, x->y, 1, 0, sample, query, head);
    const double *dy = at(x, x->dy, 1, 0, sample, query, head), *q, *k, *v;

    x->log_sums[row] = probabilities(x, sample, head, query, p);
    for (int key = 0; key < s->t; key++)
        add(y, at(x, x->qkv, 3, 2, sample, key, head), p[key], d);
    q = at(x, x->qkv, 3, 0, sample, query, head);
    for (int key = 0; key < s->t; key++) {
        double ds;

        k = at(x, x->qkv, 3, 1, sample, key, head);
        v = at(x, x->qkv, 3, 2, sample, key, head);
        ds = p[key] * (dot(dy, v, d) - dot(dy, y, d)) * x->scale;
        add(at(x, x->dqkv, 3, 0, sample, query, head), k, ds, d);
        add(at(x, x->dqkv, 3, 1, sample, key, head), q, ds, d);
        add(at(x, x->dqkv, 3, 2, sample, key, head), dy, p[key], d);
    }
}

static void define(struct numbers *x)
{
    double *p = new_numbers(x->size.t);

    for (int sample = 0; sample < x->size.n; sample++)
        for (int head = 0; head < x->size.heads; head++)
            for (int query = 0; query < x->size.t; query++)
                define_query(x, sample, head, query, p);
    free(p);
}

/* What the kernels are given and give. */
struct device {
    struct attention a;
    void *qkv, *dy;
    size_t bytes, sums; /* of y; of the sums */
};

static struct device device_open(const struct numbers *x, enum element type)
{
    const struct size *s = &x->size;
    int64_t n = rows(s) * width(s);
    struct device d = {.qkv = device_array(type, x->qkv, 3 * n),
                       .dy = device_array(type, x->dy, n),
                       .bytes = (size_t)n * element_bytes(type),
                       .sums = (size_t)(rows(s) * s->heads) * sizeof(float)};

    d.a = (struct attention){.type = type,
                             .n = s->n,
                             .t = s->t,
                             .heads = s->heads,
                             .d = s->d,
                             .scale = (float)x->scale,
                             .qkv = d.qkv,
                             .y = device_new(d.bytes + GUARD),
                             .log_sums = device_new(d.sums + GUARD),
                             .dy = d.dy,
                             .dqkv = device_new(3 * d.bytes + GUARD),
                             .workspace = device_new(d.sums + GUARD)};
    assert_int_equal(attention_grad_workspace(&d.a) * sizeof(float), d.sums);
    return d;
}

static void check_guard(const void *array, size_t bytes)
{
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal(((const uint8_t *)array)[bytes + i], 0xff);
}

static void device_close(struct device *d)
{
    check_guard(d->a.y, d->bytes);
    check_guard(d->a.dqkv, 3 * d->bytes);
    check_guard(d->a.log_sums, d->sums);
    check_guard(d->a.workspace, d->sums);
    free(d->qkv);
    free(d->dy);
    free(d->a.y);
    free(d->a.log_sums);
    free(d->a.dqkv);
    free(d->a.workspace);
}

static void compare(const char *what, const struct size *s, enum element type, const void *got,
                    const double *want, int64_t n, double tolerance)
{
    double *numbers = new_numbers(n);
    void *copy = device_new((size_t)n * element_bytes(type));
    char name[200];

    snprintf(name, sizeof name, "%s of %d x %d tokens, %d heads of %d, %s", what, s->n, s->t,
             s->heads, s->d, type == ELEMENT_F32 ? "float" : "bfloat16");
    memcpy(copy, got, (size_t)n * element_bytes(type));
    take_array(type, copy, numbers, n);
    assert_close(name, numbers, want, (size_t)n, tolerance);
    free(numbers);
}

/* Queries', keys' and values' derivatives are of different sizes. */
static void compare_slopes(const struct numbers *x, enum element type, const void *got,
                           double tolerance)
{
    static const char *const names[] = {"dq", "dk", "dv"};
    int64_t w = width(&x->size), n = rows(&x->size) * w;
    double *want = new_numbers(n);
    uint8_t *part = device_new((size_t)n * element_bytes(type));
    size_t bytes = (size_t)w * element_bytes(type);

    for (int i = 0; i < 3; i++) {
        for (int64_t row = 0; row < rows(&x->size); row++) {
            memcpy(want + row * w, x->dqkv + (row * 3 + i) * w, (size_t)w * sizeof *want);
            memcpy(part + (size_t)row * bytes, (const uint8_t *)got + (size_t)(row * 3 + i) * bytes,
                   bytes);
        }
        if (x->size.t > 1 || i == 2) /* else it is zero, but for rounding */
            compare(names[i], &x->size, type, part, want, n, tolerance);
    }
    free(want);
    free(part);
}

/* Closes the numbers. */
static void try_numbers(struct numbers *x, const struct precision *precision, double tolerance)
{
    const struct size *s = &x->size;
    enum element type = precision->type;
    struct device d = device_open(x, type);
    int64_t n = rows(s) * width(s);

    define(x);
    d.a.tf32 = precision->tf32;
    launched(launch_attention(NULL, &d.a));
    compare("y", s, type, d.a.y, x->y, n, tolerance);
    compare("log-sums", s, ELEMENT_F32, d.a.log_sums, x->log_sums, rows(s) * s->heads, tolerance);
    launched(launch_attention_grad(NULL, &d.a));
    compare_slopes(x, type, d.a.dqkv, tolerance);
    device_close(&d);
    numbers_close(x);
}

static const struct size sizes[] = {{2, 1, 2, 16},    {2, 5, 3, 8},    {1, 5, 2, 20},
                                    {2, 65, 3, 8},    {1, 65, 2, 64},  {1, 65, 1, 13},
                                    {1, 33, 2, 96},   {1, 16, 1, 128}, {1, 197, 1, 64},
                                    {1, 197, 1, 128}, {1, 197, 2, 32}};

static void against_the_definition(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        for (size_t k = 0; k < ARRAY_LENGTH(precisions); k++) {
            struct numbers x = numbers_open(&sizes[i], precisions[k].type, 1);

            try_numbers(&x, &precisions[k], precisions[k].tolerance);
        }
}

/* Queries up by so much, keys down or, for less than 0, up. */
static void move_apart(struct numbers *x, enum element type, double by)
{
    const struct size *s = &x->size;

    for (int64_t row = 0; row < rows(s); row++)
        for (int64_t i = 0; i < width(s); i++) {
            double *q = x->qkv + row * 3 * width(s) + i, *k = q + width(s);

            *q = rounded_to(type, *q + fabs(by));
            *k = rounded_to(type, *k - by);
        }
}

/* Far beyond where exponentials of scores, or of what they lack to the sum, are numbers: on both
 * sides of zero, all above it, all below it. A row of dS adds up to zero, so that with keys far
 * from it dq is what roundings of dS leave: bfloat16 and TF32 have few digits there. */
static void large_logits(void **state)
{
    static const struct size large[] = {{1, 65, 1, 64}, {1, 37, 2, 128}, {1, 41, 1, 8}};
    static const double apart[] = {0, -8, 8}, reach[] = {20, 1, 1};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(large); i++)
        for (size_t k = 0; k < ARRAY_LENGTH(apart); k++)
            for (size_t j = 0; j < ARRAY_LENGTH(precisions); j++) {
                const struct precision *precision = &precisions[j];
                struct numbers x = numbers_open(&large[i], ELEMENT_BF16, reach[k]);

                move_apart(&x, ELEMENT_BF16, apart[k]);
                try_numbers(&x, precision, precision->large);
                assert_true(x.largest_logit > 80);
            }
}

/* Keys whose scores are −∞, more than a tile of them, are as if they were not there. */
static void keys_without_weight(void **state)
{
    static const struct size size = {1, 60, 1, 8};
    const int lost = 40;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(precisions); i++) {
        enum element type = precisions[i].type;
        struct numbers x = numbers_open(&size, type, 1);
        struct device d;

        for (int token = 0; token < size.t; token++) {
            *at(&x, x.qkv, 3, 0, 0, token, 0) = 1;
            if (token < lost)
                *at(&x, x.qkv, 3, 1, 0, token, 0) = -INFINITY;
        }
        define(&x);
        d = device_open(&x, type);
        d.a.tf32 = precisions[i].tf32;
        launched(launch_attention(NULL, &d.a));
        compare("y", &size, type, d.a.y, x.y, rows(&size) * width(&size), precisions[i].tolerance);
        device_close(&d);
        numbers_close(&x);
    }
}

/* The emulation runs threads forwards and backwards in turn. */
static void same_bits_again(void **state)
{
    static const struct size size = {1, 65, 2, 64};

    (void)state;
    for (size_t k = 0; k < ARRAY_LENGTH(precisions); k++) {
        enum element type = precisions[k].type;
        struct numbers x = numbers_open(&size, type, 1);
        struct device first = device_open(&x, type), second = device_open(&x, type);

        first.a.tf32 = second.a.tf32 = precisions[k].tf32;
        launched(launch_attention(NULL, &first.a));
        launched(launch_attention_grad(NULL, &first.a));
        for (int i = 0; i < 3; i++) {
            launched(launch_attention(NULL, &second.a));
            launched(launch_attention_grad(NULL, &second.a));
            assert_memory_equal(first.a.y, second.a.y, first.bytes);
            assert_memory_equal(first.a.dqkv, second.a.dqkv, 3 * first.bytes);
        }
        device_close(&first);
        device_close(&second);
        numbers_close(&x);
    }
}

/* A query that is no number spoils its own row alone; the sums are not asked for. */
static void nan_comes_through(void **state)
{
    static const struct size size = {1, 21, 2, 8};
    struct numbers x = numbers_open(&size, ELEMENT_F32, 1);
    struct device d;
    const float *y;

    (void)state;
    *at(&x, x.qkv, 3, 0, 0, 3, 1) = NAN;
    d = device_open(&x, ELEMENT_F32);
    free(d.a.log_sums);
    d.a.log_sums = NULL;
    launched(launch_attention(NULL, &d.a));
    y = d.a.y;
    for (int64_t i = 0; i < rows(&size) * width(&size); i++)
        assert_int_equal(isnan(y[i]) != 0, i / width(&size) == 3 && i % width(&size) >= size.d);
    d.a.log_sums = device_new(d.sums + GUARD);
    device_close(&d);
    numbers_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_the_definition), cmocka_unit_test(large_logits),
        cmocka_unit_test(keys_without_weight),    cmocka_unit_test(same_bits_again),
        cmocka_unit_test(nan_comes_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
