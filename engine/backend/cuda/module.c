/* What the module shows to the outside: one function. */
#include <cuda_runtime_api.h>
#include <stdio.h>

#include "backend/cuda/cuda.h"
#include "backend/cuda/dnn.h"
#include "backend/cuda/module.h"
#include "backend/cuda/nccl.h"
#include "backend/cuda/runtime.h"

#if __has_include(<nccl.h>)
#include <nccl.h>
_Static_assert((int)NCCL_SUCCESS == ncclSuccess && (int)NCCL_SUM == ncclSum &&
                   (int)NCCL_FLOAT == ncclFloat &&
                   (int)NCCL_HOST_IMMEDIATE == ncclScalarHostImmediate,
               "NCCL has other numbers");
#endif

/* Context, kernels and the libraries' own memory: some hundreds of MiB with CUDA 13 and cuDNN 9. */
#define RESERVE_BYTES ((int64_t)768 << 20)

static void describe(struct cuda_device *out, const struct cudaDeviceProp *properties)
{
    const unsigned char *u = (const unsigned char *)properties->uuid.bytes;

    snprintf(out->name, sizeof out->name, "%.90s", properties->name);
    snprintf(out->uuid, sizeof out->uuid,
             "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
             u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
             u[15]);
    out->memory_bytes = (int64_t)properties->totalGlobalMem;
    out->reserve_bytes = RESERVE_BYTES;
    out->multiprocessors = properties->multiProcessorCount;
    out->capability = properties->major * 10 + properties->minor;
}

static int devices(struct cuda_device *out, int max, int *n, struct err *err)
{
    int count = 0, rc = cuda_failed(cudaGetDeviceCount(&count), "counting GPUs", err);

    for (int i = 0; i < count && i < max && !rc; i++) {
        struct cudaDeviceProp properties;

        rc = cuda_failed(cudaGetDeviceProperties(&properties, i), "a GPU's properties", err);
        if (!rc)
            describe(&out[i], &properties);
    }
    if (!rc)
        *n = count < max ? count : max;
    return rc;
}

static int properties(int number, char **json, struct err *err)
{
    struct dnn_device *device;
    int rc = dnn_device_open(&device, number, NULL, err);

    if (rc)
        return rc;
    rc = dnn_device_properties(device, json, err);
    dnn_device_close(device);
    return rc;
}

__attribute__((visibility("default"))) const struct cuda_module *rwpd_cuda_module(void);

const struct cuda_module *rwpd_cuda_module(void)
{
    static const struct cuda_module module = {.build = RWPD_VERSION,
                                              .class_bytes = sizeof backend_cuda,
                                              .class = &backend_cuda,
                                              .devices = devices,
                                              .library_version = cudnnGetVersion,
                                              .properties = properties};

    nccl_prepare();
    return &module;
}
