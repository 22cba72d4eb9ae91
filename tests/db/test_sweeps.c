/* Sweeps: there with all of their jobs or not at all, whatever fails; how many of their jobs run;
 * what is changed of all of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/sweep.h"
#include "victim.h"

#define N 300

/* Jobs 1 to n, of `updates` that tell them apart. */
static struct db_new_job *jobs_of(int n)
{
    struct db_new_job *jobs = calloc((size_t)n, sizeof *jobs);

    assert_non_null(jobs);
    for (int i = 0; i < n; i++)
        jobs[i] = (struct db_new_job){.name = "point", .spec = "{}", .updates = (uint64_t)i + 1};
    return jobs;
}

static int64_t add_sweep(struct place *place, int n, int64_t max_running, int64_t priority)
{
    struct db_new_job *jobs = jobs_of(n);
    const struct db_new_sweep sweep = {
        .name = "s", .spec = "{}", .max_running = max_running, .n = n, .jobs = jobs};
    int64_t id = 0;

    for (int i = 0; i < n; i++)
        jobs[i].priority = priority;
    assert_ok(db_sweep_insert(place->db, &sweep, &id, NULL, err));
    free(jobs);
    return id;
}

static int64_t count(struct place *place, const char *text)
{
    return place_number(place, "rwpd.db", text);
}

static int next_point(void *context, const struct db_sweep_job *job)
{
    int64_t *point = context;

    assert_int_equal(job->point, ++*point);
    assert_int_equal(job->state, JOB_QUEUED);
    assert_false(job->has_train || job->has_test);
    return 0;
}

static int no_probe(void *context, int64_t point, const char *kind, const struct probe_row *row)
{
    (void)context, (void)point, (void)row;
    fail_msg("a probe: %s", kind);
    return 0;
}

static void a_sweep_comes_back_with_its_jobs(void **state)
{
    struct place *place = *state;
    struct db_sweep sweep;
    struct db_job job;
    int64_t id, point = 0;

    place_open(place, NULL);
    add_job(place, "before", 0);
    id = add_sweep(place, 3, 2, 0);
    place_reopen(place);
    assert_ok(db_sweep_read(place->reader, id, &sweep, next_point, no_probe, &point, err));
    assert_int_equal(point, 3);
    assert_string_equal(sweep.name, "s");
    assert_string_equal(sweep.spec, "{}");
    assert_int_equal(sweep.max_running, 2);
    assert_int_equal(sweep.points, 3);
    assert_int_equal(sweep.jobs[JOB_QUEUED], 3);
    assert_true(sweep.updates == 1 + 2 + 3 && sweep.updates_done == 0);
    assert_false(sweep.begun);
    assert_int_equal(sweep.finished_ms, 0);
    db_sweep_free(&sweep);
    for (int64_t i = 1; i <= 4; i++) {
        job = get_job(place, i);
        assert_int_equal(job.sweep, i == 1 ? 0 : id);
        assert_int_equal(job.point, i - 1);
        db_job_free(&job);
    }
    assert_ok(db_message_add(place->db, 4, "its last job takes messages", err));
    assert_refused(db_sweep_get(place->reader, id + 1, &sweep, err), ERR_NOT_FOUND, "no sweep 2");
}

static void a_key_makes_one_sweep(void **state)
{
    struct place *place = *state;
    struct db_new_job *jobs = jobs_of(2);
    struct db_new_sweep sweep = {.name = "s",
                                 .spec = "{}",
                                 .n = 2,
                                 .jobs = jobs,
                                 .idempotency_key = "key",
                                 .fingerprint = "one",
                                 .queue_limit = 2};
    const struct db_new_job job = {.name = "j", .spec = "{}", .idempotency_key = "key"};
    int64_t first, second;
    bool existing = true;

    place_open(place, NULL);
    assert_ok(db_sweep_insert(place->db, &sweep, &first, &existing, err));
    assert_false(existing);
    assert_ok(db_sweep_insert(place->db, &sweep, &second, &existing, err)); /* before the limit */
    assert_true(existing);
    assert_int_equal(second, first);
    sweep.fingerprint = "two";
    assert_refused(db_sweep_insert(place->db, &sweep, &second, &existing, err), ERR_CONFLICT,
                   "sweep 1");
    assert_ok(
        db_job_insert(place->db, &job, &second, &existing, err)); /* keys of jobs are others */
    assert_false(existing);
    assert_int_equal(count(place, "SELECT count(*) FROM job"), 3);
    assert_int_equal(count(place, "SELECT count(*) FROM sweep"), 1);
    free(jobs);
}

