/* Deleting: all that a job has recorded goes and nothing else does, whenever the process is killed;
 * what somebody needs is refused; what is gone does not come back. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "db/probe.h"
#include "db/sweep.h"
#include "support.h"

#define TABLES_MAX   64
#define LOSSES       2500 /* more than go in one step */
#define ROUNDS       12
#define CALLERS      30
#define LOCK_SECONDS 0.2 /* that a try waits for a lock */

/* ---- How many rows there are ---- */

struct table {
    char name[40];
    int64_t rows;
};

struct counts {
    int n;
    struct table table[TABLES_MAX];
};

static void count_file(struct place *place, const char *name, struct counts *out)
{
    sqlite3 *handle;
    sqlite3_stmt *tables;

    assert_int_equal(sqlite3_open(place_file(place, name), &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, 60000);
    assert_int_equal(sqlite3_prepare_v2(handle,
                                        "SELECT name FROM sqlite_master WHERE type = 'table' AND "
                                        "name NOT LIKE 'sqlite%' ORDER BY name",
                                        -1, &tables, NULL),
                     SQLITE_OK);
    while (sqlite3_step(tables) == SQLITE_ROW) {
        struct table *table = &out->table[out->n++];
        char text[80];

        assert_true(out->n <= TABLES_MAX);
        snprintf(table->name, sizeof table->name, "%s",
                 (const char *)sqlite3_column_text(tables, 0));
        snprintf(text, sizeof text, "SELECT count(*) FROM %s", table->name);
        table->rows = place_number(place, name, text);
    }
    sqlite3_finalize(tables);
    sqlite3_close(handle);
}

static struct counts count_all(struct place *place)
{
    struct counts counts = {0};

    count_file(place, "rwpd.db", &counts);
    count_file(place, "checkpoints.db", &counts);
    return counts;
}

/* Every table of both files has as many rows as before, but `deleted`, which has `more`. */
static void assert_counts(struct place *place, const struct counts *before, int64_t more)
{
    struct counts now = count_all(place);

    assert_int_equal(now.n, before->n);
    for (int i = 0; i < now.n; i++) {
        bool told = strcmp(now.table[i].name, "deleted") == 0;

        assert_string_equal(now.table[i].name, before->table[i].name);
        if (now.table[i].rows != before->table[i].rows + (told ? more : 0))
            fail_msg("table %s has %lld rows, not %lld", now.table[i].name,
                     (long long)now.table[i].rows, (long long)before->table[i].rows);
    }
    assert_int_equal(
        place_number(place, "rwpd.db", "SELECT (SELECT count(*) FROM loss) - losses FROM store"),
        0);
}

/* ---- A job with a row in every table ---- */

#define must(call)                                                                                 \
    do {                                                                                           \
        struct err must_err = {0};                                                                 \
        struct err *err = &must_err;                                                               \
        if ((call) != 0) {                                                                         \
            fprintf(stderr, "%s: %s\n", #call, err->message);                                      \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void add_checkpoint(struct db *db, int64_t job, uint64_t update, const struct db_due *due)
{
    struct checkpoint *checkpoint = checkpoint_of(update, 100);

    must(db_checkpoint_add_due(db, job, checkpoint, false, 2, due, due ? 1 : 0, err));
    checkpoint_drop(checkpoint);
}

/* The job's own probe, with rows and vectors, to its end. */
static void run_probe(struct db *db)
{
    struct checkpoint *vectors = checkpoint_of(1, 10);
    struct db_probe_claim claim;

    must(db_probe_claim(db, 1, &claim, err));
    for (int i = 0; i < 1500; i++) {
        const struct probe_row row = {.table = 1, .number = i, .n = 1, .value = {i}};

        must(db_probe_row_add(db, claim.id, &row, err));
    }
    must(db_probe_progress(db, claim.id, 0.5, err));
    must(db_probe_vectors_add(db, claim.id, vectors, err));
    must(db_probe_set_state(db, claim.id, PROBE_SUCCEEDED, NULL, err));
    db_probe_claim_free(&claim);
    checkpoint_drop(vectors);
}

static int64_t full_job(struct db *db, uint64_t losses, const char *key)
{
    const struct db_new_job new = {.name = "full",
                                   .spec = "{}",
                                   .updates = losses,
                                   .idempotency_key = key,
                                   .fingerprint = key ? "one" : NULL,
                                   .estimate = {.signature = 7, .device = "cpu", .bytes = 1}};
    const struct db_due due = {.plan = {.kind = "spectrum", .request = "{}"}};
    const struct telemetry telemetry = {
        .update = 9, .epoch = 1, .known = {[TELEMETRY_COSINE] = true}};
    const struct db_epoch epoch = epoch_of(1);
    enum job_state state = JOB_QUEUED;
    struct db_claim claim;
    int64_t id;

    must(db_job_insert(db, &new, &id, NULL, err));
    must(db_job_claim(db, 1, &claim, err));
    free(claim.spec);
    for (uint64_t i = 1; i <= losses; i++) {
        struct db_loss loss = loss_of(i);

        must(db_loss_add(db, id, &loss, err));
    }
    must(db_epoch_add(db, id, &epoch, err));
    must(db_telemetry_add(db, id, &telemetry, err));
    must(db_message_add(db, id, "hello", err));
    add_checkpoint(db, id, losses - 1, NULL);
    add_checkpoint(db, id, losses, &due);
    must(db_job_lost(db, id, true, "a test", &state, err));
    must(db_job_claim(db, 1, &claim, err));
    free(claim.spec);
    must(db_job_set_state(db, id, JOB_SUCCEEDED, NULL, err));
    run_probe(db);
    return id;
}

/* A job of which nothing may be lost. */
static int64_t other_job(struct place *place)
{
    int64_t id = start_job(place);

    add_losses(place, id, 1, 500);
    add_checkpoint(place->db, id, 500, NULL);
    assert_ok(db_job_set_state(place->db, id, JOB_PAUSED, NULL, err));
    settle(place);
    return id;
}

static void assert_other(struct place *place, int64_t id)
{
    struct checkpoint *want = checkpoint_of(500, 100), *got;

    assert_losses(place, id, 500);
    assert_ok(db_checkpoint_load(place->reader, id, 500, &got, err));
    assert_checkpoint_equal(got, want);
    db_checkpoint_free(got);
    checkpoint_drop(want);
}

static int no_job(void *context, const struct db_job *job)
{
    if (job->id == *(int64_t *)context)
        fail_msg("job %lld is listed", (long long)job->id);
    return 0;
}

static void assert_gone(struct place *place, int64_t id)
{
    const struct db_job_query all = {.state = -1, .limit = 1000};
    const struct db_key key = {.of = DB_KEY_JOB, .key = "key", .fingerprint = "one"};
    struct db_probe probe;
    struct db_job job;
    int64_t known;

    assert_refused(db_job_get(place->reader, id, &job, err), ERR_NOT_FOUND, "no job");
    assert_refused(db_probe_get(place->reader, id, 1, &probe, err), ERR_NOT_FOUND, "no probe");
    assert_ok(db_jobs_each(place->reader, &all, no_job, &id, err));
    assert_ok(db_key_known(place->reader, &key, &known, err));
    assert_int_equal(known, 0);
}

static void all_of_it_goes_and_nothing_else(void **state)
{
    struct place *place = *state;
    struct counts before, with;
    int64_t other, id;

    place_open(place, NULL);
    other = other_job(place);
    before = count_all(place);
    id = full_job(place->db, LOSSES, "key");
    settle(place);
    with = count_all(place);
    for (int i = 0; i < with.n; i++) /* else this tests nothing */
        if (!strstr("store deleted sweep upload", with.table[i].name))
            assert_true(with.table[i].rows > before.table[i].rows);
    assert_ok(db_job_delete(place->db, id, err));
    assert_gone(place, id);
    assert_ok(db_message_add(place->db, id, "too late", err));
    assert_refused(db_job_delete(place->db, id, err), ERR_NOT_FOUND, "no job");
    assert_refused(db_job_set_state(place->db, id, JOB_QUEUED, NULL, err), ERR_NOT_FOUND, "no job");
    settle(place);
    assert_counts(place, &before, 1);
    assert_other(place, other);
    place_reopen(place);
    place_check(place);
    assert_counts(place, &before, 1);
    assert_gone(place, id);
    assert_other(place, other);
    assert_refused(db_message_add(place->db, id, "far too late", err), ERR_NOT_FOUND, "no job");
    assert_int_equal(full_job(place->db, 10, "key"), id + 1); /* with the same key */
}

/* What a crash behind the deletion's commit leaves. */
static void the_next_start_goes_on(void **state)
{
    struct place *place = *state;
    struct counts before;
    int64_t other;

    place_open(place, NULL);
    other = other_job(place);
    before = count_all(place);
    assert_int_equal(full_job(place->db, LOSSES, "key"), 2);
    place_close(place);
    place_sql(place, "rwpd.db",
              "UPDATE job SET state = -1, idempotency_key = NULL WHERE id = 2;"
              "DELETE FROM estimate WHERE job = 2; DELETE FROM death WHERE job = 2;"
              "DELETE FROM loss WHERE job = 2 AND updates < 1200;"
              "UPDATE store SET losses = losses - 1199");
    place_sql(place, "checkpoints.db",
              "UPDATE checkpoint SET job = -9223372036854775808 WHERE job = 2 AND final = 0;"
              "DELETE FROM tensor WHERE number = 2 AND checkpoint IN "
              "(SELECT id FROM checkpoint WHERE job = -9223372036854775808)");
    place_open(place, NULL);
    assert_gone(place, 2);
    settle(place);
    assert_counts(place, &before, 0);
    assert_other(place, other);
}

/* Who has found a checkpoint before its removal began is told that it went. */
static void what_is_half_removed_is_not_there(void **state)
{
    struct place *place = *state;
    struct db_checkpoint found;
    struct tensor *tensors;
    int64_t job;
    int n;

    place_open(place, NULL);
    job = other_job(place);
    assert_ok(db_checkpoint_get(place->reader, job, 500, &found, err));
    place_close(place);
    place_sql(
        place, "checkpoints.db",
        "UPDATE checkpoint SET job = -9223372036854775808; DELETE FROM tensor WHERE number = 0");
    place_open(place, NULL);
    assert_refused(db_checkpoint_tensors(place->reader, found.id, &tensors, &n, err), ERR_NOT_FOUND,
                   "no longer");
}

/* As many as a job may have, each looked for by itself. */
static void many_probes_are_no_hindrance(void **state)
{
    struct place *place = *state;
    struct counts before;
    int64_t other;

    place_open(place, NULL);
    other = other_job(place);
    before = count_all(place);
    assert_int_equal(full_job(place->db, 10, "key"), 2);
    place_close(place);
    place_sql(
        place, "rwpd.db",
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
        "INSERT INTO probe (job, number, updates, kind, request, state, priority, created_ms) "
        "SELECT 2, i, 10, 'spectrum', '{}', (SELECT state FROM probe WHERE job = 2), 0, 0 "
        "FROM n");
    place_sql(place, "checkpoints.db",
              "INSERT INTO checkpoint SELECT id + 1, 0, 2000, 0, 0, 0 FROM checkpoint "
              "WHERE job = 0");
    place_open(place, NULL);
    assert_ok(db_job_delete(place->db, 2, err));
    settle(place);
    assert_counts(place, &before, 1);
    assert_other(place, other);
}

/* Who deletes because the disk is full deletes while writing fails; a lock is the same trouble. */
static void trouble_that_passes_delays_it(void **state)
{
    struct place *place = *state;
    struct counts before;
    sqlite3 *holder;
    int64_t other;
    double began;

    place_open(place, NULL);
    other = other_job(place);
    before = count_all(place);
    assert_int_equal(full_job(place->db, 10, "key"), 2);
    settle(place);
    assert_int_equal(sqlite3_open(place_file(place, "checkpoints.db"), &holder), SQLITE_OK);
    sqlite3_busy_timeout(holder, 60000);
    assert_int_equal(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_ok(db_job_delete(place->db, 2, err));
    /* A try waits for the lock, and with it who is answered then, but not everybody. */
    began = clock_seconds();
    for (int i = 0; i < CALLERS; i++)
        assert_refused(db_job_set_state(place->db, 2, JOB_QUEUED, NULL, err), ERR_NOT_FOUND, "");
    assert_true(clock_seconds() - began < CALLERS * LOCK_SECONDS / 2);
    assert_int_equal(sqlite3_close(holder), SQLITE_OK);
    settle(place);
    assert_counts(place, &before, 1);
    assert_other(place, other);
}

/* ---- Events ---- */

struct told {
    int64_t job;
    int n, deleted;
};

static int note_event(void *context, const struct db_event *event)
{
    struct told *told = context;

    if (event->job == told->job) {
        assert_int_equal(told->deleted, 0); /* it is the last one */
        told->n++;
        told->deleted += event->kind == EVENT_DELETED;
    }
    return 0;
}

static void events_tell_of_it(void **state)
{
    struct place *place = *state;
    int64_t id, last;

    place_open(place, NULL);
    id = full_job(place->db, 20, "key");
    assert_ok(db_job_delete(place->db, id, err));
    for (int i = 0; i < 3; i++) { /* at once; when all is gone; after a start */
        struct told all = {.job = id}, of_job = {.job = id};

        assert_ok(db_events_each(place->reader, 0, 0, 1000000, note_event, &all, err));
        assert_ok(db_events_each(place->reader, id, 0, 1000000, note_event, &of_job, err));
        assert_int_equal(all.deleted, 1);
        assert_int_equal(of_job.deleted, 1);
        if (i) {
            assert_int_equal(all.n, 1);
            assert_int_equal(of_job.n, 1);
            place_reopen(place);
        }
        settle(place);
    }
    assert_ok(db_events_last(place->reader, &last, err));
    assert_int_equal(last, place_number(place, "rwpd.db", "SELECT max(sequence) FROM deleted"));
}

/* ---- Refused ---- */

static void what_has_not_ended_stays(void **state)
{
    struct place *place = *state;
    struct db_claim claim;
    int64_t id;

    place_open(place, NULL);
    assert_refused(db_job_delete(place->db, 1, err), ERR_NOT_FOUND, "there is no job 1");
    assert_refused(db_job_delete(place->db, 0, err), ERR_NOT_FOUND, "there is no job 0");
    assert_refused(db_job_delete(place->db, -1, err), ERR_NOT_FOUND, "there is no job");
    id = add_job(place, "j", 0);
    assert_refused(db_job_delete(place->db, id, err), ERR_CONFLICT,
                   "job 1 is queued: cancel it first");
    assert_ok(db_job_set_state(place->db, id, JOB_PAUSED, NULL, err));
    assert_refused(db_job_delete(place->db, id, err), ERR_CONFLICT, "is paused");
    assert_ok(db_job_set_state(place->db, id, JOB_QUEUED, NULL, err));
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    free(claim.spec);
    assert_refused(db_job_delete(place->db, id, err), ERR_CONFLICT, "is running");
    assert_ok(db_job_set_state(place->db, id, JOB_FAILED, "why", err));
    assert_ok(db_job_delete(place->db, id, err));
    assert_gone(place, id);
    place_reopen(place);
    assert_int_equal(add_job(place, "next", 0), id + 1); /* the number is not used again */
}

static void what_a_job_begins_with_stays(void **state)
{
    struct place *place = *state;
    struct db_new_job new = {.name = "j", .spec = "{}", .updates = 5, .init_update = 20};
    int64_t source, user;

    place_open(place, NULL);
    source = new.init_job = full_job(place->db, 20, "key");
    assert_ok(db_job_insert(place->db, &new, &user, NULL, err));
    assert_refused(db_job_delete(place->db, source, err), ERR_CONFLICT,
                   "job 2 is to begin with a checkpoint of job 1");
    assert_ok(db_job_set_state(place->db, user, JOB_CANCELLED, NULL, err));
    assert_ok(db_job_delete(place->db, source, err));
    /* Its checkpoints may still be there, but not for anybody. */
    assert_refused(db_job_insert(place->db, &new, &user, NULL, err), ERR_CONFLICT,
                   "job 1 no longer has");
    assert_ok(db_job_delete(place->db, user, err));
}

static void what_a_probe_needs_stays(void **state)
{
    struct place *place = *state;
    struct db_new_probe probe = {.plan = {.kind = "landscape", .request = "{}"}, .update = 20};
    const struct db_new_job lists = {
        .name = "j",
        .spec = "{\"probes\":[{\"kind\":\"landscape\",\"other\":{\"job\":1,\"update\":20}}]}"};
    struct db_probe_claim claim;
    int64_t id, number, user;

    place_open(place, NULL);
    id = probe.job = full_job(place->db, 20, "key");
    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    assert_refused(db_job_delete(place->db, id, err), ERR_CONFLICT,
                   "job 1 has probe 2, which has not ended: cancel it first");
    assert_ok(db_probe_claim(place->db, 1, &claim, err));
    assert_refused(db_job_delete(place->db, id, err), ERR_CONFLICT, "job 1 has probe 2");
    assert_ok(db_probe_set_state(place->db, claim.id, PROBE_CANCELLED, NULL, err));
    db_probe_claim_free(&claim);

    probe.job = full_job(place->db, 20, NULL);
    probe.plan.other_job = id;
    probe.plan.other_update = 20;
    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    assert_refused(db_job_delete(place->db, id, err), ERR_CONFLICT,
                   "a probe of job 2 needs a checkpoint of job 1");
    assert_ok(db_probe_claim(place->db, 1, &claim, err));
    assert_ok(db_probe_set_state(place->db, claim.id, PROBE_SUCCEEDED, NULL, err));
    db_probe_claim_free(&claim);
    assert_ok(db_job_insert(place->db, &lists, &user, NULL, err));
    assert_refused(db_job_delete(place->db, id, err), ERR_CONFLICT,
                   "a probe of job 3 needs a checkpoint of job 1");
    assert_ok(db_job_set_state(place->db, user, JOB_CANCELLED, NULL, err));
    assert_ok(db_job_delete(place->db, id, err));
    assert_refused(db_probe_insert(place->db, &probe, &number, NULL, err), ERR_CONFLICT,
                   "job 1 no longer has");
    probe.job = id;
    assert_refused(db_probe_insert(place->db, &probe, &number, NULL, err), ERR_NOT_FOUND,
                   "no job 1");
}

/* ---- Sweeps ---- */

static void a_sweep_goes_as_a_whole(void **state)
{
    struct place *place = *state;
    const struct db_new_job jobs[3] = {{.name = "a", .spec = "{}", .updates = 1},
                                       {.name = "b", .spec = "{}", .updates = 1},
                                       {.name = "c", .spec = "{}", .updates = 1}};
    const struct db_new_sweep new = {.name = "s",
                                     .spec = "{}",
                                     .n = 3,
                                     .jobs = jobs,
                                     .idempotency_key = "key",
                                     .fingerprint = "one"};
    struct counts before;
    struct db_sweep sweep;
    int64_t other, id, again, n;
    bool existing;

    place_open(place, NULL);
    other = other_job(place);
    before = count_all(place);
    assert_ok(db_sweep_insert(place->db, &new, &id, NULL, err));
    assert_ok(db_job_set_state(place->db, other + 2, JOB_CANCELLED, NULL, err));
    assert_refused(db_job_delete(place->db, other + 2, err), ERR_CONFLICT,
                   "job 3 is one of sweep 1, which can only be deleted as a whole");
    assert_refused(db_sweep_delete(place->db, id, err), ERR_CONFLICT,
                   "job 2 of sweep 1 is queued: cancel the sweep first");
    assert_refused(db_sweep_delete(place->db, id + 1, err), ERR_NOT_FOUND, "no sweep 2");
    assert_refused(db_sweep_delete(place->db, 0, err), ERR_NOT_FOUND, "no sweep 0");
    assert_ok(db_sweep_change(place->db, id, SWEEP_CANCEL, &n, err));
    assert_ok(db_sweep_delete(place->db, id, err));
    assert_refused(db_sweep_get(place->reader, id, &sweep, err), ERR_NOT_FOUND, "no sweep 1");
    for (int64_t job = other + 1; job <= other + 3; job++)
        assert_gone(place, job);
    settle(place);
    assert_counts(place, &before, 3);
    assert_other(place, other);
    assert_ok(db_sweep_insert(place->db, &new, &again, &existing, err));
    assert_true(again == id + 1 && !existing);
}

/* ---- kill -9 ---- */

/* This program run again: makes a job, says down the pipe that it is going to delete it, deletes
 * it, says that it was done and waits for its end. */
static int delete_and_wait(const char *folder, int pipe)
{
    struct db *db;
    int64_t id;

    must(db_open(&db, folder, NULL, err));
    id = full_job(db, LOSSES, NULL);
    if (write(pipe, &id, sizeof id) != sizeof id)
        _exit(4);
    must(db_job_delete(db, id, err));
    id = -id;
    if (write(pipe, &id, sizeof id) != sizeof id)
        _exit(4);
    for (;;)
        pause();
}

/* Kills it `delay_us` after it began to delete. *said: the last that it said. */
static void one_round(struct place *place, unsigned delay_us, int64_t *said)
{
    int ends[2], status;
    char end[16];
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    snprintf(end, sizeof end, "%d", ends[1]);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "test_db_delete", "delete", place->state, end, (char *)NULL);
        _exit(5);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], said, sizeof *said), sizeof *said);
    usleep(delay_us);
    kill(child, SIGKILL);
    while (read(ends[0], said, sizeof *said) == sizeof *said)
        ;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); /* it had no error of its own */
}

