/* The speed of a run and the time that is left, with clocks of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "rate.h"

static const struct rate_plan plan = {
    .updates = 1000, .updates_per_epoch = 100, .evaluate_every_epochs = 1};

static void assert_about(double value, double wanted)
{
    assert_true(value > wanted * 0.98 - 1e-9 && value < wanted * 1.02 + 1e-9);
}

/* So many updates at an even pace; returns the clock after them. */
static double updates(struct rate *rate, uint64_t from, uint64_t to, double each, double now)
{
    for (uint64_t u = from + 1; u <= to; u++) {
        now += each;
        rate_update(rate, u, now);
    }
    return now;
}

static void an_even_pace(void **state)
{
    struct rate rate;
    double speed, left;

    (void)state;
    rate_open(&rate);
    rate_start(&rate, 7, &plan, 0, 50);
    assert_true(rate_read(&rate, 7, &speed, &left));
    assert_true(speed == 0 && left < 0);
    updates(&rate, 0, 500, 0.01, 50);
    rate_epoch(&rate, 5, 0);
    assert_true(rate_read(&rate, 7, &speed, &left));
    assert_about(speed, 100);
    assert_about(left, 5);
    assert_false(rate_read(&rate, 8, &speed, &left));
    assert_false(rate_read(&rate, 0, &speed, &left));
    rate_stop(&rate);
    assert_false(rate_read(&rate, 7, &speed, &left));
    assert_false(rate_read(&rate, 0, &speed, &left));
    rate_close(&rate);
}

static void evaluations_are_time_that_is_left_but_no_training(void **state)
{
    struct rate_plan seldom = plan;
    struct rate rate;
    double speed, left, now = 0;

    (void)state;
    seldom.evaluate_every_epochs = 3; /* after epochs 3, 6, 9 and, as the last, 10 */
    rate_open(&rate);
    rate_start(&rate, 1, &seldom, 0, 0);
    for (int epoch = 1; epoch <= 4; epoch++) {
        now = updates(&rate, (uint64_t)(epoch - 1) * 100, (uint64_t)epoch * 100, 0.02, now);
        if (epoch == 3)
            now += 8;
        rate_epoch(&rate, epoch, epoch == 3 ? 8 : 0);
    }
    assert_true(rate_read(&rate, 1, &speed, &left));
    assert_about(speed, 50);
    assert_about(left, 600 / 50.0 + 3 * 8);
    rate_close(&rate);
}

static void only_the_last_seconds_count(void **state)
{
    struct rate rate;
    double speed, left, now;

    (void)state;
    rate_open(&rate);
    rate_start(&rate, 1, &plan, 0, 0);
    now = updates(&rate, 0, 100, 1, 0);
    rate_read(&rate, 1, &speed, &left);
    assert_about(speed, 1);
    updates(&rate, 100, 900, 0.02, now);
    rate_read(&rate, 1, &speed, &left);
    assert_about(speed, 50);
    rate_close(&rate);
}

static void updates_slower_than_the_window(void **state)
{
    struct rate rate;
    double speed, left;

    (void)state;
    rate_open(&rate);
    rate_start(&rate, 1, &plan, 500, 0);
    updates(&rate, 500, 503, 60, 0);
    rate_read(&rate, 1, &speed, &left);
    assert_about(speed, 1 / 60.0);
    assert_about(left, 497 * 60);
    rate_close(&rate);
}

static void another_job_begins_anew(void **state)
{
    struct rate rate;
    double speed, left;

    (void)state;
    rate_open(&rate);
    rate_start(&rate, 1, &plan, 0, 0);
    updates(&rate, 0, 1000, 0.01, 0);
    rate_stop(&rate);
    rate_start(&rate, 2, &plan, 0, 100);
    assert_true(rate_read(&rate, 2, &speed, &left));
    assert_true(speed == 0 && left < 0);
    rate_close(&rate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_even_pace),
        cmocka_unit_test(evaluations_are_time_that_is_left_but_no_training),
        cmocka_unit_test(only_the_last_seconds_count),
        cmocka_unit_test(updates_slower_than_the_window),
        cmocka_unit_test(another_job_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