static void assert_nothing(struct place *place)
{
    assert_int_equal(count(place, "SELECT count(*) FROM sweep"), 0);
    assert_int_equal(count(place, "SELECT count(*) FROM job WHERE sweep <> 0"), 0);
    assert_int_equal(count(place, "SELECT count(*) FROM event WHERE job > 1"), 0);
}

static void what_fails_in_the_middle_leaves_nothing(void **state)
{
    struct place *place = *state;
    struct db_new_job *jobs = jobs_of(10);
    struct db_new_sweep sweep = {.name = "s", .spec = "{}", .n = 10, .jobs = jobs};
    char name[202];
    int64_t id;

    place_open(place, NULL);
    add_job(place, "before", 0);
    sweep.queue_limit = 10;
    assert_refused(db_sweep_insert(place->db, &sweep, &id, NULL, err), ERR_LIMIT, "no room for 10");
    sweep.queue_limit = 1;
    assert_refused(db_sweep_insert(place->db, &sweep, &id, NULL, err), ERR_LIMIT, "1 jobs");
    sweep.queue_limit = 0;
    jobs[6].init_job = 1;
    jobs[6].init_update = 5;
    assert_refused(db_sweep_insert(place->db, &sweep, &id, NULL, err), ERR_CONFLICT, "update 5");
    jobs[6].init_job = 0;
    memset(name, 'x', 201);
    name[201] = '\0';
    jobs[7].name = name;
    assert_refused(db_sweep_insert(place->db, &sweep, &id, NULL, err), ERR_INVALID, "200");
    jobs[7].name = "seven";
    sweep.n = 0;
    assert_refused(db_sweep_insert(place->db, &sweep, &id, NULL, err), ERR_INVALID, "1 to 1000");
    sweep.n = 10;
    place_sql(place, "rwpd.db",
              "CREATE TRIGGER trouble BEFORE INSERT ON job WHEN new.point = 7 "
              "BEGIN SELECT raise(ABORT, 'trouble'); END");
    assert_refused(db_sweep_insert(place->db, &sweep, &id, NULL, err), ERR_INTERNAL, "trouble");
    assert_nothing(place);
    place_sql(place, "rwpd.db", "DROP TRIGGER trouble");
    assert_ok(db_sweep_insert(place->db, &sweep, &id, NULL, err));
    assert_int_equal(count(place, "SELECT count(*) FROM job WHERE sweep <> 0"), 10);
    place_check(place);
    free(jobs);
}

/* ---- Claims ---- */

static void claim_is(struct place *place, int64_t id)
{
    struct db_claim claim;

    assert_ok(db_job_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.id, id);
    free(claim.spec);
}

static void nothing_may_run(struct place *place)
{
    struct db_claim claim;

    assert_refused(db_job_claim(place->db, 1, &claim, err), ERR_NOT_FOUND, "may run");
}

static void only_so_many_jobs_of_a_sweep_run(void **state)
{
    struct place *place = *state;
    int64_t single;
    int n;

    place_open(place, NULL);
    add_sweep(place, 4, 2, 0); /* jobs 1 to 4 */
    add_sweep(place, 3, 1, 1); /* 5 to 7, which go first */
    single = add_job(place, "single", -1);
    claim_is(place, 5);
    claim_is(place, 1);
    claim_is(place, 2);
    claim_is(place, single);
    nothing_may_run(place);
    assert_ok(db_job_set_state(place->db, 2, JOB_FAILED, NULL, err));
    claim_is(place, 3);
    nothing_may_run(place);
    assert_ok(db_job_set_state(place->db, 5, JOB_PAUSED, NULL, err)); /* makes room, too */
    claim_is(place, 6);
    assert_ok(db_job_set_state(place->db, 5, JOB_QUEUED, NULL, err));
    nothing_may_run(place);
    /* A dead daemon's jobs are queued again, and the bound is what it was. */
    place_reopen(place);
    assert_ok(db_recover(place->db, &n, err));
    assert_int_equal(n, 4);
    claim_is(place, 5);
    claim_is(place, 1);
    claim_is(place, 3);
    claim_is(place, single);
    nothing_may_run(place);
}

