/* What recording costs a training run. One run, of which turns of a second are recorded in a
 * database as the daemon records them, and turns between them are not; so that other work on the
 * machine and a drifting clock frequency meet both alike. Of each turn the first part is left out:
 * the writer then still works for the turn before. One JSON line:
 *
 *   seconds_per_update  median of the turns without recording
 *   cost                of a turn's updates against those of its two neighbours: median, quartiles
 *   writer_us, sink_us  an update: CPU time of the writer's thread, time of the training within
 *                       the sink
 *   cost_at_most        both as a share of the recorded turns: as if each second of the writer's
 *                       stopped all of the training
 */
#include <ctype.h>
#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/spec_json.h"
#include "base/clock.h"
#include "db/db.h"
#include "engine/run.h"
#include "record.h"

#define LEFT_OUT_SECONDS 0.3
#define TURN_SECONDS     1.0
#define TURNS_MAX        2001

struct turn {
    double start, seconds; /* what counts */
    double in_sink, of_writer;
    uint64_t updates;
};

struct bench {
    struct engine_job job;
    const char *model, *folder;
    int threads, method;
    double seconds;
    bool checkpoints;

    struct db *db;
    char writer[64]; /* where the kernel tells the writer thread's CPU time */
    struct rate rate;
    struct recorder recorder;
    struct engine_sink sink; /* the daemon's */
    atomic_int request;
    double begun; /* the present turn */
    int n_turns;  /* finished; odd ones are recorded */
    struct turn turn[TURNS_MAX];
};

static const char usage[] =
    "usage: bench_record --folder FOLDER [--model small|resnet18] [--width N] [--method NAME]\n"
    "                    [--threads N] [--seconds S] [--checkpoints]\n"
    "The database is made in FOLDER, or added to. small is the demonstration's net.\n"
    "--checkpoints: one an epoch (of ten updates in the demonstration) is recorded, too.\n";

static const char *const methods[] = {"sgd", "sam", "rwp", "arwp", "m-rwp", "m-arwp", NULL};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* ---- Turns ---- */

static double writer_seconds(const struct bench *bench)
{
    FILE *file = fopen(bench->writer, "r");
    long long nanoseconds = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%lld", &nanoseconds) != 1)
        nanoseconds = 0;
    fclose(file);
    return (double)nanoseconds * 1e-9;
}

static bool is_recorded(const struct bench *bench)
{
    return bench->n_turns % 2 == 1;
}

static void end_turn(struct bench *bench, struct turn *turn, double now)
{
    turn->seconds = now - turn->start;
    turn->of_writer = writer_seconds(bench) - turn->of_writer;
    bench->begun = now;
    bench->n_turns++;
    if (bench->n_turns == TURNS_MAX ||
        (bench->n_turns % 2 == 1 && now - bench->turn[0].start > bench->seconds))
        atomic_store(&bench->request, ENGINE_ABANDON);
}

/* An update is done. */
static void tick(struct bench *bench)
{
    struct turn *turn = &bench->turn[bench->n_turns];
    double now = clock_seconds();

    if (atomic_load(&bench->request) != ENGINE_CONTINUE)
        return;
    if (bench->begun == 0)
        bench->begun = now;
    if (turn->start == 0) {
        if (now - bench->begun < LEFT_OUT_SECONDS)
            return;
        *turn = (struct turn){.start = now, .of_writer = writer_seconds(bench)};
        return;
    }
    turn->updates++;
    if (now - turn->start >= TURN_SECONDS)
        end_turn(bench, turn, now);
}

static int take_update(void *context, const struct engine_update *update, struct err *err)
{
    struct bench *bench = context;
    double start;
    int rc;

    tick(bench);
    if (!is_recorded(bench) || bench->n_turns == TURNS_MAX)
        return 0;
    start = clock_seconds();
    rc = bench->sink.update(bench->sink.context, update, err);
    bench->turn[bench->n_turns].in_sink += clock_seconds() - start;
    return rc;
}

