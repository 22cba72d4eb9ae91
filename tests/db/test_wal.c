/* The write-ahead logs: while others read, no row is held up and the logs do not grow for ever. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "support.h"

#define ROUND   500 /* messages of a kilobyte, which fill a log soonest */
#define ROUNDS  100
#define READERS 6
#define MIB     (1024 * 1024)

static int64_t size_of(struct place *place, const char *name)
{
    char path[PATH_MAX + 64];
    struct stat status;

    snprintf(path, sizeof path, "%s/%s", place->state, name);
    return stat(path, &status) == 0 ? (int64_t)status.st_size : 0;
}

static void wait_for_size(struct place *place, const char *name, int64_t at_most)
{
    for (int i = 0; i < 3000; i++) {
        if (size_of(place, name) <= at_most)
            return;
        usleep(10000);
    }
    fail_msg("after thirty seconds %s has %lld bytes", name, (long long)size_of(place, name));
}

static void add_messages(struct place *place, int64_t job, int n)
{
    char text[1000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < n; i++)
        assert_ok(db_message_add(place->db, job, text, err));
}

static int64_t messages(struct place *place)
{
    return place_number(place, "rwpd.db", "SELECT count(*) FROM event WHERE kind = 4");
}

/* Somebody who reads the file as it is now, until `reader_close`. */
static sqlite3 *reader_open(struct place *place, const char *name)
{
    char path[PATH_MAX + 64];
    sqlite3 *handle;

    snprintf(path, sizeof path, "%s/%s", place->state, name);
    if (sqlite3_open(path, &handle) != SQLITE_OK ||
        sqlite3_busy_timeout(handle, 10000) != SQLITE_OK ||
        sqlite3_exec(handle, "BEGIN; SELECT pair FROM store", NULL, NULL, NULL) != SQLITE_OK)
        abort(); /* also called in threads, where cmocka cannot fail */
    return handle;
}

static void reader_close(sqlite3 *handle)
{
    sqlite3_exec(handle, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(handle);
}

static void a_checkpoints_space_comes_back_when_its_reader_is_gone(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(5, 4000);
    sqlite3 *reader;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 5);
    reader = reader_open(place, "checkpoints.db");
    assert_ok(db_checkpoint_add(place->db, job, checkpoint, false, 1, err));
    checkpoint_drop(checkpoint);
    /* When the second is on disk, all that the writer does after the first is over. */
    for (uint64_t update = 6; update <= 7; update++) {
        add_losses(place, job, update, update);
        settle(place);
    }
    assert_true(size_of(place, "checkpoints.db-wal") > 4000 * 1024);
    reader_close(reader);
    /* No checkpoint comes any more; a loss is enough. */
    add_losses(place, job, 8, 8);
    wait_for_size(place, "checkpoints.db-wal", 0);
}

struct crowd {
    struct place *place;
    atomic_bool over;
};

/* One of several who read without a pause, none for long. */
static void *read_on_and_on(void *context)
{
    struct crowd *crowd = context;

    while (!atomic_load(&crowd->over)) {
        sqlite3 *reader = reader_open(crowd->place, "rwpd.db");

        usleep(4000);
        reader_close(reader);
    }
    return NULL;
}

/* At each commit there is somebody who began to read before it. */
static void readers_that_follow_each_other_do_not_let_it_grow(void **state)
{
    const struct db_options options = {.queue_rows = 2 * ROUND}; /* a round, a commit */
    struct crowd crowd = {.place = *state};
    struct place *place = *state;
    pthread_t reader[READERS];
    int64_t job, largest = 0;

    place_open(place, &options);
    job = start_job(place);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&reader[i], NULL, read_on_and_on, &crowd), 0);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t size;

        add_messages(place, job, ROUND);
        settle(place);
        size = size_of(place, "rwpd.db-wal");
        largest = size > largest ? size : largest;
    }
    atomic_store(&crowd.over, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(reader[i], NULL);
    assert_int_equal(messages(place), ROUNDS * ROUND);
    assert_in_range(largest, 1, 28 * MIB);
}

static void a_reader_that_stays_holds_up_no_row(void **state)
{
    struct place *place = *state;
    struct db_health health;
    sqlite3 *reader;
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    reader = reader_open(place, "rwpd.db");
    for (int round = 0; round < ROUNDS; round++)
        add_messages(place, job, ROUND);
    settle(place);
    db_health(place->db, &health);
    assert_true(health.writing);
    assert_int_equal(messages(place), ROUNDS * ROUND);
    assert_true(size_of(place, "rwpd.db-wal") > 34 * MIB);
    reader_close(reader);
    for (int i = 0; i < 2; i++) {
        add_messages(place, job, 1);
        settle(place);
    }
    wait_for_size(place, "rwpd.db-wal", 32 * MIB);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_checkpoints_space_comes_back_when_its_reader_is_gone),
        TEST(readers_that_follow_each_other_do_not_let_it_grow),
        TEST(a_reader_that_stays_holds_up_no_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
