/* Recipes, sigma and learning rates against the paper's semantics, at points known by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "close.h"
#include "method/recipe.h"
#include "method/schedule.h"

#define CLOSE 1e-15

/* As the tables have it. */
static struct recipe recipe_of_kind(int kind)
{
    bool noisy_only = kind == METHOD_RWP || kind == METHOD_ARWP;
    struct job_method method = {.kind = kind,
                                .lambda = 0.25,
                                .samples = 1,
                                .statistics = noisy_only ? STATISTICS_PERTURBED : STATISTICS_CLEAN};
    struct recipe recipe;

    recipe_of(&recipe, &method);
    return recipe;
}

static int statistics_moves(const struct recipe *recipe)
{
    int n = 0;

    for (int t = 0; t < recipe->n_terms; t++)
        n += recipe->term[t].move_statistics;
    return n;
}

/* Weights add up to 1 over the whole batches; the parts of a batch are those of its terms, in
 * order; two passes that move the statistics are never of one wave. */
static void check_recipe(const struct recipe *recipe)
{
    double weights = 0;

    for (int t = 0; t < recipe->n_terms; t++) {
        const struct recipe_term *term = &recipe->term[t];

        assert_in_range(term->batch, 0, recipe->n_batches - 1);
        assert_true(term->needs < t);
        assert_in_range(term->part, 0, term->parts - 1);
        assert_true(t + term->parts - term->part <= recipe->n_terms);
        weights += term->weight / term->parts;
        for (int other = 0; other < t; other++)
            assert_false(term->move_statistics && recipe->term[other].move_statistics &&
                         recipe_wave(recipe, t) == recipe_wave(recipe, other));
    }
    assert_close(weights, 1, CLOSE);
}

static void every_recipe_is_consistent(void **state)
{
    (void)state;
    for (int kind = METHOD_SGD; kind < METHOD_KINDS; kind++) {
        struct recipe recipe = recipe_of_kind(kind);
        bool adaptive = kind == METHOD_ARWP || kind == METHOD_M_ARWP, feeds = false;

        check_recipe(&recipe);
        assert_int_equal(statistics_moves(&recipe), 1);
        assert_int_equal(recipe_gradients(&recipe), recipe.n_terms);
        for (int t = 0; t < recipe.n_terms; t++)
            feeds = feeds || recipe.term[t].feeds_fisher;
        assert_int_equal(feeds, adaptive);
        assert_int_equal(recipe.has_fisher, adaptive);
    }
}

static void samples_and_statistics_as_asked(void **state)
{
    (void)state;
    for (int kind = METHOD_RWP; kind <= METHOD_M_ARWP; kind++)
        for (int samples = 1; samples <= JOB_SAMPLES_MAX; samples++)
            for (int which = STATISTICS_CLEAN; which <= STATISTICS_BOTH; which++) {
                struct job_method method = {
                    .kind = kind, .lambda = 0.25, .samples = samples, .statistics = which};
                bool mixed = kind == METHOD_M_RWP || kind == METHOD_M_ARWP;
                struct recipe recipe;

                recipe_of(&recipe, &method);
                check_recipe(&recipe);
                assert_int_equal(statistics_moves(&recipe),
                                 (which != STATISTICS_PERTURBED) +
                                     (which != STATISTICS_CLEAN) * samples);
                assert_int_equal(recipe_gradients(&recipe), mixed ? 2 : 1);
                assert_int_equal(recipe.term[recipe.perturbed_term].parts, samples);
            }
}

static void parts_cover_a_batch(void **state)
{
    (void)state;
    for (int64_t n = 3; n <= 40; n++)
        for (int parts = 1; parts <= 3; parts++) {
            int64_t end = 0, begin;

            for (int part = 0; part < parts; part++) {
                struct recipe_term term = {.part = part, .parts = parts};
                int64_t own = recipe_part(&term, n, &begin);

                assert_int_equal(begin, end);
                assert_in_range(own, n / parts, (n + parts - 1) / parts);
                end = begin + own;
            }
            assert_int_equal(end, n);
        }
}

