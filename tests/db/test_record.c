/* What a run records: losses, epochs, messages, the summary; and the one history after a resume. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

static void losses_come_back_with_nan_and_infinities(void **state)
{
    struct place *place = *state;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 500);
    settle(place);
    assert_losses(place, job, 500);
    /* In the file, too, NaN is distinct from nothing. */
    assert_int_equal(place_number(place, "rwpd.db", "SELECT count(*) FROM loss WHERE loss = 'NaN'"),
                     5);
    assert_int_equal(
        place_number(place, "rwpd.db", "SELECT count(*) FROM loss WHERE perturbed_loss IS NULL"),
        500 / 3);
    place_reopen(place);
    assert_losses(place, job, 500);
}

static void closing_commits_what_is_queued(void **state)
{
    struct place *place = *state;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 3000);
    place_reopen(place); /* at once: most of them have not been committed yet */
    assert_losses(place, job, 3000);
}

static void rows_appear_soon_by_themselves(void **state)
{
    struct place *place = *state;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 1);
    settle(place);
    assert_losses(place, job, 1);
}

static void only_running_jobs_record(void **state)
{
    struct place *place = *state;
    struct db_loss loss = loss_of(1);
    struct db_epoch epoch = epoch_of(1);
    struct checkpoint *checkpoint = checkpoint_of(1, 1);
    int64_t job;

    place_open(place, NULL);
    job = add_job(place, "j", 0);
    assert_refused(db_loss_add(place->db, job, &loss, err), ERR_CONFLICT, "not running");
    assert_refused(db_epoch_add(place->db, job, &epoch, err), ERR_CONFLICT, "not running");
    assert_refused(db_checkpoint_add(place->db, job, checkpoint, false, 1, err), ERR_CONFLICT,
                   "not running");
    assert_ok(db_message_add(place->db, job, "hello", err));
    assert_refused(db_message_add(place->db, job + 1, "hello", err), ERR_NOT_FOUND, "no job");
    assert_ok(db_job_set_state(place->db, job, JOB_RUNNING, NULL, err));
    assert_ok(db_loss_add(place->db, job, &loss, err));
    assert_refused(db_loss_add(place->db, job, &loss, err), ERR_CONFLICT, "update 1 comes after");
    assert_ok(db_job_set_state(place->db, job, JOB_FAILED, "NaN", err));
    loss.update = 2;
    assert_refused(db_loss_add(place->db, job, &loss, err), ERR_CONFLICT, "not running");
    checkpoint_drop(checkpoint);
}

static void the_summary_follows_what_is_recorded(void **state)
{
    struct place *place = *state;
    struct db_epoch epoch = epoch_of(1);
    struct db_totals totals;
    struct db_job job;
    int64_t id;

    place_open(place, NULL);
    id = start_job(place);
    add_losses(place, id, 1, 30);
    for (int i = 1; i <= 3; i++) { /* test_top1 .32, .29, .26: the first is the best */
        epoch = epoch_of(i);
        assert_ok(db_epoch_add(place->db, id, &epoch, err));
    }
    epoch = epoch_of(4);
    epoch.evaluated = false;
    assert_ok(db_epoch_add(place->db, id, &epoch, err));
    add_losses(place, id, 31, 40);
    settle(place);
    job = get_job(place, id);
    assert_int_equal(job.updates_done, 40);
    assert_true(job.has_loss && job.has_perturbed);
    assert_true(job.loss == loss_of(40).loss);
    assert_true(job.perturbed_loss == loss_of(40).perturbed_loss);
    assert_true(job.seconds == 10);
    assert_int_equal(job.epoch, 4);
    assert_int_equal(job.gradient_evaluations, 80);
    assert_true(job.train_loss == 0.25);
    assert_true(job.has_test && job.test_loss == epoch_of(3).test_loss);
    assert_true(job.best_top1 == epoch_of(1).test_top1);
    assert_int_equal(job.best_epoch, 1);
    db_job_free(&job);
    assert_ok(db_totals(place->reader, &totals, err));
    assert_int_equal(totals.losses, 40);
}

