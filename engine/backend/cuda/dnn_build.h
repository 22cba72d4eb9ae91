/* Making cuDNN's descriptors: a build keeps its first failure, and later calls do nothing. */
#ifndef ENGINE_BACKEND_CUDA_DNN_BUILD_H
#define ENGINE_BACKEND_CUDA_DNN_BUILD_H

#include <cudnn.h>
#include <stdint.h>

#include "base/err.h"

enum { BUILD_MAX = 16 };

/* Zero but for `err`, which may be NULL. */
struct build {
    struct err *err;
    int rc;
    int n;
    cudnnBackendDescriptor_t made[BUILD_MAX];
};

cudnnBackendDescriptor_t build_make(struct build *build, cudnnBackendDescriptorType_t type);
void build_set(struct build *build, cudnnBackendDescriptor_t descriptor,
               cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
               const void *values);
void build_finish(struct build *build, cudnnBackendDescriptor_t descriptor);
/* Destroys all that it has made; `rc` stays. */
void build_destroy(struct build *build);

/* ERR_DEVICE with cuDNN's own words; ERR_NO_MEMORY where it ran out of the host's or the device's;
 * ERR_DEVICE_LOST as cuda_lasting has it. */
int dnn_failed(cudnnStatus_t status, const char *what, struct err *err);

#endif
