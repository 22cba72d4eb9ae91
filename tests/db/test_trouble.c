/* A full disk, a lock of somebody else, i/o that fails, by real means: a limit on the size of
 * files, a tiny file system, another connection. Nothing is lost, nothing half done, everybody is
 * told. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "support.h"

static const struct db_options quick = {.durable_wait_ms = 300};

/* No file of this process can grow beyond `bytes`; RLIM_INFINITY: as before. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int trouble_setup(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    return place_setup(state);
}

static int trouble_teardown(void **state)
{
    limit_files(RLIM_INFINITY);
    return place_teardown(state);
}

static int insert(struct place *place, struct err *err)
{
    const struct db_new_job job = {.name = "j", .spec = "{}"};
    int64_t id;

    return db_job_insert(place->db, &job, &id, NULL, err);
}

static void refused_in_time(struct place *place, int code, const char *text)
{
    double start = clock_seconds();

    assert_refused(insert(place, err), code, text);
    assert_true(clock_seconds() - start >= 0.25);
    assert_true(clock_seconds() - start < 30);
}

static void a_full_disk_loses_nothing(void **state)
{
    struct place *place = *state;
    struct db_health health;
    int64_t job, jobs;

    place_open(place, &quick);
    job = start_job(place);
    jobs = place_number(place, "rwpd.db", "SELECT count(*) FROM job");
    limit_files(128 * 1024);
    add_losses(place, job, 1, 5000); /* some 300 KiB */
    wait_for_health(place, false, &health);
    assert_non_null(strstr(health.problem, "no space left"));
    assert_non_null(strstr(health.problem, "rwpd.db"));
    assert_true(health.since_ms > 1500000000000);
    assert_true(health.queued_rows > 0);
    refused_in_time(place, ERR_FULL, "nothing was changed");
    limit_files(RLIM_INFINITY);
    wait_for_health(place, true, &health);
    assert_string_equal(health.problem, "");
    settle(place);
    assert_losses(place, job, 5000);
    assert_int_equal(place_number(place, "rwpd.db", "SELECT count(*) FROM job"), jobs);
    assert_ok(insert(place, err));
    place_check(place);
}

/* With nothing queued it still finds out by itself that the disk is well again. */
static void health_comes_back_by_itself(void **state)
{
    struct place *place = *state;
    struct db_health health;

    place_open(place, &quick);
    limit_files(96 * 1024);
    for (int i = 0; i < 100; i++)
        if (insert(place, NULL) == ERR_FULL)
            break;
    db_health(place->db, &health);
    assert_false(health.writing);
    assert_int_equal(health.queued_rows, 0);
    limit_files(RLIM_INFINITY);
    wait_for_health(place, true, &health);
}

