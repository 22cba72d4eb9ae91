/* A run that was stopped anywhere and resumed ends with the same bits and has told the same
 * history; a checkpoint that is not this job's is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "record.h"

static const int devices[] = {DEVICE_REFERENCE, DEVICE_CPU};

/* Updates after which the run is stopped, by a small generator of its own: the same each time. */
static uint64_t next_stop(uint64_t done, unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return done + 1 + (*seed >> 16) % 4;
}

static void assert_same_update(const struct engine_update *a, const struct engine_update *b)
{
    struct engine_update x = *a, y = *b;

    x.seconds = y.seconds = 0;
    assert_int_equal(x.update, y.update);
    assert_int_equal(x.epoch, y.epoch);
    assert_true(x.loss == y.loss && x.perturbed_loss == y.perturbed_loss);
    assert_true(x.lr == y.lr && x.sigma == y.sigma);
}

static void assert_same_epoch(const struct engine_epoch *a, const struct engine_epoch *b)
{
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->update, b->update);
    assert_true(a->train_loss == b->train_loss && a->train_top1 == b->train_top1);
    assert_int_equal(a->evaluated, b->evaluated);
    assert_true(a->test_loss == b->test_loss);
    assert_true(a->test_top1 == b->test_top1 && a->test_top5 == b->test_top5);
    assert_int_equal(a->gradient_evaluations, b->gradient_evaluations);
}

/* Runs in pieces, each in a new run; returns how many. `whole` is what one piece has told. */
static int run_in_pieces(const struct engine_job *job, const struct record *whole,
                         struct record *piece, unsigned seed)
{
    int pieces = 0, updates = 0, epochs = 0;
    enum engine_outcome outcome;

    do {
        struct checkpoint from = piece->checkpoint;
        struct checkpoint *start = pieces ? &from : NULL;

        piece->checkpoint = (struct checkpoint){0};
        record_rewind(piece);
        piece->ask_at = next_stop(pieces ? from.update : 0, &seed);
        piece->ask = ENGINE_STOP;
        outcome = record_run_well(piece, job, start);
        checkpoint_clear(&from);
        for (int i = 0; i < piece->n_updates; i++)
            assert_same_update(&piece->update[i], &whole->update[updates++]);
        for (int i = 0; i < piece->n_epochs; i++)
            assert_same_epoch(&piece->epoch[i], &whole->epoch[epochs++]);
        pieces++;
    } while (outcome == ENGINE_STOPPED);
    assert_int_equal(updates, whole->n_updates);
    assert_int_equal(epochs, whole->n_epochs);
    return pieces;
}

static void assert_pieces_make_the_whole(const struct engine_job *job, unsigned first_seed,
                                         unsigned seeds)
{
    struct record *whole = record_new(), *piece = record_new();

    if (getenv("GOLDEN_UPDATES")) /* a sanitizer's build: its subject is the code */
        seeds = 1;
    record_run_well(whole, job, NULL);
    for (unsigned seed = first_seed; seed < first_seed + seeds; seed++) {
        assert_true(run_in_pieces(job, whole, piece, seed) >= 3);
        assert_true(piece->final);
        assert_checkpoints_equal(&whole->checkpoint, &piece->checkpoint);
    }
    record_free(whole);
    record_free(piece);
}

static void a_run_in_pieces_ends_with_the_same_bits(void **state)
{
    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++)
        for (int method = METHOD_SGD; method < METHOD_KINDS; method++) {
            struct engine_job job = tiny_job(method, devices[d]);

            assert_pieces_make_the_whole(&job, 10 * (unsigned)method, 3);
        }
}