static void a_loss_that_is_nan_is_the_last_loss(void **state)
{
    struct place *place = *state;
    struct db_epoch epoch = epoch_of(1);
    struct db_job job;
    int64_t id;

    place_open(place, NULL);
    id = start_job(place);
    add_losses(place, id, 1, 97);
    epoch.test_loss = epoch.test_top1 = NAN;
    assert_ok(db_epoch_add(place->db, id, &epoch, err));
    settle(place);
    job = get_job(place, id);
    assert_true(job.has_loss && isnan(job.loss));
    assert_true(job.has_test && isnan(job.test_loss));
    assert_int_equal(job.best_epoch, 0);
    db_job_free(&job);
    epoch = epoch_of(2);
    assert_ok(db_epoch_add(place->db, id, &epoch, err));
    settle(place);
    job = get_job(place, id);
    assert_int_equal(job.best_epoch, 2);
    assert_true(job.best_top1 == epoch.test_top1);
    db_job_free(&job);
}

struct epochs {
    struct db_epoch epoch[100];
    int n;
};

static int collect_epoch(void *context, const struct db_epoch *epoch)
{
    struct epochs *epochs = context;

    epochs->epoch[epochs->n++] = *epoch;
    return 0;
}

static void assert_epoch(const struct db_epoch *got, const struct db_epoch *want)
{
    assert_int_equal(got->epoch, want->epoch);
    assert_int_equal(got->update, want->update);
    assert_true(got->train_loss == want->train_loss && got->train_top1 == want->train_top1);
    assert_int_equal(got->evaluated, want->evaluated);
    if (want->evaluated)
        assert_true(got->test_loss == want->test_loss && got->test_top1 == want->test_top1 &&
                    got->test_top5 == want->test_top5);
    assert_int_equal(got->gradient_evaluations, want->gradient_evaluations);
    assert_true(got->seconds == want->seconds);
    assert_int_equal(got->wall_ms, want->wall_ms);
}

static void an_epoch_that_comes_again_is_replaced(void **state)
{
    struct place *place = *state;
    struct db_epoch best = epoch_of(1), again;
    struct epochs epochs = {0};
    struct db_job job;
    int64_t id;

    place_open(place, NULL);
    id = start_job(place);
    for (int i = 1; i <= 3; i++) {
        struct db_epoch epoch = epoch_of(i);

        assert_ok(db_epoch_add(place->db, id, &epoch, err));
    }
    again = best;
    again.test_top1 = 0.1; /* no longer the best */
    assert_ok(db_epoch_add(place->db, id, &again, err));
    settle(place);
    assert_ok(db_epochs_each(place->reader, id, 0, 100, collect_epoch, &epochs, err));
    assert_int_equal(epochs.n, 3);
    assert_epoch(&epochs.epoch[0], &again);
    again = epoch_of(3);
    assert_epoch(&epochs.epoch[2], &again);
    job = get_job(place, id);
    assert_int_equal(job.best_epoch, 2);
    assert_true(job.best_top1 == epoch_of(2).test_top1);
    db_job_free(&job);
    assert_int_equal(place_number(place, "rwpd.db", "SELECT count(*) FROM event WHERE kind = 2"),
                     3);
}

static void series_are_read_in_pieces(void **state)
{
    struct place *place = *state;
    struct epochs epochs = {0};
    int64_t id;

    place_open(place, NULL);
    id = start_job(place);
    for (int i = 1; i <= 9; i++) {
        struct db_epoch epoch = epoch_of(i);

        epoch.evaluated = i % 2;
        assert_ok(db_epoch_add(place->db, id, &epoch, err));
    }
    settle(place);
    assert_ok(db_epochs_each(place->reader, id, 3, 2, collect_epoch, &epochs, err));
    assert_int_equal(epochs.n, 2);
    assert_int_equal(epochs.epoch[0].epoch, 4);
    assert_false(epochs.epoch[0].evaluated);
    assert_true(epochs.epoch[1].evaluated);
    assert_ok(db_epochs_each(place->reader, id, 9, 2, collect_epoch, &epochs, err));
    assert_ok(db_epochs_each(place->reader, id, 0, 0, collect_epoch, &epochs, err));
    assert_int_equal(epochs.n, 2);
}

