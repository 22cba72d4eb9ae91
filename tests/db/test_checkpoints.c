/* Checkpoints: whole or not at all, pruned, read in ranges; and the truth after a crash between the
 * commits of the two files, in each order. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "support.h"

static void add_checkpoint(struct place *place, int64_t job, uint64_t update, int kib, bool final,
                           int64_t keep)
{
    struct checkpoint *checkpoint = checkpoint_of(update, kib);

    assert_ok(db_checkpoint_add(place->db, job, checkpoint, final, keep, err));
    checkpoint_drop(checkpoint);
}

static void assert_stored(struct place *place, int64_t job, uint64_t update, int kib)
{
    struct checkpoint *want = checkpoint_of(update, kib), *got;

    assert_ok(db_checkpoint_load(place->reader, job, update, &got, err));
    assert_checkpoint_equal(got, want);
    db_checkpoint_free(got);
    checkpoint_drop(want);
}

static void a_checkpoint_comes_back_bit_by_bit(void **state)
{
    struct place *place = *state;
    struct db_checkpoint found;
    struct db_job summary;
    struct db_totals totals;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_checkpoint(place, job, 7, 300, true, 1);
    assert_stored(place, job, 7, 300);
    place_reopen(place);
    assert_stored(place, job, 7, 300);
    assert_ok(db_checkpoint_get(place->reader, job, 7, &found, err));
    assert_true(found.final);
    assert_int_equal(found.bytes, 8 * 27 * 4 + 8 + 300 * 1024 + 3 * 8);
    assert_true(found.wall_ms > 1500000000000);
    summary = get_job(place, job);
    assert_int_equal(summary.checkpoint_update, 7);
    db_job_free(&summary);
    assert_ok(db_totals(place->reader, &totals, err));
    assert_int_equal(totals.checkpoints, 1);
    assert_refused(db_checkpoint_get(place->reader, job, 8, &found, err), ERR_NOT_FOUND, "8");
    assert_refused(db_checkpoint_get(place->reader, job + 1, 7, &found, err), ERR_NOT_FOUND, "7");
}

static void tensors_are_read_in_ranges(void **state)
{
    struct place *place = *state;
    struct checkpoint *want = checkpoint_of(9, 100);
    struct db_checkpoint found;
    struct tensor *tensors;
    unsigned char piece[5000];
    int64_t job;
    int n;

    place_open(place, NULL);
    job = start_job(place);
    add_checkpoint(place, job, 9, 100, false, 1);
    assert_ok(db_checkpoint_get(place->reader, job, 9, &found, err));
    assert_ok(db_checkpoint_tensors(place->reader, found.id, &tensors, &n, err));
    assert_int_equal(n, want->n_tensors);
    for (int i = 0; i < n; i++) {
        size_t bytes = tensor_bytes(&tensors[i]);

        assert_null(tensors[i].data);
        assert_string_equal(tensors[i].name, want->tensors[i].name);
        assert_int_equal(bytes, tensor_bytes(&want->tensors[i]));
        for (size_t at = 0; at < bytes; at += sizeof piece) {
            size_t length = bytes - at < sizeof piece ? bytes - at : sizeof piece;

            assert_ok(db_checkpoint_read(place->reader, found.id, i, at, length, piece, err));
            assert_memory_equal(piece, (const char *)want->tensors[i].data + at, length);
        }
        assert_refused(db_checkpoint_read(place->reader, found.id, i, bytes, 1, piece, err),
                       ERR_INVALID, "not in this tensor");
    }
    assert_refused(db_checkpoint_read(place->reader, found.id, n, 0, 0, piece, err), ERR_NOT_FOUND,
                   "tensor 5");
    free(tensors);
    checkpoint_drop(want);
}

struct updates {
    uint64_t update[16];
    int n;
};

static int collect(void *context, const struct db_checkpoint *checkpoint)
{
    struct updates *updates = context;

    updates->update[updates->n++] = checkpoint->update;
    return 0;
}

static void only_so_many_are_kept(void **state)
{
    struct place *place = *state;
    struct updates updates = {0};
    struct db_checkpoint first;
    struct tensor *tensors;
    int64_t job, other;
    char byte;
    int n;

    place_open(place, NULL);
    job = start_job(place);
    other = start_job(place);
    add_checkpoint(place, other, 1, 10, false, 2);
    add_checkpoint(place, job, 10, 10, false, 2);
    assert_ok(db_checkpoint_get(place->reader, job, 10, &first, err));
    for (uint64_t update = 20; update <= 50; update += 10)
        add_checkpoint(place, job, update, 10, false, 2);
    assert_ok(db_checkpoints_each(place->reader, job, collect, &updates, err));
    assert_ok(db_checkpoints_each(place->reader, other, collect, &updates, err));
    assert_int_equal(updates.n, 3);
    assert_int_equal(updates.update[0], 40);
    assert_int_equal(updates.update[1], 50);
    assert_int_equal(updates.update[2], 1);
    assert_stored(place, job, 40, 10);
    assert_int_equal(place_number(place, "checkpoints.db", "SELECT count(*) FROM tensor"), 15);
    /* Somebody who was reading the first one is told. */
    assert_refused(db_checkpoint_read(place->reader, first.id, 0, 0, 1, &byte, err), ERR_NOT_FOUND,
                   "no longer");
    assert_refused(db_checkpoint_tensors(place->reader, first.id, &tensors, &n, err), ERR_NOT_FOUND,
                   "no longer");
}

