/* What questions and changes cost when there is much in the database, in SQLite's own counters
 * instead of seconds: no statement walks through a table or takes more steps for more rows. Three
 * do and are not here: db_jobs_count counts jobs, db_job_insert the queue, if that has a limit, and
 * db_sweep_get reads the sweep's jobs, a thousand at most.
 *
 * Each connection that the database opens is watched by a hook that SQLite calls for new ones. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "support.h"

#define JOBS 5000

/* Of SQLite's machine, for one statement. A page of 50 jobs takes some 2,000; to walk through what
 * there is of jobs, losses or epochs takes far more. */
#define STEPS_MAX 4000

static atomic_bool watching;
static atomic_int watched, faults;

static int finished(unsigned what, void *context, void *subject, void *nanoseconds)
{
    sqlite3_stmt *statement = subject;
    int steps = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 1);
    int scanned = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_FULLSCAN_STEP, 1);
    int sorts = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_SORT, 1);

    (void)what, (void)context, (void)nanoseconds;
    if (!atomic_load(&watching))
        return 0;
    atomic_fetch_add(&watched, 1);
    if (scanned || steps > STEPS_MAX) {
        atomic_fetch_add(&faults, 1);
        print_error("%d rows walked through, %d sorts, %d steps: %s\n", scanned, sorts, steps,
                    sqlite3_sql(statement));
    }
    return 0;
}

/* As SQLite calls it, given to it as a function without parameters. */
static int watch(sqlite3 *handle, const char **message, const void *api)
{
    (void)message, (void)api;
    return sqlite3_trace_v2(handle, SQLITE_TRACE_PROFILE, finished, NULL);
}

/* Half of the jobs are finished, half queued, most of those in two sweeps of which as many run as
 * may; the one between is paused and has a hundred thousand losses, a thousand epochs and a
 * checkpoint of the last, the others a loss. */
static void fill(struct place *place)
{
    static const char text[] =
        "CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 100000) SELECT i FROM n;"
        "INSERT INTO job (name, state, priority, parameters, created_ms, updates, spec, "
        "idempotency_key) SELECT 'filled', CASE WHEN i < 2500 THEN 3 WHEN i = 2500 THEN 2 ELSE 0 "
        "END, i * 7919 % 5, 1, "
        "1, 100000, '{}', 'key ' || i FROM n WHERE i <= 5000;"
        "INSERT INTO loss SELECT 2500, i, 2 * i, 1, 0.5, NULL, 0.1, 0, 0.001 FROM n;"
        "INSERT INTO span SELECT 2500, i, 16 * i - 15, 0.5, 16 * i - 15, 0.5 FROM n "
        "WHERE i <= 6250;"
        "INSERT INTO loss SELECT i, 1, 300000 + i, 1, 0.5, NULL, 0.1, 0, 0.001 FROM n "
        "WHERE i < 2500;"
        "INSERT INTO epoch SELECT 2500, i, 100 * i, 0.5, 0.5, 0.5, 0.5, 0.5, 1, 1, 1 FROM n "
        "WHERE i <= 1000;"
        "INSERT INTO event SELECT 200 * i + 1, 2500, 2, 1, NULL, i, NULL FROM n WHERE i <= 1000;"
        "INSERT INTO event VALUES (1, 2500, 4, 1, NULL, NULL, 'one'), (3, 2500, 4, 1, NULL, NULL, "
        "'two');"
        "INSERT INTO event SELECT 400000 + i, i, 0, 1, 0, NULL, NULL FROM n WHERE i <= 5000;"
        "INSERT INTO sweep (name, max_running, created_ms, points, spec) VALUES "
        "('full', 1, 1, 1000, '{}'), ('full', 1, 1, 1000, '{}');"
        "UPDATE job SET sweep = 1 + (id >= 4000), point = 1 + id % 1000, priority = 9 "
        "WHERE id >= 3000 AND id < 5000;"
        "UPDATE job SET state = 1 WHERE id = 3000 OR id = 4999;"
        "UPDATE store SET sequence = 500000, losses = 102499";

    place_open(place, NULL);
    place_close(place);
    place_sql(place, "rwpd.db", text);
    place_sql(place, "rwpd.db",
              "UPDATE job SET updates_done = 100000, checkpoint_updates = 100000 WHERE id = 2500");
    place_sql(place, "checkpoints.db", "INSERT INTO checkpoint VALUES (1, 2500, 100000, 0, 1, 0)");
}

