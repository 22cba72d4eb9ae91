/* Places of what lives for a while: no two that are alive together overlap, and as little memory as
 * examples worked out by hand need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/place.h"
#include "base/cleanup.h"
#include "random/philox.h"
#include "support.h"

#define ALIGNMENT 64

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void check_places(const struct place_block *blocks, int n, size_t bytes)
{
    size_t end = 0;

    for (int i = 0; i < n; i++) {
        const struct place_block *a = &blocks[i];

        assert_int_equal(a->offset % ALIGNMENT, 0);
        end = a->offset + aligned(a->bytes) > end ? a->offset + aligned(a->bytes) : end;
        for (int k = 0; k < i; k++) {
            const struct place_block *b = &blocks[k];
            bool together = a->first <= b->last && b->first <= a->last;

            assert_true(!together || a->offset + a->bytes <= b->offset ||
                        b->offset + b->bytes <= a->offset);
        }
    }
    assert_int_equal(bytes, end);
}

static void nothing(void **state)
{
    size_t bytes = 7;

    (void)state;
    assert_ok(place_blocks(NULL, 0, ALIGNMENT, &bytes, err));
    assert_int_equal(bytes, 0);
}

/* A chain, in which each step needs its neighbour's, takes two places. */
static void chain(void **state)
{
    struct place_block blocks[9];
    size_t bytes;

    (void)state;
    for (int i = 0; i < 9; i++)
        blocks[i] = (struct place_block){.bytes = 100, .first = i, .last = i + 1};
    assert_ok(place_blocks(blocks, 9, ALIGNMENT, &bytes, err));
    check_places(blocks, 9, bytes);
    assert_int_equal(bytes, 2 * 128);
}

/* The largest at the bottom, a small one in the gap that another leaves behind it. */
static void gaps_are_filled(void **state)
{
    struct place_block blocks[] = {{.bytes = 64, .first = 2, .last = 3},
                                   {.bytes = 256, .first = 0, .last = 1},
                                   {.bytes = 128, .first = 0, .last = 3},
                                   {.bytes = 192, .first = 2, .last = 2}};
    static const size_t want[] = {192, 0, 256, 0};
    size_t bytes;

    (void)state;
    assert_ok(place_blocks(blocks, ARRAY_LENGTH(blocks), ALIGNMENT, &bytes, err));
    check_places(blocks, ARRAY_LENGTH(blocks), bytes);
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        assert_int_equal(blocks[i].offset, want[i]);
    assert_int_equal(bytes, 384);
}

/* What takes over a place lies there, and keeps it for as long as the last of the chain lives. What
 * lies elsewhere has no place. */
static void taken_over(void **state)
{
    struct place_block blocks[] = {
        {.bytes = 100, .first = 0, .last = 1}, {.bytes = 100, .first = 1, .last = 2},
        {.bytes = 100, .first = 2, .last = 4}, {.bytes = 100, .first = 3, .last = 3},
        {.bytes = 0, .first = 0, .last = 4},   {.bytes = 100, .first = 5, .last = 5}};
    size_t bytes;

    (void)state;
    place_take_over(&blocks[1], &blocks[0]);
    place_take_over(&blocks[2], &blocks[1]);
    place_take_over(&blocks[2], &blocks[2]);
    assert_ok(place_blocks(blocks, ARRAY_LENGTH(blocks), ALIGNMENT, &bytes, err));
    assert_int_equal(bytes, 2 * 128);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(blocks[i].offset, 0);
    assert_int_equal(blocks[3].offset, 128);
    assert_int_equal(blocks[5].offset, 0);
}

/* Steps come in order; a block that is only read is one that was there before. */
static void lifetimes(void **state)
{
    struct place_block blocks[] = {{.first = -1, .last = -1}, {.first = -1, .last = -1}};

    (void)state;
    place_write(blocks, 0, 3);
    place_read(blocks, 1, 3);
    place_write(blocks, 0, 5);
    place_read(blocks, 0, 9);
    place_read(blocks, 0, 7);
    place_write(blocks, -1, 11);
    assert_int_equal(blocks[0].first, 3);
    assert_int_equal(blocks[0].last, 9);
    assert_int_equal(blocks[1].first, -1);
    assert_int_equal(blocks[1].last, 3);
}

/* Any: never less than what is alive in one step, never more than all together. */
static void many(void **state)
{
    enum { N = 150, STEPS = 60 };

    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct place_block blocks[N];
        size_t alive[STEPS] = {0}, all = 0, bytes;

        for (int i = 0; i < N; i++) {
            struct philox draw = philox(seed, (uint32_t)i, 0, 0);
            int first = (int)(draw.word[0] % STEPS), last = first + (int)(draw.word[1] % 9);

            blocks[i] = (struct place_block){.bytes = draw.word[2] % 5000,
                                             .first = first,
                                             .last = last < STEPS ? last : STEPS - 1};
            all += aligned(blocks[i].bytes);
            for (int k = blocks[i].first; k <= blocks[i].last; k++)
                alive[k] += aligned(blocks[i].bytes);
        }
        assert_ok(place_blocks(blocks, N, ALIGNMENT, &bytes, err));
        check_places(blocks, N, bytes);
        for (int k = 0; k < STEPS; k++)
            assert_true(bytes >= alive[k]);
        assert_true(bytes <= all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),         cmocka_unit_test(chain),
        cmocka_unit_test(gaps_are_filled), cmocka_unit_test(taken_over),
        cmocka_unit_test(lifetimes),       cmocka_unit_test(many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
