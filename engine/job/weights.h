/* Weights that come from outside, against those that a model has. */
#ifndef ENGINE_JOB_WEIGHTS_H
#define ENGINE_JOB_WEIGHTS_H

#include "base/problems.h"
#include "base/tensor.h"
#include "graph/graph.h"

/* Whether a tensor of a checkpoint is one of the model's that can be taken over. */
bool weights_counts(const struct tensor *tensor);

/* The tensor for one of the graph's; NULL: there is none. */
const struct tensor *weights_find(const struct tensor *tensors, int n,
                                  const struct graph_tensor *wanted);

/* The one called prefix and name, of any role; NULL: there is none. */
const struct tensor *weights_find_named(const struct tensor *tensors, int n, const char *prefix,
                                        const char *name);

/* The prefix of a given vector's names: none will do where it is `alone`. */
const char *weights_prefix(const struct graph *graph, const struct tensor *tensors, int n,
                           const char *prefix, bool alone);

/* "[64,3,3,3]", in `out`. */
const char *weights_shape(int rank, const int64_t *dim, char out[100]);

bool weights_fit(const struct tensor *tensor, const struct graph_tensor *wanted);

/* As `engine_job_check_weights`. */
void weights_compare(const struct graph *graph, const struct tensor *tensors, int n,
                     struct problems *problems);

#endif
