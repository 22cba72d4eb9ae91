/* Descriptors of cuDNN's graph API, from tensors to a finalised plan.
 *
 * Invariant of `struct build`: after the first failure all further calls do nothing, and what was
 * made is destroyed with the build. A plan is made from its JSON once it was chosen, so that it
 * stands alone and one from the disk is no different. */
#include "backend/cuda/dnn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/dnn_build.h"

enum { UID_X = 'x', UID_W = 'w', UID_Y = 'y' };

struct dnn_device {
    cudnnBackendDescriptor_t properties;
};

struct dnn_plan {
    cudnnBackendDescriptor_t plan;
    size_t workspace_bytes;
};

static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B,
                                               CUDNN_HEUR_MODE_FALLBACK};
enum { MODES = sizeof modes / sizeof *modes };

struct dnn_search {
    struct build graph;
    const struct dnn_device *device;
    struct dnn_problem problem;
    cudnnBackendDescriptor_t operations;
    int mode; /* that `configs` came from */
    cudnnBackendDescriptor_t heuristics, *configs;
    int64_t n, next;
};

void dnn_problem_name(const struct dnn_problem *problem, char *out, size_t bytes)
{
    static const char *const directions[] = {"fprop", "dgrad", "wgrad"};
    static const char *const computes[] = {"fp32", "tf32", "bf16"};
    const struct conv_shape *s = &problem->shape;

    snprintf(out, bytes, "%s-n%lldc%lldh%lldw%lld-k%lldr%llds%lld-stride%d-pad%d-%s%s",
             directions[problem->direction], (long long)s->n, (long long)s->c, (long long)s->h,
             (long long)s->w, (long long)s->k, (long long)s->r, (long long)s->s, s->stride, s->pad,
             computes[problem->compute], problem->deterministic ? "-deterministic" : "");
}

