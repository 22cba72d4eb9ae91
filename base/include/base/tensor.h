/* A named array as it travels between engine, database and API: host memory, dense, row-major. */
#ifndef BASE_TENSOR_H
#define BASE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#define TENSOR_RANK_MAX 4
#define TENSOR_NAME_MAX 120

enum tensor_type { TENSOR_F32, TENSOR_F64, TENSOR_I64 };

/* What a tensor of a checkpoint is for. Only the first two belong to the PyTorch model. */
enum tensor_role {
    TENSOR_PARAMETER,
    TENSOR_BUFFER,
    TENSOR_MOMENTUM,
    TENSOR_FISHER,
    TENSOR_PROGRESS, /* what the run has summed up of the epoch that it is in */
    TENSOR_SQUARES,  /* Adam's mean of squared gradients; its mean of gradients is the momentum */
    TENSOR_ROLES
};

struct tensor {
    char name[TENSOR_NAME_MAX]; /* as in the PyTorch model's state_dict: "layer1.0.bn1.weight" */
    enum tensor_role role;
    enum tensor_type type;
    int rank;
    int64_t dim[TENSOR_RANK_MAX]; /* outermost first */
    const void *data; /* `tensor_bytes` of it; whoever hands out the tensor says who owns it */
};

/* The state of a run between two updates. `tensors` and their data belong to whoever made it. */
struct checkpoint {
    uint64_t update; /* updates done */
    int n_tensors;
    struct tensor *tensors;
};

static inline size_t tensor_type_bytes(enum tensor_type type)
{
    return type == TENSOR_F32 ? 4 : 8;
}

static inline size_t tensor_elements(const struct tensor *tensor)
{
    size_t n = 1;
    for (int i = 0; i < tensor->rank; i++)
        n *= (size_t)tensor->dim[i];
    return n;
}

static inline size_t tensor_bytes(const struct tensor *tensor)
{
    return tensor_elements(tensor) * tensor_type_bytes(tensor->type);
}

#endif