static void a_run_that_ends_within_an_epoch_resumes(void **state)
{
    struct engine_job job = tiny_job(METHOD_M_ARWP, DEVICE_REFERENCE);
    struct record *whole = record_new(), *piece = record_new();
    struct checkpoint from;

    (void)state;
    job.epochs = 0;
    job.updates = 2 * TINY_PER_EPOCH + 3;
    job.schedule.warmup_updates = 5;
    assert_pieces_make_the_whole(&job, 10 * METHOD_M_ARWP, 2);
    record_run_well(whole, &job, NULL);
    assert_int_equal(whole->n_epochs, 3);
    assert_int_equal(whole->epoch[2].update, job.updates);
    assert_true(whole->epoch[2].evaluated);
    /* Stopped after the last update, before its epoch was told. */
    piece->ask_at = (uint64_t)job.updates;
    piece->ask = ENGINE_STOP;
    assert_int_equal(record_run_well(piece, &job, NULL), ENGINE_STOPPED);
    assert_int_equal(piece->n_epochs, 2);
    checkpoint_copy(&from, &piece->checkpoint);
    record_rewind(piece);
    assert_int_equal(record_run_well(piece, &job, &from), ENGINE_FINISHED);
    assert_same_epoch(&piece->epoch[0], &whole->epoch[2]);
    assert_checkpoints_equal(&whole->checkpoint, &piece->checkpoint);
    /* And a finished one finishes again. */
    checkpoint_clear(&from);
    checkpoint_copy(&from, &whole->checkpoint);
    record_rewind(piece);
    assert_int_equal(record_run_well(piece, &job, &from), ENGINE_FINISHED);
    assert_int_equal(piece->n_epochs, 0);
    checkpoint_clear(&from);
    record_free(whole);
    record_free(piece);
}

static void parts_and_statistics_resume(void **state)
{
    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++)
        for (int which = STATISTICS_CLEAN; which <= STATISTICS_BOTH; which++)
            for (int method = METHOD_ARWP; method <= METHOD_M_ARWP; method += 2) {
                struct engine_job job = tiny_job(method, devices[d]);

                job.batch_size = 18; /* so that the tail has 14 */
                job.method.samples = 3;
                job.method.statistics = which;
                job.label_smoothing = 0.1;
                assert_pieces_make_the_whole(&job, 10 * (unsigned)method, 1);
            }
}

static void every_optimizer_resumes(void **state)
{
    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++)
        for (int kind = OPTIMIZER_SGD; kind <= OPTIMIZER_ADAMW; kind++) {
            struct engine_job job = tiny_job(METHOD_M_ARWP, devices[d]);

            job.optimizer = (struct job_optimizer){.kind = kind,
                                                   .lr = 0.01,
                                                   .momentum = 0.9,
                                                   .nesterov = true,
                                                   .beta1 = 0.9,
                                                   .beta2 = 0.99,
                                                   .eps = 1e-8,
                                                   .weight_decay = 0.01,
                                                   .clip_norm = 0.5};
            assert_pieces_make_the_whole(&job, 10 * METHOD_M_ARWP, 1);
        }
}

/* Masks are drawn by the update's number, so nothing of them is kept. */
static void so_does_one_with_dropout(void **state)
{
    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++) {
        struct engine_job job = tiny_job(METHOD_M_ARWP, devices[d]);

        job.model = (struct job_model){.kind = MODEL_WRN, .depth = 10, .widen = 1, .dropout = 0.3};
        assert_pieces_make_the_whole(&job, 70, 3);
        job.method.samples = 2;
        job.method.statistics = STATISTICS_BOTH;
        job.telemetry.every_updates = 2;
        assert_pieces_make_the_whole(&job, 80, 1);
    }
}

/* Stopped after the last update of an epoch: the epoch is evaluated and told when it goes on. */
static void an_epoch_that_was_not_told_is_told_later(void **state)
{
    struct engine_job job = tiny_job(METHOD_M_ARWP, DEVICE_REFERENCE);
    struct record *whole = record_new(), *piece = record_new();

    (void)state;
    record_run_well(whole, &job, NULL);
    for (uint64_t stop = TINY_PER_EPOCH; stop <= TINY_UPDATES; stop += TINY_PER_EPOCH) {
        struct checkpoint from;

        record_rewind(piece);
        piece->ask_at = stop;
        piece->ask = ENGINE_STOP;
        assert_int_equal(record_run_well(piece, &job, NULL), ENGINE_STOPPED);
        assert_int_equal(piece->n_epochs, stop / TINY_PER_EPOCH - 1);
        checkpoint_copy(&from, &piece->checkpoint);
        record_rewind(piece);
        assert_int_equal(record_run_well(piece, &job, &from), ENGINE_FINISHED);
        assert_same_epoch(&piece->epoch[0], &whole->epoch[stop / TINY_PER_EPOCH - 1]);
        assert_checkpoints_equal(&whole->checkpoint, &piece->checkpoint);
        checkpoint_clear(&from);
    }
    record_free(whole);
    record_free(piece);
}

