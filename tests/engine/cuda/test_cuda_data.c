/* Datasets in the device's memory, with the host in the place of the GPU: whole runs whose batches
 * are made there against the same runs through the loader, to the last bit; when they are, and what
 * is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/module.h"
#include "base/cleanup.h"
#include "data_folder.h"
#include "host_gpu.h"
#include "idx_folder.h"
#include "model/model.h"
#include "record.h"
#include "support.h"

static const struct host_gpu *gpu;

/* ---- Runs ---- */

/* On a device with so much free memory, which is as late as it may be; returns how many batches
 * were made on it. */
static int run_with(struct record *record, const struct engine_job *job, size_t left,
                    const struct checkpoint *from)
{
    gpu->reset();
    gpu->left(left);
    gpu->lazy(true);
    record_run_well(record, job, from);
    gpu->lazy(false);
    gpu->left(PLENTY);
    assert_int_equal(gpu->open_things(), 0);
    return gpu->launches_of("batch");
}

static void assert_same(const struct record *got, const struct record *want)
{
    assert_int_equal(got->n_updates, want->n_updates);
    for (int i = 0; i < want->n_updates; i++) {
        assert_true(got->update[i].loss == want->update[i].loss);
        assert_true(got->update[i].perturbed_loss == want->update[i].perturbed_loss);
    }
    assert_int_equal(got->n_epochs, want->n_epochs);
    for (int i = 0; i < want->n_epochs; i++) {
        assert_true(got->epoch[i].train_loss == want->epoch[i].train_loss);
        assert_true(got->epoch[i].test_loss == want->epoch[i].test_loss);
        assert_true(got->epoch[i].test_top1 == want->epoch[i].test_top1);
    }
    assert_checkpoints_equal(&got->checkpoint, &want->checkpoint);
}

/* `batches`: of training passes; those of evaluation come on top of them. */
static void compare_with_loader(const struct engine_job *job, int batches)
{
    struct record *got = record_new(), *want = record_new();

    assert_true(run_with(got, job, PLENTY, NULL) > batches);
    assert_int_equal(run_with(want, job, 0, NULL), 0);
    assert_same(got, want);
    record_free(got);
    record_free(want);
}

/* Of 20 grey images 15, some with a wrong label, in batches of 6, 6 and 3; the caller removes the
 * folder. */
static struct engine_job grey(int method, int updates)
{
    struct engine_job job = tiny_job(method, DEVICE_CUDA);

    idx_folder_make(&job.dataset);
    job.dataset.train_limit = 15;
    job.dataset.label_noise = 0.2;
    job.batch_size = 6;
    job.dataset.augment = (struct job_augment){
        .flip = true, .crop_padding = 2, .cutout = 3, .cutout_probability = 0.6};
    job.evaluate.every_epochs = 100; /* the last epoch alone */
    job.epochs = 0;
    job.updates = updates;
    job.precision = PRECISION_FP32;
    return job;
}

/* Two batches an update: now and then of two passes over the data, never, and always. */
static void two_batches(void **state)
{
    static const int sizes[] = {6, 8, 15};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        int updates = i == 0 ? 6 : 3;
        struct engine_job job = grey(METHOD_M_RWP, updates);

        job.batch_size = sizes[i];
        compare_with_loader(&job, 2 * updates);
        idx_folder_remove(&job.dataset);
    }
}

/* The perturbed batch in three parts, and what is measured on the way. */
static void parts(void **state)
{
    struct engine_job job = grey(METHOD_M_ARWP, 3);

    (void)state;
    job.method.samples = 3;
    job.telemetry.every_updates = 2;
    compare_with_loader(&job, 12);
    idx_folder_remove(&job.dataset);
}

/* Both passes have the same batch; dropout draws by the same turn. */
static void same_batch_twice(void **state)
{
    struct engine_job job = grey(METHOD_SAM, 4);

    (void)state;
    job.model = (struct job_model){.kind = MODEL_VIT,
                                   .width = 16,
                                   .depth = 1,
                                   .patch = 1,
                                   .heads = 2,
                                   .mlp = 16,
                                   .dropout = 0.1};
    job.precision = PRECISION_BF16;
    compare_with_loader(&job, 8);
    idx_folder_remove(&job.dataset);
}

static struct engine_job colours(int method)
{
    struct engine_job job;

