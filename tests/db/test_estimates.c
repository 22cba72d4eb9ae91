/* What jobs are forecast to take, what they took, and what earlier ones say of new ones. */
#include <stdlib.h>
#include <string.h>

#include "support.h"

static const struct db_estimate forecast = {.signature = 7,
                                            .device = "cuda:0",
                                            .bytes = 1000,
                                            .device_bytes = 600,
                                            .update_seconds = 0.5,
                                            .evaluation_seconds = 2.0};

/* Queued, then running. */
static int64_t start_forecast(struct place *place)
{
    const struct db_new_job job = {
        .name = "a job", .spec = "{}", .updates = 1000, .estimate = forecast};
    struct db_claim claim;
    int64_t id;

    assert_ok(db_job_insert(place->db, &job, &id, NULL, err));
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.id, id);
    free(claim.spec);
    return id;
}

static void what_a_run_takes_is_kept(void **state)
{
    struct place *place = *state;
    int64_t jobs[2];

    place_open(place, NULL);
    jobs[0] = start_job(place); /* of which nothing was forecast */
    jobs[1] = start_forecast(place);
    for (int i = 0; i < 2; i++) {
        struct db_job found = get_job(place, jobs[i]);

        assert_string_equal(found.taken.device, "");
        db_job_free(&found);
        assert_ok(db_place_add(place->db, jobs[i], "cuda:0", "tf32", err));
        assert_ok(db_held_add(place->db, jobs[i], 500, 300, err));
        assert_ok(db_place_add(place->db, jobs[i], "cpu", "fp32", err));
        assert_ok(db_held_add(place->db, jobs[i], 400, 350, err));
        settle(place);
        found = get_job(place, jobs[i]);
        assert_int_equal(found.taken.bytes, 500);
        assert_int_equal(found.taken.device_bytes, 350);
        assert_string_equal(found.taken.device, "cpu");
        assert_string_equal(found.taken.precision, "fp32");
        assert_int_equal(found.estimate.bytes, i == 0 ? 0 : forecast.bytes);
        db_job_free(&found);
    }
    assert_ok(db_job_set_state(place->db, jobs[0], JOB_SUCCEEDED, NULL, err));
    assert_refused(db_held_add(place->db, jobs[0], 1, 1, err), ERR_CONFLICT, "not running");
    assert_refused(db_place_add(place->db, jobs[0], "cpu", "fp32", err), ERR_CONFLICT,
                   "not running");
}

/* But what it says of itself stays. */
static void a_job_that_ran_elsewhere_says_nothing_of_others(void **state)
{
    static const char *const devices[] = {"cpu", "cuda:1", "cpu"};
    struct place *place = *state;
    struct db_earlier earlier;

    place_open(place, NULL);
    for (int i = 0; i < 3; i++) {
        int64_t job = start_forecast(place);
        struct db_job found;

        assert_ok(db_place_add(place->db, job, devices[i], "fp32", err));
        add_losses(place, job, 1, 100 * (uint64_t)(i + 1)); /* a quarter of a second each */
        settle(place);
        found = get_job(place, job);
        assert_float_equal(found.estimate.update_seconds, forecast.update_seconds, 0);
        db_job_free(&found);
        if (i == 0) {
            assert_refused(db_estimate_earlier(place->reader, forecast.signature, &earlier, err),
                           ERR_NOT_FOUND, "no job");
            continue;
        }
        assert_ok(db_estimate_earlier(place->reader, forecast.signature, &earlier, err));
        assert_float_equal(earlier.update_seconds, 0.25, 1e-9);
        assert_float_equal(earlier.forecast_update, forecast.update_seconds, 0);
        assert_float_equal(earlier.forecast_evaluation, forecast.evaluation_seconds, 0);
    }
    assert_int_equal(
        place_number(place, "rwpd.db", "SELECT count(*) FROM estimate WHERE signature = 7"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_a_run_takes_is_kept),
        TEST(a_job_that_ran_elsewhere_says_nothing_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
