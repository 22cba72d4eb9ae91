/* kill -9 of a process that writes, at random moments: everything that it was told is on disk is
 * there afterwards, and what is there fits together. The writer (victim.h) says what it was
 * answered, and each round goes on with the files that the last one left. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "victim.h"

#define ROUNDS     25
#define JOBS_MAX   4096
#define PER_RUN    120 /* updates of a job */
#define CHECKPOINT 15  /* updates between two checkpoints */
#define KIB        40

/* ---- The writer ---- */

/* What is told down the pipe, in one write each. */
struct told {
    int64_t job;
    uint64_t checkpoint; /* 0: none in this message */
    int state;           /* -1: none in this message */
};

static void tell(int pipe, int64_t job, uint64_t checkpoint, int state)
{
    struct told told = {.job = job, .checkpoint = checkpoint, .state = state};

    if (write(pipe, &told, sizeof told) != sizeof told)
        _exit(4);
}

static void run_job(struct db *db, int pipe)
{
    struct db_claim claim;

    must(db_job_claim(db, 1, &claim, err));
    free(claim.spec);
    tell(pipe, claim.id, 0, JOB_RUNNING);
    for (uint64_t update = claim.from_update + 1; update <= PER_RUN; update++) {
        struct db_loss loss = loss_of(update);

        must(db_loss_add(db, claim.id, &loss, err));
        if (update % 10 == 0) {
            struct db_epoch epoch = epoch_of((int64_t)update / 10);

            must(db_epoch_add(db, claim.id, &epoch, err));
        }
        if (update % CHECKPOINT == 0) {
            struct checkpoint *checkpoint = checkpoint_of(update, KIB);

            must(db_checkpoint_add(db, claim.id, checkpoint, update == PER_RUN, 2, err));
            tell(pipe, claim.id, update, -1);
            checkpoint_drop(checkpoint);
        }
    }
    must(db_job_set_state(db, claim.id, JOB_SUCCEEDED, NULL, err));
    tell(pipe, claim.id, 0, JOB_SUCCEEDED);
}

static int write_until_killed(const char *folder, int pipe)
{
    const struct db_new_job job = {.name = "j", .spec = "{}", .updates = PER_RUN};
    struct db *db;
    int64_t id;

    must(db_open(&db, folder, NULL, err));
    must(db_recover(db, NULL, err));
    tell(pipe, 0, 0, -1); /* from here on it may be killed */
    for (;;) {
        for (int i = 0; i < 2; i++) {
            must(db_job_insert(db, &job, &id, NULL, err));
            tell(pipe, id, 0, JOB_QUEUED);
        }
        run_job(db, pipe);
    }
}

/* ---- What must be there ---- */

struct known {
    uint64_t checkpoint;
    bool exists, succeeded;
};

static struct known known[JOBS_MAX];
static int64_t n_known;

static void note(const struct told *told)
{
    assert_true(told->job < JOBS_MAX);
    if (told->job > n_known)
        n_known = told->job;
    known[told->job].exists = true;
    if (told->checkpoint > known[told->job].checkpoint)
        known[told->job].checkpoint = told->checkpoint;
    known[told->job].succeeded |= told->state == JOB_SUCCEEDED;
}

struct latest {
    uint64_t update, before;
    int n;
};

static int keep_latest(void *context, const struct db_checkpoint *checkpoint)
{
    struct latest *latest = context;

    assert_true(checkpoint->update > latest->update);
    latest->before = latest->update;
    latest->update = checkpoint->update;
    latest->n++;
    return 0;
}

static int next_loss(void *context, const struct db_loss *loss)
{
    uint64_t *n = context;

    assert_int_equal(loss->update, ++*n);
    return 0;
}

static int next_epoch(void *context, const struct db_epoch *epoch)
{
    int64_t *n = context;

    assert_int_equal(epoch->epoch, ++*n);
    return 0;
}

static void check_content(struct place *place, int64_t id, uint64_t update)
{
    struct checkpoint *want = checkpoint_of(update, KIB), *got;

    assert_ok(db_checkpoint_load(place->reader, id, update, &got, err));
    assert_checkpoint_equal(got, want);
    db_checkpoint_free(got);
    checkpoint_drop(want);
}

static void check_job(struct place *place, int64_t id)
{
    struct latest latest = {0};
    uint64_t losses = 0;
    int64_t epochs = 0;
    struct db_job job;

    if (!known[id].exists)
        return;
    job = get_job(place, id);
    assert_ok(db_checkpoints_each(place->reader, id, keep_latest, &latest, err));
    assert_true(latest.n <= 2);
    assert_true(latest.update >= known[id].checkpoint);
    assert_ok(db_losses_each(place->reader, id, 0, INT64_MAX, next_loss, &losses, err));
    assert_ok(db_epochs_each(place->reader, id, 0, INT64_MAX, next_epoch, &epochs, err));
    assert_true(losses >= latest.update);
    assert_true((uint64_t)epochs >= latest.update / 10);
    assert_int_equal(job.updates_done, losses);
    assert_int_equal(job.epoch, epochs);
    if (known[id].succeeded) {
        assert_int_equal(job.state, JOB_SUCCEEDED);
        assert_int_equal(latest.update, PER_RUN);
    }
    if (latest.n)
        check_content(place, id, latest.update);
    if (latest.n == 2)
        check_content(place, id, latest.before);
    db_job_free(&job);
}

static void check_all(struct place *place)
{
    place_check(place);
    place_open(place, NULL);
    for (int64_t id = 1; id <= n_known; id++)
        check_job(place, id);
    assert_int_equal(
        place_number(place, "rwpd.db", "SELECT (SELECT count(*) FROM loss) - losses FROM store"),
        0);
    place_close(place);
}

static void one_round(struct place *place, unsigned delay_us)
{
    struct victim victim;
    struct told told;

    victim_start(&victim, place);
    assert_int_equal(read(victim.from, &told, sizeof told), sizeof told);
    usleep(delay_us);
    victim_kill(&victim);
    while (read(victim.from, &told, sizeof told) == sizeof told)
        note(&told);
    victim_close(&victim);
}

static void whatever_was_answered_survives_kill_9(void **state)
{
    struct place *place = *state;
    unsigned seed = (unsigned)clock_wall_ms();
    int finished = 0;

    print_message("seed %u\n", seed);
    for (int round = 0; round < ROUNDS; round++) {
        one_round(place, (unsigned)rand_r(&seed) % 100000);
        check_all(place);
    }
    for (int64_t id = 1; id <= n_known; id++)
        finished += known[id].succeeded;
    print_message("%lld jobs, %d finished\n", (long long)n_known, finished);
    assert_true(n_known >= 10); /* else it has tested nothing */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whatever_was_answered_survives_kill_9, place_setup,
                                        place_teardown),
    };

    victim_main(argc, argv, write_until_killed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
