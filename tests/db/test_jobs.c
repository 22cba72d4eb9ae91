/* Jobs: inserting once, the state machine, claims, wishes, recovery, lists. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "support.h"

static void a_job_comes_back_as_it_was_given(void **state)
{
    struct place *place = *state;
    const struct db_new_job given = {.name = "erste \xc3\x9c"
                                             "bung",
                                     .spec = "{\"a\": 1}",
                                     .priority = -3,
                                     .updates = 600,
                                     .parameters = 19810};
    struct db_job job;
    int64_t id;

    place_open(place, NULL);
    assert_ok(db_job_insert(place->db, &given, &id, NULL, err));
    place_reopen(place);
    job = get_job(place, id);
    assert_string_equal(job.name, given.name);
    assert_string_equal(job.spec, given.spec);
    assert_int_equal(job.priority, -3);
    assert_int_equal(job.updates, 600);
    assert_int_equal(job.parameters, 19810);
    assert_int_equal(job.state, JOB_QUEUED);
    assert_int_equal(job.wish, WISH_NONE);
    assert_null(job.reason);
    assert_true(job.created_ms > 1500000000000);
    assert_int_equal(job.started_ms + job.finished_ms, 0);
    assert_int_equal(job.threads + job.starts, 0);
    assert_false(job.has_loss || job.has_perturbed || job.has_test);
    db_job_free(&job);
    assert_refused(db_job_get(place->reader, id + 1, &job, err), ERR_NOT_FOUND, "no job 2");
}

static void a_name_that_is_too_long_is_refused(void **state)
{
    struct place *place = *state;
    char name[202];
    struct db_new_job job = {.name = name, .spec = "{}"};
    struct db_job got;
    int64_t id;

    place_open(place, NULL);
    memset(name, 'x', sizeof name);
    name[201] = '\0';
    assert_refused(db_job_insert(place->db, &job, &id, NULL, err), ERR_INVALID, "200");
    name[200] = '\0';
    assert_ok(db_job_insert(place->db, &job, &id, NULL, err));
    got = get_job(place, id);
    assert_string_equal(got.name, name);
    db_job_free(&got);
}

static void an_idempotency_key_makes_one_job(void **state)
{
    struct place *place = *state;
    struct db_new_job job = {.name = "j",
                             .spec = "{}",
                             .idempotency_key = "key",
                             .fingerprint = "one",
                             .queue_limit = 1};
    int64_t first, second;
    bool existing = true;

    place_open(place, NULL);
    assert_ok(db_job_insert(place->db, &job, &first, &existing, err));
    assert_false(existing);
    assert_ok(db_job_insert(place->db, &job, &second, &existing, err)); /* before the limit */
    assert_true(existing);
    assert_int_equal(second, first);
    job.fingerprint = "two";
    assert_refused(db_job_insert(place->db, &job, &second, &existing, err), ERR_CONFLICT, "job 1");
    job.fingerprint = NULL;
    assert_refused(db_job_insert(place->db, &job, &second, &existing, err), ERR_CONFLICT, "job 1");
    assert_int_equal(place_number(place, "rwpd.db", "SELECT count(*) FROM job"), 1);
}

static void the_queue_has_a_limit(void **state)
{
    struct place *place = *state;
    struct db_new_job job = {.name = "j", .spec = "{}", .queue_limit = 2};
    int64_t id;

    place_open(place, NULL);
    assert_ok(db_job_insert(place->db, &job, &id, NULL, err));
    assert_ok(db_job_insert(place->db, &job, &id, NULL, err));
    assert_refused(db_job_insert(place->db, &job, &id, NULL, err), ERR_LIMIT, "2 jobs");
    assert_ok(db_job_set_state(place->db, id, JOB_PAUSED, NULL, err));
    assert_ok(db_job_insert(place->db, &job, &id, NULL, err)); /* only queued ones count */
    assert_refused(db_job_insert(place->db, &job, &id, NULL, err), ERR_LIMIT, "2 jobs");
    job.queue_limit = 0;
    assert_ok(db_job_insert(place->db, &job, &id, NULL, err));
}

/* Makes a job and brings it into the state by allowed changes. */
static int64_t job_in(struct place *place, enum job_state state)
{
    int64_t id = add_job(place, "j", 0);

    if (state == JOB_SUCCEEDED || state == JOB_FAILED)
        assert_ok(db_job_set_state(place->db, id, JOB_RUNNING, NULL, err));
    if (state != JOB_QUEUED)
        assert_ok(db_job_set_state(place->db, id, state, NULL, err));
    return id;
}

