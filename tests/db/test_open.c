/* Opening: folders of all sorts, damaged and strange files, other versions, a second daemon. */
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "support.h"

/* Steps of the present schema. */
#define ROWS_VERSION        12
#define CHECKPOINTS_VERSION 3

static void a_folder_is_made_for_its_owner_alone(void **state)
{
    struct place *place = *state;
    static const char *const files[] = {"rwpd.db", "checkpoints.db", "rwpd.db-wal", "lock"};
    struct stat status;

    place_open(place, NULL);
    add_job(place, "j", 0);
    assert_int_equal(stat(place->state, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(stat(place_file(place, files[i]), &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
    }
}

static void the_files_are_as_promised(void **state)
{
    struct place *place = *state;

    place_open(place, NULL);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "checkpoints.db" : "rwpd.db";

        assert_int_equal(
            place_number(place, name, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
        assert_int_equal(place_number(place, name, "PRAGMA user_version"),
                         i == 0 ? ROWS_VERSION : CHECKPOINTS_VERSION);
    }
    place_check(place);
}

static void a_second_daemon_is_refused(void **state)
{
    struct place *place = *state;
    struct db *second = NULL;

    place_open(place, NULL);
    assert_refused(db_open(&second, place->state, NULL, err), ERR_BUSY, "in use by another rwpd");
    assert_null(second);
    place_close(place);
    place_open(place, NULL);
}

static void links_are_followed(void **state)
{
    struct place *place = *state;
    char link[PATH_MAX + 16], slash[PATH_MAX + 32];
    struct db *db = NULL;
    int64_t id;

    place_open(place, NULL);
    id = add_job(place, "j", 0);
    place_close(place);
    snprintf(link, sizeof link, "%s/link", place->path);
    snprintf(slash, sizeof slash, "%s/", link);
    assert_int_equal(symlink("state", link), 0);
    strcpy(place->state, slash);
    place_open(place, NULL);
    struct db_job job = get_job(place, id);
    db_job_free(&job);
    place_close(place);
    snprintf(link, sizeof link, "%s/nowhere", place->path);
    assert_int_equal(symlink("nothing/there", link), 0);
    assert_refused(db_open(&db, link, NULL, err), ERR_IO, "nowhere");
}

static void what_is_no_folder_is_refused(void **state)
{
    struct place *place = *state;
    char path[PATH_MAX + 16];
    struct db *db = NULL;
    FILE *file = fopen(place->state, "w");

    assert_non_null(file);
    fclose(file);
    assert_refused(db_open(&db, place->state, NULL, err), ERR_IO, "is not a folder");
    snprintf(path, sizeof path, "%s/below", place->state);
    assert_refused(db_open(&db, path, NULL, err), ERR_IO, "below");
    snprintf(path, sizeof path, "%s/not/there", place->path);
    assert_refused(db_open(&db, path, NULL, err), ERR_IO, "not/there");
    assert_refused(db_open(&db, "", NULL, err), ERR_IO, "cannot create");
    assert_null(db);
}

/* In a process without privileges, because root may write everywhere. */
static void a_folder_that_cannot_be_written_is_refused(void **state)
{
    struct place *place = *state;
    int status;
    pid_t child;

    assert_int_equal(mkdir(place->state, 0555), 0);
    assert_int_equal(chmod(place->path, 0755), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct db *db = NULL;
        struct err err = {0};

        if (geteuid() == 0 && (setgroups(0, NULL) || setgid(65534) || setuid(65534)))
            _exit(3);
        db_open(&db, place->state, NULL, &err);
        _exit(err.code == ERR_IO && strstr(err.message, "cannot write the state folder") ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- Damage ---- */

static void overwrite(struct place *place, const char *name, off_t at, size_t n)
{
    int file = open(place_file(place, name), O_RDWR);
    char *bytes = malloc(n);

    assert_true(file >= 0 && bytes);
    memset(bytes, 0x5a, n);
    assert_int_equal(pwrite(file, bytes, n, at), n);
    close(file);
    free(bytes);
}

static int64_t with_some_losses(struct place *place)
{
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 5000);
    place_close(place);
    return job;
}

static void a_damaged_header_is_named(void **state)
{
    struct place *place = *state;
    struct db *db = NULL;

    with_some_losses(place);
    overwrite(place, "rwpd.db", 0, 100);
    assert_refused(db_open(&db, place->state, NULL, err), ERR_CORRUPT, "rwpd.db");
    assert_null(db);
}

static void damaged_checkpoints_are_named(void **state)
{
    struct place *place = *state;
    struct db *db = NULL;

    with_some_losses(place);
    overwrite(place, "checkpoints.db", 0, 100);
    assert_refused(db_open(&db, place->state, NULL, err), ERR_CORRUPT, "checkpoints.db");
    assert_null(db);
}

static void a_file_that_was_cut_is_named(void **state)
{
    struct place *place = *state;
    struct db *db = NULL;

    with_some_losses(place);
    assert_int_equal(truncate(place_file(place, "rwpd.db"), 5000), 0);
    assert_refused(db_open(&db, place->state, NULL, err), ERR_CORRUPT, "rwpd.db");
}

static int ignore(void *context, const struct db_loss *loss)
{
    (void)context, (void)loss;
    return 0;
}

static void damage_inside_is_found_when_it_is_read(void **state)
{
    struct place *place = *state;
    int64_t job = with_some_losses(place);

    /* Behind the schema's pages: the losses' own. */
    overwrite(place, "rwpd.db", 40 * 4096, 40 * 4096);
    place_open(place, NULL);
    assert_refused(db_losses_each(place->reader, job, 0, INT64_MAX, ignore, NULL, err), ERR_CORRUPT,
                   "rwpd.db");
}

/* The writer meets the damage: everybody is told, at once, and closing does not hang. */
static void damage_that_the_writer_meets_stops_writing(void **state)
{
    struct place *place = *state;
    const struct db_new_job another = {.name = "j", .spec = "{}"};
    struct db_loss loss = loss_of(1);
    struct db_health health;
    double start;
    int64_t job = with_some_losses(place), id;

    overwrite(place, "rwpd.db", 40 * 4096, 40 * 4096);
    place_open(place, NULL);
    start = clock_seconds();
    assert_ok(db_recover(place->db, NULL, err));
    /* Becoming running removes the losses, for there is no checkpoint. */
    assert_refused(db_job_set_state(place->db, job, JOB_RUNNING, NULL, err), ERR_CORRUPT,
                   "rwpd.db");
    assert_refused(db_job_insert(place->db, &another, &id, NULL, err), ERR_CORRUPT, "rwpd.db");
    assert_int_equal(db_loss_add(place->db, job, &loss, NULL), ERR_CORRUPT);
    db_health(place->db, &health);
    assert_false(health.writing);
    assert_non_null(strstr(health.problem, "damaged file"));
    place_close(place);
    assert_true(clock_seconds() - start < 9); /* no time limit was waited for */
}

/* ---- Strange files ---- */

static void make_file(struct place *place, const char *name, const char *text)
{
    sqlite3 *handle;

    if (access(place->state, F_OK) != 0)
        assert_int_equal(mkdir(place->state, 0700), 0);
    assert_int_equal(sqlite3_open(place_file(place, name), &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
}

static void a_file_of_another_program_is_left_alone(void **state)
{
    struct place *place = *state;
    struct db *db = NULL;

    make_file(place, "rwpd.db", "CREATE TABLE cats (name TEXT); INSERT INTO cats VALUES ('Tom')");
    assert_refused(db_open(&db, place->state, NULL, err), ERR_CORRUPT, "not one of rwpd's");
    assert_int_equal(place_number(place, "rwpd.db", "SELECT count(*) FROM cats"), 1);
}

static void place_set_version(struct place *place, const char *name, int version)
{
    char pragma[40];

    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", version);
    place_sql(place, name, pragma);
}

static void a_newer_version_is_refused(void **state)
{
    struct place *place = *state;
    struct db *db = NULL;

    with_some_losses(place);
    place_set_version(place, "checkpoints.db", CHECKPOINTS_VERSION + 1);
    assert_refused(db_open(&db, place->state, NULL, err), ERR_UNSUPPORTED, "newer rwpd");
    place_set_version(place, "checkpoints.db", CHECKPOINTS_VERSION);
    place_set_version(place, "rwpd.db", 99);
    assert_refused(db_open(&db, place->state, NULL, err), ERR_UNSUPPORTED, "rwpd.db");
    place_set_version(place, "rwpd.db", ROWS_VERSION);
    place_open(place, NULL);
}

/* The schema's first steps, as they are in the program. */
extern const char db_schema_rwpd_1[], db_schema_rwpd_2[], db_schema_rwpd_3[], db_schema_rwpd_4[];
extern const char db_schema_checkpoints_1[];

/* What an older version left: a running job with two losses, one of them beyond its checkpoint. */
static void migrate_from(struct place *place, int version)
{
    struct telemetry telemetry = {.update = 3, .epoch = 1, .known = {[TELEMETRY_COSINE] = true}};
    struct db_job job;
    int64_t n;

    assert_int_equal(mkdir(place->state, 0700), 0);
    place_sql(place, "rwpd.db", db_schema_rwpd_1);
    if (version >= 2)
        place_sql(place, "rwpd.db", db_schema_rwpd_2);
    if (version >= 3)
        place_sql(place, "rwpd.db", db_schema_rwpd_3);
    if (version >= 4)
        place_sql(place, "rwpd.db", db_schema_rwpd_4);
    place_set_version(place, "rwpd.db", version);
    place_sql(place, "rwpd.db",
              "PRAGMA application_id = 0x72777064;"
              "INSERT INTO store VALUES (1, '0123456789abcdef0123456789abcdef', 4, 2);"
              "INSERT INTO job (name, state, priority, parameters, created_ms, updates, spec) "
              "VALUES ('old', 1, 0, 10, 1, 5, '{}');"
              "INSERT INTO loss VALUES (1, 1, 2, 1, 0.5, NULL, 0.1, 0, 0.1);"
              "INSERT INTO loss VALUES (1, 2, 3, 1, 0.25, NULL, 0.1, 0, 0.1);"
              "INSERT INTO event VALUES (1, 1, 0, 1, 0, NULL, NULL);"
              "INSERT INTO event VALUES (4, 1, 4, 1, NULL, NULL, 'hello')");
    place_sql(place, "checkpoints.db", db_schema_checkpoints_1);
    place_sql(place, "checkpoints.db",
              "PRAGMA application_id = 0x72777063; PRAGMA user_version = 1;"
              "INSERT INTO store VALUES (1, '0123456789abcdef0123456789abcdef');"
              "INSERT INTO checkpoint VALUES (7, 1, 1, 0, 1, 0)");
    place_open(place, NULL);
    assert_int_equal(place_number(place, "checkpoints.db", "PRAGMA user_version"),
                     CHECKPOINTS_VERSION);
    assert_int_equal(place_number(place, "checkpoints.db", "SELECT id FROM checkpoint"), 7);
    assert_int_equal(place_number(place, "rwpd.db", "PRAGMA user_version"), ROWS_VERSION);
    assert_int_equal(place_number(place, "rwpd.db", "SELECT count(*) FROM loss"), 2);
    assert_int_equal(place_number(place, "rwpd.db", "SELECT sequence FROM store"), 4);
    job = get_job(place, 1);
    assert_string_equal(job.name, "old");
    db_job_free(&job);
    /* And it takes what the new version has. */
    assert_ok(db_job_set_state(place->db, 1, JOB_QUEUED, NULL, err));
    assert_ok(db_job_set_state(place->db, 1, JOB_RUNNING, NULL, err));
    assert_ok(db_telemetry_add(place->db, 1, &telemetry, err));
    place_reopen(place);
    assert_ok(db_telemetry_count(place->reader, 1, 0, &n, err));
    assert_int_equal(n, 1);
    place_check(place);
}

static void a_file_of_version_1_is_migrated(void **state)
{
    migrate_from(*state, 1);
}

static void a_file_of_version_2_is_migrated(void **state)
{
    migrate_from(*state, 2);
}

static void a_file_of_version_3_is_migrated(void **state)
{
    migrate_from(*state, 3);
}

static void a_file_of_version_4_is_migrated(void **state)
{
    migrate_from(*state, 4);
}

static void an_interrupted_creation_is_completed(void **state)
{
    struct place *place = *state;

    /* All that is left of it is a file with SQLite's header and no table. */
    make_file(place, "rwpd.db", "PRAGMA journal_mode = WAL; CREATE TABLE t (a); DROP TABLE t");
    place_open(place, NULL);
    add_job(place, "j", 0);
}

static void a_lock_at_opening_is_told(void **state)
{
    struct place *place = *state;
    struct db *db = NULL;
    sqlite3 *other;

    with_some_losses(place);
    assert_int_equal(sqlite3_open(place_file(place, "rwpd.db"), &other), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(other, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE", NULL, NULL, NULL),
        SQLITE_OK);
    assert_refused(db_open(&db, place->state, NULL, err), ERR_BUSY, "rwpd.db");
    sqlite3_close(other);
    place_open(place, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_folder_is_made_for_its_owner_alone),
        TEST(the_files_are_as_promised),
        TEST(a_second_daemon_is_refused),
        TEST(links_are_followed),
        TEST(what_is_no_folder_is_refused),
        TEST(a_folder_that_cannot_be_written_is_refused),
        TEST(a_damaged_header_is_named),
        TEST(damaged_checkpoints_are_named),
        TEST(a_file_that_was_cut_is_named),
        TEST(damage_inside_is_found_when_it_is_read),
        TEST(damage_that_the_writer_meets_stops_writing),
        TEST(a_file_of_another_program_is_left_alone),
        TEST(a_newer_version_is_refused),
        TEST(a_file_of_version_1_is_migrated),
        TEST(a_file_of_version_2_is_migrated),
        TEST(a_file_of_version_3_is_migrated),
        TEST(a_file_of_version_4_is_migrated),
        TEST(an_interrupted_creation_is_completed),
        TEST(a_lock_at_opening_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
