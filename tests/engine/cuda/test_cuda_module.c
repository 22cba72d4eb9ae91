/* The module and its devices, in a process each, since they are found once: none at all, a module
 * without a driver below it, a library that is no module, and two GPUs that are fakes. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/cuda/module.h"
#include "engine/estimate.h"
#include "engine/run.h"
#include "fake_gpu.h"
#include "job/health.h"
#include "job/resolve.h"
#include "job/take.h"
#include "support.h"

#define GPU(number) (DEVICE_CUDA + 1 + (number))

/* The last one. */
static struct problem {
    char pointer[100], message[512];
} problem;

static void keep(void *to, const char *pointer, const char *message)
{
    (void)to;
    snprintf(problem.pointer, sizeof problem.pointer, "%s", pointer);
    snprintf(problem.message, sizeof problem.message, "%s", message);
}

/* Each begins without one and returns how many there are. */
static int check_job(const struct engine_job *job)
{
    struct problems problems = {.tell = keep};

    problem = (struct problem){0};
    engine_job_check(job, &problems);
    return problems.n;
}

static int check_estimate(const struct engine_job *job)
{
    struct problems problems = {.tell = keep};

    problem = (struct problem){0};
    engine_estimate_check(job, 1, &problems);
    return problems.n;
}

static int check_probe(const struct engine_job *job, const struct engine_probe *probe)
{
    struct problems problems = {.tell = keep};

    problem = (struct problem){0};
    engine_probe_check(job, probe, &problems);
    return problems.n;
}

static struct engine_job job_on(int device, int precision)
{
    struct engine_job job;

    engine_job_defaults(&job, MODEL_RESNET, DATASET_DIGITS, METHOD_SGD);
    job.model.width = 4;
    job.model.blocks.n = 1;
    job.device = device;
    job.precision = precision;
    job.batch_size = 64;
    return job;
}

static void assert_place(int device, int precision, const char *name, const char *precision_name)
{
    struct engine_job job = job_on(device, precision);
    struct job_place place;

    assert_true(job_place(&place, &job));
    assert_string_equal(place.name, name);
    assert_string_equal(place.precision, precision_name);
    assert_int_equal(check_job(&job), 0);
}

static void assert_problem(int device, int precision, const char *pointer, const char *text)
{
    struct engine_job job = job_on(device, precision);

    assert_int_equal(check_job(&job), 1);
    assert_string_equal(problem.pointer, pointer);
    if (!strstr(problem.message, text))
        fail_msg("\"%s\" does not contain \"%s\"", problem.message, text);
}

/* Whatever the reason is, a machine without a GPU trains as ever. */
static void assert_no_gpu(const char *why)
{
    const struct cuda_device *devices;
    int n;

    assert_int_equal(cuda_devices(&devices, NULL), 0);
    assert_string_equal(engine_devices(&n)[0].name, "cpu");
    assert_int_equal(n, 2);
    assert_place(DEVICE_AUTO, PRECISION_AUTO, "cpu", "fp32");
    assert_problem(DEVICE_CUDA, PRECISION_AUTO, "/device", why);
    assert_problem(DEVICE_CUDA + 1, PRECISION_BF16, "/device", "there is no GPU here");
    assert_problem(DEVICE_AUTO, PRECISION_BF16, "/precision", "there is none here");
    assert_problem(DEVICE_CPU, PRECISION_TF32, "/precision", "fp32 only");
}

static void no_driver(void **state)
{
    (void)state;
    assert_no_gpu("no NVIDIA driver");
}

static void no_module(void **state)
{
    (void)state;
    assert_no_gpu("no CUDA module");
}

static void another_library(void **state)
{
    (void)state;
    assert_no_gpu("is not the module of rwpd");
}

/* The true module, where no driver answers it. */
static void module_without_driver(void **state)
{
    const struct cuda_module *module;

    (void)state;
    assert_ok((module = cuda_module(err)) ? 0 : err->code);
    assert_string_equal(module->class->name, "cuda");
    assert_no_gpu("CUDA");
}

