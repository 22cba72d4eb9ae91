/* What conv.c, timing.c, cache.c and product.c share. */
#ifndef ENGINE_BACKEND_CUDA_LIBRARIES_INSIDE_H
#define ENGINE_BACKEND_CUDA_LIBRARIES_INSIDE_H

#include <cublasLt.h>

#include "backend/cuda/dnn.h"
#include "backend/cuda/dnn_build.h"

enum { PLAN_NAME_MAX = 160, PLAN_PATH_MAX = 4096 };

struct libraries {
    int device;
    bool timed; /* plans are chosen by time, and not by the heuristics alone */
    bool counts_only;
    enum compute compute;
    struct dnn_device *properties;
    cudnnHandle_t dnn[LANES]; /* NULL until a lane needs one */
    cublasLtHandle_t lt;
    char *cache;                      /* path up to the name of a plan; NULL: no cache */
    struct convolution *convolutions; /* all that are open */
};

/* libraries.c: the handle whose work goes to the lane's stream. */
int libraries_dnn(struct libraries *libraries, const struct lane *lane, cudnnHandle_t *out,
                  struct err *err);

/* cache.c: chosen plans on the disk, a file each. A cache that cannot be read or written is as an
 * empty one. */
char *cache_prefix(const char *folder, const struct dnn_device *properties, bool timed);
struct dnn_plan *cache_read(const struct libraries *libraries, const char *name);
void cache_write(const struct libraries *libraries, const char *name, const struct dnn_plan *plan);

/* timing.c: the median of a plan's time on this device, in milliseconds. */
struct timing; /* operands and events */
int timing_open(struct timing **out, const struct dnn_problem *problem, size_t workspace_bytes,
                struct err *err);
void timing_close(struct timing *timing);
int timing_run(struct timing *timing, struct libraries *libraries, const struct dnn_plan *plan,
               double *milliseconds, struct err *err);

#endif