static void only_the_drawn_changes_of_state_are_made(void **state)
{
    /* Rows: from; columns: to; in the order of enum job_state. */
    static const char *const drawn[JOB_STATES] = {
        [JOB_QUEUED] = ".RP..C",    [JOB_RUNNING] = "Q.PSFC", [JOB_PAUSED] = "Q....C",
        [JOB_SUCCEEDED] = "......", [JOB_FAILED] = "Q.....",  [JOB_CANCELLED] = "......",
    };
    struct place *place = *state;

    place_open(place, NULL);
    for (int from = 0; from < JOB_STATES; from++)
        for (int to = 0; to < JOB_STATES; to++) {
            int64_t id = job_in(place, (enum job_state)from);
            struct db_job job;

            if (drawn[from][to] == '.')
                assert_refused(db_job_set_state(place->db, id, (enum job_state)to, "why", err),
                               ERR_CONFLICT, job_state_name((enum job_state)from));
            else
                assert_ok(db_job_set_state(place->db, id, (enum job_state)to, "why", err));
            job = get_job(place, id);
            assert_int_equal(job.state, drawn[from][to] == '.' ? from : to);
            if (drawn[from][to] != '.')
                assert_string_equal(job.reason, "why");
            else
                assert_null(job.reason);
            assert_int_equal(job.finished_ms != 0, job.state >= JOB_SUCCEEDED);
            db_job_free(&job);
        }
    assert_refused(db_job_set_state(place->db, 1000, JOB_PAUSED, NULL, err), ERR_NOT_FOUND, "1000");
}

/* A failed job that is queued again is as one that never ran, but for its history. */
static void a_failed_job_is_queued_again(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(10, 1);
    struct db_new_job follower = {.name = "f", .spec = "{}", .updates = 9, .init_update = 10};
    struct db_claim claim;
    struct db_job job;
    int64_t id, next;

    place_open(place, NULL);
    id = follower.init_job = start_job(place);
    add_losses(place, id, 1, 10);
    assert_ok(db_checkpoint_add(place->db, id, checkpoint, false, 1, err));
    checkpoint_drop(checkpoint);
    add_losses(place, id, 11, 15);
    assert_ok(db_job_insert(place->db, &follower, &next, NULL, err));
    assert_ok(db_job_set_state(place->db, next, JOB_RUNNING, NULL, err));
    assert_ok(db_job_set_state(place->db, next, JOB_FAILED, "no memory", err));
    assert_ok(db_job_set_state(place->db, id, JOB_FAILED, "the disk was full", err));
    assert_ok(db_job_set_state(place->db, id, JOB_QUEUED, NULL, err));
    job = get_job(place, id);
    assert_null(job.reason);
    assert_int_equal(job.finished_ms, 0);
    assert_true(job.started_ms > 0);
    assert_int_equal(job.starts, 1);
    db_job_free(&job);
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    free(claim.spec);
    assert_true(claim.id == id && claim.from_update == 10);
    assert_losses(place, id, 10); /* one history */
    /* What the other one began with was kept for it until it had failed. */
    assert_ok(db_job_set_state(place->db, next, JOB_QUEUED, NULL, err));
    assert_ok(db_job_set_state(place->db, next, JOB_RUNNING, NULL, err));
    assert_ok(db_job_set_state(place->db, next, JOB_FAILED, "no memory", err));
    checkpoint = checkpoint_of(20, 1);
    assert_ok(db_checkpoint_add(place->db, id, checkpoint, false, 1, err));
    checkpoint_drop(checkpoint);
    assert_refused(db_job_set_state(place->db, next, JOB_QUEUED, NULL, err), ERR_CONFLICT,
                   "job 1 no longer has a checkpoint of update 10");
    job = get_job(place, next);
    assert_int_equal(job.state, JOB_FAILED);
    assert_string_equal(job.reason, "no memory");
    db_job_free(&job);
    place_check(place);
}

static void names_of_states(void **state)
{
    (void)state;
    for (int i = 0; i < JOB_STATES; i++)
        assert_int_equal(job_state_of(job_state_name((enum job_state)i)), i);
    assert_string_equal(job_state_name(JOB_SUCCEEDED), "succeeded");
    assert_int_equal(job_state_of("Queued"), -1);
    assert_int_equal(job_state_of(""), -1);
}

static void claim_is(struct place *place, int threads, int64_t id, int expected_threads)
{
    struct db_claim claim;

    assert_ok(db_job_claim(place->db, threads, &claim, err));
    assert_int_equal(claim.id, id);
    assert_int_equal(claim.threads, expected_threads);
    assert_int_equal(claim.from_update, 0);
    assert_string_equal(claim.spec, "{\"kind\":\"test\"}");
    free(claim.spec);
}

static void claims_go_by_priority_then_in_order(void **state)
{
    struct place *place = *state;
    int64_t low, first, second, high;
    struct db_claim claim;
    struct db_job job;

    place_open(place, NULL);
    low = add_job(place, "low", -1);
    first = add_job(place, "first", 0);
    second = add_job(place, "second", 0);
    high = add_job(place, "high", 5);
    claim_is(place, 2, high, 2);
    claim_is(place, 2, first, 2);
    /* Back in the queue it is older than the other one, and keeps its threads. */
    assert_ok(db_job_set_state(place->db, first, JOB_QUEUED, NULL, err));
    claim_is(place, 3, first, 2);
    claim_is(place, 3, second, 3);
    claim_is(place, 4, low, 4);
    assert_refused(db_job_claim(place->db, 2, &claim, err), ERR_NOT_FOUND, "queued");
    job = get_job(place, first);
    assert_int_equal(job.threads, 2);
    assert_int_equal(job.starts, 2);
    assert_int_equal(job.state, JOB_RUNNING);
    assert_true(job.started_ms >= job.created_ms);
    db_job_free(&job);
}

