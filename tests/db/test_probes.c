/* Probes: inserted once, claimed in order, cancelled; what they need is kept for them; those that a
 * job wants of its checkpoints are queued once, whenever it is killed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "probe_support.h"

static int count_event(void *context, const struct db_event *event)
{
    int *n = context;

    n[event->kind]++;
    return 0;
}

static void it_goes_through_its_states(void **state)
{
    struct place *place = *state;
    int64_t job = open_with_checkpoint(place), number = add_probe(place, job, 10, 0), totals[5];
    int events[EVENT_PROBE_PROGRESS + 1] = {0};
    struct db_probe probe = get_probe(place, job, number);
    struct db_probe_claim claimed;

    assert_int_equal(number, 1);
    assert_string_equal(probe.kind, "spectrum");
    assert_string_equal(probe.request, probe_request);
    assert_true(probe.update == 10 && probe.state == PROBE_QUEUED && !probe.planned);
    assert_true(probe.created_ms > 1500000000000 && !probe.started_ms && !probe.finished_ms);
    db_probe_free(&probe);
    claimed = claim_probe(place);
    assert_true(claimed.job == job && claimed.number == 1 && claimed.update == 10);
    assert_int_equal(claimed.threads, 1); /* the job's */
    assert_refused(db_probe_claim(place->db, 1, &claimed, err), ERR_NOT_FOUND, "no probe");
    assert_ok(db_probe_progress(place->db, claimed.id, 0.25, err));
    assert_ok(db_probe_progress(place->db, claimed.id, 0.5, err));
    assert_ok(db_probe_message(place->db, claimed.id, "one", err));
    assert_ok(db_probe_message(place->db, claimed.id, "two", err));
    assert_ok(db_probe_message(place->db, claimed.id, "one", err));
    assert_ok(db_probe_set_state(place->db, claimed.id, PROBE_QUEUED, "stop", err));
    assert_refused(db_probe_progress(place->db, claimed.id, 0.5, err), ERR_CONFLICT, "probe");
    claimed = claim_probe(place);
    assert_ok(db_probe_set_state(place->db, claimed.id, PROBE_FAILED, "because", err));
    for (int to = 0; to < PROBE_STATES; to++)
        assert_refused(db_probe_set_state(place->db, claimed.id, (enum probe_state)to, NULL, err),
                       ERR_CONFLICT, "failed");
    assert_refused(db_probe_wish_cancel(place->db, claimed.id, err), ERR_CONFLICT, "failed");
    probe = get_probe(place, job, number);
    assert_true(probe.state == PROBE_FAILED && probe.starts == 2 && probe.progress == 0.5);
    assert_true(probe.finished_ms >= probe.started_ms && probe.started_ms >= probe.created_ms);
    assert_string_equal(probe.reason, "because");
    assert_string_equal(probe.message, "one\ntwo");
    db_probe_free(&probe);
    assert_ok(db_probe_totals(place->reader, totals, err));
    assert_true(totals[PROBE_FAILED] == 1 && totals[PROBE_QUEUED] == 0);
    assert_ok(db_events_each(place->reader, job, 0, 100, count_event, events, err));
    assert_int_equal(events[EVENT_PROBE], 5);
    assert_int_equal(events[EVENT_PROBE_PROGRESS], 1);
    memset(events, 0, sizeof events);
    assert_ok(db_events_each(place->reader, 0, 0, 100, count_event, events, err));
    assert_int_equal(events[EVENT_PROBE], 5);
}