static struct telemetry telemetry_of(uint64_t update)
{
    struct telemetry telemetry = {.update = update, .epoch = (int64_t)update / 10 + 1};

    for (int i = 0; i < TELEMETRY_VALUES; i++) {
        telemetry.known[i] = ((uint64_t)i + update) % 3 != 0;
        telemetry.value[i] = telemetry.known[i] ? (double)update / (i + 1) : 0;
    }
    telemetry.known[TELEMETRY_COSINE] = true;
    telemetry.value[TELEMETRY_COSINE] = update % 2 ? (double)NAN : 0.25;
    return telemetry;
}

static int expect_telemetry(void *context, const struct telemetry *have)
{
    uint64_t *next = context;
    struct telemetry want = telemetry_of(++*next);

    assert_int_equal(have->update, want.update);
    assert_int_equal(have->epoch, want.epoch);
    assert_memory_equal(have->known, want.known, sizeof want.known);
    for (int i = 0; i < TELEMETRY_VALUES; i++)
        assert_true(isnan(want.value[i]) ? isnan(have->value[i]) : have->value[i] == want.value[i]);
    return 0;
}

static void assert_telemetry(struct place *place, int64_t job, uint64_t updates)
{
    uint64_t last = 0, part = 4;
    int64_t n;

    assert_ok(db_telemetry_each(place->reader, job, 0, INT64_MAX, expect_telemetry, &last, err));
    assert_int_equal(last, updates);
    assert_ok(db_telemetry_count(place->reader, job, 0, &n, err));
    assert_int_equal(n, updates);
    assert_int_equal(place_number(place, "rwpd.db", "SELECT count(*) FROM event WHERE kind = 5"),
                     updates);
    if (updates < 10)
        return;
    assert_ok(db_telemetry_each(place->reader, job, 4, 3, expect_telemetry, &part, err));
    assert_int_equal(part, 7);
}

static int see_telemetry(void *context, const struct db_event *event)
{
    uint64_t *next = context;

    return event->kind == EVENT_TELEMETRY ? expect_telemetry(next, &event->telemetry) : 0;
}

static void telemetry_comes_back_and_is_told(void **state)
{
    struct place *place = *state;
    struct telemetry telemetry = telemetry_of(1);
    uint64_t seen = 0, of_all = 0;
    int64_t job;

    place_open(place, NULL);
    job = add_job(place, "j", 0);
    assert_refused(db_telemetry_add(place->db, job, &telemetry, err), ERR_CONFLICT, "not running");
    assert_ok(db_job_set_state(place->db, job, JOB_RUNNING, NULL, err));
    for (uint64_t update = 1; update <= 40; update++) {
        telemetry = telemetry_of(update);
        assert_ok(db_telemetry_add(place->db, job, &telemetry, err));
        if (update == 17) /* once more: it is replaced */
            assert_ok(db_telemetry_add(place->db, job, &telemetry, err));
    }
    place_reopen(place);
    assert_telemetry(place, job, 40);
    assert_ok(db_events_each(place->reader, job, 0, 1000, see_telemetry, &seen, err));
    assert_int_equal(seen, 40);
    assert_ok(db_events_each(place->reader, 0, 0, 1000, see_telemetry, &of_all, err));
    assert_int_equal(of_all, 0);
}

static void record_to(struct place *place, int64_t id, uint64_t from, uint64_t to)
{
    for (uint64_t update = from; update <= to; update++) {
        struct db_loss loss = loss_of(update);

        struct telemetry telemetry = telemetry_of(update);

        assert_ok(db_loss_add(place->db, id, &loss, err));
        assert_ok(db_telemetry_add(place->db, id, &telemetry, err));
        if (update % 10 == 0) {
            struct db_epoch epoch = epoch_of((int64_t)update / 10);

            assert_ok(db_epoch_add(place->db, id, &epoch, err));
        }
    }
}

