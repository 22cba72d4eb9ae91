#include "record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct record *record_new(void)
{
    struct record *record = calloc(1, sizeof *record);

    assert_non_null(record);
    return record;
}

void record_free(struct record *record)
{
    checkpoint_clear(&record->checkpoint);
    free(record);
}

void record_rewind(struct record *record)
{
    struct checkpoint kept = record->checkpoint;

    memset(record, 0, sizeof *record);
    record->checkpoint = kept;
}

static int refuse(struct err *err)
{
    return err_set(err, ERR_FULL, "no room in this test");
}

static int on_update(void *context, const struct engine_update *update, struct err *err)
{
    struct record *record = context;

    assert_true(record->n_updates < RECORD_UPDATES_MAX);
    record->update[record->n_updates++] = *update;
    if (record->ask_at == update->update)
        atomic_store(&record->request, record->ask);
    if (record->nap_at == update->update)
        nanosleep(&(struct timespec){1, 20000000}, NULL);
    return record->n_updates == record->refuse_update ? refuse(err) : 0;
}

static int on_epoch(void *context, const struct engine_epoch *epoch, struct err *err)
{
    struct record *record = context;

    assert_true(record->n_epochs < RECORD_EPOCHS_MAX);
    record->epoch[record->n_epochs++] = *epoch;
    return record->n_epochs == record->refuse_epoch ? refuse(err) : 0;
}

static int on_checkpoint(void *context, const struct checkpoint *checkpoint, bool final,
                         struct err *err)
{
    struct record *record = context;

    record->n_checkpoints++;
    checkpoint_clear(&record->checkpoint);
    checkpoint_copy(&record->checkpoint, checkpoint);
    record->final = final;
    return record->n_checkpoints == record->refuse_checkpoint ? refuse(err) : 0;
}

static void on_message(void *context, const char *text)
{
    struct record *record = context;

    assert_true(text[0]);
    record->n_messages++;
}

static int on_telemetry(void *context, const struct telemetry *telemetry, struct err *err)
{
    struct record *record = context;

    (void)err;
    assert_true(record->n_telemetry < RECORD_TELEMETRY_MAX);
    /* Of the update that was told just before. */
    assert_int_equal(telemetry->update, record->update[record->n_updates - 1].update);
    record->telemetry[record->n_telemetry++] = *telemetry;
    return 0;
}

struct engine_sink record_sink(struct record *record)
{
    return (struct engine_sink){.context = record,
                                .update = on_update,
                                .telemetry = on_telemetry,
                                .epoch = on_epoch,
                                .checkpoint = on_checkpoint,
                                .message = on_message};
}

void checkpoint_copy(struct checkpoint *out, const struct checkpoint *in)
{
    *out = *in;
    out->tensors = calloc((size_t)in->n_tensors, sizeof *out->tensors);
    assert_non_null(out->tensors);
    for (int i = 0; i < in->n_tensors; i++) {
        void *data = malloc(tensor_bytes(&in->tensors[i]));

        assert_non_null(data);
        memcpy(data, in->tensors[i].data, tensor_bytes(&in->tensors[i]));
        out->tensors[i] = in->tensors[i];
        out->tensors[i].data = data;
    }
}

void checkpoint_clear(struct checkpoint *checkpoint)
{
    for (int i = 0; i < checkpoint->n_tensors; i++) {
        void *data;

        memcpy(&data, &checkpoint->tensors[i].data, sizeof data); /* ours, so not const */
        free(data);
    }
    free(checkpoint->tensors);
    *checkpoint = (struct checkpoint){0};
}