static void queued_and_running_ones_are_cancelled(void **state)
{
    struct place *place = *state;
    int64_t job = open_with_checkpoint(place), active;
    struct db_probe_claim claimed;
    struct db_probe probe;
    int n;

    add_probe(place, job, 10, 0);
    add_probe(place, job, 10, 0);
    claimed = claim_probe(place);
    assert_int_equal(claimed.number, 1);
    assert_ok(db_probes_active(place->reader, job, &active, err));
    assert_int_equal(active, 2);
    probe = get_probe(place, job, 2);
    assert_ok(db_probe_set_state(place->db, probe.id, PROBE_CANCELLED, NULL, err));
    db_probe_free(&probe);
    assert_int_equal(state_of_probe(place, job, 2), PROBE_CANCELLED);
    assert_ok(db_probe_wish_cancel(place->db, claimed.id, err));
    probe = get_probe(place, job, 1);
    assert_true(probe.cancelling && probe.state == PROBE_RUNNING);
    db_probe_free(&probe);
    /* What was wished outlives the daemon. */
    place_reopen(place);
    assert_ok(db_probe_recover(place->db, &n, err));
    assert_int_equal(n, 1);
    assert_int_equal(state_of_probe(place, job, 1), PROBE_CANCELLED);
    assert_ok(db_probes_active(place->reader, job, &active, err));
    assert_int_equal(active, 0);
}

static void one_request_is_one_probe(void **state)
{
    struct place *place = *state;
    int64_t job = open_with_checkpoint(place), number, other = add_job(place, "other", 0);
    struct db_new_probe probe = probe_of(job, 10);
    bool existing;

    probe.idempotency_key = "key";
    probe.fingerprint = "a";
    assert_ok(db_probe_insert(place->db, &probe, &number, &existing, err));
    assert_true(number == 1 && !existing);
    assert_ok(db_probe_insert(place->db, &probe, &number, &existing, err));
    assert_true(number == 1 && existing);
    probe.fingerprint = "b";
    assert_refused(db_probe_insert(place->db, &probe, &number, &existing, err), ERR_CONFLICT,
                   "probe 1 of job 1");
    probe.fingerprint = "a";
    probe.job = other;
    assert_refused(db_probe_insert(place->db, &probe, &number, &existing, err), ERR_CONFLICT,
                   "probe 1 of job 1");
}

static void what_cannot_be_is_refused(void **state)
{
    struct place *place = *state;
    int64_t job = open_with_checkpoint(place), number;
    struct db_new_probe probe = probe_of(99, 10);
    struct probe_row row = {.table = PROBE_TABLES_MAX, .n = 1};

    assert_refused(db_probe_insert(place->db, &probe, &number, NULL, err), ERR_NOT_FOUND, "99");
    probe = probe_of(job, 11);
    assert_refused(db_probe_insert(place->db, &probe, &number, NULL, err), ERR_CONFLICT, "11");
    probe = probe_of(job, 0);
    assert_refused(db_probe_insert(place->db, &probe, &number, NULL, err), ERR_INVALID, "0");
    probe = probe_of(job, 10);
    probe.plan.other_job = job;
    probe.plan.other_update = 4;
    assert_refused(db_probe_insert(place->db, &probe, &number, NULL, err), ERR_CONFLICT, "4");
    probe = probe_of(job, 10);
    probe.plan.upload = 5;
    assert_refused(db_probe_insert(place->db, &probe, &number, NULL, err), ERR_CONFLICT, "upload");
    probe = probe_of(job, 10);
    probe.queue_limit = 2;
    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    assert_refused(db_probe_insert(place->db, &probe, &number, NULL, err), ERR_LIMIT, "2");
    probe.queue_limit = 0;
    probe.job_limit = 2;
    assert_refused(db_probe_insert(place->db, &probe, &number, NULL, err), ERR_LIMIT, "the job");
    assert_refused(db_probe_row_add(place->db, 1, &row, err), ERR_INVALID, "row");
    row = (struct probe_row){.n = 1};
    assert_refused(db_probe_row_add(place->db, 1, &row, err), ERR_CONFLICT, "not running");
}

