/* cuDNN's graph API in plain C, as far as convolutions need it: one operation a graph.
 *
 * Plans are found, filtered and finalised without a GPU, for a device that is described by its
 * properties alone; only `dnn_plan_run` needs one. Tensors are packed with channels innermost:
 * x [n][h][w][c], w [k][r][s][c], y [n][p][q][k]. */
#ifndef ENGINE_BACKEND_CUDA_DNN_H
#define ENGINE_BACKEND_CUDA_DNN_H

#include <cudnn.h>

#include "backend/cuda/libraries.h"

/* Sums are fp32 whatever the operands are. */
struct dnn_problem {
    enum conv_direction direction;
    struct conv_shape shape;
    enum compute compute; /* F32: no tensor cores and no narrowed operands */
    bool deterministic;   /* only engines that give the same bits each time */
};

/* What decides the choice of a plan, as text without spaces: "fprop-n256…-bf16-deterministic". */
void dnn_problem_name(const struct dnn_problem *problem, char *out, size_t bytes);

/* The properties of a device. With `properties` (JSON as cuDNN writes it) the device need not be
 * there; else they are those of device `number`. */
struct dnn_device;
int dnn_device_open(struct dnn_device **out, int number, const char *properties, struct err *err);
void dnn_device_close(struct dnn_device *device);
/* Its properties as JSON; the caller frees it. */
int dnn_device_properties(const struct dnn_device *device, char **json, struct err *err);

/* Goes through the plans that may solve a problem, in the order of the heuristics: those that are
 * fast by cuDNN's model first, those that always work last. */
struct dnn_search;
struct dnn_plan;
int dnn_search_open(struct dnn_search **out, const struct dnn_device *device,
                    const struct dnn_problem *problem, struct err *err);
/* The next plan that can be built and whose workspace has `workspace_max` bytes at most. *out is
 * NULL when there is none left. */
int dnn_search_next(struct dnn_search *search, size_t workspace_max, struct dnn_plan **out,
                    struct err *err);
void dnn_search_close(struct dnn_search *search);

/* A plan from what `dnn_plan_json` gave. Fails when this cuDNN or device cannot use it. */
int dnn_plan_read(struct dnn_plan **out, const struct dnn_device *device, const char *json,
                  struct err *err);
void dnn_plan_close(struct dnn_plan *plan);
/* The caller frees it. */
int dnn_plan_json(const struct dnn_plan *plan, char **json, struct err *err);
size_t dnn_plan_workspace_bytes(const struct dnn_plan *plan);

/* Operands by role, on the device. The work goes to the handle's stream. */
int dnn_plan_run(const struct dnn_plan *plan, cudnnHandle_t handle, void *x, void *w, void *y,
                 void *workspace, struct err *err);

#endif