static void sgd_is_one_clean_term(void **state)
{
    struct recipe recipe = recipe_of_kind(METHOD_SGD);

    (void)state;
    assert_int_equal(recipe.n_terms, 1);
    assert_int_equal(recipe.n_batches, 1);
    assert_int_equal(recipe.term[0].perturbation, PERTURB_NONE);
    assert_int_equal(recipe.perturbed_term, -1);
    assert_int_equal(recipe_waves(&recipe), 1);
}

static void sam_runs_two_waves_on_one_batch(void **state)
{
    struct recipe recipe = recipe_of_kind(METHOD_SAM);

    (void)state;
    assert_int_equal(recipe.n_terms, 2);
    assert_int_equal(recipe.n_batches, 1);
    assert_int_equal(recipe.term[1].perturbation, PERTURB_DIRECTION);
    assert_int_equal(recipe.term[1].needs, 0);
    assert_true(recipe.term[0].move_statistics);
    assert_close(recipe.term[0].weight, 0, 0);
    assert_int_equal(recipe.loss_term, 0);
    assert_int_equal(recipe.perturbed_term, 1);
    assert_int_equal(recipe_waves(&recipe), 2);
    assert_int_equal(recipe_width(&recipe), 1);
    assert_int_equal(recipe_wave(&recipe, 1), 1);
}

static void rwp_moves_statistics_by_its_noisy_pass(void **state)
{
    struct recipe recipe = recipe_of_kind(METHOD_ARWP);

    (void)state;
    assert_int_equal(recipe.n_terms, 1);
    assert_int_equal(recipe.term[0].perturbation, PERTURB_NOISE);
    assert_true(recipe.term[0].move_statistics);
    assert_int_equal(recipe.loss_term, 0);
    assert_int_equal(recipe.perturbed_term, 0);
}

static void mixed_runs_side_by_side_on_two_batches(void **state)
{
    struct recipe recipe = recipe_of_kind(METHOD_M_ARWP);

    (void)state;
    assert_int_equal(recipe.n_terms, 2);
    assert_int_equal(recipe.n_batches, 2);
    assert_int_not_equal(recipe.term[0].batch, recipe.term[1].batch);
    assert_int_equal(recipe.term[0].perturbation, PERTURB_NONE);
    assert_int_equal(recipe.term[1].perturbation, PERTURB_NOISE);
    assert_true(recipe.term[0].move_statistics);
    /* lambda weighs the perturbed gradient */
    assert_close(recipe.term[0].weight, 0.75, CLOSE);
    assert_close(recipe.term[1].weight, 0.25, CLOSE);
    assert_int_equal(recipe_waves(&recipe), 1);
    assert_int_equal(recipe_width(&recipe), 2);
}

static void sigma_ramps_from_one_to_one_plus_ramp(void **state)
{
    struct job_method method = {.kind = METHOD_RWP, .sigma = 0.001, .ramp = 10};

    (void)state;
    assert_close(recipe_sigma(&method, 0, 600), 0.001, CLOSE);
    assert_close(recipe_sigma(&method, 300, 600), 0.006, CLOSE);
    assert_close(recipe_sigma(&method, 600, 600), 0.011, CLOSE);
    method.ramp = 0;
    assert_close(recipe_sigma(&method, 300, 600), 0.001, CLOSE);
    method.kind = METHOD_SAM;
    assert_close(recipe_sigma(&method, 300, 600), 0, 0);
}

static void cosine_falls_each_update(void **state)
{
    struct job_schedule cosine = {.kind = SCHEDULE_COSINE, .step = SCHEDULE_PER_UPDATE};
    struct schedule_span span = {.total = 60, .updates_per_epoch = 10, .batches_per_update = 2};

    (void)state;
    assert_close(schedule_lr(&cosine, 0.1, &span, 0), 0.1, CLOSE);
    assert_close(schedule_lr(&cosine, 0.1, &span, 20), 0.075, CLOSE); /* cos 60° */
    assert_close(schedule_lr(&cosine, 0.1, &span, 30), 0.05, CLOSE);
    assert_close(schedule_lr(&cosine, 0.1, &span, 40), 0.025, CLOSE);
}

