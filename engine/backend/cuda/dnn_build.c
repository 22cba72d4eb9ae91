#include "backend/cuda/dnn_build.h"

#include <assert.h>
#include <stdio.h>

#include "backend/cuda/runtime.h"

int dnn_failed(cudnnStatus_t status, const char *what, struct err *err)
{
    char said[256] = "";

    if (status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED)
        return err_no_memory(err);
    if (status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
        return cuda_failed(CUDA_OUT_OF_MEMORY, what, err);
    if (status >= CUDNN_STATUS_INTERNAL_ERROR && cuda_lasting(err))
        return ERR_DEVICE_LOST;
    cudnnGetLastErrorString(said, sizeof said);
    return err_set(err, ERR_DEVICE, "cuDNN: %s: %s%s%s", what, cudnnGetErrorString(status),
                   said[0] ? ": " : "", said);
}

cudnnBackendDescriptor_t build_make(struct build *build, cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t descriptor = NULL;
    cudnnStatus_t status;

    if (build->rc)
        return NULL;
    assert(build->n < BUILD_MAX);
    status = cudnnBackendCreateDescriptor(type, &descriptor);
    if (status)
        build->rc = dnn_failed(status, "a descriptor", build->err);
    else
        build->made[build->n++] = descriptor;
    return descriptor;
}

void build_set(struct build *build, cudnnBackendDescriptor_t descriptor,
               cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
               const void *values)
{
    cudnnStatus_t status;
    char what[40];

    if (build->rc)
        return;
    status = cudnnBackendSetAttribute(descriptor, name, type, n, values);
    if (!status)
        return;
    snprintf(what, sizeof what, "attribute %d", (int)name);
    build->rc = dnn_failed(status, what, build->err);
}

void build_finish(struct build *build, cudnnBackendDescriptor_t descriptor)
{
    cudnnStatus_t status;

    if (build->rc)
        return;
    status = cudnnBackendFinalize(descriptor);
    if (status)
        build->rc = dnn_failed(status, "finalising a descriptor", build->err);
}

void build_destroy(struct build *build)
{
    while (build->n > 0)
        cudnnBackendDestroyDescriptor(build->made[--build->n]);
}