/* The job whole, as it was before; it is deleted then. */
static void assert_whole(struct place *place, int64_t id)
{
    struct checkpoint *want = checkpoint_of(LOSSES, 100), *got;
    struct db_job job = get_job(place, id);

    assert_int_equal(job.state, JOB_SUCCEEDED);
    db_job_free(&job);
    assert_losses(place, id, LOSSES);
    assert_ok(db_checkpoint_load(place->reader, id, LOSSES, &got, err));
    assert_checkpoint_equal(got, want);
    db_checkpoint_free(got);
    checkpoint_drop(want);
    assert_ok(db_job_delete(place->db, id, err));
}

static void a_kill_leaves_the_job_or_nothing(void **state)
{
    struct place *place = *state;
    unsigned seed = (unsigned)clock_wall_ms();
    struct counts before;
    int64_t other, whole = 0, left = 0;

    place_open(place, NULL);
    other = other_job(place);
    before = count_all(place);
    place_close(place);
    print_message("seed %u\n", seed);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t said, id, deleted;
        struct db_job job;

        /* At first in the middle of the deletion itself, later of what follows. */
        one_round(place, (unsigned)rand_r(&seed) % (round % 3 ? 300000 : 3000), &said);
        id = llabs(said);
        place_check(place);
        left += place_number(place, "rwpd.db", "SELECT count(*) FROM job WHERE state < 0") > 0;
        place_open(place, NULL);
        if (said > 0 && db_job_get(place->reader, id, &job, NULL) == 0) {
            db_job_free(&job);
            assert_whole(place, id);
            whole++;
        }
        for (int64_t i = other + 1; i <= id; i++)
            assert_gone(place, i);
        settle(place);
        deleted = place_number(place, "rwpd.db", "SELECT count(*) FROM deleted");
        assert_counts(place, &before, deleted);
        assert_other(place, other);
        place_close(place);
    }
    print_message("%lld whole, %lld in the middle\n", (long long)whole, (long long)left);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_of_it_goes_and_nothing_else, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(the_next_start_goes_on, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(what_is_half_removed_is_not_there, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(many_probes_are_no_hindrance, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(trouble_that_passes_delays_it, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(events_tell_of_it, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(what_has_not_ended_stays, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(what_a_job_begins_with_stays, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(what_a_probe_needs_stays, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(a_sweep_goes_as_a_whole, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(a_kill_leaves_the_job_or_nothing, place_setup,
                                        place_teardown),
    };

    if (argc == 4 && strcmp(argv[1], "delete") == 0)
        return delete_and_wait(argv[2], atoi(argv[3]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
