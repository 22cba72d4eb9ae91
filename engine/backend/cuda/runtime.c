/* The runtime that is CUDA's own. All of it works on the device that the thread has chosen. */
#include "backend/cuda/runtime.h"

#include <cuda_runtime_api.h>
#include <stdio.h>

/* The numbers of faults.c, which is built without CUDA, too. */
#define IS(number, code) _Static_assert((number) == (int)(code), "cudaError_t has other numbers")
IS(CUDA_OUT_OF_MEMORY, cudaErrorMemoryAllocation);
IS(CUDA_ECC_UNCORRECTABLE, cudaErrorECCUncorrectable);
IS(CUDA_NVLINK_UNCORRECTABLE, cudaErrorNvlinkUncorrectable);
IS(CUDA_ILLEGAL_ADDRESS, cudaErrorIllegalAddress);
IS(CUDA_LAUNCH_TIMEOUT, cudaErrorLaunchTimeout);
IS(CUDA_CONTEXT_IS_DESTROYED, cudaErrorContextIsDestroyed);
IS(CUDA_ASSERT, cudaErrorAssert);
IS(CUDA_HARDWARE_STACK, cudaErrorHardwareStackError);
IS(CUDA_ILLEGAL_INSTRUCTION, cudaErrorIllegalInstruction);
IS(CUDA_MISALIGNED_ADDRESS, cudaErrorMisalignedAddress);
IS(CUDA_INVALID_ADDRESS_SPACE, cudaErrorInvalidAddressSpace);
IS(CUDA_INVALID_PC, cudaErrorInvalidPc);
IS(CUDA_LAUNCH_FAILURE, cudaErrorLaunchFailure);
IS(CUDA_MPS_CLIENT_TERMINATED, cudaErrorMpsClientTerminated);

int cuda_lasting(struct err *err)
{
    cudaError_t code = cudaFree(NULL); /* does nothing, and says what lasts */

    cudaGetLastError(); /* while a stream is captured it is refused, which is no launch's fault */
    return cuda_fault((int)code) == ERR_DEVICE_LOST ? cuda_failed((int)code, "the device", err) : 0;
}

int cuda_failed(int number, const char *what, struct err *err)
{
    cudaError_t code = (cudaError_t)number;

    if (code == cudaSuccess)
        return 0;
    cudaGetLastError(); /* told now: the next launch must not find it, unless it lasts */
    if (cuda_fault(number) == ERR_NO_MEMORY) {
        size_t available = 0, total = 0;
        bool known = !cudaMemGetInfo(&available, &total);

        return err_set(err, ERR_NO_MEMORY,
                       known ? "the GPU's memory is at its end (%s); %.2f of %.2f GiB are free"
                             : "the GPU's memory is at its end (%s)",
                       what, (double)available / 0x1p30, (double)total / 0x1p30);
    }
    return err_set(err, cuda_fault(number), "CUDA: %s: %s (%s)", what, cudaGetErrorString(code),
                   cudaGetErrorName(code));
}

static int choose(int device, struct err *err)
{
    return cuda_failed(cudaSetDevice(device), "choosing a GPU", err);
}

static int memory_open(void **out, size_t bytes, struct err *err)
{
    char what[40];

    snprintf(what, sizeof what, "taking %.3f GiB", (double)bytes / 0x1p30);
    return cuda_failed(cudaMalloc(out, bytes ? bytes : 1), what, err);
}

static void memory_close(void *memory)
{
    cudaFree(memory);
}

static int memory_left(size_t *out, struct err *err)
{
    size_t total;

    return cuda_failed(cudaMemGetInfo(out, &total), "asking for free memory", err);
}

static int host_open(void **out, size_t bytes, struct err *err)
{
    cudaError_t code = cudaMallocHost(out, bytes ? bytes : 1);

    if (code != cudaErrorMemoryAllocation)
        return cuda_failed(code, "host memory", err);
    cudaGetLastError();
    return err_set(err, ERR_NO_MEMORY, "no %.3f GiB of host memory that a GPU can read by itself",
                   (double)bytes / 0x1p30);
}

