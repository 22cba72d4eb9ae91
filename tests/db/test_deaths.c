/* Jobs under which the process ends: queued again, but not for ever. */
#include <stdio.h>
#include <string.h>

#include "db/probe.h"
#include "support.h"

static void run_again(struct place *place, int64_t job)
{
    assert_ok(db_job_set_state(place->db, job, JOB_RUNNING, NULL, err));
}

/* Its GPU is lost under the running job; the state that it has then. */
static enum job_state lose(struct place *place, int64_t job, bool counted)
{
    enum job_state state = JOB_QUEUED;
    struct db_job found;

    assert_ok(db_job_lost(place->db, job, counted, "an illegal access", &state, err));
    found = get_job(place, job);
    assert_int_equal(found.state, state);
    assert_non_null(strstr(found.reason, "an illegal access"));
    db_job_free(&found);
    return state;
}

static void save(struct place *place, int64_t job, uint64_t update)
{
    struct checkpoint *checkpoint = checkpoint_of(update, 1);

    assert_ok(db_checkpoint_add(place->db, job, checkpoint, false, 2, err));
    checkpoint_drop(checkpoint);
}

static void the_third_loss_in_a_row_fails_a_job(void **state)
{
    struct place *place = *state;
    int64_t job;
    struct db_job found;

    place_open(place, NULL);
    job = start_job(place);
    for (int i = 1; i < DB_LOSSES_MAX; i++) {
        assert_int_equal(lose(place, job, true), JOB_QUEUED);
        place_reopen(place); /* as another process sees it */
        run_again(place, job);
    }
    assert_int_equal(lose(place, job, true), JOB_FAILED);
    found = get_job(place, job);
    assert_non_null(strstr(found.reason, "lost 3 times without a new checkpoint of it; the last"));
    assert_true(found.finished_ms > 0);
    db_job_free(&found);
    place_check(place);
}

/* A job that gets further may lose its GPU as often as it likes; one that was not the first to tell
 * of it does not count. */
static void getting_further_and_bystanders(void **state)
{
    struct place *place = *state;
    int64_t job, other;

    place_open(place, NULL);
    job = start_job(place);
    other = start_job(place);
    for (int i = 1; i <= 4 * DB_LOSSES_MAX; i++) {
        if (i % 2) {
            add_losses(place, job, (uint64_t)(i / 2) * 10 + 1, (uint64_t)(i / 2) * 10 + 10);
            save(place, job, (uint64_t)(i / 2) * 10 + 10);
        }
        assert_int_equal(lose(place, job, true), JOB_QUEUED);
        assert_int_equal(lose(place, other, false), JOB_QUEUED);
        run_again(place, job);
        run_again(place, other);
    }
}

static void what_was_wished_is_done(void **state)
{
    static const enum job_state wished[] = {JOB_PAUSED, JOB_CANCELLED};
    struct place *place = *state;

    place_open(place, NULL);
    for (int i = 0; i < 2; i++) {
        enum job_state to = wished[i];
        int64_t job = start_job(place);
        struct db_job found;

        for (int n = 1; n < DB_LOSSES_MAX; n++) {
            lose(place, job, true);
            run_again(place, job);
        }
        assert_ok(db_job_lost(place->db, job, true, "lost", &to, err));
        assert_int_equal(to, wished[i]);
        found = get_job(place, job);
        assert_int_equal(found.state, wished[i]);
        db_job_free(&found);
        assert_refused(db_job_lost(place->db, job, true, "lost", &to, err), ERR_CONFLICT,
                       "not running");
    }
}

static void crashes_count_too_but_less(void **state)
{
    struct place *place = *state;
    struct db_job found;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    lose(place, job, true); /* another thing */
    run_again(place, job);
    for (int i = 1; i < DB_CRASHES_MAX; i++) {
        assert_ok(db_recover(place->db, NULL, err));
        found = get_job(place, job);
        assert_int_equal(found.state, JOB_QUEUED);
        db_job_free(&found);
        run_again(place, job);
    }
    assert_ok(db_recover(place->db, NULL, err));
    found = get_job(place, job);
    assert_int_equal(found.state, JOB_FAILED);
    assert_non_null(strstr(found.reason, "20 times"));
    db_job_free(&found);
}

static void probes_are_counted(void **state)
{
    struct place *place = *state;
    struct db_new_probe probe = {.plan = {.kind = "sharpness", .request = "{}"}};
    int64_t number;
    bool again;

    place_open(place, NULL);
    probe.job = start_job(place);
    probe.update = 10;
    add_losses(place, probe.job, 1, 10);
    save(place, probe.job, 10);
    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    for (int i = 1; i <= DB_LOSSES_MAX; i++) {
        assert_ok(db_probe_lost(place->db, 1, &again, err));
        assert_int_equal(again, i < DB_LOSSES_MAX);
    }
    assert_refused(db_probe_lost(place->db, 2, &again, err), ERR_NOT_FOUND, "no such probe");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_third_loss_in_a_row_fails_a_job),
        TEST(getting_further_and_bystanders),
        TEST(what_was_wished_is_done),
        TEST(crashes_count_too_but_less),
        TEST(probes_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
