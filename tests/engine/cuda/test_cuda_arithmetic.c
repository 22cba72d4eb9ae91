/* The arithmetic that the CUDA backend's kernels share with the host: the CPU backend's noise to
 * the bit, and float64 for the rest. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/kernels/arithmetic.h"
#include "base/cleanup.h"
#include "normals.h"
#include "support.h"

#define BLOCKS 100000

static void noise_is_the_cpu_backends(void **state)
{
    static const struct {
        uint64_t seed, step;
        uint32_t stream;
        uint64_t first;
    } draws[] = {
        {0x1234deadbeef, 0, 0x05010003, 0},
        {0xffffffffffffffff, 0x200000001, 0x0500ffff, 0xfffff000},
        {7, 123456789, 0x05020000, 1u << 31},
    };
    float *want = calloc(4 * BLOCKS, sizeof *want);

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(draws); i++) {
        uint64_t n = draws[i].first + BLOCKS > UINT32_MAX ? UINT32_MAX - draws[i].first : BLOCKS;

        cpu_normals(draws[i].seed, draws[i].stream, draws[i].step, draws[i].first, want, 4 * n);
        for (uint64_t block = 0; block < n; block++) {
            float got[4];

            normal_four(draws[i].seed, (uint32_t)(draws[i].first + block), draws[i].stream,
                        draws[i].step, got);
            assert_memory_equal(got, want + 4 * block, sizeof got);
        }
    }
    free(want);
}

/* Every radius and angle at their ends. */
static void extreme_draws(void **state)
{
    static const uint32_t bits[] = {0, 1, 2, 0x7fffff, 0x800000, 0xfffffe, 0xffffff};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(bits); i++) {
        double want = sqrt(-2 * log((bits[i] + 1) * 0x1p-24)), angle = 2 * M_PI * bits[i] * 0x1p-24;
        float cosine, sine;

        normal_turn(bits[i], &cosine, &sine);
        assert_true(fabs((double)normal_radius(bits[i]) - want) <= 4e-7 * want + 1e-7);
        assert_true(fabs((double)cosine - cos(angle)) <= 2e-7);
        assert_true(fabs((double)sine - sin(angle)) <= 2e-7);
    }
}

/* The nearest of the two neighbours that have 8 bits of mantissa; in the middle the even one. */
static uint16_t nearest(float x)
{
    uint32_t bits = bits_of(x) & 0xffff0000u;
    double low = (double)float_of(bits), high;

    /* beyond the largest number infinity stands where the next one would */
    high = (bits & 0x7f800000u) == 0x7f000000u && (bits & 0x7f0000u) == 0x7f0000u
               ? copysign(0x1p128, (double)x)
               : (double)float_of(bits + 0x10000u);
    if (fabs((double)x - low) < fabs((double)x - high) ||
        (fabs((double)x - low) == fabs((double)x - high) && !(bits >> 16 & 1)))
        return (uint16_t)(bits >> 16);
    return (uint16_t)((bits >> 16) + 1);
}

static void bfloat16_is_rounded_to_nearest(void **state)
{
    static const float special[] = {0,       -0.0f,   1,        -1.00390625f, 1.01171875f,
                                    FLT_MAX, FLT_MIN, 1e-40f,   -1e-45f,      0x1.ffp127f,
                                    3.4e38f, 1e38f,   0x1.fep0f};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(special); i++)
        assert_int_equal(bf16_round(special[i]), nearest(special[i]));
    for (uint32_t i = 0; i < 100000; i++) {
        float x = float_of(philox(1, i, 0, 0).word[0]);

        if (isfinite(x))
            assert_int_equal(bf16_round(x), nearest(x));
    }
    assert_int_equal(bf16_round(INFINITY), 0x7f80);
    assert_int_equal(bf16_round(-INFINITY), 0xff80);
    assert_int_equal(bf16_round(NAN), 0x7fff);
    assert_int_equal(bf16_round(float_of(0x7f800001)), 0x7fff);
    for (uint32_t bits = 0; bits < 0x7f80; bits++)
        assert_int_equal(bf16_round(bf16_widen((uint16_t)bits)), bits);
}

static void dropout_keeps_what_others_keep(void **state)
{
    static const double rates[] = {0, 0.1, 0.2, 0.5, 0.3, 0x1p-24, 0.9999999, 1 - 0x1p-24, 1.0 / 3};

    (void)state;
    for (size_t r = 0; r < ARRAY_LENGTH(rates); r++) {
        uint32_t edge = (uint32_t)(rates[r] * 0x1p24);

        for (uint32_t i = edge > 3 ? edge - 3 : 0; i < edge + 3 && i < 1u << 24; i++)
            assert_int_equal(dropout_keeps(i << 8 | 0xff, dropout_threshold(rates[r])),
                             random_keeps(i << 8 | 0xff, rates[r]));
    }
}

static void gelu_against_float64(void **state)
{
    (void)state;
    for (double at = -12; at <= 12; at += 1.0 / 512) {
        double x = (double)(float)at, below = erfc(-x * M_SQRT1_2) / 2;
        double slope = below + x * exp(-x * x / 2) / sqrt(2 * M_PI);

        assert_true(fabs((double)gelu((float)x) - x * below) <= 2e-5 * fabs(x * below) + 1e-35);
        assert_true(fabs((double)gelu_slope((float)x) - slope) <= 1e-6 * fabs(slope) + 1e-6);
    }
    assert_true(isnan(gelu(NAN)) && gelu(30) == 30 && gelu(-30) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_the_cpu_backends),
        cmocka_unit_test(extreme_draws),
        cmocka_unit_test(bfloat16_is_rounded_to_nearest),
        cmocka_unit_test(dropout_keeps_what_others_keep),
        cmocka_unit_test(gelu_against_float64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