static void host_close(void *memory)
{
    if (memory)
        cudaFreeHost(memory);
}

static int upload(void *to, const void *from, size_t bytes, cudaStream_t stream, struct err *err)
{
    return cuda_failed(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream),
                       "copying to the device", err);
}

static int download(void *to, const void *from, size_t bytes, cudaStream_t stream, struct err *err)
{
    return cuda_failed(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream),
                       "copying from the device", err);
}

static int copy(void *to, const void *from, size_t bytes, cudaStream_t stream, struct err *err)
{
    return cuda_failed(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream),
                       "copying on the device", err);
}

static int clear(void *at, size_t bytes, cudaStream_t stream, struct err *err)
{
    return cuda_failed(cudaMemsetAsync(at, 0, bytes, stream), "clearing memory", err);
}

static int stream_open(cudaStream_t *out, struct err *err)
{
    return cuda_failed(cudaStreamCreateWithFlags(out, cudaStreamNonBlocking), "a stream", err);
}

static void stream_close(cudaStream_t stream)
{
    cudaStreamDestroy(stream);
}

static int event_open(cudaEvent_t *out, struct err *err)
{
    return cuda_failed(
        cudaEventCreateWithFlags(out, cudaEventDisableTiming | cudaEventBlockingSync), "an event",
        err);
}

static void event_close(cudaEvent_t event)
{
    cudaEventDestroy(event);
}

static int record(cudaEvent_t event, cudaStream_t stream, struct err *err)
{
    return cuda_failed(cudaEventRecord(event, stream), "recording an event", err);
}

static int follow(cudaStream_t stream, cudaEvent_t event, struct err *err)
{
    return cuda_failed(cudaStreamWaitEvent(stream, event, 0), "waiting for an event", err);
}

static int await(cudaEvent_t event, struct err *err)
{
    return cuda_failed(cudaEventSynchronize(event), "waiting for the device", err);
}

/* Waiting for a stream itself would keep a processor busy, unless all of the process's waiting were
 * set to sleep. */
static int wait(cudaStream_t stream, struct err *err)
{
    cudaEvent_t event;
    int rc = event_open(&event, err);

    if (rc)
        return rc;
    rc = record(event, stream, err);
    if (!rc)
        rc = await(event, err);
    event_close(event);
    return rc;
}

static int capture_begin(cudaStream_t stream, struct err *err)
{
    return cuda_failed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                       "beginning a capture", err);
}

static int capture_end(cudaStream_t stream, cudaGraphExec_t *out, struct err *err)
{
    cudaGraph_t graph = NULL;
    cudaError_t code = cudaStreamEndCapture(stream, &graph);

    if (!code)
        code = cudaGraphInstantiate(out, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    return cuda_failed(code, "capturing an update", err);
}

static int replay(cudaGraphExec_t graph, cudaStream_t stream, struct err *err)
{
    return cuda_failed(cudaGraphLaunch(graph, stream), "launching an update", err);
}

static void graph_close(cudaGraphExec_t graph)
{
    cudaGraphExecDestroy(graph);
}

static int launch(const struct launch *launch, struct CUstream_st *stream, struct err *err)
{
    return launch->go(launch->work, stream, err);
}

const struct runtime runtime_cuda = {
    .choose = choose,
    .memory_open = memory_open,
    .memory_close = memory_close,
    .memory_left = memory_left,
    .host_open = host_open,
    .host_close = host_close,
    .upload = upload,
    .download = download,
    .copy = copy,
    .clear = clear,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .event_open = event_open,
    .event_close = event_close,
    .record = record,
    .follow = follow,
    .wait = wait,
    .await = await,
    .capture_begin = capture_begin,
    .capture_end = capture_end,
    .replay = replay,
    .graph_close = graph_close,
    .launch = launch,
};