static int take_epoch(void *context, const struct engine_epoch *epoch, struct err *err)
{
    struct bench *bench = context;
    double start = clock_seconds();
    int rc;

    if (!is_recorded(bench) || bench->n_turns == TURNS_MAX)
        return 0;
    rc = bench->sink.epoch(bench->sink.context, epoch, err);
    bench->turn[bench->n_turns].in_sink += clock_seconds() - start;
    return rc;
}

static int take_checkpoint(void *context, const struct checkpoint *checkpoint, bool final,
                           struct err *err)
{
    struct bench *bench = context;
    double start = clock_seconds();
    int rc;

    if (!is_recorded(bench) || bench->n_turns == TURNS_MAX)
        return 0;
    rc = bench->sink.checkpoint(bench->sink.context, checkpoint, final, err);
    bench->turn[bench->n_turns].in_sink += clock_seconds() - start;
    return rc;
}

/* ---- The run ---- */

/* The only thread besides this one, as long as nothing but the database was opened. */
static void find_writer(struct bench *bench)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;

    while (tasks && (entry = readdir(tasks)))
        if (isdigit((unsigned char)entry->d_name[0]) && atol(entry->d_name) != (long)getpid())
            snprintf(bench->writer, sizeof bench->writer, "/proc/self/task/%.20s/schedstat",
                     entry->d_name);
    if (tasks)
        closedir(tasks);
}

static int claim_job(struct bench *bench, struct err *err)
{
    const struct rate_plan plan = {.updates_per_epoch = 1, .evaluate_every_epochs = 1};
    struct db_new_job row = {.name = "bench"};
    struct db_claim claim = {0};
    char *spec = NULL;
    int64_t id;
    int rc = spec_json_write(engine_job_spec(), &bench->job, &spec, err);

    row.spec = spec;
    if (!rc)
        rc = db_job_insert(bench->db, &row, &id, NULL, err);
    if (!rc)
        rc = db_job_claim(bench->db, bench->threads, &claim, err);
    free(spec);
    free(claim.spec);
    if (rc)
        return rc;
    bench->recorder = (struct recorder){
        .db = bench->db, .job = claim.id, .spec = &bench->job, .rate = &bench->rate};
    rate_start(&bench->rate, claim.id, &plan, 0, clock_seconds());
    bench->sink = record_sink(&bench->recorder);
    return 0;
}

static int train(struct bench *bench, struct err *err)
{
    const struct engine_sink sink = {.context = bench,
                                     .update = take_update,
                                     .epoch = take_epoch,
                                     .checkpoint = take_checkpoint};
    enum engine_outcome outcome;
    struct engine_run *run;
    int rc = engine_run_open(&run, &bench->job, bench->threads, &sink, err);

    if (rc)
        return rc;
    rc = engine_run_train(run, &bench->request, &outcome, err);
    engine_run_close(run);
    return rc ? rc
              : db_job_set_state(bench->db, bench->recorder.job, JOB_CANCELLED, "measured", err);
}

static int measure(struct bench *bench, struct err *err)
{
    int rc;

    rate_open(&bench->rate);
    rc = db_open(&bench->db, bench->folder, NULL, err);
    if (!rc) {
        find_writer(bench);
        rc = claim_job(bench, err);
    }
    if (!rc)
        rc = train(bench, err);
    db_close(bench->db);
    rate_close(&bench->rate);
    return rc;
}

/* ---- What it was ---- */

static double per_update(const struct turn *turn)
{
    return turn->seconds / (double)turn->updates;
}