    engine_job_defaults(&job, MODEL_RESNET, DATASET_CIFAR10, method);
    cifar_folder_make(&job.dataset, 10, 3);
    job.model.width = 4;
    job.model.blocks = (struct spec_int_list){1, {1}};
    job.dataset.augment =
        (struct job_augment){.flip = true, .crop_padding = 4, .cutout = 9, .cutout_probability = 1};
    job.batch_size = 6; /* 15 images: 6, 6, 3 */
    job.epochs = 0;
    job.updates = 4;
    job.device = DEVICE_CUDA;
    job.precision = PRECISION_BF16;
    return job;
}

static void cifar(void **state)
{
    struct engine_job job = colours(METHOD_SGD);

    (void)state;
    compare_with_loader(&job, 4);
    data_folder_remove(job.dataset.path);
}

/* Photographs' and RandAugment's variations are the loader's; test images are not varied. */
static void randaugment(void **state)
{
    struct engine_job job = colours(METHOD_SGD);
    struct record *got = record_new(), *want = record_new();

    (void)state;
    job.dataset.augment.randaugment = 1;
    job.dataset.augment.randaugment_magnitude = 9;
    assert_int_equal(run_with(got, &job, PLENTY, NULL), 2); /* both epochs' evaluations */
    assert_int_equal(run_with(want, &job, 0, NULL), 0);
    assert_same(got, want);
    record_free(got);
    record_free(want);
    data_folder_remove(job.dataset.path);
}

/* Stopped within a pass over the data, after which another part of it comes; where updates are
 * measured the device is not ahead of what is told. */
static void resumed(void **state)
{
    struct engine_job job = grey(METHOD_M_RWP, 5);
    struct record *whole = record_new(), *first = record_new(), *rest = record_new();

    (void)state;
    run_with(whole, &job, PLENTY, NULL);
    job.telemetry.every_updates = 1;
    first->ask_at = 2;
    first->ask = ENGINE_STOP;
    assert_int_equal(run_with(first, &job, PLENTY, NULL), 4);
    assert_int_equal(first->n_updates, 2);
    job.telemetry.every_updates = 0;
    assert_true(run_with(rest, &job, PLENTY, &first->checkpoint) >= 6);
    assert_checkpoints_equal(&whole->checkpoint, &rest->checkpoint);
    idx_folder_remove(&job.dataset);
    record_free(whole);
    record_free(first);
    record_free(rest);
}

/* A quarter of what is left, and not a byte more. */
static void too_large(void **state)
{
    struct engine_job job = grey(METHOD_SGD, 1);
    struct record *record = record_new();
    struct engine_job_facts facts;
    size_t bytes;

    (void)state;
    assert_ok(engine_job_facts(&job, &facts, err));
    bytes = (size_t)(facts.train_samples + facts.test_samples) * (IDX_HEIGHT * IDX_WIDTH + 3 * 4);
    assert_true(run_with(record, &job, 4 * bytes, NULL) > 0);
    record_rewind(record);
    assert_int_equal(run_with(record, &job, 4 * bytes - 1, NULL), 0);
    idx_folder_remove(&job.dataset);
    record_free(record);
}

/* ---- The class ---- */

enum { SAMPLES = 7, BATCH = 4, SIDE = 8, CLASSES = 10 };

struct bench {
    const struct backend_class *class;
    struct backend *backend;
    struct graph *graph;
    struct layout *params, *states;
    struct program *program;
    struct vector *weights, *running;
    uint8_t pixels[SAMPLES * SIDE * SIDE];
    int32_t labels[SAMPLES];
    float levels[256];
    struct data_samples samples;
};

static void bench_open(struct bench *b)
{
    struct job_model model = {.kind = MODEL_RESNET, .width = 4, .blocks = {1, {1}}};
    struct model_input input = {BATCH, 1, SIDE, SIDE, CLASSES, 0};
    struct backend_options options = {.threads = 1};
    struct program_options program = {.side_by_side = 1};

    *b = (struct bench){.class = cuda_module(NULL)->class};
    assert_ok(model_graph(&b->graph, &model, &input, false, err));
    assert_ok(layout_open(&b->params, b->graph->params, b->graph->n_params, err));
    assert_ok(layout_open(&b->states, b->graph->states, b->graph->n_states, err));
    assert_ok(b->class->open(&b->backend, &options, err));
    assert_ok(b->class->program_open(b->backend, b->graph, b->params, b->states, &program,
                                     &b->program, err));
    assert_ok(b->class->vector_open(b->backend, b->params->size, &b->weights, err));
    assert_ok(b->class->vector_open(b->backend, b->states->size, &b->running, err));
    for (int i = 0; i < SAMPLES; i++)
        b->labels[i] = (i * 3 + 1) % CLASSES;
    for (size_t i = 0; i < sizeof b->pixels; i++)
        b->pixels[i] = (uint8_t)(i * 37);
    for (int i = 0; i < 256; i++)
        b->levels[i] = (float)i / 100;
    b->samples = (struct data_samples){.n = SAMPLES,
                                       .height = SIDE,
                                       .width = SIDE,
                                       .channels = 1,
                                       .classes = CLASSES,
                                       .pixels = b->pixels,
                                       .labels = b->labels,
                                       .levels = b->levels,
                                       .ordered = true};
}