static int setup(void **state)
{
    int code = place_setup(state);

    sqlite3_auto_extension((void (*)(void))watch);
    fill(*state);
    place_open(*state, NULL);
    /* What a connection does at first, reading the schema, is not counted. */
    settle(*state);
    assert_int_equal(place_number(*state, "rwpd.db", "SELECT count(*) FROM job"), JOBS);
    atomic_store(&watched, 0);
    atomic_store(&faults, 0);
    atomic_store(&watching, true);
    return code;
}

static int teardown(void **state)
{
    atomic_store(&watching, false);
    sqlite3_cancel_auto_extension((void (*)(void))watch);
    return place_teardown(state);
}

/* ---- Questions ---- */

static int ignore_job(void *context, const struct db_job *job)
{
    (void)job;
    ++*(int *)context;
    return 0;
}

static int ignore_event(void *context, const struct db_event *event)
{
    (void)event;
    ++*(int *)context;
    return 0;
}

static int ignore_loss(void *context, const struct db_loss *loss)
{
    (void)loss;
    ++*(int *)context;
    return 0;
}

static int ignore_epoch(void *context, const struct db_epoch *epoch)
{
    (void)epoch;
    ++*(int *)context;
    return 0;
}

static int ignore_checkpoint(void *context, const struct db_checkpoint *checkpoint)
{
    (void)checkpoint;
    ++*(int *)context;
    return 0;
}

static int page(struct place *place, int of_state, int64_t before)
{
    const struct db_job_query query = {.state = of_state, .before = before, .limit = 50};
    int n = 0;

    assert_ok(db_jobs_each(place->reader, &query, ignore_job, &n, err));
    return n;
}

static void pages_of_jobs_cost_the_same_at_any_depth(void **state)
{
    struct place *place = *state;
    struct db_job job = get_job(place, 2500);

    db_job_free(&job);
    for (int64_t before = 0; before < JOBS; before += 1250)
        assert_int_equal(page(place, -1, before), 50);
    assert_int_equal(page(place, JOB_SUCCEEDED, 0), 50);
    assert_int_equal(page(place, JOB_SUCCEEDED, 100), 50);
    assert_int_equal(page(place, JOB_SUCCEEDED, 10), 9);
    assert_int_equal(page(place, JOB_QUEUED, 0), 50);
    assert_int_equal(page(place, JOB_QUEUED, 2500), 0);
    assert_int_equal(page(place, JOB_FAILED, 0), 0);
    assert_true(atomic_load(&watched) >= 11);
    assert_int_equal(atomic_load(&faults), 0);
}

static void messages_cost_nothing_of_the_other_events(void **state)
{
    struct place *place = *state;
    int n = 0;

    assert_ok(db_messages_each(place->reader, 2500, 50, ignore_event, &n, err));
    assert_int_equal(n, 2);
    assert_true(atomic_load(&watched) >= 1);
    assert_int_equal(atomic_load(&faults), 0);
}

static int events(struct place *place, int64_t job, int64_t after)
{
    int n = 0;

    assert_ok(db_events_each(place->reader, job, after, 100, ignore_event, &n, err));
    return n;
}

