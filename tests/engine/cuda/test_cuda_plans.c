/* Plans of every model's convolutions, found and finalised without a GPU for devices that are known
 * by their properties: for each shape, direction and precision there is one that gives the same
 * bits each time, keeps within the workspace, and comes back from its JSON as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

#include "backend/cuda/libraries_inside.h"
#include "backend/cuda/program.h"
#include "backend/cuda/runtime.h"
#include "base/cleanup.h"
#include "engine/job.h"
#include "model/model.h"
#include "support.h"

enum { PROBLEMS_MAX = 4000 };

static struct {
    int n;
    struct dnn_problem problem[PROBLEMS_MAX];
    char name[PROBLEMS_MAX][PLAN_NAME_MAX];
} seen;

static void add_problem(const struct dnn_problem *problem)
{
    char name[PLAN_NAME_MAX];

    dnn_problem_name(problem, name, sizeof name);
    for (int i = 0; i < seen.n; i++)
        if (!strcmp(seen.name[i], name))
            return;
    assert_true(seen.n < PROBLEMS_MAX);
    memcpy(seen.name[seen.n], name, sizeof name);
    seen.problem[seen.n++] = *problem;
}

static void add_graph(const struct graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        struct dnn_problem problem = {.deterministic = true};

        if (!cuda_conv_direction(g->nodes[i].op, &problem.direction))
            continue;
        problem.shape = cuda_conv_shape(g, &g->nodes[i]);
        for (int compute = COMPUTE_F32; compute <= COMPUTE_BF16; compute++) {
            problem.compute = (enum compute)compute;
            add_problem(&problem);
        }
    }
}

static void add_model(int kind, int64_t batch, int side, int classes)
{
    struct model_input input = {batch, 3, side, side, classes};
    struct engine_job job;
    struct graph *g;

    engine_job_defaults(&job, kind, DATASET_CIFAR10, METHOD_SGD);
    assert_ok(model_graph(&g, &job.model, &input, true, err));
    add_graph(g);
    graph_free(g);
}

/* What the README's figures and those of the paper are made of: full batches of 256, the rest that
 * a pass over 50,000 samples ends with, and 224 pixels. */
static void collect(void)
{
    for (int kind = 0; kind < MODEL_KINDS; kind++) {
        bool patches = kind >= MODEL_VIT;

        if (!patches) {
            add_model(kind, 256, 32, 10);
            add_model(kind, 80, 32, 100);
        }
    }
    for (int kind = MODEL_RESNET18; kind <= MODEL_RESNET101; kind++)
        add_model(kind, 256, 224, 1000);
}

static struct dnn_device *open_device(const char *file)
{
    char path[512], json[4096];
    struct dnn_device *device;
    FILE *in;

    snprintf(path, sizeof path, "%s/%s", DEVICES_FOLDER, file);
    in = fopen(path, "re");
    assert_non_null(in);
    json[fread(json, 1, sizeof json - 1, in)] = 0;
    fclose(in);
    assert_ok(dnn_device_open(&device, 0, json, err));
    return device;
}

static void check_problem(const struct dnn_device *device, int i, size_t *largest)
{
    struct dnn_search *search;
    struct dnn_plan *plan, *again;
    size_t bytes;
    char *json;

    assert_ok(dnn_search_open(&search, device, &seen.problem[i], err));
    assert_ok(dnn_search_next(search, WORKSPACE_MAX, &plan, err));
    if (!plan)
        fail_msg("no plan for %s", seen.name[i]);
    bytes = dnn_plan_workspace_bytes(plan);
    assert_true(bytes <= WORKSPACE_MAX);
    *largest = bytes > *largest ? bytes : *largest;
    assert_ok(dnn_plan_json(plan, &json, err));
    assert_ok(dnn_plan_read(&again, device, json, err));
    assert_true(dnn_plan_workspace_bytes(again) == bytes);
    free(json);
    dnn_plan_close(plan);
    dnn_plan_close(again);
    dnn_search_close(search);
}

