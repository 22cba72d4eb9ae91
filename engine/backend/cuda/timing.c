/* How long a plan takes here: the median of some graphs of several runs each, as updates are
 * graphs. Given to the device one by one, small convolutions would wait for the host, and that
 * would be timed. A plan that cannot be captured cannot be used either. Operands are zeros, which
 * take a GPU no less time but less power than others; that is the same for all plans.
 */
#include <cuda_runtime_api.h>
#include <stdlib.h>

#include "backend/cuda/libraries_inside.h"
#include "backend/cuda/runtime.h"

enum { WARM = 2, GRAPH_RUNS = 5, REPLAYS = 4 };

struct timing {
    void *x, *w, *y;
    struct lane lane;
    cudaEvent_t begin[REPLAYS], end[REPLAYS];
};

static int open_operand(const struct timing *timing, void **out, int64_t elements, struct err *err)
{
    size_t bytes = (size_t)elements * sizeof(float);
    int rc = runtime_cuda.memory_open(out, bytes, err);

    return rc ? rc : runtime_cuda.clear(*out, bytes, timing->lane.stream, err);
}

int timing_open(struct timing **out, const struct dnn_problem *problem, size_t workspace_bytes,
                struct err *err)
{
    const struct conv_shape *s = &problem->shape;
    struct timing *timing = calloc(1, sizeof *timing);
    int rc;

    *out = timing;
    if (!timing)
        return err_no_memory(err);
    rc = runtime_cuda.stream_open(&timing->lane.stream, err);
    if (!rc)
        rc = open_operand(timing, &timing->x, s->n * s->h * s->w * s->c, err);
    if (!rc)
        rc = open_operand(timing, &timing->w, s->k * s->r * s->s * s->c, err);
    if (!rc)
        rc = open_operand(timing, &timing->y, s->n * s->p * s->q * s->k, err);
    if (!rc)
        rc = runtime_cuda.memory_open(&timing->lane.workspace, workspace_bytes, err);
    for (int i = 0; i < REPLAYS && !rc; i++) {
        rc = cuda_failed(cudaEventCreate(&timing->begin[i]), "an event", err);
        if (!rc)
            rc = cuda_failed(cudaEventCreate(&timing->end[i]), "an event", err);
    }
    return rc;
}

void timing_close(struct timing *timing)
{
    if (!timing)
        return;
    for (int i = 0; i < REPLAYS; i++) {
        if (timing->begin[i])
            cudaEventDestroy(timing->begin[i]);
        if (timing->end[i])
            cudaEventDestroy(timing->end[i]);
    }
    if (timing->lane.stream)
        cudaStreamDestroy(timing->lane.stream);
    cudaFree(timing->x);
    cudaFree(timing->w);
    cudaFree(timing->y);
    cudaFree(timing->lane.workspace);
    free(timing);
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static int median(const struct timing *timing, double *out, struct err *err)
{
    float ms[REPLAYS];
    int rc = 0;

    for (int i = 0; i < REPLAYS && !rc; i++)
        rc = cuda_failed(cudaEventElapsedTime(&ms[i], timing->begin[i], timing->end[i]), "timing",
                         err);
    if (!rc) {
        qsort(ms, REPLAYS, sizeof *ms, compare);
        *out = ((double)ms[REPLAYS / 2 - 1] + (double)ms[REPLAYS / 2]) / 2 / GRAPH_RUNS;
    }
    return rc;
}

static int run_often(const struct timing *timing, cudnnHandle_t handle, const struct dnn_plan *plan,
                     int n, struct err *err)
{
    int rc = 0;

    for (int i = 0; i < n && !rc; i++)
        rc = dnn_plan_run(plan, handle, timing->x, timing->w, timing->y, timing->lane.workspace,
                          err);
    return rc;
}

static int capture(const struct timing *timing, cudnnHandle_t handle, const struct dnn_plan *plan,
                   cudaGraphExec_t *out, struct err *err)
{
    int rc = runtime_cuda.capture_begin(timing->lane.stream, err), end;

    if (rc)
        return rc;
    rc = run_often(timing, handle, plan, GRAPH_RUNS, err);
    end = runtime_cuda.capture_end(timing->lane.stream, out, rc ? NULL : err);
    return rc ? rc : end;
}

static int time_replays(const struct timing *timing, cudaGraphExec_t graph, struct err *err)
{
    cudaStream_t stream = timing->lane.stream;
    int rc = runtime_cuda.replay(graph, stream, err); /* the first one brings it there */

    for (int i = 0; i < REPLAYS && !rc; i++) {
        rc = runtime_cuda.record(timing->begin[i], stream, err);
        if (!rc)
            rc = runtime_cuda.replay(graph, stream, err);
        if (!rc)
            rc = runtime_cuda.record(timing->end[i], stream, err);
    }
    return rc ? rc : runtime_cuda.wait(stream, err);
}

int timing_run(struct timing *timing, struct libraries *libraries, const struct dnn_plan *plan,
               double *milliseconds, struct err *err)
{
    cudaGraphExec_t graph = NULL;
    cudnnHandle_t handle;
    int rc = libraries_dnn(libraries, &timing->lane, &handle, err);

    if (!rc) /* kernels are loaded then */
        rc = run_often(timing, handle, plan, WARM, err);
    if (!rc)
        rc = capture(timing, handle, plan, &graph, err);
    if (!rc)
        rc = time_replays(timing, graph, err);
    if (graph)
        runtime_cuda.graph_close(graph);
    return rc ? rc : median(timing, milliseconds, err);
}
