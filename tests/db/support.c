#include "support.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"

int place_setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    const char *above = getenv("TMPDIR");

    assert_non_null(place);
    snprintf(place->path, sizeof place->path, "%s/rwpd-test-XXXXXX", above ? above : "/tmp");
    assert_non_null(mkdtemp(place->path));
    snprintf(place->state, sizeof place->state, "%s/state", place->path);
    *state = place;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

int place_teardown(void **state)
{
    struct place *place = *state;

    place_close(place);
    chmod(place->state, 0700);
    nftw(place->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(place);
    return 0;
}

void place_open(struct place *place, const struct db_options *options)
{
    assert_ok(db_open(&place->db, place->state, options, err));
    assert_ok(db_reader_open(&place->reader, place->db, err));
}

void place_close(struct place *place)
{
    db_reader_close(place->reader);
    db_close(place->db);
    place->reader = NULL;
    place->db = NULL;
}

void place_reopen(struct place *place)
{
    place_close(place);
    place_open(place, NULL);
}

const char *place_file(struct place *place, const char *name)
{
    static char path[PATH_MAX + 64];

    snprintf(path, sizeof path, "%s/%s", place->state, name);
    return path;
}

static sqlite3 *connect_to(struct place *place, const char *name)
{
    sqlite3 *handle;

    assert_int_equal(sqlite3_open(place_file(place, name), &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, 5000);
    return handle;
}

void place_sql(struct place *place, const char *name, const char *text)
{
    sqlite3 *handle = connect_to(place, name);

    if (sqlite3_exec(handle, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

int64_t place_number(struct place *place, const char *name, const char *text)
{
    sqlite3 *handle = connect_to(place, name);
    sqlite3_stmt *statement;
    int64_t number;

    if (sqlite3_prepare_v2(handle, text, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(handle));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return number;
}

void place_check(struct place *place)
{
    static const char *const files[] = {"rwpd.db", "checkpoints.db"};

    for (int i = 0; i < 2; i++) {
        assert_int_equal(place_number(place, files[i],
                                      "SELECT count(*) FROM pragma_integrity_check "
                                      "WHERE integrity_check <> 'ok'"),
                         0);
        assert_int_equal(
            place_number(place, files[i], "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    }
}

int64_t add_job(struct place *place, const char *name, int64_t priority)
{
    const struct db_new_job job = {.name = name,
                                   .spec = "{\"kind\":\"test\"}",
                                   .priority = priority,
                                   .updates = 1000,
                                   .parameters = 42};
    int64_t id = 0;

    assert_ok(db_job_insert(place->db, &job, &id, NULL, err));
    return id;
}

int64_t start_job(struct place *place)
{
    int64_t id = add_job(place, "a job", 0);
    struct db_claim claim;

    assert_ok(db_job_claim(place->db, 1, &claim, err));
    assert_int_equal(claim.id, id);
    free(claim.spec);
    return id;
}

struct db_loss loss_of(uint64_t update)
{
    return (struct db_loss){
        .update = update,
        .epoch = (int64_t)(update + 9) / 10,
        .loss = update % 97 == 0   ? NAN
                : update % 89 == 0 ? INFINITY
                : update % 83 == 0 ? -INFINITY
                                   : 1.0 / (double)update,
        .has_perturbed = update % 3 != 0,
        .perturbed_loss = update % 3 == 0     ? 0
                          : update % 101 == 0 ? NAN
                                              : 2.0 / (double)update,
        .lr = 0.1,
        .sigma = 0.01 * (double)(update % 7),
        .seconds = 0.25,
    };
}

void add_losses(struct place *place, int64_t job, uint64_t from, uint64_t to)
{
    for (uint64_t update = from; update <= to; update++) {
        struct db_loss loss = loss_of(update);

        assert_ok(db_loss_add(place->db, job, &loss, err));
    }
}

void settle(struct place *place)
{
    struct db_health health;

    for (int i = 0; i < 6000; i++) {
        db_health(place->db, &health);
        if (health.queued_rows == 0)
            return;
        usleep(10000);
    }
    fail_msg("rows are still queued after a minute: %s", health.problem);
}

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

struct walk {
    uint64_t next;
    int wrong;
};

static int check_loss(void *context, const struct db_loss *got)
{
    struct walk *walk = context;
    struct db_loss want = loss_of(walk->next++);

    if (got->update != want.update || got->epoch != want.epoch || !same(got->loss, want.loss) ||
        got->has_perturbed != want.has_perturbed ||
        !same(got->perturbed_loss, want.perturbed_loss) || !same(got->lr, want.lr) ||
        !same(got->sigma, want.sigma) || !same(got->seconds, want.seconds)) {
        print_error("update %llu where %llu belongs, loss %g for %g\n",
                    (unsigned long long)got->update, (unsigned long long)want.update, got->loss,
                    want.loss);
        walk->wrong++;
    }
    return walk->wrong > 3;
}

void assert_losses(struct place *place, int64_t job, uint64_t to)
{
    struct walk walk = {.next = 1};

    assert_ok(db_losses_each(place->reader, job, 0, INT64_MAX, check_loss, &walk, err));
    assert_int_equal(walk.wrong, 0);
    assert_int_equal(walk.next - 1, to);
}

struct db_epoch epoch_of(int64_t epoch)
{
    return (struct db_epoch){
        .epoch = epoch,
        .update = (uint64_t)epoch * 10,
        .train_loss = 1.0 / (double)epoch,
        .train_top1 = 0.5 + 0.001 * (double)epoch,
        .evaluated = true,
        .test_loss = 2.0 / (double)epoch,
        .test_top1 = 0.25 + 0.01 * (double)(epoch * 7 % 10),
        .test_top5 = 0.9,
        .gradient_evaluations = epoch * 20,
        .seconds = 2.5 * (double)epoch,
        .wall_ms = 1000 + epoch,
    };
}

static void fill_tensor(struct tensor *tensor, uint64_t seed)
{
    size_t bytes = tensor_bytes(tensor);
    uint64_t *words = calloc(1, bytes + sizeof *words);

    assert_non_null(words);
    for (size_t i = 0; i < bytes / 8; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        words[i] = seed;
    }
    tensor->data = words;
}

struct checkpoint *checkpoint_of(uint64_t update, int kib)
{
    struct checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    const struct tensor shapes[] = {
        {.name = "conv1.weight", .role = TENSOR_PARAMETER, .rank = 4, .dim = {8, 3, 3, 3}},
        {.name = "bn1.num_batches_tracked", .role = TENSOR_BUFFER, .type = TENSOR_I64},
        {.name = "large", .role = TENSOR_MOMENTUM, .rank = 2, .dim = {kib, 256}},
        {.name = "none", .role = TENSOR_SQUARES, .rank = 1, .dim = {0}},
        {.name = "sums", .role = TENSOR_PROGRESS, .type = TENSOR_F64, .rank = 1, .dim = {3}},
    };
    const int n = sizeof shapes / sizeof shapes[0];

    assert_non_null(checkpoint);
    checkpoint->update = update;
    checkpoint->n_tensors = n;
    checkpoint->tensors = calloc((size_t)n, sizeof *checkpoint->tensors);
    assert_non_null(checkpoint->tensors);
    for (int i = 0; i < n; i++) {
        checkpoint->tensors[i] = shapes[i];
        fill_tensor(&checkpoint->tensors[i], update * 31 + (uint64_t)i);
    }
    return checkpoint;
}

void checkpoint_drop(struct checkpoint *checkpoint)
{
    db_checkpoint_free(checkpoint);
}

void assert_checkpoint_equal(const struct checkpoint *got, const struct checkpoint *want)
{
    assert_int_equal(got->update, want->update);
    assert_int_equal(got->n_tensors, want->n_tensors);
    for (int i = 0; i < want->n_tensors; i++) {
        const struct tensor *a = &got->tensors[i], *b = &want->tensors[i];

        assert_string_equal(a->name, b->name);
        assert_int_equal(a->role, b->role);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->rank, b->rank);
        for (int d = 0; d < b->rank; d++)
            assert_int_equal(a->dim[d], b->dim[d]);
        assert_memory_equal(a->data, b->data, tensor_bytes(b));
    }
}

struct db_job get_job(struct place *place, int64_t id)
{
    struct db_job job;

    assert_ok(db_job_get(place->reader, id, &job, err));
    return job;
}

void wait_for_health(struct place *place, bool writing, struct db_health *out)
{
    for (int i = 0; i < 6000; i++) {
        db_health(place->db, out);
        if (out->writing == writing)
            return;
        usleep(10000);
    }
    fail_msg("after a minute writing is still %d: %s", out->writing, out->problem);
}