int dnn_device_open(struct dnn_device **out, int number, const char *properties, struct err *err)
{
    struct build build = {.err = err};
    int32_t id = number;
    struct dnn_device *device = calloc(1, sizeof *device);

    if (!device)
        return err_no_memory(err);
    device->properties = build_make(&build, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    if (properties)
        build_set(&build, device->properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                  CUDNN_TYPE_CHAR, (int64_t)strlen(properties) + 1, properties);
    else
        build_set(&build, device->properties, CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1,
                  &id);
    build_finish(&build, device->properties);
    if (build.rc) {
        build_destroy(&build);
        free(device);
        return build.rc;
    }
    *out = device;
    return 0;
}

void dnn_device_close(struct dnn_device *device)
{
    if (!device)
        return;
    cudnnBackendDestroyDescriptor(device->properties);
    free(device);
}

/* An attribute that is text. */
static int read_text(cudnnBackendDescriptor_t from, cudnnBackendAttributeName_t name, char **out,
                     struct err *err)
{
    int64_t n = 0;
    char *text;
    cudnnStatus_t status = cudnnBackendGetAttribute(from, name, CUDNN_TYPE_CHAR, 0, &n, NULL);

    if (status)
        return dnn_failed(status, "the length of a description", err);
    text = calloc(1, (size_t)n + 1);
    if (!text)
        return err_no_memory(err);
    status = cudnnBackendGetAttribute(from, name, CUDNN_TYPE_CHAR, n, &n, text);
    if (status) {
        free(text);
        return dnn_failed(status, "a description", err);
    }
    *out = text;
    return 0;
}

int dnn_device_properties(const struct dnn_device *device, char **json, struct err *err)
{
    return read_text(device->properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json, err);
}

static cudnnBackendDescriptor_t tensor(struct build *b, int64_t uid, cudnnDataType_t type,
                                       const int64_t *dim, const int64_t *stride)
{
    cudnnBackendDescriptor_t out = build_make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    int64_t alignment = 16;

    build_set(b, out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    build_set(b, out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim);
    build_set(b, out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    build_set(b, out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    build_set(b, out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    build_finish(b, out);
    return out;
}

/* Dimensions in the order outer, channels, rows, columns; channels lie innermost. */
static cudnnBackendDescriptor_t packed(struct build *b, int64_t uid, cudnnDataType_t type,
                                       int64_t outer, int64_t c, int64_t h, int64_t w)
{
    return tensor(b, uid, type, (int64_t[]){outer, c, h, w}, (int64_t[]){h * w * c, 1, w * c, c});
}

static cudnnBackendDescriptor_t convolution(struct build *b, const struct conv_shape *s)
{
    cudnnBackendDescriptor_t out = build_make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t dims = 2, pad[] = {s->pad, s->pad}, stride[] = {s->stride, s->stride}, one[] = {1, 1};

    build_set(b, out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    build_set(b, out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    build_set(b, out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims);
    build_set(b, out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    build_set(b, out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    build_set(b, out, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one);
    build_set(b, out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    build_finish(b, out);
    return out;
}

/* The names of an operation's attributes, by direction. */
static const struct operation {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t conv, x, w, y, alpha, beta;
} kinds[] = {
    [CONV_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [CONV_GRAD_X] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [CONV_GRAD_W] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static cudnnBackendDescriptor_t operation(struct build *b, const struct dnn_problem *problem)
{
    const struct operation *kind = &kinds[problem->direction];
    const struct conv_shape *s = &problem->shape;
    cudnnDataType_t type =
        problem->compute == COMPUTE_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t x = packed(b, UID_X, type, s->n, s->c, s->h, s->w);
    cudnnBackendDescriptor_t w = packed(b, UID_W, type, s->k, s->c, s->r, s->s);
    cudnnBackendDescriptor_t y = packed(b, UID_Y, type, s->n, s->k, s->p, s->q);
    cudnnBackendDescriptor_t conv = convolution(b, s), out = build_make(b, kind->type);
    float one = 1, zero = 0;

    build_set(b, out, kind->conv, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &conv);
    build_set(b, out, kind->x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    build_set(b, out, kind->w, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &w);
    build_set(b, out, kind->y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    build_set(b, out, kind->alpha, CUDNN_TYPE_FLOAT, 1, &one);
    build_set(b, out, kind->beta, CUDNN_TYPE_FLOAT, 1, &zero);
    build_finish(b, out);
    return out;
}

static void drop_configs(struct dnn_search *search)
{
    for (int64_t i = 0; i < search->n; i++)
        if (search->configs[i])
            cudnnBackendDestroyDescriptor(search->configs[i]);
    free(search->configs);
    if (search->heuristics)
        cudnnBackendDestroyDescriptor(search->heuristics);
    search->configs = NULL;
    search->heuristics = NULL;
    search->n = search->next = 0;
}

/* What one kind of heuristics proposes. A kind that has nothing to say of this graph proposes
 * nothing. */
static int ask(struct dnn_search *search, cudnnBackendHeurMode_t mode, struct err *err)
{
    struct build b = {.err = NULL};
    cudnnBackendDescriptor_t heuristics = build_make(&b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    int64_t n = 0;

    build_set(&b, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              1, &search->operations);
    build_set(&b, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    build_set(&b, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
              &search->device->properties);
    build_finish(&b, heuristics);
    if (!b.rc && cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &n, NULL))
        n = 0;
    if (b.rc || n == 0) {
        build_destroy(&b);
        return 0;
    }
    search->heuristics = heuristics;
    search->configs = calloc((size_t)n, sizeof *search->configs);
    if (!search->configs)
        return err_no_memory(err);
    for (search->n = 0; search->n < n; search->n++)
        if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                                         &search->configs[search->n]))
            return err_no_memory(err);
    if (cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, n, &n, search->configs))
        n = 0;
    while (search->n > n)
        cudnnBackendDestroyDescriptor(search->configs[--search->n]);
    return 0;
}

int dnn_search_open(struct dnn_search **out, const struct dnn_device *device,
                    const struct dnn_problem *problem, struct err *err)
{
    struct dnn_search *search = calloc(1, sizeof *search);
    struct build *b;
    cudnnBackendDescriptor_t node;

    if (!search)
        return err_no_memory(err);
    b = &search->graph;
    b->err = err;
    search->device = device;
    search->problem = *problem;
    search->mode = -1;
    node = operation(b, problem);
    search->operations = build_make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    build_set(b, search->operations, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              1, &node);
    build_finish(b, search->operations);
    if (b->rc) {
        int rc = b->rc;

        dnn_search_close(search);
        return rc;
    }
    *out = search;
    return 0;
}

void dnn_search_close(struct dnn_search *search)
{
    if (!search)
        return;
    drop_configs(search);
    build_destroy(&search->graph);
    free(search);
}

static bool has_note(cudnnBackendDescriptor_t engine, cudnnBackendNumericalNote_t wanted)
{
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0;

    if (cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                 CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n,
                                 notes))
        return true; /* what says nothing of itself is not trusted */
    for (int64_t i = 0; i < n && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++)
        if (notes[i] == wanted)
            return true;
    return false;
}

static bool compiles_at_run_time(cudnnBackendDescriptor_t engine)
{
    cudnnBackendBehaviorNote_t notes[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    int64_t n = 0;

    if (cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
                                 CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &n, notes))
        return true;
    for (int64_t i = 0; i < n && i < CUDNN_BEHAVIOR_NOTE_TYPE_COUNT; i++)
        if (notes[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION)
            return true;
    return false;
}

/* Whether a problem allows a configuration's engine. Those that compile when a plan is built take
 * seconds and are never ahead where a convolution is alone. */
static bool allowed(const struct dnn_problem *problem, cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t engine;
    bool good;
    int64_t n = 0;

    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine))
        return false;
    good = !cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) &&
           !compiles_at_run_time(engine);
    if (good && problem->deterministic)
        good = !has_note(engine, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
    if (good && problem->compute == COMPUTE_F32)
        good = !has_note(engine, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) &&
               !has_note(engine, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
    if (good && problem->compute != COMPUTE_BF16)
        good = !has_note(engine, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
    cudnnBackendDestroyDescriptor(engine);
    return good;
}

/* The plan of a configuration by way of its JSON. That a configuration cannot be built is no
 * error: *out stays NULL. */
static int try_config(const struct dnn_search *search, cudnnBackendDescriptor_t config,
                      size_t workspace_max, struct dnn_plan **out, struct err *err)
{
    struct build b = {.err = NULL};
    cudnnBackendDescriptor_t plan = build_make(&b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    char *json = NULL;
    int64_t bytes = 0, n = 0;
    int rc = 0;

    build_set(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
              &config);
    build_set(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
              &search->device->properties);
    build_finish(&b, plan);
    if (!b.rc &&
        !cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                  1, &n, &bytes) &&
        (size_t)bytes <= workspace_max &&
        !read_text(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, &json, NULL))
        rc = dnn_plan_read(out, search->device, json, err);
    free(json);
    build_destroy(&b);
    return rc;
}

int dnn_search_next(struct dnn_search *search, size_t workspace_max, struct dnn_plan **out,
                    struct err *err)
{
    int rc = 0;

    *out = NULL;
    while (!rc && !*out) {
        if (search->next < search->n) {
            cudnnBackendDescriptor_t config = search->configs[search->next++];

            if (allowed(&search->problem, config))
                rc = try_config(search, config, workspace_max, out, err);
            continue;
        }
        if (search->mode + 1 == MODES)
            return 0;
        drop_configs(search);
        rc = ask(search, modes[++search->mode], err);
    }
    return rc;
}

int dnn_plan_read(struct dnn_plan **out, const struct dnn_device *device, const char *json,
                  struct err *err)
{
    struct build b = {.err = err};
    struct dnn_plan *plan = calloc(1, sizeof *plan);
    int64_t bytes = 0, n;

    if (!plan)
        return err_no_memory(err);
    plan->plan = build_make(&b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    build_set(&b, plan->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              1, &device->properties);
    build_set(&b, plan->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
              (int64_t)strlen(json) + 1, json);
    build_finish(&b, plan->plan);
    if (!b.rc && cudnnBackendGetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                          CUDNN_TYPE_INT64, 1, &n, &bytes))
        b.rc = err_set(err, ERR_DEVICE, "cuDNN does not say what workspace a plan needs");
    plan->workspace_bytes = (size_t)bytes;
    if (b.rc) {
        build_destroy(&b);
        free(plan);
        return b.rc;
    }
    *out = plan;
    return 0;
}

void dnn_plan_close(struct dnn_plan *plan)
{
    if (!plan)
        return;
    cudnnBackendDestroyDescriptor(plan->plan);
    free(plan);
}

int dnn_plan_json(const struct dnn_plan *plan, char **json, struct err *err)
{
    return read_text(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, json, err);
}

size_t dnn_plan_workspace_bytes(const struct dnn_plan *plan)
{
    return plan->workspace_bytes;
}

int dnn_plan_run(const struct dnn_plan *plan, cudnnHandle_t handle, void *x, void *w, void *y,
                 void *workspace, struct err *err)
{
    struct build b = {.err = err};
    cudnnBackendDescriptor_t pack = build_make(&b, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    int64_t uids[] = {UID_X, UID_W, UID_Y};
    void *pointers[] = {x, w, y};

    build_set(&b, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, uids);
    build_set(&b, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointers);
    build_set(&b, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    build_finish(&b, pack);
    if (!b.rc) {
        cudnnStatus_t status = cudnnBackendExecute(handle, plan->plan, pack);

        if (status)
            b.rc = dnn_failed(status, "a convolution", err);
    }
    build_destroy(&b);
    return b.rc;
}