static int64_t add_follower(struct place *place, int64_t from, int64_t update)
{
    struct db_new_job job = {
        .name = "f", .spec = "{}", .updates = 9, .init_job = from, .init_update = update};
    bool existing;
    int64_t id;

    assert_ok(db_job_insert(place->db, &job, &id, &existing, err));
    return id;
}

static void keep_one(struct place *place, int64_t job, uint64_t update)
{
    struct checkpoint *checkpoint = checkpoint_of(update, 1);

    assert_ok(db_checkpoint_add(place->db, job, checkpoint, false, 1, err));
    checkpoint_drop(checkpoint);
}

static int64_t count_of(struct place *place, int64_t job)
{
    char text[100];

    snprintf(text, sizeof text, "SELECT count(*) FROM checkpoint WHERE job = %lld", (long long)job);
    return place_number(place, "checkpoints.db", text);
}

/* What a job begins with is kept until it has a checkpoint of its own. */
static void what_a_job_begins_with_is_kept(void **state)
{
    struct place *place = *state;
    struct db_new_job late = {.name = "l", .spec = "{}", .updates = 9, .init_update = 1};
    int64_t source, first, second, id;
    struct db_claim claim;

    place_open(place, NULL);
    source = start_job(place);
    keep_one(place, source, 1);
    first = add_follower(place, source, 1);
    keep_one(place, source, 2);
    second = add_follower(place, source, 2);
    keep_one(place, source, 3);
    assert_int_equal(count_of(place, source), 3);
    place_reopen(place);
    assert_ok(db_job_set_state(place->db, source, JOB_QUEUED, NULL, err));
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    free(claim.spec);
    assert_int_equal(claim.id, source);
    assert_ok(db_job_set_state(place->db, first, JOB_RUNNING, NULL, err));
    keep_one(place, first, 4);
    keep_one(place, source, 5); /* the first one has its own now */
    assert_int_equal(count_of(place, source), 2);
    assert_ok(db_job_set_state(place->db, second, JOB_CANCELLED, NULL, err));
    keep_one(place, source, 6);
    assert_int_equal(count_of(place, source), 1);
    /* Nothing new begins with what has gone. */
    late.init_job = source;
    assert_refused(db_job_insert(place->db, &late, &id, NULL, err), ERR_CONFLICT,
                   "no longer has a checkpoint of update 1");
}

static int64_t add_drawer(struct place *place, int64_t other, int64_t update, int *code)
{
    char spec[200];
    struct db_new_job job = {.name = "d", .spec = spec, .updates = 9};
    int64_t id = 0;

    snprintf(spec, sizeof spec,
             "{\"probes\":[{\"kind\":\"radius\"},{\"kind\":\"landscape\",\"x\":{\"direction\":"
             "\"line\"},\"other\":{\"job\":%lld,\"update\":%lld,\"upload\":0}}]}",
             (long long)other, (long long)update);
    *code = db_job_insert(place->db, &job, &id, NULL, NULL);
    return id;
}