static void bench_close(struct bench *b)
{
    b->class->vector_close(b->weights);
    b->class->vector_close(b->running);
    b->class->program_close(b->program);
    b->class->close(b->backend);
    layout_close(b->params);
    layout_close(b->states);
    graph_free(b->graph);
    assert_int_equal(gpu->open_things(), 0);
}

static int evaluate_to(const struct bench *b, const struct data_batch *batch,
                       const void *const *inputs, float out[MODEL_OUTPUTS], struct err *err)
{
    void *outputs[MODEL_OUTPUTS] = {&out[0], &out[1], &out[2]};
    struct pass pass = {.program = b->program,
                        .weights = b->weights,
                        .states = b->running,
                        .inputs = inputs,
                        .batch = *batch,
                        .outputs = outputs};

    return b->class->execute(b->backend, &pass, 1, err);
}

static int evaluate(const struct bench *b, const struct data_batch *batch,
                    const void *const *inputs, struct err *err)
{
    float out[MODEL_OUTPUTS];

    return evaluate_to(b, batch, inputs, out, err);
}

static const int64_t one_order[SAMPLES] = {3, 1, 6, 0, 2, 5, 4};
static const int64_t other_order[SAMPLES] = {5, 4, 3, 2, 1, 0, 6};

/* The first time as it is given, then captured, then replayed: a batch from its third sample on is
 * the batch that begins there, and other samples than those from its first on. */
static void parts_of_a_batch(void **state)
{
    enum { WHOLE, PART, THERE, KINDS };
    float weights[4096], out[KINDS][MODEL_OUTPUTS];
    struct data_batch batch[KINDS];
    struct device_data *data;
    struct bench b;

    (void)state;
    bench_open(&b);
    assert_true(b.params->size <= ARRAY_LENGTH(weights));
    for (size_t i = 0; i < b.params->size; i++)
        weights[i] = (float)(i * 29 % 31) / 31 - 0.5f;
    assert_ok(b.class->vector_write(b.weights, 0, b.params->size, weights, err));
    assert_ok(b.class->data_open(b.backend, &b.samples, &data, err));
    assert_ok(b.class->data_order(data, 0, one_order, err));
    batch[WHOLE] = batch[PART] = batch[THERE] = (struct data_batch){.data = data};
    batch[PART].begin = batch[THERE].first = 2;
    for (int times = 0; times < 3; times++) {
        for (int i = 0; i < KINDS; i++)
            assert_ok(evaluate_to(&b, &batch[i], NULL, out[i], err));
        assert_memory_equal(out[PART], out[THERE], sizeof *out);
        assert_true(out[WHOLE][MODEL_OUTPUT_LOSS] != out[PART][MODEL_OUTPUT_LOSS]);
    }
    b.class->data_close(data);
    bench_close(&b);
}

/* The host's copy of an order is not written again before the device has it. */
static void orders_wait(void **state)
{
    struct device_data *data;
    struct data_batch batch;
    struct bench b;

    (void)state;
    bench_open(&b);
    assert_ok(b.class->data_open(b.backend, &b.samples, &data, err));
    for (uint64_t pass = 0; pass < 6; pass++)
        assert_ok(b.class->data_order(data, pass, pass / 2 % 2 ? other_order : one_order, err));
    batch = (struct data_batch){.data = data, .pass = 5};
    assert_ok(evaluate(&b, &batch, NULL, err));
    b.class->data_close(data);
    bench_close(&b);
}

static void labels_are_checked(void **state)
{
    struct device_data *data = NULL;
    struct bench b;
    size_t held;

    (void)state;
    bench_open(&b);
    held = b.backend->held;
    b.labels[5] = CLASSES;
    assert_refused(b.class->data_open(b.backend, &b.samples, &data, err), ERR_INVALID,
                   "label 10 of sample 5; 10 classes");
    b.labels[5] = -1;
    assert_refused(b.class->data_open(b.backend, &b.samples, &data, err), ERR_INVALID,
                   "label -1 of sample 5");
    assert_null(data);
    assert_int_equal(b.backend->held, held);
    bench_close(&b);
}

