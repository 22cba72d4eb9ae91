/* Jobs and probes under which the process ends: queued again, but not for ever; and probes that
 * wait for their GPU. */
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
    /* Somebody wants it tried again, with what it has. */
    assert_ok(db_job_set_state(place->db, job, JOB_QUEUED, NULL, err));
    for (int i = 1; i <= DB_LOSSES_MAX; i++) {
        run_again(place, job);
        assert_int_equal(lose(place, job, true), i < DB_LOSSES_MAX ? JOB_QUEUED : JOB_FAILED);
    }
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

static int64_t ask(struct place *place, int64_t job)
{
    struct db_new_probe probe = {
        .plan = {.kind = "sharpness", .request = "{}"}, .job = job, .update = 10};
    int64_t number;

    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    return number;
}

static struct db_probe claim_probe(struct place *place, int64_t job, int64_t number)
{
    struct db_probe_claim claim;
    struct db_probe probe;

    assert_ok(db_probe_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.number, number);
    db_probe_claim_free(&claim);
    assert_ok(db_probe_get(place->reader, job, number, &probe, err));
    return probe;
}

/* The process is killed and another one starts. */
static void crash(struct place *place)
{
    place_reopen(place);
    assert_ok(db_recover(place->db, NULL, err));
    assert_ok(db_probe_recover(place->db, NULL, err));
}

static enum probe_state probe_state_of(struct place *place, int64_t job, int64_t number,
                                       const char *reason)
{
    struct db_probe probe;
    enum probe_state state;

    assert_ok(db_probe_get(place->reader, job, number, &probe, err));
    if (!strstr(probe.reason, reason))
        fail_msg("\"%s\" is not in \"%s\"", reason, probe.reason);
    state = probe.state;
    db_probe_free(&probe);
    return state;
}

/* A probe that ends the process is not tried for ever, and the job that ran beside it goes on. */
static void a_probe_that_crashes_fails_alone(void **state)
{
    struct place *place = *state;
    int64_t job, number;
    struct db_probe probe;
    struct db_job found;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 10);
    save(place, job, 10);
    for (int round = 1; round <= DB_CRASHES_MAX / DB_PROBE_CRASHES_MAX; round++) {
        number = ask(place, job);
        for (int i = 1; i <= DB_PROBE_CRASHES_MAX; i++) {
            probe = claim_probe(place, job, number);
            db_probe_free(&probe);
            crash(place);
            assert_int_equal(probe_state_of(place, job, number, "the daemon ended"),
                             i < DB_PROBE_CRASHES_MAX ? PROBE_QUEUED : PROBE_FAILED);
            run_again(place, job);
        }
    }
    probe_state_of(place, job, number, "ended 5 times while it was running");
    /* Now it is the job alone. */
    for (int i = 1; i < DB_CRASHES_MAX; i++) {
        crash(place);
        run_again(place, job);
    }
    crash(place);
    found = get_job(place, job);
    assert_int_equal(found.state, JOB_FAILED);
    db_job_free(&found);
    place_check(place);
}

static void a_probe_that_gets_further_is_tried_again(void **state)
{
    const double value = 1;
    struct place *place = *state;
    int64_t job, number;
    struct db_probe probe;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 10);
    save(place, job, 10);
    number = ask(place, job);
    for (int i = 0; i < 2 * DB_PROBE_CRASHES_MAX; i++) {
        struct probe_row row = {.table = 0, .number = i / 3, .n = 1, .value = {value}};

        probe = claim_probe(place, job, number);
        if (i % 3 == 0) {
            assert_ok(db_probe_row_add(place->db, probe.id, &row, err));
            settle(place);
        }
        db_probe_free(&probe);
        crash(place);
        assert_int_equal(probe_state_of(place, job, number, "the daemon ended"), PROBE_QUEUED);
    }
    /* What was wished is done, however often. */
    probe = claim_probe(place, job, number);
    assert_ok(db_probe_wish_cancel(place->db, probe.id, err));
    db_probe_free(&probe);
    crash(place);
    assert_int_equal(probe_state_of(place, job, number, "as asked"), PROBE_CANCELLED);
}

/* One whose GPU is set aside is passed over until something says that it may go on, or the next
 * start. */
static void a_probe_that_waits_is_passed_over(void **state)
{
    struct place *place = *state;
    int64_t job;
    struct db_probe first, second;
    struct db_probe_claim none;
    int n;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 10);
    save(place, job, 10);
    ask(place, job);
    ask(place, job);
    for (int round = 0; round < 2; round++) {
        first = claim_probe(place, job, 1);
        assert_ok(db_probe_wait(place->db, first.id, "cuda:0 is set aside", err));
        assert_int_equal(probe_state_of(place, job, 1, "cuda:0 is set aside"), PROBE_QUEUED);
        second = claim_probe(place, job, 2);
        assert_refused(db_probe_claim(place->db, 1, &none, err), ERR_NOT_FOUND, "no probe");
        assert_ok(db_probe_set_state(place->db, second.id, PROBE_QUEUED, NULL, err));
        if (round == 0) {
            assert_ok(db_probes_go_on(place->db, &n, err));
            assert_int_equal(n, 1);
            assert_ok(db_probes_go_on(place->db, &n, err));
            assert_int_equal(n, 0);
        } else {
            crash(place);
        }
        db_probe_free(&first);
        db_probe_free(&second);
    }
    first = claim_probe(place, job, 1);
    assert_ok(db_probe_wait(place->db, first.id, "cuda:0 is set aside", err));
    assert_refused(db_probe_wait(place->db, first.id, "again", err), ERR_CONFLICT, "queued");
    assert_ok(db_probe_set_state(place->db, first.id, PROBE_CANCELLED, NULL, err));
    db_probe_free(&first);
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
        TEST(a_probe_that_crashes_fails_alone),
        TEST(a_probe_that_gets_further_is_tried_again),
        TEST(a_probe_that_waits_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