static int64_t is_there(struct place *place, int64_t job, int64_t update)
{
    char text[100];

    snprintf(text, sizeof text,
             "SELECT count(*) FROM checkpoint WHERE job = %lld AND updates = %lld", (long long)job,
             (long long)update);
    return place_number(place, "checkpoints.db", text);
}

/* What the lines in a job's own list of probes end at is kept until the job has ended: checkpoints
 * of other jobs and its own. */
static void what_a_jobs_own_probes_need_is_kept(void **state)
{
    struct place *place = *state;
    int64_t source, waits, own;
    int code;

    place_open(place, NULL);
    source = start_job(place);
    keep_one(place, source, 1);
    waits = add_drawer(place, source, 1, &code);
    assert_int_equal(code, 0);
    own = add_drawer(place, 0, 2, &code);
    assert_int_equal(code, 0);
    assert_ok(db_job_set_state(place->db, own, JOB_RUNNING, NULL, err));
    for (uint64_t update = 1; update <= 4; update++) {
        keep_one(place, own, update);
        keep_one(place, source, update + 1);
    }
    assert_int_equal(count_of(place, source), 2);
    assert_true(is_there(place, source, 1) && is_there(place, source, 5));
    assert_int_equal(count_of(place, own), 2);
    assert_true(is_there(place, own, 2) && is_there(place, own, 4));
    /* With what is not there, or no longer, nothing new is taken. */
    add_drawer(place, source, 3, &code);
    assert_int_equal(code, ERR_CONFLICT);
    assert_ok(db_job_set_state(place->db, waits, JOB_PAUSED, NULL, err));
    keep_one(place, source, 6);
    assert_true(is_there(place, source, 1));
    assert_ok(db_job_set_state(place->db, waits, JOB_CANCELLED, NULL, err));
    keep_one(place, source, 7);
    assert_int_equal(count_of(place, source), 1);
}

static void ill_formed_ones_are_refused(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(10, 1);
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    assert_refused(db_checkpoint_add(place->db, job, checkpoint, false, 0, err), ERR_INVALID,
                   "keep 0");
    add_checkpoint(place, job, 20, 1, false, 1);
    assert_refused(db_checkpoint_add(place->db, job, checkpoint, false, 5, err), ERR_CONFLICT,
                   "update 20");
    checkpoint->update = 30;
    checkpoint->tensors[2].dim[0] = 1000000000;
    assert_refused(db_checkpoint_add(place->db, job, checkpoint, false, 5, err), ERR_LIMIT,
                   "large");
    checkpoint->tensors[2].rank = 5;
    assert_refused(db_checkpoint_add(place->db, job, checkpoint, false, 5, err), ERR_INVALID,
                   "tensor 2");
    assert_stored(place, job, 20, 1);
    checkpoint_drop(checkpoint);
}

static void the_same_update_is_replaced(void **state)
{
    struct place *place = *state;
    struct updates updates = {0};
    struct db_checkpoint found;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_checkpoint(place, job, 10, 1, false, 2);
    add_checkpoint(place, job, 20, 1, false, 2);
    add_checkpoint(place, job, 20, 2, true, 2);
    assert_ok(db_checkpoints_each(place->reader, job, collect, &updates, err));
    assert_int_equal(updates.n, 2);
    assert_int_equal(updates.update[0], 10);
    assert_ok(db_checkpoint_get(place->reader, job, 20, &found, err));
    assert_true(found.final);
    assert_stored(place, job, 20, 2);
}

static void a_run_begins_at_update_0_without_one(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(0, 1);
    struct updates updates = {0};
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    assert_ok(db_checkpoint_add(place->db, job, checkpoint, false, 2, err));
    assert_ok(db_checkpoints_each(place->reader, job, collect, &updates, err));
    assert_int_equal(updates.n, 0);
    checkpoint_drop(checkpoint);
}

static int64_t size_of(struct place *place, const char *name)
{
    struct stat status;

    return stat(place_file(place, name), &status) == 0 ? (int64_t)status.st_size : 0;
}