static void places(void **state)
{
    (void)state;
    assert_place(DEVICE_AUTO, PRECISION_AUTO, "cuda:0", "tf32");
    assert_place(DEVICE_AUTO, PRECISION_BF16, "cuda:0", "bf16");
    assert_place(DEVICE_AUTO, PRECISION_FP32, "cuda:0", "fp32");
    assert_place(DEVICE_CUDA, PRECISION_FP32, "cuda:0", "fp32");
    assert_place(DEVICE_AUTO, PRECISION_FP64, "reference", "fp64");
    assert_place(DEVICE_CUDA, PRECISION_AUTO, "cuda:0", "tf32");
    assert_place(DEVICE_CUDA + 1, PRECISION_AUTO, "cuda:0", "tf32");
    assert_place(DEVICE_CPU, PRECISION_AUTO, "cpu", "fp32");
    assert_problem(DEVICE_CUDA, PRECISION_FP64, "/precision", "tf32, bf16 and fp32");
    assert_problem(DEVICE_CUDA + 3, PRECISION_AUTO, "/device", "no GPU 2 here, but 2");
}

/* The second GPU has a MiB: too little for the batch, or for the weights. */
static void memory_of_the_device(void **state)
{
    struct engine_job job = job_on(DEVICE_CUDA + 2, PRECISION_AUTO);

    (void)state;
    job.batch_size = 1000;
    assert_int_equal(check_job(&job), 0);
    assert_int_equal(check_estimate(&job), 1);
    assert_string_equal(problem.pointer, "/batch_size");
    assert_non_null(strstr(problem.message, "on cuda:1"));
    assert_non_null(strstr(problem.message, "a smaller model.width, precision bf16"));
    job.device = DEVICE_CPU;
    assert_int_equal(check_estimate(&job), 0);
    job.device = DEVICE_CUDA + 2;
    job.model.width = 128;
    assert_int_equal(check_job(&job), 1);
    assert_string_equal(problem.pointer, "/model");
    assert_non_null(strstr(problem.message, "cuda:1 has 0.0"));
}

/* It is the job's device that a probe's passes take it of, with another GPU beside it or not. */
static void memory_of_a_probe(void **state)
{
    struct engine_probe probe = {.kind = PROBE_SHARPNESS, .batch_size = 1000, .draws = 1};
    struct engine_job job = job_on(DEVICE_CUDA + 2, PRECISION_AUTO);

    (void)state;
    assert_int_equal(check_probe(&job, &probe), 1);
    assert_string_equal(problem.pointer, "/batch_size");
    assert_non_null(strstr(problem.message, "cuda:1 has 0.0"));
    job.device = DEVICE_CUDA + 1;
    assert_int_equal(check_probe(&job, &probe), 0);
    job.device = DEVICE_CPU;
    assert_int_equal(check_probe(&job, &probe), 0);
}

static void load(void **state)
{
    struct device_load load;
    const struct engine_device *devices;
    int n;

    (void)state;
    devices = engine_devices(&n);
    assert_int_equal(n, 4);
    assert_string_equal(devices[0].name, "cuda:0");
    assert_string_equal(devices[0].description, "Fake GPU");
    assert_string_equal(devices[0].uuid, "GPU-00000000-0000-0000-0000-000000000000");
    assert_true(devices[0].memory_bytes == (int64_t)80 << 30);
    assert_true(engine_device_load(&devices[0], &load));
    assert_true(load.memory_used_bytes == (int64_t)3 << 30);
    assert_true(load.utilisation == 0.42);
    assert_int_equal(load.temperature_celsius, 55);
    assert_int_equal(load.processes, 3);
    assert_int_equal(load.n_others, 2); /* without this one */
    assert_int_equal(load.others[0].pid, getppid());
    assert_int_equal(load.others[0].memory_bytes, 1 << 20);
    assert_true(load.others[0].name[0]);
    assert_int_equal(load.others[1].pid, 1 << 30);
    assert_int_equal(load.others[1].memory_bytes, -1);
    assert_string_equal(load.others[1].name, "");
    assert_false(engine_device_load(&devices[1], &load)); /* which NVML does not know */
    assert_false(engine_device_load(&devices[2], &load));
}

static void *symbol(const char *name)
{
    void *found = dlsym(dlopen(getenv("RWPD_CUDA_MODULE"), RTLD_NOW), name);

    assert_non_null(found);
    return found;
}

