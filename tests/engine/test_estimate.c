/* Forecasts: the memory that a run is said to take is what it then counts, whatever the model, the
 * method and the settings; and what it counts is what the process grows by. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "data/picture.h"
#include "data_folder.h"
#include "engine/estimate.h"
#include "engine/run.h"
#include "job/resolve.h"
#include "record.h"
#include "run/state.h"

#define THREADS   2
#define HUGE_PAGE (2 << 20)

static int64_t forecast(const struct engine_job *job)
{
    struct engine_estimate estimate;
    struct err err = {0};

    if (engine_estimate_memory(job, THREADS, &estimate, &err))
        fail_msg("%s", err.message);
    return estimate.memory_bytes;
}

static int64_t counted(const struct engine_job *job)
{
    const struct engine_sink sink = {0}; /* it keeps nothing */
    enum engine_outcome outcome;
    struct engine_run *run;
    struct err err = {0};
    atomic_int request;
    int64_t bytes;

    atomic_init(&request, ENGINE_CONTINUE);
    if (engine_run_open(&run, job, THREADS, &sink, &err) ||
        engine_run_train(run, &request, &outcome, &err))
        fail_msg("%s", err.message);
    bytes = engine_run_memory(run);
    engine_run_close(run);
    return bytes;
}

static void check(const char *what, const struct engine_job *job)
{
    int64_t said = forecast(job), came = counted(job);

    if (said != came)
        fail_msg("%s: %lld bytes were forecast, %lld were taken", what, (long long)said,
                 (long long)came);
}

static void test_each_method(void **state)
{
    static const int devices[] = {DEVICE_CPU, DEVICE_REFERENCE};

    (void)state;
    for (size_t d = 0; d < ARRAY_LENGTH(devices); d++)
        for (int method = 0; method < METHOD_KINDS; method++) {
            struct engine_job job = tiny_job(method, devices[d]);
            char what[64];

            job.epochs = 1;
            snprintf(what, sizeof what, "method %d, device %d", method, devices[d]);
            check(what, &job);
            job.telemetry.every_updates = 2;
            job.optimizer.clip_norm = 1;
            check("with telemetry and clipping", &job);
            job.world_size = 3;
            check("on three ranks", &job);
        }
}

static void test_settings(void **state)
{
    struct engine_job job = tiny_job(METHOD_M_ARWP, DEVICE_CPU);

    (void)state;
    job.epochs = 1;
    job.method.samples = 2;
    check("two parts", &job);
    job.method.samples = 1;
    job.dataset.train_limit = 0;
    check("all samples", &job);
    engine_job_defaults(&job, MODEL_RESNET, DATASET_DIGITS, METHOD_M_ARWP);
    job.model.width = 16;
    job.model.blocks = (struct spec_int_list){2, {1, 1}};
    job.optimizer = (struct job_optimizer){
        .kind = OPTIMIZER_ADAMW, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    job.epochs = 0;
    job.updates = 2;
    check("Adam, batches of 128", &job);
}

/* By channel and by image, with and without Winograd, side by side and one after the other. */
static void test_models(void **state)
{
    static const struct {
        const char *name;
        int model;
        int64_t width, depth, batch;
        struct spec_int_list blocks;
    } cases[] = {
        {"resnet", MODEL_RESNET, 64, 0, 64, {2, {1, 1}}},
        {"resnet, small", MODEL_RESNET, 8, 0, 100, {3, {1, 1, 1}}},
        {"preresnet", MODEL_PRERESNET, 8, 20, 50, {0}},
        {"wrn", MODEL_WRN, 0, 10, 24, {0}},
        {"vit", MODEL_VIT, 64, 2, 40, {0}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct engine_job job;

        engine_job_defaults(&job, cases[i].model, DATASET_DIGITS, METHOD_M_RWP);
        if (cases[i].width)
            job.model.width = cases[i].width;
        if (cases[i].depth)
            job.model.depth = cases[i].depth;
        if (cases[i].blocks.n)
            job.model.blocks = cases[i].blocks;
        if (cases[i].model == MODEL_WRN)
            job.model.widen = 2;
        if (cases[i].model == MODEL_VIT) {
            job.model.heads = 4;
            job.model.mlp = 64;
        }
        job.dataset.train_limit = 2 * cases[i].batch + 7;
        job.batch_size = cases[i].batch;
        job.epochs = 1;
        check(cases[i].name, &job);
    }
}

/* Loading is timed, too: of pictures with the files that are there. */
static void check_folder(const char *what, struct engine_job *job)
{
    struct engine_estimate estimate;
    struct err err = {0};

    job->model.width = 4;
    job->model.blocks = (struct spec_int_list){2, {1, 1}};
    job->batch_size = 5;
    job->epochs = 1;
    check(what, job);
    if (engine_estimate_memory(job, THREADS, &estimate, &err) ||
        engine_estimate_time(job, THREADS, &estimate, &err))
        fail_msg("%s: %s", what, err.message);
    assert_true(estimate.timed && estimate.seconds_per_update > 0);
    data_folder_remove(job->dataset.path);
}

static void test_folders(void **state)
{
    struct engine_job job;

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET, DATASET_CIFAR10, METHOD_M_RWP);
    cifar_folder_make(&job.dataset, 10, 4);
    check_folder("CIFAR", &job);
    engine_job_defaults(&job, MODEL_RESNET, DATASET_CIFAR10, METHOD_SGD);
    job.dataset.augment.randaugment = 2;
    cifar_folder_make(&job.dataset, 10, 4);
    check_folder("CIFAR, loaded by threads", &job);
    if (!picture_codecs[0])
        return;
    engine_job_defaults(&job, MODEL_RESNET, DATASET_IMAGE_FOLDER, METHOD_SGD);
    photo_folder_make(&job.dataset);
    check_folder("pictures", &job);
}

/* ---- What the operating system says ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* Of /proc/self/status, in bytes. */
static int64_t status(const char *name)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    int64_t kilobytes = 0;

    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            kilobytes = strtoll(line + strlen(name) + 1, NULL, 10);
    fclose(file);
    return kilobytes * 1024;
}