static void they_come_before_jobs_of_their_priority(void **state)
{
    struct place *place = *state;
    int64_t job = open_with_checkpoint(place);
    struct db_probe_claim claimed;
    struct db_claim other;

    add_probe(place, job, 10, 0);
    add_probe(place, job, 10, 2);
    add_job(place, "urgent", 1);
    claimed = claim_probe(place);
    assert_int_equal(claimed.number, 2);
    assert_refused(db_probe_claim(place->db, 1, &claimed, err), ERR_NOT_FOUND, "no probe");
    assert_ok(db_job_claim(place->db, 1, &other, err));
    free(other.spec);
    add_job(place, "equal", 0);
    claimed = claim_probe(place);
    assert_int_equal(claimed.number, 1);
}

/* ---- What they need is kept ---- */

static bool has_checkpoint(struct place *place, int64_t job, uint64_t update)
{
    struct db_checkpoint found;

    return db_checkpoint_get(place->reader, job, update, &found, NULL) == 0;
}

static void what_a_probe_needs_is_kept_until_it_has_ended(void **state)
{
    struct place *place = *state;
    int64_t job = open_with_checkpoint(place), number;
    struct db_new_probe line = probe_of(job, 10);
    struct db_probe_claim claimed;

    add_probe(place, job, 10, 1);
    add_checkpoint(place, job, 20, 1);
    line.plan.other_job = job;
    line.plan.other_update = 20;
    assert_ok(db_probe_insert(place->db, &line, &number, NULL, err));
    add_checkpoint(place, job, 30, 1);
    add_checkpoint(place, job, 40, 1);
    assert_true(has_checkpoint(place, job, 10) && has_checkpoint(place, job, 20));
    assert_true(!has_checkpoint(place, job, 30) && has_checkpoint(place, job, 40));
    claimed = claim_probe(place);
    assert_int_equal(claimed.number, 1);
    assert_ok(db_probe_set_state(place->db, claimed.id, PROBE_SUCCEEDED, NULL, err));
    assert_true(has_checkpoint(place, job, 10)); /* for the other probe */
    claimed = claim_probe(place);
    assert_ok(db_job_set_state(place->db, job, JOB_SUCCEEDED, NULL, err));
    assert_ok(db_probe_set_state(place->db, claimed.id, PROBE_QUEUED, NULL, err));
    assert_true(has_checkpoint(place, job, 10) && has_checkpoint(place, job, 20));
    assert_ok(db_probe_set_state(place->db, claimed.id, PROBE_CANCELLED, NULL, err));
    assert_false(has_checkpoint(place, job, 10) || has_checkpoint(place, job, 20));
    assert_true(has_checkpoint(place, job, 40));
}

static void a_checkpoint_of_another_job_is_kept(void **state)
{
    struct place *place = *state;
    int64_t job = open_with_checkpoint(place), other = start_job(place), number;
    struct db_new_probe line = probe_of(job, 10);
    struct db_probe probe;

    add_checkpoint(place, other, 5, 1);
    line.plan.other_job = other;
    line.plan.other_update = 5;
    assert_ok(db_probe_insert(place->db, &line, &number, NULL, err));
    add_checkpoint(place, other, 6, 1);
    assert_true(has_checkpoint(place, other, 5));
    probe = get_probe(place, job, number);
    assert_ok(db_probe_set_state(place->db, probe.id, PROBE_CANCELLED, NULL, err));
    db_probe_free(&probe);
    assert_true(!has_checkpoint(place, other, 5) && has_checkpoint(place, other, 6));
}

static void an_upload_that_it_needs_stays(void **state)
{
    struct place *place = *state;
    int64_t job = open_with_checkpoint(place), number, upload;
    struct checkpoint *tensors = checkpoint_of(1, 1);
    struct db_upload file = {.sha256 = "00", .tensors = 5};
    struct db_new_probe given = probe_of(job, 10);
    struct db_probe probe;
    bool existing;

    assert_ok(db_upload_add(place->db, &file, tensors, &upload, &existing, err));
    checkpoint_drop(tensors);
    given.plan.upload = upload;
    assert_ok(db_probe_insert(place->db, &given, &number, NULL, err));
    assert_refused(db_upload_delete(place->db, upload, err), ERR_CONFLICT, "a probe of job 1");
    probe = get_probe(place, job, number);
    assert_ok(db_probe_set_state(place->db, probe.id, PROBE_CANCELLED, NULL, err));
    db_probe_free(&probe);
    assert_ok(db_upload_delete(place->db, upload, err));
}