static struct fake_gpu_fault *fault(void)
{
    union {
        void *symbol;
        struct fake_gpu_fault *(*function)(void);
    } u = {.symbol = symbol("fake_gpu_fault")};

    return u.function();
}

static void assert_state(const char *name, enum device_state state, const char *reason)
{
    struct device_health health;

    engine_device_health(name, &health);
    assert_string_equal(device_state_name(health.state), device_state_name(state));
    if (!strstr(health.reason, reason))
        fail_msg("\"%s\" does not contain \"%s\"", health.reason, reason);
}

/* One that fails its test is set aside, told of, avoided where there is a choice, and taken again
 * when it is well. */
static void set_aside(void **state)
{
    struct engine_job job = job_on(DEVICE_AUTO, PRECISION_BF16);
    struct err found = {0};

    (void)state;
    assert_state("cuda:0", DEVICE_STATE_UNTESTED, "");
    *fault() = (struct fake_gpu_fault){.device = 0, .code = ERR_DEVICE};
    assert_ok(engine_device_take(&job, err)); /* on the other one */
    assert_int_equal(job_gpu(&job), 1);
    engine_device_release(&job);
    assert_state("cuda:1", DEVICE_STATE_READY, "");
    assert_int_equal(health_ready(0, &found), ERR_DEVICE);
    assert_string_equal(found.message, "cuda:0 is set aside: a fault of the fake");
    assert_state("cuda:0", DEVICE_STATE_ASIDE, "a fault of the fake");
    assert_place(DEVICE_AUTO, PRECISION_BF16, "cuda:1", "bf16");
    assert_place(DEVICE_CUDA, PRECISION_BF16, "cuda:1", "bf16");
    assert_place(GPU(0), PRECISION_BF16, "cuda:0", "bf16"); /* as asked */
    assert_ok(health_ready(1, err));
    job = job_on(DEVICE_CPU, PRECISION_AUTO);
    assert_ok(engine_device_take(&job, err));
    assert_int_equal(job.device, DEVICE_CPU);
    job = job_on(GPU(0), PRECISION_AUTO);
    assert_int_equal(engine_device_take(&job, &found), ERR_DEVICE);
    assert_int_equal(job.device, GPU(0));
    *fault() = (struct fake_gpu_fault){.device = -1, .wrong = true};
    assert_int_equal(health_ready(0, &found), ERR_DEVICE);
    assert_state("cuda:0", DEVICE_STATE_ASIDE, "a copy: ");
    fault()->wrong = false;
    assert_ok(health_ready(0, err));
    assert_state("cuda:0", DEVICE_STATE_READY, "");
    assert_place(DEVICE_AUTO, PRECISION_BF16, "cuda:0", "bf16");
}

static int take(int device, int ranks, struct engine_job *job)
{
    *job = job_on(device, PRECISION_AUTO);
    job->world_size = ranks;
    assert_ok(engine_device_take(job, err));
    return job->device;
}

/* Jobs that leave it open which GPU they compute on have one each, as far as there are enough. */
static void shared_out(void **state)
{
    struct engine_job jobs[5];

    (void)state;
    *fault() = (struct fake_gpu_fault){.device = -1};
    assert_int_equal(take(DEVICE_AUTO, 1, &jobs[0]), GPU(0));
    assert_int_equal(take(DEVICE_CUDA, 1, &jobs[1]), GPU(1));
    assert_int_equal(take(GPU(0), 1, &jobs[2]), GPU(0)); /* as asked */
    assert_int_equal(take(DEVICE_AUTO, 1, &jobs[3]), GPU(1));
    assert_int_equal(take(DEVICE_AUTO, 2, &jobs[4]), GPU(0));
    engine_device_release(&jobs[3]);
    engine_device_release(&jobs[1]);
    assert_int_equal(take(DEVICE_AUTO, 1, &jobs[1]), GPU(1));
    assert_int_equal(take(DEVICE_AUTO, 1, &jobs[3]), GPU(1));
    /* And one that fails its test is given nothing, however little it has to do. */
    for (int i = 0; i < 5; i++)
        if (i != 2)
            engine_device_release(&jobs[i]);
    health_failed(1, &(struct err){.code = ERR_DEVICE});
    *fault() = (struct fake_gpu_fault){.device = 1, .code = ERR_DEVICE};
    assert_int_equal(take(DEVICE_AUTO, 1, &jobs[0]), GPU(0));
    *fault() = (struct fake_gpu_fault){.device = -1};
    assert_ok(health_ready(1, err));
    engine_device_release(&jobs[0]);
    engine_device_release(&jobs[2]);
    assert_int_equal(take_jobs_on(0), 0);
    assert_int_equal(take_jobs_on(1), 0);
}