static void cosine_by_epoch_falls_once_a_pass(void **state)
{
    struct job_schedule cosine = {.kind = SCHEDULE_COSINE, .step = SCHEDULE_PER_EPOCH};
    struct schedule_span one = {.total = 60, .updates_per_epoch = 10, .batches_per_update = 1};
    struct schedule_span two = {.total = 30, .updates_per_epoch = 10, .batches_per_update = 2};

    (void)state;
    assert_close(schedule_lr(&cosine, 0.1, &one, 9), 0.1, CLOSE);
    assert_close(schedule_lr(&cosine, 0.1, &one, 20), 0.075, CLOSE);
    assert_close(schedule_lr(&cosine, 0.1, &one, 29), 0.075, CLOSE);
    /* Two passes an epoch: six of them, five updates each. */
    assert_close(schedule_lr(&cosine, 0.1, &two, 4), 0.1, CLOSE);
    assert_close(schedule_lr(&cosine, 0.1, &two, 10), 0.075, CLOSE);
    assert_close(schedule_lr(&cosine, 0.1, &two, 14), 0.075, CLOSE);
    assert_close(schedule_lr(&cosine, 0.1, &two, 15), 0.05, CLOSE);
}

static void step_drops_by_epochs(void **state)
{
    struct job_schedule step = {.kind = SCHEDULE_STEP, .every_epochs = 30, .gamma = 0.1};
    struct schedule_span span = {.total = 630, .updates_per_epoch = 7, .batches_per_update = 2};

    (void)state;
    assert_close(schedule_lr(&step, 0.1, &span, 30 * 7 - 1), 0.1, CLOSE);
    assert_close(schedule_lr(&step, 0.1, &span, 30 * 7), 0.01, CLOSE);
    assert_close(schedule_lr(&step, 0.1, &span, 60 * 7), 0.001, CLOSE);
}

static void constant_is_constant(void **state)
{
    struct job_schedule constant = {.kind = SCHEDULE_CONSTANT};
    struct schedule_span span = {.total = 14, .updates_per_epoch = 7, .batches_per_update = 1};

    (void)state;
    assert_close(schedule_lr(&constant, 0.3, &span, 13), 0.3, 0);
}

static void warm_up_is_linear_and_the_cosine_takes_the_rest(void **state)
{
    struct job_schedule schedule = {.kind = SCHEDULE_COSINE, .warmup_updates = 4};
    struct schedule_span span = {.total = 24, .updates_per_epoch = 2, .batches_per_update = 1};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_close(schedule_lr(&schedule, 0.4, &span, 0), 0.1, CLOSE);
        assert_close(schedule_lr(&schedule, 0.4, &span, 3), 0.4, CLOSE);
        assert_close(schedule_lr(&schedule, 0.4, &span, 4), 0.4, CLOSE);
        assert_close(schedule_lr(&schedule, 0.4, &span, 14), 0.2, CLOSE);
        schedule.warmup_updates = 0;
        schedule.warmup_epochs = 2; /* the same */
    }
    schedule.kind = SCHEDULE_CONSTANT;
    assert_close(schedule_lr(&schedule, 0.4, &span, 1), 0.2, CLOSE);
    assert_close(schedule_lr(&schedule, 0.4, &span, 23), 0.4, CLOSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipe_is_consistent),
        cmocka_unit_test(samples_and_statistics_as_asked),
        cmocka_unit_test(parts_cover_a_batch),
        cmocka_unit_test(sgd_is_one_clean_term),
        cmocka_unit_test(sam_runs_two_waves_on_one_batch),
        cmocka_unit_test(rwp_moves_statistics_by_its_noisy_pass),
        cmocka_unit_test(mixed_runs_side_by_side_on_two_batches),
        cmocka_unit_test(sigma_ramps_from_one_to_one_plus_ramp),
        cmocka_unit_test(cosine_falls_each_update),
        cmocka_unit_test(cosine_by_epoch_falls_once_a_pass),
        cmocka_unit_test(step_drops_by_epochs),
        cmocka_unit_test(constant_is_constant),
        cmocka_unit_test(warm_up_is_linear_and_the_cosine_takes_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