/* ---- A job's own ---- */

static const struct db_due due[] = {
    {.place = 0, .plan = {.kind = "spectrum", .request = "{\"kind\":\"spectrum\"}", .priority = 3}},
    {.place = 4, .plan = {.kind = "radius", .request = "{\"kind\":\"radius\"}", .priority = 3}}};

static void add_due(struct place *place, int64_t job, uint64_t update)
{
    struct checkpoint *checkpoint = checkpoint_of(update, 1);

    assert_ok(db_checkpoint_add_due(place->db, job, checkpoint, false, 1, due, 2, err));
    checkpoint_drop(checkpoint);
}

static int64_t count_probes(struct place *place)
{
    return place_number(place, "rwpd.db", "SELECT count(*) FROM probe");
}

static void a_checkpoint_brings_its_probes_once(void **state)
{
    struct place *place = *state;
    int64_t job;
    struct db_probe probe;

    place_open(place, NULL);
    job = start_job(place);
    add_due(place, job, 10);
    add_due(place, job, 10);
    assert_int_equal(count_probes(place), 2);
    probe = get_probe(place, job, 2);
    assert_true(probe.planned && probe.update == 10 && probe.priority == 3);
    assert_string_equal(probe.kind, "radius");
    assert_string_equal(probe.request, due[1].plan.request);
    db_probe_free(&probe);
    add_due(place, job, 20);
    assert_int_equal(count_probes(place), 4);
    assert_true(has_checkpoint(place, job, 10)); /* it waits for them */
}

static void copy(struct place *place, const char *from, const char *to)
{
    char command[3 * PATH_MAX];

    snprintf(command, sizeof command, "cp '%s/%s' '%s/%s'", place->state, from, place->state, to);
    assert_int_equal(system(command), 0);
}

/* A crash between the commits of the two files leaves rwpd.db as it was before. */
static void they_are_queued_after_a_crash_between_the_files(void **state)
{
    struct place *place = *state;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_checkpoint(place, job, 10, 1);
    place_close(place);
    copy(place, "rwpd.db", "kept");
    place_open(place, NULL);
    assert_ok(db_job_set_state(place->db, job, JOB_QUEUED, NULL, err));
    assert_ok(db_job_set_state(place->db, job, JOB_RUNNING, NULL, err));
    add_due(place, job, 20);
    place_close(place);
    copy(place, "kept", "rwpd.db");
    place_open(place, NULL);
    assert_int_equal(count_probes(place), 0);
    /* Even if the job is not to run again. */
    assert_ok(db_job_wish(place->db, job, WISH_CANCEL, err));
    assert_ok(db_recover(place->db, NULL, err));
    assert_int_equal(count_probes(place), 2);
    assert_int_equal(state_of_probe(place, job, 1), PROBE_QUEUED);
    place_reopen(place);
    assert_ok(db_recover(place->db, NULL, err));
    assert_int_equal(count_probes(place), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_goes_through_its_states),
        TEST(queued_and_running_ones_are_cancelled),
        TEST(one_request_is_one_probe),
        TEST(what_cannot_be_is_refused),
        TEST(they_come_before_jobs_of_their_priority),
        TEST(what_a_probe_needs_is_kept_until_it_has_ended),
        TEST(a_checkpoint_of_another_job_is_kept),
        TEST(an_upload_that_it_needs_stays),
        TEST(a_checkpoint_brings_its_probes_once),
        TEST(they_are_queued_after_a_crash_between_the_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