/* Each rank's device is tested, and any of them may have failed. */
static void of_all_ranks(void **state)
{
    struct engine_job job = job_on(DEVICE_CUDA, PRECISION_FP32);
    struct err found = {0}, lost = {.code = ERR_DEVICE_LOST, .message = "an illegal access"};
    struct engine_sink sink = {0};
    struct engine_run *run;

    (void)state;
    job.world_size = 2;
    assert_ok(engine_device_ready(&job, err));
    engine_device_failed(&job, &lost);
    assert_state("cuda:0", DEVICE_STATE_UNTESTED, "");
    assert_state("cuda:1", DEVICE_STATE_UNTESTED, "");
    *fault() = (struct fake_gpu_fault){.device = 1, .code = ERR_DEVICE};
    assert_int_equal(engine_device_ready(&job, &found), ERR_DEVICE);
    assert_string_equal(found.message, "cuda:1 is set aside: a fault of the fake");
    assert_state("cuda:0", DEVICE_STATE_READY, "");
    /* Nor does a run open on it, however well the others are. */
    assert_int_equal(engine_run_open(&run, &job, 2, &sink, &found), ERR_DEVICE);
    assert_string_equal(found.message, "a fault of the fake");
    fault()->device = -1;
    assert_ok(engine_device_ready(&job, err));
    assert_state("cuda:1", DEVICE_STATE_READY, "");
}

/* What fails on a device that was ready has it tested again; memory that others have is no fault of
 * its; and what is lost stays so. */
static void faults(void **state)
{
    struct err passing = {.code = ERR_DEVICE}, full = {.code = ERR_NO_MEMORY};
    struct engine_job job;
    struct err lost = {.code = ERR_DEVICE_LOST, .message = "an illegal access"}, found = {0};

    (void)state;
    health_failed(0, &full);
    assert_state("cuda:0", DEVICE_STATE_READY, "");
    health_failed(0, &passing);
    assert_state("cuda:0", DEVICE_STATE_UNTESTED, "");
    *fault() = (struct fake_gpu_fault){.device = 0, .code = ERR_NO_MEMORY};
    assert_ok(health_ready(0, err));
    assert_state("cuda:0", DEVICE_STATE_UNTESTED, "");
    fault()->code = ERR_DEVICE_LOST; /* it was ready in this process, so another one may have it */
    assert_int_equal(health_ready(0, &found), ERR_DEVICE_LOST);
    assert_state("cuda:0", DEVICE_STATE_LOST, "a fault of the fake");
    fault()->code = 0;
    assert_int_equal(health_ready(0, &found), ERR_DEVICE_LOST);
    assert_state("cuda:1", DEVICE_STATE_READY, "");
    health_failed(1, &lost);
    assert_state("cuda:1", DEVICE_STATE_LOST, "an illegal access");
    job = job_on(DEVICE_CPU, PRECISION_AUTO);
    engine_device_failed(&job, &lost);
    assert_state("cpu", DEVICE_STATE_READY, "");
}

/* The first test of a process that loses the device does not end the process. */
static void broken_from_the_start(void **state)
{
    struct err found = {0};

    (void)state;
    *fault() = (struct fake_gpu_fault){.device = 1, .code = ERR_DEVICE_LOST};
    assert_int_equal(health_ready(1, &found), ERR_DEVICE);
    assert_state("cuda:1", DEVICE_STATE_ASIDE, "a fault of the fake");
    fault()->device = -1;
    assert_ok(health_ready(1, err));
}

