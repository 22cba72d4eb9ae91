/* What the ranks of a job have to do: which piece of which term each computes, and which jobs leave
 * them nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "method/recipe.h"
#include "record.h"

/* --- pieces ----------------------------------------------------------------------------------- */

/* The pieces of a term follow each other, and cover its part of the batch once. */
static void check_term(const struct recipe *recipe, int term, int ranks, int64_t n)
{
    int64_t end, all = recipe_part(&recipe->term[term], n, &end), covered = 0;
    int number = 0;

    for (int r = 0; r < ranks; r++) {
        struct recipe_piece piece;

        if (!recipe_piece(&piece, recipe, term, (struct recipe_rank){r, ranks}, n))
            continue;
        assert_int_equal(piece.number, number++);
        assert_int_equal(piece.begin, end);
        if (covered == 0 && piece.samples > 0)
            assert_int_equal(recipe_owner(recipe, term, ranks, n), r);
        end += piece.samples;
        covered += piece.samples;
    }
    assert_true(number > 0);
    assert_int_equal(covered, all);
}

/* All ranks have as much to do in a wave, as far as whole samples go. */
static void check_wave(const struct recipe *recipe, int wave, int ranks, int64_t n)
{
    double terms = 0;

    for (int t = 0; t < recipe->n_terms; t++)
        terms += recipe_wave(recipe, t) == wave ? 1.0 / recipe->term[t].parts : 0;
    for (int r = 0; r < ranks; r++) {
        double samples = 0;

        for (int t = 0; t < recipe->n_terms; t++) {
            struct recipe_piece piece = {0};

            if (recipe_wave(recipe, t) == wave)
                recipe_piece(&piece, recipe, t, (struct recipe_rank){r, ranks}, n);
            samples += (double)piece.samples;
        }
        assert_true(fabs(samples - terms * (double)n / ranks) <= 3);
    }
}

static void pieces_cover_each_term_once(void **state)
{
    (void)state;
    for (int kind = 0; kind < METHOD_KINDS; kind++)
        for (int which = 0; which < 3 * JOB_SAMPLES_MAX; which++) {
            struct job_method method = {
                .kind = kind, .lambda = 0.5, .samples = which / 3 + 1, .statistics = which % 3};
            struct recipe recipe;

            recipe_of(&recipe, &method);
            for (int ranks = 1; ranks <= RECIPE_RANKS_MAX; ranks++)
                for (int64_t n = method.samples; n < 40; n++) {
                    for (int t = 0; t < recipe.n_terms; t++)
                        check_term(&recipe, t, ranks, n);
                    for (int wave = 0; wave < recipe_waves(&recipe); wave++)
                        check_wave(&recipe, wave, ranks, n);
                }
        }
}

static struct recipe_piece piece_of(int kind, int term, int rank, int ranks)
{
    struct job_method method = {.kind = kind, .lambda = 0.5, .samples = 1};
    struct recipe_piece piece = {.number = -1};
    struct recipe recipe;

    recipe_of(&recipe, &method);
    recipe_piece(&piece, &recipe, term, (struct recipe_rank){rank, ranks}, 12);
    return piece;
}

#define assert_piece(piece, expected_begin, expected_samples)                                      \
    do {                                                                                           \
        struct recipe_piece assert_piece = (piece);                                                \
        assert_int_equal(assert_piece.samples, (expected_samples));                                \
        assert_int_equal(assert_piece.begin, (expected_begin));                                    \
    } while (0)

static void independent_terms_go_to_different_ranks(void **state)
{
    (void)state;
    assert_piece(piece_of(METHOD_SGD, 0, 0, 2), 0, 6);
    assert_piece(piece_of(METHOD_SGD, 0, 1, 2), 6, 6);
    assert_piece(piece_of(METHOD_M_RWP, 0, 0, 2), 0, 12); /* clean on 0, perturbed on 1 */
    assert_piece(piece_of(METHOD_M_RWP, 0, 1, 2), 0, 0);
    assert_piece(piece_of(METHOD_M_RWP, 1, 0, 2), 0, 0);
    assert_piece(piece_of(METHOD_M_RWP, 1, 1, 2), 0, 12);
    assert_piece(piece_of(METHOD_M_RWP, 0, 1, 4), 6, 6); /* two parts each */
    assert_piece(piece_of(METHOD_M_RWP, 1, 2, 4), 0, 6);
    assert_piece(piece_of(METHOD_M_RWP, 0, 0, 3), 0, 8); /* two thirds of a batch each */
    assert_piece(piece_of(METHOD_M_RWP, 0, 1, 3), 8, 4);
    assert_piece(piece_of(METHOD_M_RWP, 1, 1, 3), 0, 4);
    assert_piece(piece_of(METHOD_M_RWP, 1, 2, 3), 4, 8);
    assert_piece(piece_of(METHOD_SAM, 1, 2, 3), 8, 4); /* one wave after the other */
}

static void pieces_have_masks_of_their_own(void **state)
{
    bool seen[256] = {false};

    (void)state;
    for (int term = 0; term < RECIPE_TERMS_MAX; term++)
        for (int piece = 0; piece < RECIPE_RANKS_MAX; piece++) {
            uint32_t draws = recipe_draws(term, piece);

            assert_true(draws < ARRAY_LENGTH(seen) && !seen[draws]);
            seen[draws] = true;
            if (piece == 0)
                assert_int_equal(draws, term);
        }
}

/* --- what makes no sense ---------------------------------------------------------------------- */

static void keep_pointer(void *to, const char *pointer, const char *message)
{
    (void)message;
    strcpy(to, pointer);
}

static void check_pointer(const struct engine_job *job, const char *expected)
{
    char pointer[64] = "";
    struct problems problems = {.tell = keep_pointer, .to = pointer};

    engine_job_check(job, &problems);
    assert_int_equal(problems.n, expected[0] != '\0');
    assert_string_equal(pointer, expected);
}

static void ranks_need_samples(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);

    (void)state;
    job.world_size = 8;
    check_pointer(&job, ""); /* the last batch has two: six ranks have nothing to do */
    job.batch_size = 7;
    check_pointer(&job, "/world_size");
    job.world_size = 1;
    job.method.kind = METHOD_M_RWP;
    job.method.samples = 4;
    job.batch_size = 23; /* and 4 */
    check_pointer(&job, "");
    job.world_size = 6;
    check_pointer(&job, "/world_size");
}

/* Three stages of digits end at 2×2; of a batch of two samples on two ranks, at 1×1 with a fourth,
 * batch norm has one number a channel. */
static void batch_norm_needs_two_samples(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);

    (void)state;
    job.model.blocks = (struct spec_int_list){4, {1, 1, 1, 1}};
    check_pointer(&job, "");
    job.world_size = 2;
    check_pointer(&job, "/world_size");
    job.dataset.train_limit = 48;
    check_pointer(&job, "");
    job.dataset.train_limit = 49;
    check_pointer(&job, "/batch_size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_cover_each_term_once),
        cmocka_unit_test(independent_terms_go_to_different_ranks),
        cmocka_unit_test(pieces_have_masks_of_their_own),
        cmocka_unit_test(ranks_need_samples),
        cmocka_unit_test(batch_norm_needs_two_samples),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