static void print(const struct bench *bench)
{
    static double plain[TURNS_MAX], cost[TURNS_MAX];
    double writer = 0, sink = 0, recorded = 0, updates = 0;
    int n = (bench->n_turns - 1) / 2;

    for (int i = 0; i < n; i++) {
        const struct turn *turn = &bench->turn[2 * i + 1];

        plain[i] = per_update(turn - 1);
        cost[i] = 2 * per_update(turn) / (per_update(turn - 1) + per_update(turn + 1)) - 1;
        writer += turn->of_writer;
        sink += turn->in_sink;
        recorded += turn->seconds;
        updates += (double)turn->updates;
    }
    if (n < 3) {
        fprintf(stderr, "bench_record: too few turns; more --seconds\n");
        return;
    }
    qsort(plain, (size_t)n, sizeof *plain, compare);
    qsort(cost, (size_t)n, sizeof *cost, compare);
    printf("{\"what\":\"recording%s\",\"model\":\"%s\",\"width\":%lld,\"method\":\"%s\","
           "\"batch\":%lld,\"threads\":%d,\"turns\":%d,\"seconds_per_update\":%.6g,"
           "\"cost\":%.4f,\"cost_quartiles\":[%.4f,%.4f],\"writer_us\":%.2f,\"sink_us\":%.2f,"
           "\"cost_at_most\":%.4f}\n",
           bench->checkpoints ? " with checkpoints" : "", bench->model,
           (long long)bench->job.model.width, methods[bench->method],
           (long long)bench->job.batch_size, bench->threads, n, plain[n / 2], cost[n / 2],
           cost[n / 4], cost[3 * n / 4], writer / updates * 1e6, sink / updates * 1e6,
           (writer + sink) / recorded);
}

/* ---- Options ---- */

static const struct option table[] = {
    {"folder", 1, NULL, 'f'},      {"model", 1, NULL, 'm'},
    {"width", 1, NULL, 'w'},       {"method", 1, NULL, 'M'},
    {"threads", 1, NULL, 't'},     {"seconds", 1, NULL, 's'},
    {"checkpoints", 0, NULL, 'c'}, {0},
};

static bool read_options(struct bench *bench, int64_t *width, int argc, char **argv)
{
    int option;

    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1)
        if (option == 'f')
            bench->folder = optarg;
        else if (option == 'm')
            bench->model = optarg;
        else if (option == 'w')
            *width = atoll(optarg);
        else if (option == 't')
            bench->threads = atoi(optarg);
        else if (option == 's')
            bench->seconds = atof(optarg);
        else if (option == 'c')
            bench->checkpoints = true;
        else if (option == 'M')
            for (bench->method = 0;
                 methods[bench->method] && strcmp(methods[bench->method], optarg) != 0;)
                bench->method++;
        else
            return false;
    return bench->folder && optind == argc && bench->threads > 0 && bench->seconds > 0 &&
           methods[bench->method];
}

static bool make_job(struct bench *bench, int64_t width)
{
    struct engine_job *job = &bench->job;
    bool small = strcmp(bench->model, "small") == 0;

    if (!small && strcmp(bench->model, "resnet18") != 0)
        return false;
    engine_job_defaults(job, small ? MODEL_RESNET : MODEL_RESNET18, DATASET_DIGITS, bench->method);
    if (small) {
        job->model.width = 8;
        job->model.blocks = (struct spec_int_list){.n = 3, .item = {1, 1, 1}};
    }
    if (width)
        job->model.width = width;
    job->batch_size = small ? 30 : 100;
    job->dataset.train_limit = 300;
    job->epochs = job->evaluate.every_epochs = 100000;
    job->checkpoint.every_epochs = bench->checkpoints;
    job->checkpoint.every_seconds = 0;
    return true;
}

int main(int argc, char **argv)
{
    static struct bench bench = {
        .threads = 2, .seconds = 60, .model = "small", .method = METHOD_M_ARWP};
    struct err err = {0};
    int64_t width = 0;

    if (!read_options(&bench, &width, argc, argv) || !make_job(&bench, width)) {
        fputs(usage, stderr);
        return 2;
    }
    if (measure(&bench, &err)) {
        fprintf(stderr, "bench_record: %s\n", err.message);
        return 1;
    }
    print(&bench);
    return 0;
}