/* A run opens the module's backend with what the job says. */
static void run_on_the_device(void **state)
{
    struct engine_job job = job_on(DEVICE_CUDA + 1, PRECISION_BF16);
    union {
        void *symbol;
        const struct backend_options *(*function)(void);
    } opened = {.symbol = symbol("fake_gpu_opened")};
    struct engine_sink sink = {0};
    enum engine_outcome outcome;
    struct engine_run *run;
    atomic_int request = ENGINE_CONTINUE;

    (void)state;
    job.epochs = 0;
    job.updates = 2;
    job.deterministic = true;
    assert_ok(engine_run_open(&run, &job, 1, &sink, err));
    assert_int_equal(opened.function()->compute, COMPUTE_BF16);
    assert_int_equal(opened.function()->device, 0);
    assert_true(opened.function()->deterministic);
    assert_string_equal(opened.function()->cache, "/nowhere/cache");
    assert_ok(engine_run_train(run, &request, &outcome, err));
    assert_int_equal(outcome, ENGINE_FINISHED);
    engine_run_close(run);
}

static void check_ranks(int device, int ranks, const char *pointer, const char *text)
{
    struct engine_job job = job_on(device, PRECISION_FP32);

    job.world_size = ranks;
    assert_int_equal(check_job(&job), pointer[0] != 0);
    assert_string_equal(problem.pointer, pointer);
    if (!strstr(problem.message, text))
        fail_msg("\"%s\" does not contain \"%s\"", problem.message, text);
}

/* Rank r is on the r-th GPU from the job's on. */
static void ranks_have_a_device_each(void **state)
{
    struct engine_job job = job_on(DEVICE_CUDA, PRECISION_FP32);
    union {
        void *symbol;
        int (*function)(void);
    } others = {.symbol =
                    dlsym(dlopen(getenv("RWPD_CUDA_MODULE"), RTLD_NOW), "fake_gpu_opened_ranks")};
    struct engine_sink sink = {0};
    enum engine_outcome outcome;
    struct engine_run *run;
    atomic_int request = ENGINE_CONTINUE;

    (void)state;
    check_ranks(DEVICE_CUDA, 2, "", "");
    check_ranks(DEVICE_CUDA, 3, "/world_size", "there are 2 GPUs here from cuda:0 on");
    check_ranks(DEVICE_CUDA + 2, 2, "/world_size", "there is 1 GPU here from cuda:1 on");
    check_ranks(DEVICE_CUDA + 3, 2, "/device", "no GPU 2 here");
    check_ranks(DEVICE_CPU, 8, "", "");
    job.epochs = 0;
    job.updates = 2;
    job.world_size = 2;
    assert_ok(engine_run_open(&run, &job, 2, &sink, err));
    assert_int_equal(others.function(), 1 << 1);
    assert_ok(engine_run_train(run, &request, &outcome, err));
    assert_int_equal(outcome, ENGINE_FINISHED);
    engine_run_close(run);
}

#define RUN(tests) cmocka_run_group_tests(tests, NULL, NULL)

int main(int argc, char **argv)
{
    static const struct CMUnitTest driver[] = {cmocka_unit_test(no_driver)};
    static const struct CMUnitTest module[] = {cmocka_unit_test(no_module)};
    static const struct CMUnitTest another[] = {cmocka_unit_test(another_library)};
    static const struct CMUnitTest alone[] = {cmocka_unit_test(module_without_driver)};
    static const struct CMUnitTest fakes[] = {cmocka_unit_test(places),
                                              cmocka_unit_test(memory_of_the_device),
                                              cmocka_unit_test(memory_of_a_probe),
                                              cmocka_unit_test(load),
                                              cmocka_unit_test(run_on_the_device),
                                              cmocka_unit_test(ranks_have_a_device_each),
                                              cmocka_unit_test(broken_from_the_start),
                                              cmocka_unit_test(set_aside),
                                              cmocka_unit_test(shared_out),
                                              cmocka_unit_test(of_all_ranks),
                                              cmocka_unit_test(faults)};
    const char *what = argc > 1 ? argv[1] : "";

    if (!strcmp(what, "no-driver"))
        return RUN(driver);
    if (!strcmp(what, "no-module"))
        return RUN(module);
    if (!strcmp(what, "another-library"))
        return RUN(another);
    if (!strcmp(what, "module"))
        return RUN(alone);
    return RUN(fakes);
}