static void a_finished_run_finishes_again(void **state)
{
    struct engine_job job = tiny_job(METHOD_SAM, DEVICE_REFERENCE);
    struct record *first = record_new(), *again = record_new();

    (void)state;
    record_run_well(first, &job, NULL);
    assert_int_equal(record_run_well(again, &job, &first->checkpoint), ENGINE_FINISHED);
    assert_int_equal(again->n_updates, 0);
    assert_int_equal(again->n_epochs, 0);
    assert_true(again->final);
    assert_checkpoints_equal(&first->checkpoint, &again->checkpoint);
    record_free(first);
    record_free(again);
}

/* One is due after each second. On a machine that takes less for an update, the only second that
 * passes is the sink's, within epoch 2; a slower one may write more of them, but none too early. */
static void a_checkpoint_by_time_resumes_too(void **state)
{
    struct engine_job job = tiny_job(METHOD_M_RWP, DEVICE_REFERENCE);
    struct record *whole = record_new(), *piece = record_new();
    struct checkpoint from;
    double start;

    (void)state;
    job.checkpoint.every_epochs = 0;
    record_run_well(whole, &job, NULL);
    job.checkpoint.every_seconds = 1;
    start = clock_seconds();
    piece->nap_at = 6;
    piece->ask_at = 7;
    piece->ask = ENGINE_ABANDON;
    assert_int_equal(record_run_well(piece, &job, NULL), ENGINE_ABANDONED);
    assert_in_range(piece->n_checkpoints, 1, (uintmax_t)(clock_seconds() - start));
    assert_in_range(piece->checkpoint.update, 6, 7);
    checkpoint_copy(&from, &piece->checkpoint);
    record_rewind(piece);
    assert_int_equal(record_run_well(piece, &job, &from), ENGINE_FINISHED);
    assert_same_epoch(&piece->epoch[0], &whole->epoch[1]);
    assert_checkpoints_equal(&whole->checkpoint, &piece->checkpoint);
    checkpoint_clear(&from);
    record_free(whole);
    record_free(piece);
}

static void the_order_of_the_tensors_does_not_matter(void **state)
{
    struct engine_job job = tiny_job(METHOD_ARWP, DEVICE_REFERENCE);
    struct record *whole = record_new(), *piece = record_new();
    struct checkpoint from;

    (void)state;
    record_run_well(whole, &job, NULL);
    piece->ask_at = 5;
    piece->ask = ENGINE_STOP;
    record_run_well(piece, &job, NULL);
    checkpoint_copy(&from, &piece->checkpoint);
    for (int i = 0, j = from.n_tensors - 1; i < j; i++, j--) {
        struct tensor tensor = from.tensors[i];

        from.tensors[i] = from.tensors[j];
        from.tensors[j] = tensor;
    }
    record_rewind(piece);
    record_run_well(piece, &job, &from);
    assert_checkpoints_equal(&whole->checkpoint, &piece->checkpoint);
    checkpoint_clear(&from);
    record_free(whole);
    record_free(piece);
}

/* --- what is refused -------------------------------------------------------------------------- */

static void rename_one(struct checkpoint *c)
{
    strcpy(c->tensors[4].name, "layer9.0.conv1.weight");
}

static void drop_one(struct checkpoint *c)
{
    c->n_tensors--;
}

static void double_one(struct checkpoint *c)
{
    c->tensors[4] = c->tensors[5];
}

static void retype_one(struct checkpoint *c)
{
    c->tensors[3].type = TENSOR_F32;
}

static void reshape_one(struct checkpoint *c)
{
    int64_t dim = c->tensors[0].dim[0];

    c->tensors[0].dim[0] = c->tensors[0].dim[1];
    c->tensors[0].dim[1] = dim;
}

static void flatten_one(struct checkpoint *c)
{
    c->tensors[0].rank = 1;
}

/* A checkpoint of a version that kept none. */
static void drop_digest(struct checkpoint *c)
{
    int n = 0;

    for (int i = 0; i < c->n_tensors; i++)
        if (c->tensors[i].role != TENSOR_PROGRESS || c->tensors[i].type != TENSOR_I64)
            c->tensors[n++] = c->tensors[i];
    assert_int_equal(n, c->n_tensors - 1);
    c->n_tensors = n;
}

static void drop_digest_and_one(struct checkpoint *c)
{
    drop_digest(c);
    c->n_tensors--;
}

static void overshoot(struct checkpoint *c)
{
    c->update = TINY_UPDATES + 1;
}

static void shift_update(struct checkpoint *c)
{
    c->update++;
}