static void a_sweep_without_a_bound_is_like_single_jobs(void **state)
{
    struct place *place = *state;
    int64_t urgent;

    place_open(place, NULL);
    add_sweep(place, 3, 0, 0);
    urgent = add_job(place, "urgent", 1);
    claim_is(place, urgent);
    for (int64_t id = 1; id <= 3; id++)
        claim_is(place, id);
    nothing_may_run(place);
}

/* ---- All of its jobs ---- */

static int64_t in_state(struct place *place, int64_t id, enum job_state state)
{
    struct db_sweep sweep;

    assert_ok(db_sweep_get(place->reader, id, &sweep, err));
    db_sweep_free(&sweep);
    return sweep.jobs[state];
}

static void its_jobs_are_changed_together(void **state)
{
    struct place *place = *state;
    int64_t id, other, n;
    struct db_sweep sweep;

    place_open(place, NULL);
    id = add_sweep(place, 5, 0, 0);
    other = add_sweep(place, 2, 0, 0);
    claim_is(place, 1);
    claim_is(place, 2);
    assert_ok(db_job_set_state(place->db, 2, JOB_SUCCEEDED, NULL, err));
    assert_ok(db_sweep_change(place->db, id, SWEEP_PAUSE, &n, err));
    assert_int_equal(n, 3);
    assert_int_equal(in_state(place, id, JOB_PAUSED), 3);
    assert_int_equal(in_state(place, id, JOB_RUNNING), 1);
    assert_ok(db_sweep_change(place->db, id, SWEEP_PAUSE, &n, err));
    assert_int_equal(n, 0);
    assert_ok(db_sweep_change(place->db, id, SWEEP_RESUME, &n, err));
    assert_int_equal(n, 3);
    assert_ok(db_job_set_state(place->db, 4, JOB_PAUSED, NULL, err));
    assert_ok(db_job_set_state(place->db, 1, JOB_FAILED, "it diverged", err));
    assert_ok(db_sweep_change(place->db, id, SWEEP_RESUME, &n, err));
    assert_int_equal(n, 1); /* one that has failed is resumed by itself */
    assert_int_equal(in_state(place, id, JOB_FAILED), 1);
    assert_ok(db_job_set_state(place->db, 1, JOB_QUEUED, NULL, err));
    assert_ok(db_job_set_state(place->db, 1, JOB_RUNNING, NULL, err));
    assert_ok(db_sweep_change(place->db, id, SWEEP_CANCEL, &n, err));
    assert_int_equal(n, 3);
    assert_int_equal(in_state(place, id, JOB_CANCELLED), 3);
    assert_int_equal(in_state(place, id, JOB_RUNNING), 1);
    assert_int_equal(in_state(place, other, JOB_QUEUED), 2);
    assert_ok(db_sweep_get(place->reader, id, &sweep, err));
    assert_true(sweep.begun && sweep.finished_ms == 0);
    db_sweep_free(&sweep);
    assert_ok(db_job_set_state(place->db, 1, JOB_SUCCEEDED, NULL, err));
    assert_ok(db_sweep_get(place->reader, id, &sweep, err));
    assert_true(sweep.finished_ms > 0);
    db_sweep_free(&sweep);
    assert_refused(db_sweep_change(place->db, 9, SWEEP_CANCEL, &n, err), ERR_NOT_FOUND, "sweep 9");
}

/* ---- Lists ---- */

struct page {
    int64_t id[8];
    int n;
};

static int collect_sweep(void *context, const struct db_sweep *sweep)
{
    struct page *page = context;

    page->id[page->n++] = sweep->id;
    assert_int_equal(sweep->jobs[JOB_QUEUED], sweep->id);
    return 0;
}

static int collect_job(void *context, const struct db_job *job)
{
    struct page *page = context;

    page->id[page->n++] = job->id;
    return 0;
}

