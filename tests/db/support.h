/* What the database's tests share. All of it fails the running cmocka test instead of returning an
 * error. */
#ifndef TESTS_DB_SUPPORT_H
#define TESTS_DB_SUPPORT_H

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../assert_err.h"
#include "db/db.h"

struct sqlite3;

/* An empty folder of the test's own, removed with all in it by the teardown. */
struct place {
    char path[PATH_MAX];
    char state[PATH_MAX + 8]; /* path/state, not made yet */
    struct db *db;            /* closed by the teardown */
    struct db_reader *reader;
};

int place_setup(void **state);
int place_teardown(void **state);

/* Opens place->state and a reader; options may be NULL. */
void place_open(struct place *place, const struct db_options *options);
void place_close(struct place *place);
/* Closes and opens again. */
void place_reopen(struct place *place);

/* The path of one of the files, in a buffer of the place's. */
const char *place_file(struct place *place, const char *name);

/* Changes file `name` by another connection. */
void place_sql(struct place *place, const char *name, const char *text);
/* The first number that a question to file `name` gives. */
int64_t place_number(struct place *place, const char *name, const char *text);
/* PRAGMA integrity_check and foreign_key_check of both files. */
void place_check(struct place *place);

/* A queued job of 1,000 updates; a running one. */
int64_t add_job(struct place *place, const char *name, int64_t priority);
int64_t start_job(struct place *place);

/* Losses `from` … `to` of a job, each made from its number alone: loss_of. */
struct db_loss loss_of(uint64_t update);
void add_losses(struct place *place, int64_t job, uint64_t from, uint64_t to);
/* Waits until all that is queued is committed. */
void settle(struct place *place);
/* That exactly the losses 1 … `to` are there, each as loss_of has it. */
void assert_losses(struct place *place, int64_t job, uint64_t to);

/* An epoch of ten updates; its test accuracy is the number's, see the source. */
struct db_epoch epoch_of(int64_t epoch);

/* A checkpoint whose tensors are made from its update alone. `kib` of data in all, about. */
struct checkpoint *checkpoint_of(uint64_t update, int kib);
void checkpoint_drop(struct checkpoint *checkpoint);
void assert_checkpoint_equal(const struct checkpoint *got, const struct checkpoint *want);

/* db_job_get; free it with db_job_free. */
struct db_job get_job(struct place *place, int64_t id);

/* Waits until the health says so (writing or not), at most a minute. */
void wait_for_health(struct place *place, bool writing, struct db_health *out);

#endif