static void spoil_sums(struct checkpoint *c)
{
    static const double sums[] = {1.0, 33.0, 32.0}; /* 33 right of 32 */

    c->tensors[c->n_tensors - 1].data = sums;
}

static void forget_sums(struct checkpoint *c)
{
    static const double sums[3];

    c->tensors[c->n_tensors - 1].data = sums;
}

static void foreign_checkpoints_are_refused(void **state)
{
    static void (*const spoil[])(struct checkpoint *) = {
        rename_one, drop_one,     double_one, retype_one,  reshape_one,         flatten_one,
        overshoot,  shift_update, spoil_sums, forget_sums, drop_digest_and_one,
    };
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct record *whole = record_new(), *piece = record_new();
    struct engine_sink sink = record_sink(piece);
    enum engine_outcome outcome;
    struct engine_run *run;
    struct err err;

    (void)state;
    record_run_well(whole, &job, NULL);
    piece->ask_at = 6;
    piece->ask = ENGINE_STOP;
    record_run_well(piece, &job, NULL);
    assert_int_equal(engine_run_open(&run, &job, 2, &sink, &err), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(spoil); i++) {
        struct checkpoint bad = piece->checkpoint;

        bad.tensors = malloc(sizeof *bad.tensors * (size_t)bad.n_tensors);
        assert_non_null(bad.tensors);
        memcpy(bad.tensors, piece->checkpoint.tensors, sizeof *bad.tensors * (size_t)bad.n_tensors);
        spoil[i](&bad);
        assert_int_equal(engine_run_restore(run, &bad, &err), ERR_CORRUPT);
        free(bad.tensors);
    }
    /* and the run is as if nothing had been tried */
    record_rewind(piece);
    assert_int_equal(engine_run_train(run, &piece->request, &outcome, &err), 0);
    assert_checkpoints_equal(&whole->checkpoint, &piece->checkpoint);
    engine_run_close(run);
    record_free(whole);
    record_free(piece);
}

static void a_checkpoint_without_a_digest_resumes(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct record *whole = record_new(), *piece = record_new();
    struct checkpoint from, old;

    (void)state;
    record_run_well(whole, &job, NULL);
    piece->ask_at = 6;
    piece->ask = ENGINE_STOP;
    record_run_well(piece, &job, NULL);
    checkpoint_copy(&from, &piece->checkpoint);
    old = from;
    old.tensors = malloc(sizeof *old.tensors * (size_t)old.n_tensors);
    assert_non_null(old.tensors);
    memcpy(old.tensors, from.tensors, sizeof *old.tensors * (size_t)old.n_tensors);
    drop_digest(&old);
    record_rewind(piece);
    record_run_well(piece, &job, &old);
    assert_checkpoints_equal(&whole->checkpoint, &piece->checkpoint); /* with one from here on */
    free(old.tensors);
    checkpoint_clear(&from);
    record_free(whole);
    record_free(piece);
}

/* --- weights to begin with -------------------------------------------------------------------- */

static void a_run_begins_with_anothers_weights(void **state)
{
    (void)state;
    for (size_t from = 0; from < ARRAY_LENGTH(devices); from++)
        for (size_t to = 0; to < ARRAY_LENGTH(devices); to++) {
            struct engine_job source_job = tiny_job(METHOD_M_ARWP, devices[from]);
            struct engine_job job = tiny_job(METHOD_SAM, devices[to]);
            struct record *source = record_new(), *own = record_new();

            job.optimizer.kind = OPTIMIZER_ADAM;
            record_run_well(source, &source_job, NULL);
            record_begin(own, &job, &source->checkpoint);
            assert_begun(&own->checkpoint, &source->checkpoint,
                         devices[to] == DEVICE_REFERENCE || devices[from] == DEVICE_CPU);
            record_free(source);
            record_free(own);
        }
}

struct list {
    int n;
    char message[80][200];
};

static void collect(void *to, const char *pointer, const char *message)
{
    struct list *list = to;

    assert_string_equal(pointer, "/init_from");
    assert_true(list->n < 80);
    snprintf(list->message[list->n++], 200, "%s", message);
}

static bool says(const struct list *list, const char *what)
{
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->message[i], what) == 0)
            return true;
    return false;
}