static void the_space_of_removed_ones_is_used_again(void **state)
{
    struct place *place = *state;
    int64_t job, after_two;

    place_open(place, NULL);
    job = start_job(place);
    for (uint64_t update = 1; update <= 2; update++)
        add_checkpoint(place, job, update, 1000, false, 2);
    place_reopen(place);
    after_two = size_of(place, "checkpoints.db");
    assert_in_range(after_two, 2000 * 1024, 2400 * 1024);
    assert_ok(db_recover(place->db, NULL, err));
    assert_ok(db_job_set_state(place->db, job, JOB_RUNNING, NULL, err));
    for (uint64_t update = 3; update <= 30; update++)
        add_checkpoint(place, job, update, 1000, false, 2);
    assert_stored(place, job, 29, 1000);
    assert_stored(place, job, 30, 1000);
    /* Not even the WAL keeps more than one while it is open. */
    assert_in_range(size_of(place, "checkpoints.db-wal"), 0, 2100 * 1024);
    place_reopen(place);
    assert_in_range(size_of(place, "checkpoints.db"), after_two, after_two + 65536);
    assert_int_equal(size_of(place, "checkpoints.db-wal"), 0);
}

/* ---- Damage ---- */

static void find_and_flip(struct place *place, const char *name, const void *what, size_t n)
{
    const char *path = place_file(place, name);
    int file = open(path, O_RDWR);
    size_t bytes = (size_t)size_of(place, name);
    char *all = malloc(bytes), *at;

    assert_true(file >= 0 && all);
    assert_int_equal(pread(file, all, bytes, 0), bytes);
    at = memmem(all, bytes, what, n);
    assert_non_null(at);
    at[n / 2] ^= 1;
    assert_int_equal(pwrite(file, all, bytes, 0), bytes);
    close(file);
    free(all);
}

static void one_wrong_bit_is_noticed(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(5, 8), *got;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_checkpoint(place, job, 5, 8, false, 1);
    place_close(place);
    find_and_flip(place, "checkpoints.db", checkpoint->tensors[2].data, 512);
    place_open(place, NULL);
    assert_refused(db_checkpoint_load(place->reader, job, 5, &got, err), ERR_CORRUPT,
                   "checkpoints.db: tensor 2");
    checkpoint_drop(checkpoint);
}

/* ---- A crash between the two commits ---- */

static void copy_file(const char *from, const char *to)
{
    char command[3 * PATH_MAX];

    snprintf(command, sizeof command, "cp '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

static void keep_copy(struct place *place, const char *name)
{
    char to[PATH_MAX + 64];

    snprintf(to, sizeof to, "%s/%s", place->path, name);
    copy_file(place_file(place, name), to);
}

static void put_back(struct place *place, const char *name)
{
    char from[PATH_MAX + 64];

    snprintf(from, sizeof from, "%s/%s", place->path, name);
    copy_file(from, place_file(place, name));
}

/* A running job with losses to 50 and a checkpoint of 20; both files as they are then are kept.
 * Then the checkpoint of 50 is added, and the database closed as if the daemon had died. */
static int64_t between_two_checkpoints(struct place *place)
{
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 20);
    add_checkpoint(place, job, 20, 4, false, 2);
    add_losses(place, job, 21, 50);
    place_close(place); /* a clean file without a WAL; the job stays running */
    keep_copy(place, "rwpd.db");
    keep_copy(place, "checkpoints.db");
    place_open(place, NULL);
    /* As if it had not been closed in between. */
    assert_ok(db_recover(place->db, NULL, err));
    assert_ok(db_job_set_state(place->db, job, JOB_RUNNING, NULL, err));
    add_losses(place, job, 21, 50);
    add_checkpoint(place, job, 50, 4, false, 2);
    place_close(place);
    return job;
}

static void goes_on_from(struct place *place, int64_t job, uint64_t update)
{
    struct db_claim claim;
    struct db_job summary;
    int n;

    place_open(place, NULL);
    assert_ok(db_recover(place->db, &n, err));
    assert_int_equal(n, 1);
    summary = get_job(place, job);
    assert_int_equal(summary.checkpoint_update, update);
    db_job_free(&summary);
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.id, job);
    assert_int_equal(claim.from_update, update);
    free(claim.spec);
    assert_losses(place, job, update);
    assert_stored(place, job, update, 4);
    summary = get_job(place, job);
    assert_int_equal(summary.updates_done, update);
    assert_int_equal(summary.checkpoint_update, update);
    db_job_free(&summary);
}

