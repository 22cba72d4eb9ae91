#include "server_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "db/probe.h"
#include "db/sweep.h"
#include "spec_table.h"

struct fixture fixture;
pthread_mutex_t fixture_control_lock = PTHREAD_MUTEX_INITIALIZER;
const float fixture_weights[FIXTURE_WEIGHTS] = {1, -2, 3, 0.5f, 6, 7};

static _Thread_local bool looking;

static void look_begin(void *context)
{
    (void)context;
    looking = true;
}

static void look_end(void *context)
{
    (void)context;
    looking = false;
}

static void check(void *context, const void *job, struct problems *problems)
{
    const struct sample_job *sample = job;

    (void)context;
    atomic_fetch_add(&fixture.anew, !looking);
    if (sample->epochs == 13)
        problems_add(problems, "/epochs", "13 makes no sense");
}

static int facts(void *context, const void *job, struct api_facts *out, struct err *err)
{
    (void)context;
    (void)job;
    (void)err;
    *out = (struct api_facts){.updates = 9, .device = "cpu", .precision = "fp32"};
    return 0;
}

static int submit(void *context, const struct api_submission *submission, int64_t *id,
                  bool *existing, struct err *err)
{
    struct db_new_job job = {.name = ((const struct sample_job *)submission->job)->name,
                             .spec = submission->spec,
                             .updates = FIXTURE_UPDATES,
                             .idempotency_key = submission->idempotency_key,
                             .fingerprint = submission->fingerprint,
                             .queue_limit = 1000000};

    (void)context;
    if (fixture.refuse)
        return err_set(err, fixture.refuse, "refused for a test");
    return db_job_insert(fixture.db, &job, id, existing, err);
}

static int control(void *context, int64_t id, enum api_action action, const char **what,
                   struct err *err)
{
    static const enum job_state to[] = {JOB_CANCELLED, JOB_PAUSED, JOB_QUEUED};

    (void)context;
    atomic_fetch_add(&fixture.controlled, 1);
    pthread_mutex_lock(&fixture_control_lock);
    pthread_mutex_unlock(&fixture_control_lock);
    *what = job_state_name(to[action]);
    return db_job_set_state(fixture.db, id, to[action], NULL, err);
}

static int submit_sweep(void *context, const struct api_sweep *sweep, int64_t *id, bool *existing,
                        struct err *err)
{
    struct db_new_job *jobs = calloc((size_t)sweep->n, sizeof *jobs);
    struct db_new_sweep made = {.name = sweep->name,
                                .spec = sweep->spec,
                                .max_running = sweep->max_running,
                                .idempotency_key = sweep->idempotency_key,
                                .fingerprint = sweep->fingerprint,
                                .n = sweep->n,
                                .jobs = jobs};
    int rc;

    (void)context;
    for (int i = 0; i < sweep->n; i++)
        jobs[i] = (struct db_new_job){.name = ((const struct sample_job *)sweep->jobs[i].job)->name,
                                      .spec = sweep->jobs[i].spec,
                                      .updates = FIXTURE_UPDATES};
    rc = fixture.refuse ? err_set(err, fixture.refuse, "refused for a test")
                        : db_sweep_insert(fixture.db, &made, id, existing, err);
    free(jobs);
    return rc;
}

static int control_sweep(void *context, int64_t id, enum api_action action, const char **what,
                         struct err *err)
{
    static const enum db_sweep_action actions[] = {SWEEP_CANCEL, SWEEP_PAUSE, SWEEP_RESUME};
    int64_t n;

    (void)context;
    *what = "done";
    return db_sweep_change(fixture.db, id, actions[action], &n, err);
}

static int delete_job(void *context, int64_t id, struct err *err)
{
    (void)context;
    return db_job_delete(fixture.db, id, err);
}

static int delete_sweep(void *context, int64_t id, struct err *err)
{
    (void)context;
    return db_sweep_delete(fixture.db, id, err);
}

static bool live(void *context, int64_t id, struct api_live *out)
{
    (void)context;
    (void)id;
    (void)out;
    return false;
}

static const struct probe_column columns[] = {
    {"step", "A number.", true}, {"value", "A value.", false}, {"error", "Its error.", false}};
static const struct probe_table tables[] = {{"summary", "All.", false, 3, columns},
                                            {"rows", "Rows.", false, 3, columns},
                                            {"inside", "To go on.", true, 1, columns}};

static const struct probe_table *probe_tables(int kind, int *n)
{
    (void)kind;
    *n = 3;
    return tables;
}

static int prepare_probe(void *context, int64_t job, void *probe, struct problems *problems,
                         struct err *err)
{
    struct sample_probe *sample = probe;

