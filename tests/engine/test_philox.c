/* The generator against published vectors, its normal numbers against another implementation and
 * against what makes them normal. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "random/philox.h"
#include "support.h"

/* The lines "philox4x32 10" of kat_vectors, from the authors' Random123. */
static void known_answers(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } answers[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        const uint32_t *c = answers[i].counter, *k = answers[i].key;
        struct philox draw =
            philox((uint64_t)k[1] << 32 | k[0], c[0], c[1], (uint64_t)c[3] << 32 | c[2]);
        assert_memory_equal(draw.word, answers[i].out, sizeof draw.word);
    }
}

/* Where seed, position and purpose go: computed with an implementation of its own in Python. */
static void known_normals(void **state)
{
    static const uint32_t words[] = {0x8bd76d42, 0xbc91dcc3, 0x4e3b8229, 0x10424662};
    static const double normals[] = {-0.0924749697602958, -1.095802753416783, 1.4188173522447358,
                                     0.59828313735505};
    uint32_t stream = random_stream(RANDOM_NOISE, 1, 3);
    struct philox draw = philox(0x1234deadbeef, 7, stream, (uint64_t)2 << 32 | 123456789);
    double got[4];

    (void)state;
    assert_memory_equal(draw.word, words, sizeof words);
    random_normal4_f64(draw, got);
    assert_close("normals", got, normals, 4, 1e-15);
}

static void numbers_stay_in_their_ranges(void **state)
{
    struct philox extremes = {{0, 0xffffffff, 0xffffffff, 0}};
    double got[4];

    (void)state;
    assert_true(random_unit(0) == 0x1p-24);
    assert_true(random_unit(0xffffffff) == 1);
    assert_true(random_symmetric(0) == -random_symmetric(0xffffffff));
    assert_true(random_symmetric(0) > -1);
    random_normal4_f64(extremes, got);
    for (int i = 0; i < 4; i++)
        assert_true(isfinite(got[i]));
    assert_true(fabs(got[2]) < 1e-300); /* unit 1: radius 0 */
}

/* Each moment within five of its standard deviations. */
static void normals_have_normal_moments(void **state)
{
    enum { BLOCKS = 100000 };
    const double n = 4.0 * BLOCKS;
    double sum[5] = {0}, within_pair = 0, across_blocks = 0, before = 0;
    int beyond_two = 0;

    (void)state;
    for (uint32_t block = 0; block < BLOCKS; block++) {
        double z[4];
        random_normal4_f64(philox(42, block, random_stream(RANDOM_NOISE, 0, 0), 17), z);
        for (int i = 0; i < 4; i++) {
            for (int power = 1; power <= 4; power++)
                sum[power] += pow(z[i], power);
            beyond_two += fabs(z[i]) > 2;
        }
        within_pair += z[0] * z[1] + z[2] * z[3];
        across_blocks += before * z[0];
        before = z[3];
    }
    assert_true(fabs(sum[1] / n) < 5 * sqrt(1 / n));
    assert_true(fabs(sum[2] / n - 1) < 5 * sqrt(2 / n));
    assert_true(fabs(sum[3] / n) < 5 * sqrt(15 / n));
    assert_true(fabs(sum[4] / n - 3) < 5 * sqrt(96 / n));
    assert_true(fabs(beyond_two / n - erfc(sqrt(2))) < 5 * sqrt(0.0455 / n));
    assert_true(fabs(within_pair / (n / 2)) < 5 * sqrt(2 / n));
    assert_true(fabs(across_blocks / BLOCKS) < 5 * sqrt(1.0 / BLOCKS));
}

static void each_part_of_a_position_matters(void **state)
{
    const struct philox base = philox(1, 2, random_stream(RANDOM_NOISE, 0, 3), 4);
    const struct philox others[] = {
        philox(2, 2, random_stream(RANDOM_NOISE, 0, 3), 4),
        philox(1 + ((uint64_t)1 << 32), 2, random_stream(RANDOM_NOISE, 0, 3), 4),
        philox(1, 3, random_stream(RANDOM_NOISE, 0, 3), 4),
        philox(1, 2, random_stream(RANDOM_SHUFFLE, 0, 3), 4),
        philox(1, 2, random_stream(RANDOM_NOISE, 1, 3), 4),
        philox(1, 2, random_stream(RANDOM_NOISE, 0, 4), 4),
        philox(1, 2, random_stream(RANDOM_NOISE, 0, 3), 5),
        philox(1, 2, random_stream(RANDOM_NOISE, 0, 3), 4 + ((uint64_t)1 << 32)),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
        assert_memory_not_equal(&base, &others[i], sizeof base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(known_normals),
        cmocka_unit_test(numbers_stay_in_their_ranges),
        cmocka_unit_test(normals_have_normal_moments),
        cmocka_unit_test(each_part_of_a_position_matters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