/* 90 MB or so, of which the run holds its activations only while it runs; code, tables and what the
 * allocator keeps are some megabytes more. The peak of before must be lower: this test comes first.
 */
static void test_the_process_grows_by_as_much(void **state)
{
    struct engine_job job;
    int64_t before, said, grown;

    (void)state;
    if (SANITIZED)
        skip();
    engine_job_defaults(&job, MODEL_RESNET, DATASET_DIGITS, METHOD_M_ARWP);
    job.model.width = 64;
    job.model.blocks = (struct spec_int_list){4, {1, 1, 1, 1}};
    job.batch_size = 512;
    job.epochs = 0;
    job.updates = 2;
    said = forecast(&job);
    malloc_trim(0);
    before = status("VmRSS");
    assert_int_equal(said, counted(&job));
    grown = status("VmHWM") - before;
    print_message("forecast %.1f MB, the process grew by %.1f MB\n", (double)said * 1e-6,
                  (double)grown * 1e-6);
    assert_true((double)grown > 0.85 * (double)said && (double)grown < 1.15 * (double)said + 16e6);
}

/* ---- What the methods cost ---- */

/* ResNet-18 of width 64 on CIFAR-10, batches of 128: parameters, and a batch with its labels. */
#define PARAMETERS 11173962
#define BATCH      (128 * (3 * 32 * 32 + 1) * (int64_t)sizeof(float))

static int64_t count_cifar(int method)
{
    const struct dataset_info cifar = {10, 3, 32, 32, {50000, 10000}, 0};
    const struct engine_sink sink = {0};
    struct engine_job job;
    struct engine_run *run;
    struct err err = {0};
    int64_t bytes;

    engine_job_defaults(&job, MODEL_RESNET18, DATASET_CIFAR10, method);
    if (run_open(&run, &job, THREADS, &sink, &cifar, RUN_COUNT, &err) || run_count(run, &err))
        fail_msg("%s", err.message);
    bytes = engine_run_memory(run);
    engine_run_close(run);
    return bytes;
}

/* Terms that run one after the other share their activations. What m-ARWP takes beyond SGD is the
 * weights that its noisy pass computes with, that pass's gradient, its batch, and a Fisher number a
 * filter, with the copy of them that becomes a checkpoint. A percent is for what is rounded up. */
static void test_a_second_term_shares_activations(void **state)
{
    const double weights = 4.0 * PARAMETERS, fisher = 2 * 4 * 14410, rounded = 1.01;
    int64_t sgd = count_cifar(METHOD_SGD), arwp = count_cifar(METHOD_ARWP),
            mixed = count_cifar(METHOD_M_ARWP);

    (void)state;
    print_message("SGD %.1f MB, ARWP %.1f MB, m-ARWP %.1f MB\n", (double)sgd * 1e-6,
                  (double)arwp * 1e-6, (double)mixed * 1e-6);
    assert_in_range(arwp - sgd, weights, rounded * (weights + fisher) + HUGE_PAGE);
    assert_in_range(mixed - sgd, 2 * weights,
                    rounded * (2 * weights + fisher) + BATCH + 2 * HUGE_PAGE);
}

/* ---- Time: that it can be said, not how much it is ---- */

