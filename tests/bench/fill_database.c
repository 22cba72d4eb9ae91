/* Fills a state folder with finished jobs and their losses, fast: for benchmarks of what a large
 * database costs. The files are made by the database itself; the rows go in past it, in one
 * transaction without waiting for the disk, and are what it would have written. One job in twenty
 * failed, one was cancelled, the others succeeded. */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "db/db.h"

#define EPOCHS 10 /* of each job */

static const char spec[] =
    "{\"name\":\"filled\",\"model\":{\"kind\":\"resnet\",\"width\":8,\"blocks\":[1,1,1],"
    "\"classes\":10},\"dataset\":{\"kind\":\"digits\",\"train_limit\":300,\"label_noise\":0.2},"
    "\"method\":{\"kind\":\"m-arwp\",\"sigma\":0.15,\"lambda\":0.5,\"eta\":0.1,\"beta\":0.99},"
    "\"optimizer\":{\"kind\":\"sgd\",\"lr\":0.1,\"momentum\":0.9,\"weight_decay\":0.001},"
    "\"schedule\":{\"kind\":\"cosine\",\"step\":\"update\"},\"epochs\":10,\"batch_size\":30,"
    "\"seed\":1,\"device\":\"auto\",\"precision\":\"fp32\",\"priority\":0,"
    "\"checkpoint\":{\"every_epochs\":5,\"every_seconds\":0,\"keep\":2}}";

enum statement { JOB, EVENT, LOSS, SPAN, EPOCH, STORE, STATEMENTS };

static const char *const texts[STATEMENTS] = {
    [JOB] = "INSERT INTO job (name, state, priority, parameters, threads, starts, created_ms, "
            "started_ms, finished_ms, updates, updates_done, seconds, loss, perturbed_loss, epoch, "
            "gradient_evaluations, train_loss, train_top1, test_loss, test_top1, test_top5, "
            "best_top1, best_epoch, spec, reason) VALUES (?, ?, 0, 19810, 1, 1, ?, ?, ?, ?, ?, ?, "
            "?, ?, ?, ?, 0.5, 0.75, 0.5, 0.75, 0.95, 0.75, 1, ?, ?)",
    [EVENT] = "INSERT INTO event VALUES (?, ?, ?, ?, nullif(?, -1), nullif(?, -1), NULL)",
    [LOSS] = "INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?, 0.1, 0.01, 0.001)",
    [SPAN] = "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?)",
    [EPOCH] = "INSERT INTO epoch VALUES (?, ?, ?, 0.5, 0.75, 0.5, 0.75, 0.95, ?, ?, ?)",
    [STORE] = "UPDATE store SET sequence = ?, losses = losses + ?",
};

struct filler {
    sqlite3 *handle;
    sqlite3_stmt *statement[STATEMENTS];
    int64_t sequence, wall_ms;
    bool failed;
};

/* `types` has a letter a parameter: i int64_t, r double (NaN: NULL), t text (NULL: NULL). */
static void run(struct filler *filler, enum statement which, const char *types, ...)
{
    sqlite3_stmt *statement = filler->statement[which];
    va_list values;

    va_start(values, types);
    for (int i = 0; types[i]; i++)
        if (types[i] == 'i')
            sqlite3_bind_int64(statement, i + 1, va_arg(values, int64_t));
        else if (types[i] == 'r')
            sqlite3_bind_double(statement, i + 1, va_arg(values, double));
        else
            sqlite3_bind_text(statement, i + 1, va_arg(values, const char *), -1, SQLITE_STATIC);
    va_end(values);
    if (sqlite3_step(statement) != SQLITE_DONE && !filler->failed) {
        fprintf(stderr, "fill_database: %s\n", sqlite3_errmsg(filler->handle));
        filler->failed = true;
    }
    sqlite3_reset(statement);
}

static void event(struct filler *filler, int64_t job, enum db_event_kind kind, int64_t state,
                  int64_t number)
{
    run(filler, EVENT, "iiiiii", ++filler->sequence, job, (int64_t)kind, filler->wall_ms, state,
        number);
}

static enum job_state state_of(int64_t number)
{
    return number % 20 == 7 ? JOB_FAILED : number % 20 == 13 ? JOB_CANCELLED : JOB_SUCCEEDED;
}

/* It falls from update to update, which the spans rely on. */
static double loss_of(int64_t update)
{
    return 1.0 / (double)update;
}

