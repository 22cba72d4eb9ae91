/* A start that is refused changes nothing: whatever is wrong with the files of a daemon that was
 * killed, the folder stays as it is to the byte, and once the right files are back, everything that
 * was answered is there. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "base/cleanup.h"
#include "kept.h"
#include "victim.h"

#define JOBS   3
#define LOSSES 400

/* ---- A daemon that was killed ---- */

static int answer_and_wait(const char *folder, int pipe)
{
    struct place place = {0};
    struct checkpoint *checkpoint = checkpoint_of(LOSSES, 40);
    int64_t id;

    must(db_open(&place.db, folder, NULL, err));
    id = start_job(&place);
    for (int i = 1; i < JOBS; i++)
        add_job(&place, "another", 0);
    add_losses(&place, id, 1, LOSSES);
    must(db_checkpoint_add(place.db, id, checkpoint, false, 2, err));
    settle(&place);
    if (write(pipe, "x", 1) != 1)
        _exit(4);
    for (;;)
        pause();
}

static void leave_killed(struct place *place)
{
    struct victim victim;
    char told;

    victim_start(&victim, place);
    assert_int_equal(read(victim.from, &told, 1), 1);
    victim_kill(&victim);
    victim_close(&victim);
}

static void assert_all_there(struct place *place)
{
    struct checkpoint *want = checkpoint_of(LOSSES, 40), *got;

    place_open(place, NULL);
    for (int64_t id = 1; id <= JOBS; id++) {
        struct db_job job = get_job(place, id);

        db_job_free(&job);
    }
    assert_losses(place, 1, LOSSES);
    assert_ok(db_checkpoint_load(place->reader, 1, LOSSES, &got, err));
    assert_checkpoint_equal(got, want);
    db_checkpoint_free(got);
    checkpoint_drop(want);
    place_check(place);
    place_close(place);
}

/* The folder as `spoil` leaves it is refused, twice, and stays as it is. Afterwards the files from
 * before bring everything back. */
static void refused(struct place *place, void (*spoil)(struct place *), int code, const char *text)
{
    struct kept right, wrong;
    struct db *db = NULL;

    kept_read(place, &right);
    spoil(place);
    kept_read(place, &wrong);
    for (int i = 0; i < 2; i++) {
        assert_refused(db_open(&db, place->state, NULL, err), code, text);
        assert_null(db);
        assert_kept(place, &wrong);
    }
    kept_put_back(place, &right);
    assert_all_there(place);
    kept_drop(&right);
    kept_drop(&wrong);
}

static void refused_after_a_kill(struct place *place, void (*spoil)(struct place *), int code,
                                 const char *text)
{
    leave_killed(place);
    refused(place, spoil, code, text);
}

static void refused_after_an_end(struct place *place, void (*spoil)(struct place *), int code,
                                 const char *text)
{
    leave_killed(place);
    place_open(place, NULL);
    place_close(place);
    assert_int_equal(access(place_file(place, "rwpd.db-wal"), F_OK), -1);
    refused(place, spoil, code, text);
}

/* ---- Missing and empty files ---- */

static void take(struct place *place, const char *name)
{
    assert_int_equal(unlink(place_file(place, name)), 0);
}

static void take_rows(struct place *place)
{
    take(place, "rwpd.db");
}

static void empty_rows(struct place *place)
{
    place_write(place, "rwpd.db", "", 0);
}

static void take_checkpoints(struct place *place)
{
    take(place, "checkpoints.db");
}

static void take_rows_and_their_log(struct place *place)
{
    take(place, "rwpd.db");
    take(place, "rwpd.db-wal");
}

static void take_rows_log(struct place *place)
{
    take(place, "rwpd.db-wal");
}

static void leave_only_rows_log(struct place *place)
{
    take(place, "rwpd.db");
    take(place, "checkpoints.db");
    take(place, "checkpoints.db-wal");
}

