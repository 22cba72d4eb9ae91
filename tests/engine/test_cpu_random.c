/* The CPU backend's normal numbers: against the definition in float64, and the same bits from every
 * instruction set that this processor has. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/cpu.h"
#include "normals.h"
#include "random/philox.h"

#define N ((size_t)1 << 20)

static double largest_error(uint64_t seed, uint32_t stream, uint64_t step, uint64_t block,
                            const float *z, size_t n)
{
    double worst = 0;

    for (size_t i = 0; i < n; i += 4) {
        double want[4];

        random_normal4_f64(philox(seed, (uint32_t)(block + i / 4), stream, step), want);
        for (size_t k = 0; k < 4 && i + k < n; k++)
            worst = fmax(worst, fabs(z[i + k] - want[k]));
    }
    return worst;
}

static void close_to_the_definition(void **state)
{
    float *z = malloc(N * sizeof *z);
    double sum = 0, squares = 0;

    (void)state;
    cpu_normals(0x0123456789abcdef, random_stream(RANDOM_NOISE, 1, 7), 1234, 0, z, N);
    assert_true(
        largest_error(0x0123456789abcdef, random_stream(RANDOM_NOISE, 1, 7), 1234, 0, z, N) < 1e-6);
    for (size_t i = 0; i < N; i++) {
        sum += z[i];
        squares += (double)z[i] * z[i];
    }
    assert_true(fabs(sum / (double)N) < 5e-3);
    assert_true(fabs(squares / (double)N - 1) < 1e-2);
    free(z);
}

/* Any start, any length, and nothing past the end. */
static void any_part(void **state)
{
    float whole[300], part[301];

    (void)state;
    cpu_normals(5, 6, 7, 0xfffffff0, whole, 300);
    assert_true(largest_error(5, 6, 7, 0xfffffff0, whole, 300) < 1e-6);
    for (uint64_t first = 0; first < 20; first += 3)
        for (uint64_t n = 0; n + first * 4 <= 300; n += 37) {
            part[n] = 99;
            cpu_normals(5, 6, 7, 0xfffffff0 + first, part, n);
            assert_memory_equal(part, whole + 4 * first, n * sizeof *part);
            assert_true(part[n] == 99);
        }
}

static void every_instruction_set_agrees(void **state)
{
    const struct kernels *const *sets;
    int n = cpu_kernel_sets(&sets);
    float *want = malloc(N * sizeof *want), *got = malloc(N * sizeof *got);
    struct random_normal args = {.seed = 77, .step = 1, .stream = 3, .out = want};

    (void)state;
    assert_true(n >= 1);
    sets[0]->random_normal(&args, 0, N);
    args.out = got;
    for (int i = 1; i < n; i++) {
        sets[i]->random_normal(&args, 0, N);
        assert_memory_equal(got, want, N * sizeof *got);
    }
    free(want);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_to_the_definition),
        cmocka_unit_test(any_part),
        cmocka_unit_test(every_instruction_set_agrees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