static void memory_is_counted(void **state)
{
    size_t bytes = SAMPLES * (SIDE * SIDE + 4 + 2 * 4) + 256 * 4, held;
    struct device_data *data;
    struct bench b;

    (void)state;
    bench_open(&b);
    held = b.backend->held;
    for (int n = 0; n < 2; n++) {
        int rc;

        gpu->fail_after(n == 0 ? 0 : -1);
        rc = b.class->data_open(b.backend, &b.samples, &data, NULL);
        assert_int_equal(rc, n == 0 ? ERR_NO_MEMORY : 0);
        if (n == 0)
            assert_int_equal(b.backend->held, held);
    }
    assert_in_range(b.backend->held - held, bytes, bytes + 4 * 256);
    b.class->data_close(data);
    assert_int_equal(b.backend->held, held);
    bench_close(&b);
}

static void wrong_passes(void **state)
{
    static const int64_t wrong[SAMPLES] = {3, 1, SAMPLES};
    const int64_t *order = one_order;
    const void *inputs[MODEL_INPUTS] = {0};
    struct device_data *data;
    struct data_batch batch;
    struct bench b;

    (void)state;
    bench_open(&b);
    assert_ok(b.class->data_open(b.backend, &b.samples, &data, err));
    batch = (struct data_batch){.data = data, .first = 1};
    assert_refused(evaluate(&b, &batch, NULL, err), ERR_INVALID, "the order of pass 0");
    assert_ok(b.class->data_order(data, 0, order, err));
    assert_ok(b.class->data_order(data, 1, order, err));
    assert_ok(evaluate(&b, &batch, NULL, err));
    assert_refused(evaluate(&b, &batch, inputs, err), ERR_INVALID, "inputs beside a batch");
    batch.begin = 3;
    assert_refused(evaluate(&b, &batch, NULL, err), ERR_INVALID, "4 samples from 4 on of 7");
    batch.begin = 0;
    batch.number = DATA_BATCHES_MAX;
    assert_refused(evaluate(&b, &batch, NULL, err), ERR_INVALID, "samples");
    batch.number = 0;
    /* The third takes the place of the first, whether or not that has arrived. */
    assert_ok(b.class->data_order(data, 2, order, err));
    assert_refused(evaluate(&b, &batch, NULL, err), ERR_INVALID, "the order of pass 0");
    batch.pass = 2;
    assert_ok(evaluate(&b, &batch, NULL, err));
    assert_refused(b.class->data_order(data, 2, wrong, err), ERR_INVALID, "sample 7 of 7");
    assert_refused(evaluate(&b, &batch, NULL, err), ERR_INVALID, "the order of pass 2");
    b.class->data_close(data);
    bench_close(&b);
}

static void another_shape(void **state)
{
    struct device_data *data;
    struct data_batch batch;
    struct bench b;

    (void)state;
    bench_open(&b);
    b.samples.ordered = false;
    b.samples.height = SIDE / 2;
    assert_ok(b.class->data_open(b.backend, &b.samples, &data, err));
    assert_refused(b.class->data_order(data, 0, one_order, err), ERR_INVALID, "no order");
    batch = (struct data_batch){.data = data};
    assert_refused(evaluate(&b, &batch, NULL, err), ERR_INVALID, "another shape");
    b.class->data_close(data);
    b.samples.height = SIDE;
    b.samples.classes = CLASSES + 1;
    assert_ok(b.class->data_open(b.backend, &b.samples, &data, err));
    batch = (struct data_batch){.data = data};
    assert_refused(evaluate(&b, &batch, NULL, err), ERR_INVALID, "11 classes");
    b.class->data_close(data);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_batches),       cmocka_unit_test(parts),
        cmocka_unit_test(same_batch_twice),  cmocka_unit_test(cifar),
        cmocka_unit_test(randaugment),       cmocka_unit_test(resumed),
        cmocka_unit_test(too_large),         cmocka_unit_test(labels_are_checked),
        cmocka_unit_test(parts_of_a_batch),  cmocka_unit_test(orders_wait),
        cmocka_unit_test(memory_is_counted), cmocka_unit_test(wrong_passes),
        cmocka_unit_test(another_shape),
    };

    gpu = host_gpu_open();
    return gpu ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