static void lists_are_pages_from_the_newest(void **state)
{
    struct place *place = *state;
    struct db_job_query query = {.state = -1, .sweep = 3, .limit = 2};
    struct page page = {0};

    place_open(place, NULL);
    for (int i = 1; i <= 4; i++)
        add_sweep(place, i, 0, 0);
    assert_ok(db_sweeps_each(place->reader, 0, 3, collect_sweep, &page, err));
    assert_ok(db_sweeps_each(place->reader, page.id[2], 3, collect_sweep, &page, err));
    assert_int_equal(page.n, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(page.id[i], 4 - i);
    page.n = 0; /* the third one has jobs 4 to 6 */
    assert_ok(db_jobs_each(place->reader, &query, collect_job, &page, err));
    query.before = page.id[1];
    assert_ok(db_jobs_each(place->reader, &query, collect_job, &page, err));
    assert_int_equal(page.n, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(page.id[i], 6 - i);
    page.n = 0;
    assert_ok(db_job_set_state(place->db, 5, JOB_PAUSED, NULL, err));
    query = (struct db_job_query){.state = JOB_PAUSED, .sweep = 3, .limit = 9};
    assert_ok(db_jobs_each(place->reader, &query, collect_job, &page, err));
    assert_int_equal(page.n, 1);
    assert_int_equal(page.id[0], 5);
}

/* ---- Probes ---- */

/* A probe of the running job's checkpoint of update 10, whose summary is `value`. */
static void add_probe(struct place *place, int64_t job, const char *kind, double value,
                      enum probe_state end)
{
    const struct db_new_probe probe = {
        .job = job, .update = 10, .plan = {.kind = kind, .request = "{}"}};
    struct probe_row summary = {.n = 1, .value = {value}}, more = {.table = 1, .n = 1};
    struct db_probe_claim claim = {0};
    int64_t number;

    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    if (end == PROBE_QUEUED)
        return;
    assert_ok(db_probe_claim(place->db, 1, &claim, err));
    assert_ok(db_probe_row_add(place->db, claim.id, &summary, err));
    assert_ok(db_probe_row_add(place->db, claim.id, &more, err));
    assert_ok(db_probe_set_state(place->db, claim.id, end, NULL, err));
    db_probe_claim_free(&claim);
}

struct summaries {
    int n, jobs;
    struct {
        int64_t point;
        char kind[16];
        double value;
    } item[8];
};

static int count_job(void *context, const struct db_sweep_job *job)
{
    (void)job;
    ((struct summaries *)context)->jobs++;
    return 0;
}

static int collect_summary(void *context, int64_t point, const char *kind,
                           const struct probe_row *row)
{
    struct summaries *all = context;

    assert_true(all->n < 8);
    assert_int_equal(row->n, 1);
    all->item[all->n].point = point;
    snprintf(all->item[all->n].kind, sizeof all->item[0].kind, "%s", kind);
    all->item[all->n++].value = row->value[0];
    return 0;
}

static void its_probes_are_read_with_it(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(10, 4);
    struct summaries all = {0};
    struct db_sweep sweep;
    int64_t other;

    place_open(place, NULL);
    other = start_job(place); /* of no sweep */
    assert_ok(db_checkpoint_add(place->db, other, checkpoint, false, 2, err));
    add_probe(place, other, "spectrum", 9, PROBE_SUCCEEDED);
    add_sweep(place, 2, 0, 0);
    for (int64_t id = other + 1; id <= other + 2; id++) {
        claim_is(place, id);
        add_losses(place, id, 1, 10);
        assert_ok(db_checkpoint_add(place->db, id, checkpoint, false, 2, err));
        add_probe(place, id, "spectrum", (double)id, PROBE_SUCCEEDED);
    }
    add_probe(place, other + 1, "spectrum", 7, PROBE_FAILED);
    add_probe(place, other + 1, "radius", 8, PROBE_SUCCEEDED);
    add_probe(place, other + 1, "spectrum", 5, PROBE_SUCCEEDED);
    add_probe(place, other + 2, "spectrum", 0, PROBE_QUEUED);
    settle(place);
    assert_ok(db_sweep_read(place->reader, 1, &sweep, count_job, collect_summary, &all, err));
    assert_int_equal(all.jobs, 2);
    assert_int_equal(all.n, 4);
    assert_true(all.item[0].point == 1 && all.item[0].value == (double)other + 1);
    assert_true(all.item[1].point == 1 && all.item[1].value == 8);
    assert_string_equal(all.item[1].kind, "radius");
    assert_true(all.item[2].point == 1 && all.item[2].value == 5);
    assert_true(all.item[3].point == 2 && all.item[3].value == (double)other + 2);
    assert_int_equal(sweep.probes[PROBE_SUCCEEDED], 4);
    assert_int_equal(sweep.probes[PROBE_FAILED], 1);
    assert_int_equal(sweep.probes[PROBE_QUEUED], 1);
    db_sweep_free(&sweep);
    checkpoint_drop(checkpoint);
}

/* A full sweep of high priority does not hold up a probe of a lower one. */
static void a_full_sweep_holds_up_no_probe(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(10, 4);
    struct db_probe_claim claim = {0};
    struct db_new_probe probe = {
        .job = 1, .update = 10, .plan = {.kind = "spectrum", .request = "{}", .priority = -5}};
    int64_t number;

    place_open(place, NULL);
    add_sweep(place, 2, 1, 3);
    claim_is(place, 1);
    add_losses(place, 1, 1, 10);
    assert_ok(db_checkpoint_add(place->db, 1, checkpoint, false, 2, err));
    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    assert_ok(db_probe_claim(place->db, 1, &claim, err));
    db_probe_claim_free(&claim);
    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    assert_ok(db_job_set_state(place->db, 1, JOB_CANCELLED, NULL, err)); /* now the next may run */
    assert_refused(db_probe_claim(place->db, 1, &claim, err), ERR_NOT_FOUND, "before the jobs");
    claim_is(place, 2);
    assert_ok(db_probe_claim(place->db, 1, &claim, err));
    db_probe_claim_free(&claim);
    checkpoint_drop(checkpoint);
}

/* ---- kill -9 ---- */

#define ROUNDS 12

/* Sweeps of N jobs, one after the other; says each that is answered. */
static int write_until_killed(const char *folder, int pipe)
{
    struct db_new_job jobs[N];
    const struct db_new_sweep sweep = {.name = "s", .spec = "{}", .n = N, .jobs = jobs};
    struct db *db;
    int64_t id = 0;

    for (int i = 0; i < N; i++)
        jobs[i] = (struct db_new_job){.name = "point", .spec = "{}", .updates = 1};
    must(db_open(&db, folder, NULL, err));
    for (;;) {
        if (write(pipe, &id, sizeof id) != sizeof id)
            return 4;
        must(db_sweep_insert(db, &sweep, &id, NULL, err));
    }
}

static int64_t one_round(struct place *place, unsigned delay_us)
{
    struct victim victim;
    int64_t told, last = 0;

    victim_start(&victim, place);
    assert_int_equal(read(victim.from, &told, sizeof told), sizeof told);
    usleep(delay_us);
    victim_kill(&victim);
    while (read(victim.from, &told, sizeof told) == sizeof told)
        last = told;
    victim_close(&victim);
    return last;
}

static void a_killed_daemon_leaves_whole_sweeps(void **state)
{
    struct place *place = *state;
    unsigned seed = (unsigned)clock_wall_ms();
    int64_t told = 0;

    print_message("seed %u\n", seed);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t last = one_round(place, (unsigned)rand_r(&seed) % 60000);

        told = last > told ? last : told;
        place_check(place);
        assert_true(count(place, "SELECT max(id) FROM (SELECT id FROM sweep UNION SELECT 0)") >=
                    told);
        assert_int_equal(count(place, "SELECT count(*) FROM (SELECT sweep, count(*) AS n, "
                                      "max(point) AS last FROM job GROUP BY sweep) "
                                      "WHERE n <> 300 OR last <> 300"),
                         0);
        assert_int_equal(count(place, "SELECT count(*) - 300 * (SELECT count(*) FROM sweep) "
                                      "FROM job"),
                         0);
    }
    print_message("%lld sweeps\n", (long long)told);
    assert_true(told > 0); /* else it has tested nothing */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sweep_comes_back_with_its_jobs),
        TEST(a_key_makes_one_sweep),
        TEST(what_fails_in_the_middle_leaves_nothing),
        TEST(only_so_many_jobs_of_a_sweep_run),
        TEST(a_sweep_without_a_bound_is_like_single_jobs),
        TEST(its_jobs_are_changed_together),
        TEST(lists_are_pages_from_the_newest),
        TEST(its_probes_are_read_with_it),
        TEST(a_full_sweep_holds_up_no_probe),
        TEST(a_killed_daemon_leaves_whole_sweeps),
    };

    victim_main(argc, argv, write_until_killed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