static int64_t job_row(struct filler *filler, int64_t number, int64_t losses)
{
    enum job_state state = state_of(number);
    double loss = losses ? loss_of(losses) : NAN;
    char name[32];

    snprintf(name, sizeof name, "filled %lld", (long long)number);
    run(filler, JOB, "tiiiiiirrriitt", name, (int64_t)state, filler->wall_ms, filler->wall_ms,
        filler->wall_ms, losses, losses, (double)losses * 0.001, loss, 2 * loss, (int64_t)EPOCHS,
        losses * 2, spec, state == JOB_SUCCEEDED ? NULL : "as made for a benchmark");
    return sqlite3_last_insert_rowid(filler->handle);
}

static void loss_row(struct filler *filler, int64_t job, int64_t epoch, int64_t update)
{
    run(filler, LOSS, "iiiirr", job, update, ++filler->sequence, epoch, loss_of(update),
        2 * loss_of(update));
    if (update % DB_SPAN_ROWS == 0)
        run(filler, SPAN, "iiirir", job, update / DB_SPAN_ROWS, update, loss_of(update),
            update - DB_SPAN_ROWS + 1, loss_of(update - DB_SPAN_ROWS + 1));
}

static void job(struct filler *filler, int64_t number, int64_t losses)
{
    int64_t id = job_row(filler, number, losses), update = 0;

    event(filler, id, EVENT_STATE, JOB_QUEUED, -1);
    event(filler, id, EVENT_STATE, JOB_RUNNING, 0);
    for (int64_t epoch = 1; epoch <= EPOCHS; epoch++) {
        while (update < losses * epoch / EPOCHS)
            loss_row(filler, id, epoch, ++update);
        run(filler, EPOCH, "iiiiri", id, epoch, update, update * 2, (double)update * 0.001,
            filler->wall_ms);
        event(filler, id, EVENT_EPOCH, -1, epoch);
    }
    event(filler, id, EVENT_STATE, state_of(number), -1);
}

static bool open_file(struct filler *filler, const char *folder)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/rwpd.db", folder);
    if (sqlite3_open_v2(path, &filler->handle, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_exec(filler->handle, "PRAGMA synchronous = OFF; BEGIN IMMEDIATE", NULL, NULL,
                     NULL) != SQLITE_OK)
        return false;
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v2(filler->handle, texts[i], -1, &filler->statement[i], NULL) !=
            SQLITE_OK)
            return false;
    return true;
}

static void fill(struct filler *filler, const char *folder, int64_t jobs, int64_t losses)
{
    if (!open_file(filler, folder)) {
        fprintf(stderr, "fill_database: %s\n", sqlite3_errmsg(filler->handle));
        filler->failed = true;
        return;
    }
    for (int64_t i = 0; i < jobs; i++)
        job(filler, i + 1, losses * (i + 1) / jobs - losses * i / jobs);
    run(filler, STORE, "ii", filler->sequence, losses);
    if (!filler->failed && sqlite3_exec(filler->handle, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "fill_database: %s\n", sqlite3_errmsg(filler->handle));
        filler->failed = true;
    }
}

/* Makes the files, and says how many events there are already. */
static bool make_files(const char *folder, int64_t *sequence)
{
    struct db_reader *reader = NULL;
    struct db *db = NULL;
    struct err err = {0};
    int code = db_open(&db, folder, NULL, &err);

    if (!code)
        code = db_reader_open(&reader, db, &err);
    if (!code)
        code = db_events_last(reader, sequence, &err);
    db_reader_close(reader);
    db_close(db);
    if (code)
        fprintf(stderr, "fill_database: %s\n", err.message);
    return !code;
}

int main(int argc, char **argv)
{
    struct filler filler = {.wall_ms = clock_wall_ms()};
    double start = clock_seconds();

    if (argc != 4 || atoll(argv[2]) < 1 || atoll(argv[3]) < 0) {
        fprintf(stderr, "usage: fill_database FOLDER JOBS LOSSES\n"
                        "Adds finished jobs to a state folder that no daemon uses, made if it is "
                        "missing; LOSSES is in all.\n");
        return 2;
    }
    if (!make_files(argv[1], &filler.sequence))
        return 1;
    fill(&filler, argv[1], atoll(argv[2]), atoll(argv[3]));
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(filler.statement[i]);
    sqlite3_close(filler.handle);
    if (filler.failed)
        return 1;
    printf("{\"jobs\": %s, \"losses\": %s, \"seconds\": %.2f}\n", argv[2], argv[3],
           clock_seconds() - start);
    return 0;
}