    (void)context;
    atomic_fetch_add(&fixture.anew, !looking);
    if (job != 1)
        return err_set(err, ERR_CONFLICT, "job %lld has no checkpoint yet", (long long)job);
    if (sample->steps == 13)
        problems_add(problems, "/steps", "13 makes no sense");
    if (sample->update == 0)
        sample->update = FIXTURE_UPDATES;
    if (sample->update != FIXTURE_UPDATES)
        problems_add(problems, "/update", "is not there");
    return 0;
}

static int submit_probe(void *context, const struct api_probe_submission *submission,
                        int64_t *number, bool *existing, struct err *err)
{
    const struct sample_probe *sample = submission->probe;
    struct db_new_probe probe = {.job = submission->job,
                                 .update = (uint64_t)sample->update,
                                 .plan = {.kind = sample_probe_field.kinds[sample->kind].name,
                                          .request = submission->request},
                                 .idempotency_key = submission->idempotency_key,
                                 .fingerprint = submission->fingerprint};

    (void)context;
    if (fixture.refuse)
        return err_set(err, fixture.refuse, "refused for a test");
    return db_probe_insert(fixture.db, &probe, number, existing, err);
}

static int cancel_probe(void *context, int64_t job, int64_t number, const char **what,
                        struct err *err)
{
    struct db_reader *reader;
    struct db_probe probe;
    int rc = db_reader_open(&reader, fixture.db, err);

    (void)context;
    *what = "cancelled";
    if (!rc)
        rc = db_probe_get(reader, job, number, &probe, err);
    db_reader_close(reader);
    if (!rc) {
        rc = db_probe_set_state(fixture.db, probe.id, PROBE_CANCELLED, NULL, err);
        db_probe_free(&probe);
    }
    return rc;
}

static int add_upload(void *context, const struct db_upload *upload,
                      const struct checkpoint *tensors, int64_t *id, bool *existing,
                      struct err *err)
{
    (void)context;
    return db_upload_add(fixture.db, upload, tensors, id, existing, err);
}

static int delete_upload(void *context, int64_t id, struct err *err)
{
    (void)context;
    return db_upload_delete(fixture.db, id, err);
}

static const char *const precisions[] = {"fp32", NULL};
static const struct api_device device = {"cpu", "The processor.", "any", 2, 1, precisions};
static const struct api_asset asset = {"/", "text/html; charset=utf-8", "<p>page", 7};

const struct api_service fixture_service = {.job_spec = &sample_spec,
                                            .job_bytes = sizeof(struct sample_job),
                                            .check = check,
                                            .facts = facts,
                                            .submit = submit,
                                            .control = control,
                                            .submit_sweep = submit_sweep,
                                            .control_sweep = control_sweep,
                                            .delete_job = delete_job,
                                            .delete_sweep = delete_sweep,
                                            .live = live,
                                            .n_devices = 1,
                                            .devices = &device,
                                            .workers = 1,
                                            .probe_spec = &sample_probe_field,
                                            .probe_bytes = sizeof(struct sample_probe),
                                            .probe_tables = probe_tables,
                                            .prepare_probe = prepare_probe,
                                            .look_begin = look_begin,
                                            .look_end = look_end,
                                            .submit_probe = submit_probe,
                                            .cancel_probe = cancel_probe,
                                            .add_upload = add_upload,
                                            .delete_upload = delete_upload};

/* One that has ended, with FIXTURE_ROWS rows, of which one has no number, and vectors. */
static int record_probe(int64_t job, const struct checkpoint *vectors, struct err *err)
{
    const struct db_new_probe probe = {
        .plan = {.kind = "lines", .request = "{\"kind\":\"lines\",\"update\":200,\"steps\":10}"},
        .job = job,
        .update = FIXTURE_UPDATES};
    struct db_probe_claim claim = {0};
    struct probe_row summary = {.n = 3, .value = {7, 0.5, NAN}};
    int64_t number;
    int rc = db_probe_insert(fixture.db, &probe, &number, NULL, err);

    if (rc == 0)
        rc = db_probe_claim(fixture.db, 1, &claim, err);
    for (int64_t i = 0; i < FIXTURE_ROWS && rc == 0; i++) {
        struct probe_row row = {.table = 1,
                                .number = i,
                                .n = 3,
                                .value = {(double)i, i == 3 ? NAN : 0.5 * (double)i, INFINITY}};

        rc = db_probe_row_add(fixture.db, claim.id, &row, err);
    }
    if (rc == 0)
        rc = db_probe_row_add(fixture.db, claim.id, &summary, err);
    if (rc == 0)
        rc = db_probe_message(fixture.db, claim.id, "so it was", err);
    if (rc == 0)
        rc = db_probe_vectors_add(fixture.db, claim.id, vectors, err);
    if (rc == 0)
        rc = db_probe_set_state(fixture.db, claim.id, PROBE_SUCCEEDED, NULL, err);
    db_probe_claim_free(&claim);
    return rc;
}