static void a_foreign_lock_is_waited_for(void **state)
{
    struct place *place = *state;
    struct db_health health;
    sqlite3 *other;
    int64_t job;

    place_open(place, &quick);
    job = start_job(place);
    assert_int_equal(sqlite3_open(place_file(place, "rwpd.db"), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    add_losses(place, job, 1, 100);
    wait_for_health(place, false, &health);
    assert_non_null(strstr(health.problem, "another process holds a lock"));
    refused_in_time(place, ERR_BUSY, "nothing was changed");
    assert_losses(place, job, 0); /* readers are not held up */
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    wait_for_health(place, true, &health);
    settle(place);
    assert_losses(place, job, 100);
}

/* Somebody moves the folder away: what would be written now, the next start would not find. */
static void files_that_were_moved_are_not_written(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(100, 10);
    struct db_health health;
    char aside[PATH_MAX + 16];
    int64_t job;

    snprintf(aside, sizeof aside, "%s-aside", place->state);
    place_open(place, &quick);
    job = start_job(place);
    add_losses(place, job, 1, 100);
    settle(place);
    assert_int_equal(rename(place->state, aside), 0);
    add_losses(place, job, 101, 200);
    wait_for_health(place, false, &health);
    assert_non_null(strstr(health.problem, "rwpd.db: it was moved"));
    assert_refused(insert(place, err), ERR_IO, "nothing was changed");
    assert_int_equal(rename(aside, place->state), 0);
    wait_for_health(place, true, &health);
    settle(place);
    assert_losses(place, job, 200);
    assert_ok(db_checkpoint_add(place->db, job, checkpoint, false, 1, err));
    checkpoint_drop(checkpoint);
    place_check(place);
}

/* ---- Checkpoints on a full disk ---- */

struct worker {
    struct place *place;
    struct checkpoint *checkpoint;
    int64_t job;
    atomic_int done;
    struct err err;
    int code;
};

static void *add_one(void *context)
{
    struct worker *worker = context;

    worker->code = db_checkpoint_add(worker->place->db, worker->job, worker->checkpoint, false, 1,
                                     &worker->err);
    atomic_store(&worker->done, 1);
    return NULL;
}

static void a_checkpoint_waits_and_holds_up_nobody(void **state)
{
    struct place *place = *state;
    struct worker worker = {.place = place, .checkpoint = checkpoint_of(10, 2000)};
    struct checkpoint *got;
    struct db_health health;
    pthread_t thread;

    place_open(place, &quick);
    worker.job = start_job(place);
    add_losses(place, worker.job, 1, 10);
    limit_files(1024 * 1024);
    assert_int_equal(pthread_create(&thread, NULL, add_one, &worker), 0);
    wait_for_health(place, false, &health);
    assert_non_null(strstr(health.problem, "checkpoints.db"));
    /* Its losses are there, others can work, and it waits longer than durable callers do. */
    assert_losses(place, worker.job, 10);
    assert_ok(insert(place, err));
    assert_ok(db_job_wish(place->db, worker.job, WISH_CANCEL, err));
    usleep(1200000);
    assert_int_equal(atomic_load(&worker.done), 0);
    assert_int_equal(place_number(place, "checkpoints.db", "SELECT count(*) FROM tensor"), 0);
    limit_files(RLIM_INFINITY);
    pthread_join(thread, NULL);
    assert_int_equal(worker.code, 0);
    assert_ok(db_checkpoint_load(place->reader, worker.job, 10, &got, err));
    assert_checkpoint_equal(got, worker.checkpoint);
    db_checkpoint_free(got);
    checkpoint_drop(worker.checkpoint);
}

static void giving_up_frees_those_who_wait(void **state)
{
    struct place *place = *state;
    struct worker worker = {.place = place, .checkpoint = checkpoint_of(10, 2000)};
    struct db_loss loss = loss_of(20000);
    struct db_health health;
    pthread_t thread;
    double start;
    int code;

    place_open(place, &quick);
    worker.job = start_job(place);
    limit_files(64 * 1024);
    assert_int_equal(pthread_create(&thread, NULL, add_one, &worker), 0);
    wait_for_health(place, false, &health);
    add_losses(place, worker.job, 1, 5000);
    start = clock_seconds();
    db_give_up(place->db);
    pthread_join(thread, NULL);
    assert_int_equal(worker.code, ERR_FULL);
    assert_true(clock_seconds() - start < 9);
    /* What the worker does next is told at once, too. */
    code = db_job_set_state(place->db, worker.job, JOB_QUEUED, NULL, NULL);
    assert_true(code == ERR_FULL);
    assert_int_equal(db_loss_add(place->db, worker.job, &loss, NULL), ERR_FULL);
    db_reader_close(place->reader);
    place->reader = NULL;
    db_close(place->db);
    place->db = NULL;
    assert_true(clock_seconds() - start < 9); /* closing waits for ten, if it waits */
    limit_files(RLIM_INFINITY);
    place_open(place, NULL);
    place_check(place);
    checkpoint_drop(worker.checkpoint);
}

/* ---- A file system of one MiB ---- */

static int tiny_setup(void **state)
{
    struct place *place;

    trouble_setup(state);
    place = *state;
    snprintf(place->state, sizeof place->state, "%s/state", place->path);
    return 0;
}

static void a_file_system_that_is_full(void **state)
{
    struct place *place = *state;
    struct db_health health;
    int64_t job;
    FILE *filler;
    char above[PATH_MAX + 8];

    snprintf(above, sizeof above, "%s", place->path);
    if (mount("rwpd-test", above, "tmpfs", 0, "size=1m") != 0) {
        print_message("no tmpfs without privileges: skipped\n");
        skip();
    }
    place_open(place, &quick);
    job = start_job(place);
    filler = fopen(place_file(place, "filler"), "w");
    assert_non_null(filler);
    setvbuf(filler, NULL, _IONBF, 0);
    while (fwrite(above, 1, 4096, filler) == 4096)
        ;
    fclose(filler);
    add_losses(place, job, 1, 3000);
    wait_for_health(place, false, &health);
    assert_non_null(strstr(health.problem, "no space left"));
    assert_int_equal(health.free_bytes, 0);
    refused_in_time(place, ERR_FULL, "nothing was changed");
    unlink(place_file(place, "filler"));
    wait_for_health(place, true, &health);
    settle(place);
    assert_losses(place, job, 3000);
    place_reopen(place);
    assert_losses(place, job, 3000);
    place_check(place);
}

static int tiny_teardown(void **state)
{
    struct place *place = *state;

    limit_files(RLIM_INFINITY);
    place_close(place);
    umount2(place->path, MNT_DETACH);
    return place_teardown(state);
}

static void a_disk_that_is_full_at_opening(void **state)
{
    struct place *place = *state;
    struct db *db = NULL;

    limit_files(2048);
    assert_refused(db_open(&db, place->state, NULL, err), ERR_FULL, "rwpd.db");
    assert_null(db);
    limit_files(RLIM_INFINITY);
    place_open(place, NULL);
    add_job(place, "j", 0);
}

/* A mistake of ours (here: the table is gone) ends what it touches, not the daemon. */
static void a_row_that_cannot_be_recorded_is_told(void **state)
{
    struct place *place = *state;
    struct db_loss loss = loss_of(3);
    int64_t job;
    int code = 0;

    place_open(place, &quick);
    job = start_job(place);
    place_sql(place, "rwpd.db", "ALTER TABLE loss RENAME TO gone");
    add_losses(place, job, 1, 2);
    for (; loss.update < 300 && !code; loss.update++) {
        usleep(20000);
        code = db_loss_add(place->db, job, &loss, NULL);
    }
    assert_int_equal(code, ERR_INTERNAL);
    assert_ok(insert(place, err));
    assert_ok(db_job_wish(place->db, job, WISH_PAUSE, err));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, trouble_setup, trouble_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_loses_nothing),
        TEST(health_comes_back_by_itself),
        TEST(a_foreign_lock_is_waited_for),
        TEST(files_that_were_moved_are_not_written),
        TEST(a_checkpoint_waits_and_holds_up_nobody),
        TEST(giving_up_frees_those_who_wait),
        cmocka_unit_test_setup_teardown(a_file_system_that_is_full, tiny_setup, tiny_teardown),
        TEST(a_disk_that_is_full_at_opening),
        TEST(a_row_that_cannot_be_recorded_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