static void check_device(const char *file)
{
    struct dnn_device *device = open_device(file);
    size_t largest = 0;

    for (int i = 0; i < seen.n; i++)
        check_problem(device, i, &largest);
    print_message("%s: %d plans, largest workspace %.1f MiB\n", file, seen.n,
                  (double)largest / 0x1p20);
    dnn_device_close(device);
}

static void plans_of_an_h200(void **state)
{
    (void)state;
    check_device("h200.json");
}

static void plans_of_an_a100(void **state)
{
    (void)state;
    check_device("a100.json");
}

/* Filters leave something over, and something out. */
static void filters(void **state)
{
    struct dnn_device *device = open_device("h200.json");
    int n[2] = {0};

    (void)state;
    for (int deterministic = 0; deterministic < 2; deterministic++) {
        struct dnn_problem problem = {.direction = CONV_GRAD_W,
                                      .shape = {256, 64, 32, 32, 64, 3, 3, 32, 32, 1, 1},
                                      .compute = COMPUTE_BF16,
                                      .deterministic = deterministic};
        struct dnn_search *search;
        struct dnn_plan *plan;

        assert_ok(dnn_search_open(&search, device, &problem, err));
        do {
            assert_ok(dnn_search_next(search, WORKSPACE_MAX, &plan, err));
            n[deterministic] += plan != NULL;
            dnn_plan_close(plan);
        } while (plan);
        dnn_search_close(search);
    }
    assert_true(n[1] > 0);
    assert_true(n[0] > n[1]);
    dnn_device_close(device);
}

/* A plan that was chosen once is read from the disk; what is no plan is as if it were not there. */
/* With the one plan in it. */
static void remove_folder(const char *folder, const char *prefix, const char *name)
{
    char path[PLAN_PATH_MAX];

    snprintf(path, sizeof path, "%s%s.json", prefix, name);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void cache(void **state)
{
    struct dnn_problem problem = {.shape = {80, 64, 8, 8, 64, 3, 3, 8, 8, 1, 1},
                                  .compute = COMPUTE_TF32,
                                  .deterministic = true};
    struct libraries libraries = {.properties = open_device("h200.json")};
    char folder[] = "/tmp/rwpd-plans-XXXXXX", below[64], name[PLAN_NAME_MAX], path[PLAN_PATH_MAX];
    struct dnn_search *search;
    struct dnn_plan *plan, *read;
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(below, sizeof below, "%s/a/b", folder);
    libraries.cache = cache_prefix(below, libraries.properties, false);
    assert_non_null(libraries.cache);
    dnn_problem_name(&problem, name, sizeof name);
    assert_null(cache_read(&libraries, name));
    assert_ok(dnn_search_open(&search, libraries.properties, &problem, err));
    assert_ok(dnn_search_next(search, WORKSPACE_MAX, &plan, err));
    assert_non_null(plan);
    cache_write(&libraries, name, plan);
    read = cache_read(&libraries, name);
    assert_non_null(read);
    assert_true(dnn_plan_workspace_bytes(read) == dnn_plan_workspace_bytes(plan));
    dnn_plan_close(read);

    snprintf(path, sizeof path, "%s%s.json", libraries.cache, name);
    file = fopen(path, "we");
    assert_non_null(file);
    fputs("{\"half of a", file);
    fclose(file);
    assert_null(cache_read(&libraries, name));
    cache_write(&libraries, name, plan);
    read = cache_read(&libraries, name);
    assert_non_null(read);
    dnn_plan_close(read);
    dnn_plan_close(plan);
    dnn_search_close(search);

    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(below), 0);
    *strrchr(below, '/') = 0;
    assert_int_equal(rmdir(below), 0);
    assert_int_equal(rmdir(folder), 0);
    dnn_device_close(libraries.properties);
    free(libraries.cache);
}

/* Who only counts times nothing, which there is no device for here, and leaves what is timed to
 * those who can. */