static void all_that_does_not_fit_is_named(void **state)
{
    struct engine_job small = tiny_job(METHOD_SGD, DEVICE_CPU), other = small;
    struct record *source = record_new(), *record = record_new();
    struct engine_sink sink = record_sink(record);
    struct engine_run *run;
    struct list list = {0};
    struct problems problems = {.tell = collect, .to = &list};
    struct err err;

    (void)state;
    record_run_well(source, &small, NULL);
    assert_int_equal(engine_job_check_weights(&small, source->checkpoint.tensors,
                                              source->checkpoint.n_tensors, &problems, &err),
                     0);
    assert_int_equal(problems.n, 0);
    other.model.blocks = (struct spec_int_list){2, {2, 1}};
    other.model.width = 5;
    source->checkpoint.tensors[0].name[0] = 'x'; /* conv1.weight */
    assert_int_equal(engine_job_check_weights(&other, source->checkpoint.tensors,
                                              source->checkpoint.n_tensors, &problems, &err),
                     0);
    assert_int_equal(problems.n, list.n);
    assert_true(says(&list, "conv1.weight is missing"));
    assert_true(says(&list, "xonv1.weight is none of the model's"));
    assert_true(says(&list, "bn1.weight has the shape [4]; the model's has [5]"));
    assert_true(says(&list, "layer1.1.bn2.running_var is missing"));
    assert_true(
        says(&list, "layer2.0.conv1.weight has the shape [8,4,3,3]; the model's has [10,5,3,3]"));
    /* The run refuses it, too, and is unchanged. */
    assert_int_equal(engine_run_open(&run, &small, 1, &sink, &err), 0);
    assert_int_equal(engine_run_begin_from(run, &source->checkpoint, &err), ERR_INVALID);
    assert_string_equal(err.message, "conv1.weight is missing");
    engine_run_close(run);
    record_free(source);
    record_free(record);
}

static struct tensor *tensor_named(const struct checkpoint *checkpoint, const char *name)
{
    for (int i = 0; i < checkpoint->n_tensors; i++)
        if (strcmp(checkpoint->tensors[i].name, name) == 0)
            return &checkpoint->tensors[i];
    fail_msg("there is no %s", name);
    return NULL;
}

static void values_to_begin_with_are_finite(void **state)
{
    static const struct {
        const char *tensor;
        double value;
        const char *said;
    } wrong[] = {
        {"conv1.weight", NAN, "conv1.weight has the value NaN: no weights to begin with"},
        {"fc.bias", -INFINITY, "fc.bias has the value -Infinity: no weights to begin with"},
        {"fc.bias", 1e300,
         "fc.bias has the value 1e+300, which is infinite in single precision: "
         "no weights to begin with"},
        {"bn1.running_var", -1, "bn1.running_var has the value -1: no variance to begin with"},
    };
    struct engine_job from = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_CPU);
    struct record *source = record_new(), *record = record_new();
    struct engine_sink sink = record_sink(record);
    struct engine_run *run;

    (void)state;
    record_run_well(source, &from, NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct tensor *tensor = tensor_named(&source->checkpoint, wrong[i].tensor);
        double *value = (double *)(uintptr_t)tensor->data + tensor_elements(tensor) - 1;
        double right = *value;
        struct err err;

        *value = wrong[i].value;
        assert_int_equal(engine_run_open(&run, &job, 1, &sink, &err), 0);
        assert_int_equal(engine_run_begin_from(run, &source->checkpoint, &err), ERR_INVALID);
        assert_string_equal(err.message, wrong[i].said);
        *value = right;
        assert_int_equal(engine_run_begin_from(run, &source->checkpoint, &err), 0);
        engine_run_close(run);
    }
    record_free(source);
    record_free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_in_pieces_ends_with_the_same_bits),
        cmocka_unit_test(parts_and_statistics_resume),
        cmocka_unit_test(every_optimizer_resumes),
        cmocka_unit_test(a_run_that_ends_within_an_epoch_resumes),
        cmocka_unit_test(so_does_one_with_dropout),
        cmocka_unit_test(an_epoch_that_was_not_told_is_told_later),
        cmocka_unit_test(a_finished_run_finishes_again),
        cmocka_unit_test(a_checkpoint_by_time_resumes_too),
        cmocka_unit_test(the_order_of_the_tensors_does_not_matter),
        cmocka_unit_test(foreign_checkpoints_are_refused),
        cmocka_unit_test(a_checkpoint_without_a_digest_resumes),
        cmocka_unit_test(a_run_begins_with_anothers_weights),
        cmocka_unit_test(all_that_does_not_fit_is_named),
        cmocka_unit_test(values_to_begin_with_are_finite),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
