#ifndef ENGINE_MODEL_MODEL_H
#define ENGINE_MODEL_MODEL_H

#include "engine/job.h"
#include "graph/graph.h"

/* What a batch looks like. */
struct model_input {
    int64_t batch, channels, height, width;
    int classes;
};

enum { MODEL_INPUT_IMAGES, MODEL_INPUT_LABELS, MODEL_INPUTS };
enum { MODEL_OUTPUT_LOSS, MODEL_OUTPUT_TOP1, MODEL_OUTPUT_TOP5, MODEL_OUTPUTS };

/* The graph of a job's model with its loss. Inputs: images [N,C,H,W], labels [N]. Outputs, each
 * [1]: mean cross-entropy, number of samples right, number right among the best five (or among all
 * classes where there are fewer). `training` adds the gradients. *out is the caller's. */
int model_graph(struct graph **out, const struct job_model *model, const struct model_input *input,
                bool training, struct err *err);

/* The logits of a model, for `model_graph` and for tests; one function a family. */
int resnet_logits(struct graph *graph, const struct job_model *model, int images, int classes);

#endif
