#include "server_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec_table.h"

struct fixture fixture;
pthread_mutex_t fixture_control_lock = PTHREAD_MUTEX_INITIALIZER;
const float fixture_weights[FIXTURE_WEIGHTS] = {1, -2, 3, 0.5f, 6, 7};

static int check(void *context, const void *job,
                 void (*problem)(void *to, const char *pointer, const char *message), void *to)
{
    const struct sample_job *sample = job;

    (void)context;
    if (sample->epochs != 13)
        return 0;
    problem(to, "/epochs", "13 makes no sense");
    return 1;
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
    pthread_mutex_lock(&fixture_control_lock);
    pthread_mutex_unlock(&fixture_control_lock);
    *what = job_state_name(to[action]);
    return db_job_set_state(fixture.db, id, to[action], NULL, err);
}

static bool live(void *context, int64_t id, struct api_live *out)
{
    (void)context;
    (void)id;
    (void)out;
    return false;
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
                                            .live = live,
                                            .n_devices = 1,
                                            .devices = &device,
                                            .workers = 1};

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