static void wishes_are_for_running_jobs(void **state)
{
    struct place *place = *state;
    int64_t id;
    struct db_job job;

    place_open(place, NULL);
    id = add_job(place, "j", 0);
    assert_refused(db_job_wish(place->db, id, WISH_PAUSE, err), ERR_CONFLICT, "queued");
    assert_refused(db_job_wish(place->db, 99, WISH_PAUSE, err), ERR_NOT_FOUND, "99");
    claim_is(place, 1, id, 1);
    assert_ok(db_job_wish(place->db, id, WISH_PAUSE, err));
    assert_ok(db_job_wish(place->db, id, WISH_CANCEL, err));
    job = get_job(place, id);
    assert_int_equal(job.wish, WISH_CANCEL);
    db_job_free(&job);
    assert_ok(db_job_set_state(place->db, id, JOB_PAUSED, NULL, err));
    job = get_job(place, id);
    assert_int_equal(job.wish, WISH_NONE);
    db_job_free(&job);
}

static void recovery_does_what_was_wished(void **state)
{
    static const enum job_wish wishes[] = {WISH_NONE, WISH_PAUSE, WISH_CANCEL};
    static const enum job_state after[] = {JOB_QUEUED, JOB_PAUSED, JOB_CANCELLED};
    struct place *place = *state;
    int64_t ids[3], idle;
    struct db_job job;
    int n = -1;

    place_open(place, NULL);
    for (int i = 0; i < 3; i++) {
        ids[i] = start_job(place);
        assert_ok(db_job_wish(place->db, ids[i], wishes[i], err));
    }
    idle = add_job(place, "idle", 0);
    place_reopen(place);
    assert_ok(db_recover(place->db, &n, err));
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++) {
        job = get_job(place, ids[i]);
        assert_int_equal(job.state, after[i]);
        assert_int_equal(job.wish, WISH_NONE);
        assert_non_null(job.reason);
        db_job_free(&job);
    }
    job = get_job(place, idle);
    assert_int_equal(job.state, JOB_QUEUED);
    assert_null(job.reason);
    db_job_free(&job);
    assert_ok(db_recover(place->db, &n, err));
    assert_int_equal(n, 0);
}

struct page {
    int64_t id[16];
    int n, stop_at;
};

static int collect(void *context, const struct db_job *job)
{
    struct page *page = context;

    page->id[page->n++] = job->id;
    return page->n == page->stop_at;
}

static void lists_are_pages_from_the_newest(void **state)
{
    struct place *place = *state;
    struct db_job_query query = {.state = -1, .limit = 4};
    struct page page = {0};

    place_open(place, NULL);
    for (int i = 1; i <= 10; i++)
        assert_int_equal(job_in(place, i % 2 ? JOB_QUEUED : JOB_PAUSED), i);
    assert_ok(db_jobs_each(place->reader, &query, collect, &page, err));
    query.before = page.id[page.n - 1];
    assert_ok(db_jobs_each(place->reader, &query, collect, &page, err));
    query.before = page.id[page.n - 1];
    assert_ok(db_jobs_each(place->reader, &query, collect, &page, err));
    assert_int_equal(page.n, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(page.id[i], 10 - i);
    page = (struct page){.stop_at = 2};
    query = (struct db_job_query){.state = JOB_PAUSED, .before = 9, .limit = 9};
    assert_ok(db_jobs_each(place->reader, &query, collect, &page, err));
    assert_int_equal(page.n, 2);
    assert_int_equal(page.id[0], 8);
    assert_int_equal(page.id[1], 6);
}

static void totals_count_by_state(void **state)
{
    struct place *place = *state;
    struct db_totals totals;

    place_open(place, NULL);
    for (int i = 0; i < JOB_STATES; i++)
        for (int n = 0; n <= i; n++)
            job_in(place, (enum job_state)i);
    assert_ok(db_totals(place->reader, &totals, err));
    for (int i = 0; i < JOB_STATES; i++)
        assert_int_equal(totals.jobs[i], i + 1);
    assert_int_equal(totals.losses, 0);
    assert_int_equal(totals.checkpoints, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_comes_back_as_it_was_given),
        TEST(a_name_that_is_too_long_is_refused),
        TEST(an_idempotency_key_makes_one_job),
        TEST(the_queue_has_a_limit),
        TEST(only_the_drawn_changes_of_state_are_made),
        cmocka_unit_test(names_of_states),
        TEST(a_failed_job_is_queued_again),
        TEST(claims_go_by_priority_then_in_order),
        TEST(wishes_are_for_running_jobs),
        TEST(recovery_does_what_was_wished),
        TEST(lists_are_pages_from_the_newest),
        TEST(totals_count_by_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