static void assert_same_summary(const struct db_job *a, const struct db_job *b)
{
    assert_int_equal(a->updates_done, b->updates_done);
    assert_true(a->seconds == b->seconds);
    assert_int_equal(a->gradient_evaluations, b->gradient_evaluations);
    assert_true(a->has_loss == b->has_loss && a->loss == b->loss);
    assert_true(a->has_perturbed == b->has_perturbed && a->perturbed_loss == b->perturbed_loss);
    assert_int_equal(a->epoch, b->epoch);
    assert_true(a->train_loss == b->train_loss && a->train_top1 == b->train_top1);
    assert_true(a->has_test == b->has_test && a->test_loss == b->test_loss);
    assert_true(a->test_top1 == b->test_top1 && a->test_top5 == b->test_top5);
    assert_true(a->best_top1 == b->best_top1 && a->best_epoch == b->best_epoch);
}

/* The job goes on from update `from`: nothing beyond it is left and the summary is as it was. */
static void a_claim_takes_back_to(struct place *place, int64_t id, uint64_t from,
                                  const struct db_job *as_it_was)
{
    struct epochs epochs = {0};
    struct db_totals totals;
    struct db_claim claim;
    struct db_job job;

    assert_ok(db_job_set_state(place->db, id, JOB_QUEUED, NULL, err));
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.from_update, from);
    free(claim.spec);
    assert_losses(place, id, from);
    assert_telemetry(place, id, from);
    assert_ok(db_epochs_each(place->reader, id, 0, 100, collect_epoch, &epochs, err));
    assert_int_equal(epochs.n, from / 10);
    assert_int_equal(place_number(place, "rwpd.db", "SELECT count(*) FROM event WHERE kind = 2"),
                     from / 10);
    assert_ok(db_totals(place->reader, &totals, err));
    assert_int_equal(totals.losses, from);
    job = get_job(place, id);
    assert_int_equal(job.checkpoint_update, from);
    assert_same_summary(&job, as_it_was);
    db_job_free(&job);
}

static void a_resumed_job_has_one_history(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(45, 4);
    struct db_job fresh, at_45;
    int64_t id;

    place_open(place, NULL);
    id = start_job(place);
    fresh = get_job(place, id);
    record_to(place, id, 1, 20);
    settle(place);
    a_claim_takes_back_to(place, id, 0, &fresh); /* there is no checkpoint yet */
    record_to(place, id, 1, 45);
    assert_ok(db_checkpoint_add(place->db, id, checkpoint, false, 2, err));
    at_45 = get_job(place, id);
    assert_int_equal(at_45.updates_done, 45);
    record_to(place, id, 46, 83);
    a_claim_takes_back_to(place, id, 45, &at_45);
    record_to(place, id, 46, 100);
    settle(place);
    assert_losses(place, id, 100);
    db_job_free(&fresh);
    db_job_free(&at_45);
    checkpoint_drop(checkpoint);
}

static void a_full_queue_blocks_and_drops_nothing(void **state)
{
    const struct db_options options = {.queue_rows = 16};
    struct place *place = *state;
    int64_t job;

    place_open(place, &options);
    job = start_job(place);
    add_losses(place, job, 1, 2000);
    settle(place);
    assert_losses(place, job, 2000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(losses_come_back_with_nan_and_infinities), TEST(closing_commits_what_is_queued),
        TEST(rows_appear_soon_by_themselves),           TEST(only_running_jobs_record),
        TEST(the_summary_follows_what_is_recorded),     TEST(a_loss_that_is_nan_is_the_last_loss),
        TEST(an_epoch_that_comes_again_is_replaced),    TEST(series_are_read_in_pieces),
        TEST(telemetry_comes_back_and_is_told),         TEST(a_resumed_job_has_one_history),
        TEST(a_full_queue_blocks_and_drops_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