static int record(int64_t job, struct err *err)
{
    struct tensor tensor = {
        .name = "w", .rank = 1, .dim = {FIXTURE_WEIGHTS}, .data = fixture_weights};
    struct checkpoint checkpoint = {FIXTURE_UPDATES, 1, &tensor};
    struct db_epoch epoch = {.epoch = 1,
                             .update = FIXTURE_UPDATES,
                             .train_loss = 0.5,
                             .evaluated = true,
                             .test_top1 = 0.75,
                             .wall_ms = 1000};
    struct db_upload upload = {.name = "u", .sha256 = "00", .file_bytes = 9, .tensors = 1};
    bool existing;
    int64_t number;
    int rc = 0;

    for (uint64_t i = 1; i <= FIXTURE_UPDATES && rc == 0; i++) {
        struct db_loss loss = {.update = i,
                               .epoch = 1,
                               .loss = i == FIXTURE_NAN ? NAN : 1.0 / (double)i,
                               .lr = 0.1,
                               .seconds = 0.5};

        rc = db_loss_add(fixture.db, job, &loss, err);
    }
    if (rc == 0)
        rc = db_epoch_add(fixture.db, job, &epoch, err);
    if (rc == 0)
        rc = db_checkpoint_add(fixture.db, job, &checkpoint, true, 2, err);
    if (rc == 0)
        rc = record_probe(job, &checkpoint, err);
    if (rc == 0)
        rc = db_upload_add(fixture.db, &upload, &checkpoint, &number, &existing, err);
    return rc ? rc : db_job_set_state(fixture.db, job, JOB_SUCCEEDED, NULL, err);
}

/* Of a priority that makes it the one that is claimed. */
static int start(int64_t *id, struct err *err)
{
    struct db_new_job job = {.name = "old",
                             .spec = "{\"model\":{\"kind\":\"net\"}}",
                             .updates = FIXTURE_UPDATES,
                             .priority = 100};
    struct db_claim claim = {0};
    bool existing;
    int rc = db_job_insert(fixture.db, &job, id, &existing, err);

    if (rc == 0)
        rc = db_job_claim(fixture.db, 1, &claim, err);
    free(claim.spec);
    return rc;
}

static int fill(struct err *err)
{
    int64_t id;
    int rc = start(&id, err);

    return rc ? rc : record(id, err);
}

int64_t fixture_run(void)
{
    struct err err;
    int64_t id;

    return start(&id, &err) ? -1 : id;
}

void fixture_losses(int64_t job, uint64_t first, uint64_t last)
{
    struct err err;

    for (uint64_t i = first; i <= last; i++) {
        struct db_loss loss = {.update = i, .epoch = 1, .loss = (double)i, .lr = 0.1};

        if (db_loss_add(fixture.db, job, &loss, &err))
            fprintf(stderr, "%s\n", err.message);
    }
}

int fixture_open(void **state)
{
    struct api_options options = {.address = "127.0.0.1", .assets = &asset, .n_assets = 1};
    const struct db_options db = {.durable_wait_ms = 1000};
    struct err err = {0};
    int rc;

    (void)state;
    strcpy(fixture.folder, "/tmp/rwpd-test-api-XXXXXX");
    if (!mkdtemp(fixture.folder))
        return -1;
    rc = db_open(&fixture.db, fixture.folder, &db, &err);
    if (rc == 0)
        rc = fill(&err);
    if (rc == 0)
        rc = api_open(&fixture.api, &options, &fixture_service, fixture.db, &err);
    if (rc)
        fprintf(stderr, "%s\n", err.message);
    else
        fixture.port = api_port(fixture.api);
    return rc;
}

int fixture_close(void **state)
{
    static const char *const names[] = {"rwpd.db",
                                        "rwpd.db-wal",
                                        "rwpd.db-shm",
                                        "checkpoints.db",
                                        "checkpoints.db-wal",
                                        "checkpoints.db-shm",
                                        "lock"};
    char path[128];

    (void)state;
    api_close(fixture.api);
    if (fixture.db)
        db_close(fixture.db);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture.folder, names[i]);
        remove(path);
    }
    return remove(fixture.folder);
}

struct api *fixture_serve(struct api_options options)
{
    struct err err = {0};
    struct api *api;

    options.address = "127.0.0.1";
    if (api_open(&api, &options, &fixture_service, fixture.db, &err))
        fail_msg("%s", err.message);
    return api;
}