static void series_and_events_cost_the_same_at_any_depth(void **state)
{
    struct place *place = *state;
    struct db_extremes extremes;
    int64_t last;
    int n = 0;

    assert_ok(db_losses_each(place->reader, 2500, 99900, 100, ignore_loss, &n, err));
    assert_int_equal(n, 100);
    assert_ok(db_epochs_each(place->reader, 2500, 950, 50, ignore_epoch, &n, err));
    assert_int_equal(n, 150);
    assert_ok(db_checkpoints_each(place->reader, 2500, ignore_checkpoint, &n, err));
    assert_int_equal(n, 151);
    assert_ok(db_events_last(place->reader, &last, err));
    assert_int_equal(last, 500000);
    for (int64_t after = 0; after <= 200000; after += 50000) {
        assert_int_equal(events(place, 2500, after), after < 200000 ? 100 : 2);
        assert_int_equal(events(place, 0, after), 100);
    }
    for (uint64_t after = 0; after < 100000; after += 400) {
        assert_ok(db_losses_extremes(place->reader, 2500, after, after + 400, &extremes, err));
        assert_int_equal(extremes.rows, 400);
    }
    assert_int_equal(events(place, 2500, last), 0);
    assert_int_equal(events(place, 0, last), 0);
    assert_true(atomic_load(&watched) >= 20);
    assert_int_equal(atomic_load(&faults), 0);
}

/* ---- Changes ---- */

static void going_on_costs_the_same_with_a_long_history(void **state)
{
    struct place *place = *state;

    assert_ok(db_job_set_state(place->db, 2500, JOB_QUEUED, NULL, err));
    assert_ok(db_job_set_state(place->db, 2500, JOB_RUNNING, NULL, err));
    assert_true(atomic_load(&watched) >= 8);
    assert_int_equal(atomic_load(&faults), 0);
}

static void record(struct place *place, int64_t job)
{
    struct checkpoint *checkpoint = checkpoint_of(20, 4);
    struct db_epoch epoch = epoch_of(1);

    add_losses(place, job, 1, 20);
    assert_ok(db_epoch_add(place->db, job, &epoch, err));
    assert_ok(db_epoch_add(place->db, job, &epoch, err)); /* replaces the first */
    assert_ok(db_message_add(place->db, job, "a message", err));
    assert_ok(db_checkpoint_add(place->db, job, checkpoint, false, 1, err));
    assert_ok(db_job_wish(place->db, job, WISH_PAUSE, err));
    settle(place);
    checkpoint_drop(checkpoint);
}

static void sweeps_cost_the_same_among_many_jobs(void **state)
{
    struct place *place = *state;
    const struct db_job_query query = {.state = -1, .sweep = 2, .before = 4500, .limit = 50};
    struct db_claim claim;
    int n = 0;

    assert_ok(db_jobs_each(place->reader, &query, ignore_job, &n, err));
    assert_int_equal(n, 50);
    assert_ok(db_job_claim(place->db, 1, &claim, err)); /* of neither sweep: both are full */
    assert_true(claim.id > 2500 && claim.id < 3000);
    free(claim.spec);
    assert_true(atomic_load(&watched) >= 5);
    assert_int_equal(atomic_load(&faults), 0);
}

static void changes_cost_the_same_in_a_long_queue(void **state)
{
    struct place *place = *state;
    struct db_new_job job = {
        .name = "new", .spec = "{}", .priority = 100, .idempotency_key = "new", .fingerprint = ""};
    struct db_claim claim;
    int64_t id;
    bool existing;
    int n;

    for (int i = 0; i < 2; i++)
        assert_ok(db_job_insert(place->db, &job, &id, &existing, err));
    assert_true(existing);
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.id, id);
    free(claim.spec);
    record(place, id);
    assert_ok(db_job_set_state(place->db, id, JOB_PAUSED, NULL, err));
    assert_ok(db_job_set_state(place->db, id, JOB_QUEUED, NULL, err));
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.from_update, 20);
    free(claim.spec);
    assert_ok(db_recover(place->db, &n, err));
    assert_int_equal(n, 3);
    assert_true(atomic_load(&watched) >= 30);
    assert_int_equal(atomic_load(&faults), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pages_of_jobs_cost_the_same_at_any_depth),
        TEST(messages_cost_nothing_of_the_other_events),
        TEST(series_and_events_cost_the_same_at_any_depth),
        TEST(going_on_costs_the_same_with_a_long_history),
        TEST(changes_cost_the_same_in_a_long_queue),
        TEST(sweeps_cost_the_same_among_many_jobs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
