/* Models: from a job's settings to a graph with its loss. */
#ifndef ENGINE_MODEL_MODEL_H
#define ENGINE_MODEL_MODEL_H

#include "engine/job.h"
#include "graph/graph.h"

/* What a batch looks like. */
struct model_input {
    int64_t batch, channels, height, width;
    int classes;
    double label_smoothing; /* of the loss */
};

enum { MODEL_INPUT_IMAGES, MODEL_INPUT_LABELS, MODEL_INPUTS };
enum { MODEL_OUTPUT_LOSS, MODEL_OUTPUT_TOP1, MODEL_OUTPUT_TOP5, MODEL_OUTPUTS };

/* The graph of a job's model with its loss. Inputs: images [N,C,H,W], labels [N]. Outputs, each
 * [1]: mean cross-entropy, number of samples right, number right among the best five (or among all
 * classes where there are fewer). `training` makes batch norm use the batch's statistics and adds
 * the gradients. Parameters and states are numbered alike with and without it. *out is the
 * caller's. */
int model_graph(struct graph **out, const struct job_model *model, const struct model_input *input,
                bool training, struct err *err);

/* As above but without the gradients, whose nodes a look at the shapes does not need. */
int model_forward_graph(struct graph **out, const struct job_model *model,
                        const struct model_input *input, bool training, struct err *err);

/* Trainable numbers of a graph. */
int64_t model_parameters(const struct graph *graph);

/* The resolution that images of *height × *width have after the last stage, in the same two
 * variables. False when some stage would have to halve images of 1×1. */
bool model_resolution(const struct job_model *model, int64_t *height, int64_t *width);

/* The logits of a model, for `model_graph` and for tests; one function a family. */
int resnet_logits(struct graph *graph, const struct job_model *model, int images, int classes);

#endif