/* The log of checkpoints.db is copied and removed soon; a reader keeps it from that. */
static void leave_killed_with_both_logs(struct place *place)
{
    struct kept kept;
    sqlite3 *reader;

    leave_killed(place);
    place_open(place, NULL);
    assert_int_equal(sqlite3_open(place_file(place, "checkpoints.db"), &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT pair FROM store", NULL, NULL, NULL),
                     SQLITE_OK);
    place_sql(place, "checkpoints.db", "UPDATE store SET pair = pair");
    kept_read(place, &kept);
    sqlite3_close(reader);
    place_close(place);
    kept_put_back(place, &kept);
    kept_drop(&kept);
}

static void a_missing_file_is_not_made_anew(void **state)
{
    refused_after_a_kill(*state, take_rows, ERR_CORRUPT, "rwpd.db is missing, but rwpd.db-wal");
}

static void an_emptied_file_keeps_its_log(void **state)
{
    refused_after_a_kill(*state, empty_rows, ERR_CORRUPT, "rwpd.db is empty, but rwpd.db-wal");
}

static void a_log_alone_is_kept(void **state)
{
    refused_after_a_kill(*state, leave_only_rows_log, ERR_CORRUPT, "but rwpd.db-wal is here");
}

static void checkpoints_alone_are_kept(void **state)
{
    refused_after_a_kill(*state, take_rows_and_their_log, ERR_CORRUPT, "move");
}

static void without_logs_it_is_the_same(void **state)
{
    refused_after_an_end(*state, take_rows, ERR_CORRUPT,
                         "rwpd.db is missing, but checkpoints.db is here: put it back");
}

static void an_emptied_file_without_a_log(void **state)
{
    refused_after_an_end(*state, empty_rows, ERR_CORRUPT, "rwpd.db is empty");
}

static void a_missing_log_is_missed(void **state)
{
    refused_after_a_kill(*state, take_rows_log, ERR_CORRUPT, "rwpd.db-wal");
}

/* rwpd.db is whole without it, as it was before the jobs came of which there are checkpoints. */
static void a_log_of_later_jobs_is_missed(void **state)
{
    struct place *place = *state;

    place_open(place, NULL);
    place_close(place);
    refused_after_a_kill(place, take_rows_log, ERR_CORRUPT, "rwpd.db-wal, which is missing");
}

static void missing_checkpoints_keep_their_log(void **state)
{
    struct place *place = *state;

    leave_killed_with_both_logs(place);
    refused(place, take_checkpoints, ERR_CORRUPT,
            "checkpoints.db is missing, but checkpoints.db-wal");
}

/* ---- Damage ---- */

static void damage(struct place *place, const char *name, double where, size_t n)
{
    struct kept kept;
    const struct kept_file *file;
    size_t at;

    kept_read(place, &kept);
    file = kept_find(&kept, name);
    assert_true(file && file->n > 20000);
    at = (size_t)(where * (double)file->n);
    for (size_t i = at; i < at + n; i++)
        file->bytes[i] = (char)(i * 2654435761U >> 7);
    place_write(place, name, file->bytes, file->n);
    kept_drop(&kept);
}

static void damage_the_log_in_its_middle(struct place *place)
{
    damage(place, "rwpd.db-wal", 0.5, 5000);
}

static void damage_the_logs_first_commit(struct place *place)
{
    damage(place, "rwpd.db-wal", 0.01, 100);
}

static void damage_the_logs_header(struct place *place)
{
    damage(place, "rwpd.db-wal", 0, 20);
}

static void damage_all_of_the_log(struct place *place)
{
    damage(place, "rwpd.db-wal", 0, 20001);
}

static void damage_the_header(struct place *place)
{
    damage(place, "rwpd.db", 0, 100);
}

static void damage_the_headers_of_checkpoints(struct place *place)
{
    damage(place, "checkpoints.db", 0, 100);
}

static void cut(struct place *place)
{
    assert_int_equal(truncate(place_file(place, "rwpd.db"), 5000), 0);
}

static void cut_all_but_a_byte(struct place *place)
{
    assert_int_equal(truncate(place_file(place, "rwpd.db"), 1), 0);
}

static void a_damaged_log_is_named_and_kept(void **state)
{
    refused_after_a_kill(*state, damage_the_log_in_its_middle, ERR_CORRUPT, "rwpd.db-wal");
}

static void a_log_whose_first_commit_is_damaged(void **state)
{
    refused_after_a_kill(*state, damage_the_logs_first_commit, ERR_CORRUPT, "rwpd.db-wal");
}

static void a_log_with_a_damaged_header(void **state)
{
    refused_after_a_kill(*state, damage_the_logs_header, ERR_CORRUPT, "rwpd.db-wal");
}

static void a_log_that_is_damaged_from_its_beginning(void **state)
{
    refused_after_a_kill(*state, damage_all_of_the_log, ERR_CORRUPT, "rwpd.db-wal");
}

static void a_damaged_header_is_left_alone(void **state)
{
    refused_after_an_end(*state, damage_the_header, ERR_CORRUPT, "rwpd.db");
}

static void damaged_checkpoints_are_left_alone(void **state)
{
    refused_after_an_end(*state, damage_the_headers_of_checkpoints, ERR_CORRUPT, "checkpoints.db");
}

static void a_cut_file_is_left_alone(void **state)
{
    refused_after_an_end(*state, cut, ERR_CORRUPT, "rwpd.db");
}

static void a_file_of_one_byte_is_left_alone(void **state)
{
    refused_after_an_end(*state, cut_all_but_a_byte, ERR_CORRUPT, "rwpd.db");
}

/* ---- Files that are whole, but not the right ones ---- */

static void replace_by_another_programs(struct place *place)
{
    take_rows_and_their_log(place);
    place_sql(place, "rwpd.db", "CREATE TABLE cats (name TEXT); INSERT INTO cats VALUES ('Tom')");
}

static void replace_by_another_programs_with_a_log(struct place *place)
{
    struct kept kept;
    sqlite3 *other;

    take_rows_and_their_log(place);
    unlink(place_file(place, "rwpd.db-shm"));
    assert_int_equal(sqlite3_open(place_file(place, "rwpd.db"), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "PRAGMA journal_mode = WAL; CREATE TABLE cats (name TEXT)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    kept_read(place, &kept);
    sqlite3_close(other);
    kept_put_back(place, &kept);
    kept_drop(&kept);
}

static void make_rows_newer(struct place *place)
{
    place_sql(place, "rwpd.db", "PRAGMA user_version = 99");
}

/* rwpd.db would be migrated, were it alone. */
static void make_rows_older_and_checkpoints_newer(struct place *place)
{
    place_sql(place, "rwpd.db", "PRAGMA user_version = 9");
    place_sql(place, "checkpoints.db", "PRAGMA user_version = 99");
}

static void swap_checkpoints(struct place *place)
{
    place_sql(place, "checkpoints.db",
              "UPDATE store SET pair = 'ffffffffffffffffffffffffffffffff'");
}

static void another_programs_file_is_left_alone(void **state)
{
    refused_after_a_kill(*state, replace_by_another_programs, ERR_CORRUPT, "not one of rwpd's");
}

static void another_programs_log_is_left_alone(void **state)
{
    refused_after_a_kill(*state, replace_by_another_programs_with_a_log, ERR_CORRUPT,
                         "not one of rwpd's");
}

static void a_newer_version_is_left_alone(void **state)
{
    refused_after_an_end(*state, make_rows_newer, ERR_UNSUPPORTED, "newer rwpd");
}

static void nothing_is_migrated_beside_a_newer_file(void **state)
{
    refused_after_an_end(*state, make_rows_older_and_checkpoints_newer, ERR_UNSUPPORTED,
                         "checkpoints.db was written by a newer rwpd");
}

static void swapped_files_are_left_alone(void **state)
{
    refused_after_a_kill(*state, swap_checkpoints, ERR_CORRUPT, "does not belong");
}

/* ---- What is no reason to refuse ---- */

/* The last commit of a machine that lost its power: the same as one that never came. */
static void a_torn_last_commit_is_passed_over(void **state)
{
    struct place *place = *state;
    struct kept kept;

    leave_killed(place);
    kept_read(place, &kept);
    const struct kept_file *log = kept_find(&kept, "rwpd.db-wal");
    memset(log->bytes + log->n - 3000, 0, 3000);
    place_write(place, "rwpd.db-wal", log->bytes, log->n);
    kept_drop(&kept);
    place_open(place, NULL);
    for (int64_t id = 1; id <= JOBS; id++) {
        struct db_job job = get_job(place, id);

        db_job_free(&job);
    }
    place_check(place);
}

/* Two commits were torn, one after the other, the second one shorter: of the first one there is its
 * end. */
static void what_torn_commits_left_is_passed_over(void **state)
{
    struct place *place = *state;
    struct kept kept;

    leave_killed(place);
    kept_read(place, &kept);
    const struct kept_file *log = kept_find(&kept, "rwpd.db-wal");
    const size_t frame = 24 + 4096;
    char *bytes = calloc(1, log->n + 4 * frame);
    assert_non_null(bytes);
    memcpy(bytes, log->bytes, log->n);
    for (size_t i = 0; i < 4; i++) { /* salts, pages, which end a commit, another's checksums */
        char *at = bytes + log->n + i * frame;

        memcpy(at, log->bytes + log->n - frame, frame);
        at[7] = (char)(i % 2 ? 9 : 0);
        at[16] = (char)(at[16] + (char)i + 1);
    }
    place_write(place, "rwpd.db-wal", bytes, log->n + 4 * frame);
    free(bytes);
    kept_drop(&kept);
    assert_all_there(place);
}

/* Somebody reads with a tool of SQLite's while it starts. */
static void another_reader_is_no_hindrance(void **state)
{
    struct place *place = *state;
    sqlite3 *reader;

    leave_killed(place);
    assert_int_equal(sqlite3_open(place_file(place, "rwpd.db"), &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT pair FROM store", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_all_there(place);
    sqlite3_close(reader);
}

static void names_with_signs_of_uris(void **state)
{
    struct place *place = *state;

    strcpy(strrchr(place->state, '/'), "/a%20b?c#d e");
    place_open(place, NULL);
    add_job(place, "j", 0);
    place_reopen(place);
    struct db_job job = get_job(place, 1);
    db_job_free(&job);
}

/* A first start that was killed: every state in which it can leave the two files. */
static void a_first_start_can_be_interrupted(void **state)
{
    static const char *const left[][3] = {
        {"rwpd.db"},
        {"rwpd.db-wal"}, /* both empty */
        {"rwpd.db", "rwpd.db-wal"},
        {"rwpd.db", "checkpoints.db"},
    };
    struct place *place = *state;

    assert_int_equal(mkdir(place->state, 0700), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(left); i++) {
        const struct kept none = {0};

        for (int j = 0; left[i][j]; j++)
            place_write(place, left[i][j], "", 0);
        place_open(place, NULL);
        assert_int_equal(add_job(place, "j", 0), 1);
        place_close(place);
        kept_put_back(place, &none);
    }
}

/* As it was before the last of its steps, which give both files their mark. */
static void a_first_start_can_lack_its_marks(void **state)
{
    struct place *place = *state;

    place_open(place, NULL);
    place_close(place);
    place_sql(place, "checkpoints.db", "DELETE FROM store");
    place_reopen(place);
    place_close(place);
    place_sql(place, "checkpoints.db", "DELETE FROM store");
    place_sql(place, "rwpd.db", "DELETE FROM store");
    place_open(place, NULL);
    add_job(place, "j", 0);
}

/* Killed in its first transaction: a log without a commit. */
static void a_first_transaction_can_be_interrupted(void **state)
{
    struct place *place = *state;
    struct kept kept;
    const struct kept_file *log;

    leave_killed(place);
    kept_read(place, &kept);
    take(place, "checkpoints.db");
    unlink(place_file(place, "checkpoints.db-wal"));
    log = kept_find(&kept, "rwpd.db-wal");
    place_write(place, "rwpd.db-wal", log->bytes, 32 + 3 * (24 + 4096) + 1000);
    assert_int_equal(kept_find(&kept, "rwpd.db")->n, 4096);
    kept_drop(&kept);
    place_open(place, NULL);
    assert_int_equal(add_job(place, "j", 0), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_missing_file_is_not_made_anew),
        TEST(an_emptied_file_keeps_its_log),
        TEST(a_log_alone_is_kept),
        TEST(checkpoints_alone_are_kept),
        TEST(without_logs_it_is_the_same),
        TEST(an_emptied_file_without_a_log),
        TEST(a_missing_log_is_missed),
        TEST(a_log_of_later_jobs_is_missed),
        TEST(missing_checkpoints_keep_their_log),
        TEST(a_damaged_log_is_named_and_kept),
        TEST(a_log_whose_first_commit_is_damaged),
        TEST(a_log_with_a_damaged_header),
        TEST(a_log_that_is_damaged_from_its_beginning),
        TEST(a_damaged_header_is_left_alone),
        TEST(damaged_checkpoints_are_left_alone),
        TEST(a_cut_file_is_left_alone),
        TEST(a_file_of_one_byte_is_left_alone),
        TEST(another_programs_file_is_left_alone),
        TEST(another_programs_log_is_left_alone),
        TEST(a_newer_version_is_left_alone),
        TEST(nothing_is_migrated_beside_a_newer_file),
        TEST(swapped_files_are_left_alone),
        TEST(a_torn_last_commit_is_passed_over),
        TEST(what_torn_commits_left_is_passed_over),
        TEST(another_reader_is_no_hindrance),
        TEST(names_with_signs_of_uris),
        TEST(a_first_start_can_be_interrupted),
        TEST(a_first_start_can_lack_its_marks),
        TEST(a_first_transaction_can_be_interrupted),
    };

    victim_main(argc, argv, answer_and_wait);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
