/* The generator and the initial weights against the numpy twin, which shares no code. (Orders and
 * wrong labels are compared in test_dataset.c.) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "close.h"
#include "golden.h"
#include "golden_run.h"
#include "normals.h"
#include "random/philox.h"

#define NORMALS 64

/* The first three lines are the known answers that the generator's authors publish. */
static void words_are_the_twins(void **state)
{
    FILE *file = golden_open("draws.txt");
    int lines = 0;
    char *line;

    (void)state;
    for (; (line = golden_next(file, "philox")); lines++) {
        uint64_t seed = golden_integer(&line);
        uint32_t block = (uint32_t)golden_integer(&line);
        uint32_t stream = (uint32_t)golden_integer(&line);
        struct philox draw = philox(seed, block, stream, golden_integer(&line));

        for (int i = 0; i < 4; i++)
            assert_int_equal(draw.word[i], golden_integer(&line));
    }
    assert_int_equal(lines, 4);
    fclose(file);
}

/* One ulp more or less is libm's own affair. */
static void compare_normals(const double *want, uint64_t seed, uint32_t stream, uint64_t step)
{
    float single[NORMALS];

    cpu_normals(seed, stream, step, 0, single, NORMALS);
    for (uint32_t i = 0; i < NORMALS; i++) {
        double four[4];

        random_normal4_f64(philox(seed, i / 4, stream, step), four);
        assert_close(four[i % 4], want[i], 4e-16 * fmax(1, fabs(want[i])));
        assert_close(single[i], want[i], 1e-6 * fmax(1, fabs(want[i])));
    }
}

static void normals_are_the_twins(void **state)
{
    FILE *file = golden_open("draws.txt");
    int lines = 0;
    char *line;

    (void)state;
    for (; (line = golden_next(file, "normal")); lines++) {
        uint64_t seed = golden_integer(&line);
        uint32_t tensor = (uint32_t)golden_integer(&line);
        uint32_t term = (uint32_t)golden_integer(&line);
        uint64_t step = golden_integer(&line);
        double want[NORMALS];

        for (int i = 0; i < NORMALS; i++)
            want[i] = golden_number(&line);
        compare_normals(want, seed, random_stream(RANDOM_NOISE, term, tensor), step);
    }
    assert_int_equal(lines, 3);
    fclose(file);
}

/* FNV-1a over the little-endian bytes of the values as fp32. */
static uint64_t hash_of(const struct tensor *tensor)
{
    uint64_t hash = 0xCBF29CE484222325;

    for (size_t i = 0; i < tensor_elements(tensor); i++) {
        float value = (float)tensor_element(tensor, i);
        uint32_t bits;

        assert_true(value == tensor_element(tensor, i)); /* it was rounded to fp32 */
        memcpy(&bits, &value, sizeof bits);
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (bits >> shift & 0xFF)) * 0x100000001B3;
    }
    return hash;
}

static void initial_weights_are_the_twins_on(int device)
{
    struct golden_run *golden = golden_run_open("sgd");
    FILE *file = golden_open("draws.txt");
    struct record *start;
    int lines = 0;
    char *line;

    golden->job.device = device;
    start = golden_train(&golden->job, 0);
    for (; (line = golden_next(file, "init")); lines++) {
        const struct tensor *tensor;
        size_t at[GOLDEN_PLACES];
        double value[GOLDEN_PLACES];
        uint64_t hash;
        int places;

        assert_int_equal(golden_integer(&line), golden->job.seed);
        assert_int_equal(golden_integer(&line), lines);
        tensor = checkpoint_find(&start->checkpoint, TENSOR_PARAMETER, golden_word(&line));
        assert_ptr_equal(tensor, &start->checkpoint.tensors[lines]);
        assert_int_equal(tensor_elements(tensor), golden_integer(&line));
        hash = golden_integer(&line);
        places = golden_places(line, at, value);
        for (int i = 0; i < places; i++)
            assert_close(tensor_element(tensor, at[i]), value[i], 0);
        assert_true(hash_of(tensor) == hash);
    }
    assert_int_equal(lines, 29);
    fclose(file);
    record_free(start);
    golden_run_close(golden);
}

static void the_reference_backend_starts_as_the_twin(void **state)
{
    (void)state;
    initial_weights_are_the_twins_on(DEVICE_REFERENCE);
}

static void the_cpu_backend_starts_as_the_twin(void **state)
{
    (void)state;
    initial_weights_are_the_twins_on(DEVICE_CPU);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_the_twins),
        cmocka_unit_test(normals_are_the_twins),
        cmocka_unit_test(the_reference_backend_starts_as_the_twin),
        cmocka_unit_test(the_cpu_backend_starts_as_the_twin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