static void counted(void **state)
{
    struct conv_shape shape = {80, 64, 8, 8, 64, 3, 3, 8, 8, 1, 1};
    struct dnn_problem problem = {.shape = shape, .compute = COMPUTE_BF16, .deterministic = true};
    struct libraries libraries = {.properties = open_device("h200.json"),
                                  .timed = true,
                                  .counts_only = true,
                                  .compute = COMPUTE_BF16};
    char folder[] = "/tmp/rwpd-plans-XXXXXX", name[PLAN_NAME_MAX];
    struct convolution *first, *chosen;
    struct dnn_search *search;
    struct dnn_plan *plan = NULL, *next;

    (void)state;
    assert_non_null(mkdtemp(folder));
    libraries.cache = cache_prefix(folder, libraries.properties, true);
    dnn_problem_name(&problem, name, sizeof name);
    assert_ok(dnn_search_open(&search, libraries.properties, &problem, err));
    assert_ok(dnn_search_next(search, WORKSPACE_MAX, &next, err));
    assert_ok(convolution_open(&first, &libraries, CONV_FORWARD, &shape, err));
    assert_true(convolution_workspace_bytes(first) == dnn_plan_workspace_bytes(next));
    assert_null(cache_read(&libraries, name));
    convolution_close(first);
    /* One that was timed before, with another workspace if there is any, is what is counted. */
    while (next && (!plan || dnn_plan_workspace_bytes(plan) == dnn_plan_workspace_bytes(next))) {
        dnn_plan_close(plan);
        plan = next;
        assert_ok(dnn_search_next(search, WORKSPACE_MAX, &next, err));
    }
    cache_write(&libraries, name, next ? next : plan);
    assert_ok(convolution_open(&chosen, &libraries, CONV_FORWARD, &shape, err));
    assert_true(convolution_workspace_bytes(chosen) ==
                dnn_plan_workspace_bytes(next ? next : plan));
    convolution_close(chosen);
    dnn_plan_close(next);
    dnn_plan_close(plan);
    dnn_search_close(search);
    remove_folder(folder, libraries.cache, name);
    dnn_device_close(libraries.properties);
    free(libraries.cache);
}

static void assert_fault(cudaError_t code, int expected)
{
    struct err found = {0};

    assert_int_equal(cuda_failed((int)code, "a test", &found), expected);
    assert_int_equal(found.code, expected);
    assert_non_null(strstr(found.message, "a test"));
    if (expected != ERR_NO_MEMORY && !strstr(found.message, cudaGetErrorName(code)))
        fail_msg("\"%s\" does not name %s", found.message, cudaGetErrorName(code));
}

/* As CUDA's reference has them: which errors end the process ("must be terminated and relaunched"),
 * and some that do not. */
static void faults(void **state)
{
    static const cudaError_t lasting[] = {
        cudaErrorIllegalAddress,     cudaErrorLaunchTimeout,       cudaErrorAssert,
        cudaErrorHardwareStackError, cudaErrorIllegalInstruction,  cudaErrorMisalignedAddress,
        cudaErrorInvalidPc,          cudaErrorInvalidAddressSpace, cudaErrorLaunchFailure,
        cudaErrorECCUncorrectable,   cudaErrorNvlinkUncorrectable, cudaErrorMpsClientTerminated,
    };
    static const cudaError_t passing[] = {
        cudaErrorInvalidValue,
        cudaErrorInvalidConfiguration,
        cudaErrorDevicesUnavailable,
        cudaErrorNoDevice,
        cudaErrorSystemNotReady,
        cudaErrorStreamCaptureInvalidated,
        cudaErrorInitializationError,
        cudaErrorLaunchOutOfResources,
        cudaErrorUnknown,
    };

    (void)state;
    assert_int_equal(cuda_failed(cudaSuccess, "a test", NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(lasting); i++)
        assert_fault(lasting[i], ERR_DEVICE_LOST);
    for (size_t i = 0; i < ARRAY_LENGTH(passing); i++)
        assert_fault(passing[i], ERR_DEVICE);
    assert_fault(cudaErrorMemoryAllocation, ERR_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_of_an_h200), cmocka_unit_test(plans_of_an_a100),
        cmocka_unit_test(filters),          cmocka_unit_test(cache),
        cmocka_unit_test(counted),          cmocka_unit_test(faults),
    };

    collect();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