const struct tensor *checkpoint_find(const struct checkpoint *checkpoint, enum tensor_role role,
                                     const char *name)
{
    for (int i = 0; i < checkpoint->n_tensors; i++)
        if (checkpoint->tensors[i].role == role && !strcmp(checkpoint->tensors[i].name, name))
            return &checkpoint->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

void assert_checkpoints_equal(const struct checkpoint *a, const struct checkpoint *b)
{
    assert_int_equal(a->update, b->update);
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (int i = 0; i < a->n_tensors; i++) {
        const struct tensor *x = &a->tensors[i], *y = &b->tensors[i];

        assert_string_equal(x->name, y->name);
        assert_int_equal(x->role, y->role);
        assert_int_equal(tensor_bytes(x), tensor_bytes(y));
        if (memcmp(x->data, y->data, tensor_bytes(x)))
            fail_msg("%s (role %d) differs", x->name, x->role);
    }
}

struct engine_job tiny_job(int method, int device)
{
    struct engine_job job;

    engine_job_defaults(&job, MODEL_RESNET, DATASET_DIGITS, method);
    job.model.width = 4;
    job.model.blocks = (struct spec_int_list){2, {1, 1}};
    job.dataset.train_limit = TINY_SAMPLES;
    job.dataset.label_noise = 0.2;
    job.batch_size = 16;
    job.epochs = TINY_EPOCHS;
    job.device = device;
    job.checkpoint.every_seconds = 0;
    /* strong enough that every part of a method shows in the bits */
    job.method.sigma *= 10;
    return job;
}

struct engine_job emulated_job(int method)
{
    struct engine_job job = tiny_job(method, DEVICE_CUDA);

    job.precision = PRECISION_FP32;
    job.dataset.train_limit = 26;
    job.batch_size = 8;
    job.model.blocks = (struct spec_int_list){1, {1}};
    job.model.width = 2;
    job.evaluate.every_epochs = 100;
    return job;
}

int record_run(struct record *record, const struct engine_job *job, const struct checkpoint *from,
               enum engine_outcome *outcome, struct err *err)
{
    struct engine_sink sink = record_sink(record);
    struct engine_run *run;
    int rc;

    if (engine_run_open(&run, job, 2, &sink, err))
        fail_msg("%s", err->message);
    if (from && engine_run_restore(run, from, err))
        fail_msg("%s", err->message);
    rc = engine_run_train(run, &record->request, outcome, err);
    engine_run_close(run);
    return rc;
}

enum engine_outcome record_run_well(struct record *record, const struct engine_job *job,
                                    const struct checkpoint *from)
{
    enum engine_outcome outcome;
    struct err err = {0};

    if (record_run(record, job, from, &outcome, &err))
        fail_msg("%s", err.message);
    return outcome;
}

void record_begin(struct record *record, const struct engine_job *job,
                  const struct checkpoint *source)
{
    struct engine_sink sink = record_sink(record);
    enum engine_outcome outcome;
    struct engine_run *run;
    struct err err;

    assert_int_equal(engine_run_open(&run, job, 1, &sink, &err), 0);
    if (engine_run_begin_from(run, source, &err))
        fail_msg("%s", err.message);
    atomic_store(&record->request, ENGINE_STOP);
    assert_int_equal(engine_run_train(run, &record->request, &outcome, &err), 0);
    engine_run_close(run);
}

static double element(const struct tensor *tensor, size_t i)
{
    return tensor->type == TENSOR_F32 ? (double)((const float *)tensor->data)[i]
                                      : ((const double *)tensor->data)[i];
}

void assert_begun(const struct checkpoint *own, const struct checkpoint *source, bool exact)
{
    assert_int_equal(own->update, 0);
    for (int t = 0; t < own->n_tensors; t++) {
        const struct tensor *tensor = &own->tensors[t], *from;
        bool model = tensor->role == TENSOR_PARAMETER || tensor->role == TENSOR_BUFFER;

        if (tensor->type == TENSOR_I64)
            continue;
        from = model ? checkpoint_find(source, tensor->role, tensor->name) : NULL;
        for (size_t i = 0; i < tensor_elements(tensor); i++) {
            double want = from ? element(from, i) : 0;

            assert_true(element(tensor, i) == (exact ? want : (double)(float)want));
        }
    }
}