static int graph_of(const void *context, int64_t samples, struct graph **out, struct err *err)
{
    const struct engine_run *plan = context;
    struct model_input input = job_model_input(&plan->info, samples);

    assert_in_range(samples, 2, plan->job.batch_size);
    return model_graph(out, &plan->job.model, &input, true, err);
}

/* A pass of each family on a part of its batch: the part's commands must be those of the whole. */
static void time_family(int model, int64_t width, int64_t depth, int device)
{
    const struct dataset_info cifar = {10, 3, 32, 32, {50000, 10000}, 0};
    const struct backend_options options = {.threads = THREADS};
    const struct engine_sink sink = {0};
    struct pass_seconds seconds = {0};
    struct pass_sample sample = {.graph = graph_of, .seconds = 0.001};
    struct backend *backend;
    struct engine_run *plan;
    struct engine_job job;
    struct err err = {0};

    engine_job_defaults(&job, model, DATASET_CIFAR10, METHOD_SGD);
    job.model.width = width ? width : job.model.width;
    job.model.depth = depth ? depth : job.model.depth;
    job.batch_size = 96;
    job.device = device;
    if (run_open(&plan, &job, THREADS, &sink, &cifar, RUN_COUNT, &err) ||
        plan->class->open(&backend, &options, &err))
        fail_msg("%s", err.message);
    sample.whole = program_of(&plan->training[0], job.batch_size);
    sample.context = plan;
    if (plan->class->time_pass(backend, &sample, &seconds, &err))
        fail_msg("model %d: %s", model, err.message);
    assert_true(seconds.forward > 0 && seconds.all >= seconds.forward && seconds.all < 1e4);
    plan->class->close(backend);
    engine_run_close(plan);
}

static void test_each_family_can_be_timed_by_a_part(void **state)
{
    (void)state;
    time_family(MODEL_RESNET18, 16, 0, DEVICE_CPU); /* by image */
    time_family(MODEL_RESNET18, 64, 0, DEVICE_CPU); /* by channel, Winograd */
    time_family(MODEL_RESNET50, 16, 0, DEVICE_CPU);
    time_family(MODEL_PRERESNET, 16, 20, DEVICE_CPU);
    time_family(MODEL_VGG16_BN, 16, 0, DEVICE_CPU);
    time_family(MODEL_WRN16_8, 0, 0, DEVICE_CPU);
    time_family(MODEL_VIT, 64, 2, DEVICE_CPU);
    time_family(MODEL_RESNET18, 4, 0, DEVICE_REFERENCE);
}

/* One that is timed as it is, with a noisy pass beside the clean one, and one that is remembered.
 */
static void test_a_small_job_is_timed(void **state)
{
    struct engine_job job = tiny_job(METHOD_M_ARWP, DEVICE_CPU);
    struct engine_estimate estimate, again;
    struct err err = {0};

    (void)state;
    assert_int_equal(engine_estimate_memory(&job, THREADS, &estimate, &err), 0);
    assert_int_equal(engine_estimate_time(&job, THREADS, &estimate, &err), 0);
    assert_true(estimate.timed);
    assert_true(estimate.seconds_per_update > 0 && estimate.seconds_per_update < 60);
    assert_true(estimate.evaluation_seconds > 0 && estimate.evaluation_seconds < 60);
    job.seed = 77;
    job.method.sigma *= 2;
    assert_int_equal(engine_estimate_memory(&job, THREADS, &again, &err), 0);
    assert_memory_equal(&again, &estimate, sizeof again);
    job.batch_size++;
    assert_int_equal(engine_estimate_memory(&job, THREADS, &again, &err), 0);
    assert_int_not_equal(again.signature, estimate.signature);
    assert_false(again.timed);
}

static void keep(void *to, const char *pointer, const char *message)
{
    char *kept = to;

    snprintf(kept, 500, "%s: %s", pointer, message);
}

/* Some TiB, of which nothing is taken. */
static void test_what_no_machine_holds_is_refused(void **state)
{
    struct engine_job job;
    char problem[500] = "";
    struct problems problems = {.tell = keep, .to = problem};

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_DIGITS, METHOD_M_ARWP);
    job.device = DEVICE_CPU;
    engine_estimate_check(&job, 1, &problems);
    assert_int_equal(problems.n, 0);
    job.model.width = 8192;
    engine_estimate_check(&job, 1, &problems);
    assert_int_equal(problems.n, 1);
    assert_non_null(strstr(problem, "/batch_size: the job needs "));
    assert_non_null(strstr(problem, "a smaller model.width"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_process_grows_by_as_much),
        cmocka_unit_test(test_each_method),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_a_second_term_shares_activations),
        cmocka_unit_test(test_each_family_can_be_timed_by_a_part),
        cmocka_unit_test(test_a_small_job_is_timed),
        cmocka_unit_test(test_what_no_machine_holds_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
