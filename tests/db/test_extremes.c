/* The lowest and highest losses of stretches, against those that a walk through the rows finds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define LOSSES 1000

struct walk {
    uint64_t upto;
    struct db_extremes found;
};

static bool is_higher(double a, double b)
{
    return !isnan(b) && (isnan(a) || a > b);
}

static int walk_on(void *context, const struct db_loss *loss)
{
    struct walk *walk = context;
    struct db_extremes *found = &walk->found;

    if (loss->update > walk->upto)
        return 1;
    if (found->rows == 0 || is_higher(found->low.loss, loss->loss))
        found->low = *loss;
    if (found->rows == 0 || is_higher(loss->loss, found->high.loss))
        found->high = *loss;
    found->last = *loss;
    found->rows++;
    return 0;
}

static void assert_same(const struct db_loss *got, const struct db_loss *want)
{
    assert_int_equal(got->update, want->update);
    assert_int_equal(got->epoch, want->epoch);
    assert_true(got->loss == want->loss || (isnan(got->loss) && isnan(want->loss)));
    assert_true(got->has_perturbed == want->has_perturbed && got->lr == want->lr);
}

static void check(struct place *place, int64_t job, uint64_t after, uint64_t upto)
{
    struct walk walk = {.upto = upto};
    struct db_extremes got;

    assert_ok(db_losses_each(place->reader, job, after, INT64_MAX, walk_on, &walk, err));
    assert_ok(db_losses_extremes(place->reader, job, after, upto, &got, err));
    assert_int_equal(got.rows, walk.found.rows);
    if (got.rows == 0)
        return;
    assert_same(&got.low, &walk.found.low);
    assert_same(&got.high, &walk.found.high);
    assert_same(&got.last, &walk.found.last);
}

static void check_many(struct place *place, int64_t job, uint64_t losses)
{
    uint64_t draw = 1;

    check(place, job, 0, UINT64_MAX);
    check(place, job, 0, losses);
    check(place, job, losses, losses + 5);
    check(place, job, UINT64_MAX, UINT64_MAX);
    for (int i = 0; i < 2000; i++) {
        uint64_t after, upto;

        draw = draw * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        after = (draw >> 33) % (losses + 20);
        draw = draw * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        upto = after + (draw >> 33) % (i % 2 ? 50 : losses);
        check(place, job, after, upto);
        check(place, job, after - after % DB_SPAN_ROWS, upto - upto % DB_SPAN_ROWS);
    }
}

static int64_t spans(struct place *place)
{
    return place_number(place, "rwpd.db", "SELECT count(*) FROM span");
}

static void they_are_those_of_the_rows(void **state)
{
    struct place *place = *state;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    check(place, job, 0, 10);
    for (uint64_t update = 1; update <= LOSSES; update += 125) { /* in several groups */
        add_losses(place, job, update, update + 124);
        settle(place);
    }
    assert_int_equal(spans(place), LOSSES / DB_SPAN_ROWS);
    check_many(place, job, LOSSES);
    place_sql(place, "rwpd.db", "DELETE FROM span WHERE number % 3 = 1");
    check_many(place, job, LOSSES);
}

static void updates_without_a_loss_do_no_harm(void **state)
{
    struct place *place = *state;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 40);
    add_losses(place, job, 100, 170);
    add_losses(place, job, 176, 176); /* the last of a span that has only this one */
    add_losses(place, job, UINT64_C(1) << 40, (UINT64_C(1) << 40) + 20);
    settle(place);
    check_many(place, job, 250);
    check(place, job, 0, UINT64_C(1) << 41);
    check(place, job, 171, 175);
}

/* A run that goes on records other losses than those that were removed. */
static void a_rewind_takes_the_spans_with_it(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(40, 4);
    struct db_claim claim;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 40);
    assert_ok(db_checkpoint_add(place->db, job, checkpoint, false, 1, err));
    checkpoint_drop(checkpoint);
    add_losses(place, job, 41, 200);
    assert_ok(db_job_set_state(place->db, job, JOB_PAUSED, NULL, err));
    assert_int_equal(spans(place), 200 / DB_SPAN_ROWS);
    assert_ok(db_job_set_state(place->db, job, JOB_QUEUED, NULL, err));
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.from_update, 40);
    free(claim.spec);
    assert_int_equal(spans(place), 40 / DB_SPAN_ROWS);
    for (uint64_t update = 41; update <= 200; update++) {
        struct db_loss loss = loss_of(update * 37 % 211);

        loss.update = update;
        assert_ok(db_loss_add(place->db, job, &loss, err));
    }
    settle(place);
    check_many(place, job, 200);
}

static void an_older_database_gets_its_spans(void **state)
{
    struct place *place = *state;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 500);
    place_close(place);
    place_sql(place, "rwpd.db",
              "CREATE TABLE kept AS SELECT * FROM span; DROP TABLE span; DROP TABLE telemetry;"
              "DROP TABLE estimate; DROP TABLE death; DROP TABLE deleted;"
              "DROP INDEX job_of_init_job; DROP INDEX job_of_init_upload;"
              "DROP INDEX job_of_lines; DROP INDEX event_of_message;"
              "ALTER TABLE job DROP COLUMN init_job; ALTER TABLE job DROP COLUMN init_update;"
              "ALTER TABLE job DROP COLUMN init_upload; DROP TABLE probe_row; DROP TABLE probe;"
              "ALTER TABLE job DROP COLUMN keep; DROP TABLE sweep;"
              "DROP INDEX job_of_sweep; DROP INDEX job_running; DROP INDEX job_queue;"
              "ALTER TABLE job DROP COLUMN sweep; ALTER TABLE job DROP COLUMN point;"
              "CREATE INDEX job_queue ON job (priority DESC, id) WHERE state = 0;"
              "PRAGMA user_version = 1");
    place_open(place, NULL);
    assert_int_equal(spans(place), 500 / DB_SPAN_ROWS);
    assert_int_equal(place_number(place, "rwpd.db",
                                  "SELECT count(*) FROM (SELECT * FROM span EXCEPT "
                                  "SELECT * FROM kept)"),
                     0);
    check_many(place, job, 500);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(they_are_those_of_the_rows),
        TEST(updates_without_a_loss_do_no_harm),
        TEST(a_rewind_takes_the_spans_with_it),
        TEST(an_older_database_gets_its_spans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