static int64_t checkpoint_events(struct place *place)
{
    return place_number(place, "rwpd.db", "SELECT count(*) FROM event WHERE kind = 3");
}

static void checkpoints_ahead_of_jobs(void **state)
{
    struct place *place = *state;
    int64_t job = between_two_checkpoints(place);

    put_back(place, "rwpd.db"); /* its commit did not come */
    assert_int_equal(checkpoint_events(place), 1);
    goes_on_from(place, job, 50);
    assert_int_equal(checkpoint_events(place), 2); /* who follows the events is told now */
}

static void jobs_ahead_of_checkpoints(void **state)
{
    struct place *place = *state;
    int64_t job = between_two_checkpoints(place);

    put_back(place, "checkpoints.db"); /* an older one from a backup, say */
    assert_int_equal(checkpoint_events(place), 2);
    goes_on_from(place, job, 20);
    assert_int_equal(checkpoint_events(place), 1);
}

static void checkpoints_lost(void **state)
{
    struct place *place = *state;
    int64_t job = between_two_checkpoints(place);
    struct db_claim claim;

    unlink(place_file(place, "checkpoints.db"));
    place_open(place, NULL);
    assert_ok(db_recover(place->db, NULL, err));
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.id, job);
    assert_int_equal(claim.from_update, 0);
    free(claim.spec);
    assert_losses(place, job, 0);
}

static void strange_checkpoints_are_refused(void **state)
{
    struct place *place = *state;
    struct db *db;

    between_two_checkpoints(place);
    place_sql(place, "rwpd.db", "UPDATE store SET pair = 'ffffffffffffffffffffffffffffffff'");
    assert_refused(db_open(&db, place->state, NULL, err), ERR_CORRUPT, "does not belong");
}

/* ---- Order ---- */

struct worker {
    struct place *place;
    int64_t job;
};

static void *work(void *context)
{
    struct worker *worker = context;
    struct checkpoint *checkpoint = checkpoint_of(200, 4);
    int code = 0;

    for (uint64_t update = 1; update <= 200 && !code; update++) {
        struct db_loss loss = loss_of(update);

        code = db_loss_add(worker->place->db, worker->job, &loss, NULL);
    }
    if (!code)
        code = db_checkpoint_add(worker->place->db, worker->job, checkpoint, false, 1, NULL);
    checkpoint_drop(checkpoint);
    return code ? worker : NULL;
}

static void losses_are_on_disk_before_their_checkpoint(void **state)
{
    struct place *place = *state;
    struct worker worker = {.place = place};
    pthread_t thread;
    void *failed;
    struct db_health health;

    place_open(place, NULL);
    worker.job = start_job(place);
    /* Nobody can write rwpd.db, but checkpoints.db is free. */
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(place_file(place, "rwpd.db"), &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(pthread_create(&thread, NULL, work, &worker), 0);
    wait_for_health(place, false, &health);
    assert_losses(place, worker.job, 0);
    assert_int_equal(place_number(place, "checkpoints.db", "SELECT count(*) FROM checkpoint"), 0);
    assert_int_equal(sqlite3_exec(handle, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_losses(place, worker.job, 200);
    assert_stored(place, worker.job, 200, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_checkpoint_comes_back_bit_by_bit),
        TEST(tensors_are_read_in_ranges),
        TEST(only_so_many_are_kept),
        TEST(ill_formed_ones_are_refused),
        TEST(what_a_job_begins_with_is_kept),
        TEST(what_a_jobs_own_probes_need_is_kept),
        TEST(the_same_update_is_replaced),
        TEST(a_run_begins_at_update_0_without_one),
        TEST(the_space_of_removed_ones_is_used_again),
        TEST(one_wrong_bit_is_noticed),
        TEST(checkpoints_ahead_of_jobs),
        TEST(jobs_ahead_of_checkpoints),
        TEST(checkpoints_lost),
        TEST(strange_checkpoints_are_refused),
        TEST(losses_are_on_disk_before_their_checkpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
