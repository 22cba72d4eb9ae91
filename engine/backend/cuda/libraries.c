#include "backend/cuda/libraries_inside.h"

#include <stdlib.h>

#include "backend/cuda/runtime.h"

int libraries_open(struct libraries **out, const struct libraries_options *options, struct err *err)
{
    struct libraries *libraries = calloc(1, sizeof *libraries);
    cublasStatus_t status;
    int rc;

    if (!libraries)
        return err_no_memory(err);
    libraries->device = options->device;
    libraries->timed = !options->deterministic;
    libraries->counts_only = options->counts_only;
    libraries->compute = options->compute;
    rc = dnn_device_open(&libraries->properties, options->device, NULL, err);
    if (rc)
        goto failed;
    if (options->cache)
        libraries->cache = cache_prefix(options->cache, libraries->properties, libraries->timed);
    status = cublasLtCreate(&libraries->lt);
    if (status) {
        rc = err_set(err, status == CUBLAS_STATUS_ALLOC_FAILED ? ERR_NO_MEMORY : ERR_DEVICE,
                     "cuBLASLt: %s", cublasLtGetStatusString(status));
        goto failed;
    }
    *out = libraries;
    return 0;
failed:
    libraries_close(libraries);
    return rc;
}

void libraries_close(struct libraries *libraries)
{
    if (!libraries)
        return;
    for (int i = 0; i < LANES; i++)
        if (libraries->dnn[i])
            cudnnDestroy(libraries->dnn[i]);
    if (libraries->lt)
        cublasLtDestroy(libraries->lt);
    dnn_device_close(libraries->properties);
    free(libraries->cache);
    free(libraries);
}

int libraries_dnn(struct libraries *libraries, const struct lane *lane, cudnnHandle_t *out,
                  struct err *err)
{
    cudnnHandle_t *handle = &libraries->dnn[lane->number];
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;

    if (!*handle)
        status = cudnnCreate(handle);
    if (!status)
        status = cudnnSetStream(*handle, lane->stream);
    *out = *handle;
    return status ? dnn_failed(status, "a handle", err) : 0;
}
