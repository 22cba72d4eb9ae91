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

/* For probes: as model_forward_graph, without dropout, and with the gradients (slope) and their
 * tangents (curvature: `struct pass` then takes a direction and gives the product of the loss's
 * Hessian with it). Batch norm uses the running statistics, or with `batch_statistics` those of the
 * batch, through which the derivatives then go as well. Programs of such graphs are to be exact. */
int model_slope_graph(struct graph **out, const struct job_model *model,
                      const struct model_input *input, bool batch_statistics, struct err *err);
int model_curvature_graph(struct graph **out, const struct job_model *model,
                          const struct model_input *input, bool batch_statistics, struct err *err);

/* Trainable numbers of a graph. */
int64_t model_parameters(const struct graph *graph);
/* Numbers that its convolutions, linear layers and products of matrices result in: what a way back
 * holds at the very least. */
double model_product_elements(const struct graph *graph);

/* What keeps a model from being built for some images: the setting to blame (RFC 6901) and why. */
struct model_problem {
    const char *pointer;
    char message[240];
};

/* Whether settings make sense together and for images like these; else says what does not. */
bool model_fits(const struct job_model *model, const struct model_input *input,
                struct model_problem *out);

/* Layers with weights, for the kinds that are counted by them. */
int64_t model_depth(const struct job_model *model);

/* For the families' files: fills *out and returns false; halves a resolution `times` times,
 * rounding up, and says false when 1×1 would be halved. */
bool model_problem(struct model_problem *out, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool model_halve(int64_t *height, int64_t *width, int times);

/* The logits of a model, for `model_graph` and for tests; one function a family. */
typedef int model_logits(struct graph *graph, const struct job_model *model, int images,
                         int classes);
model_logits resnet_logits, preresnet_logits, vgg_logits, wrn_logits, vit_logits;

/* `model_fits` of a family. */
typedef bool model_fit(const struct job_model *model, const struct model_input *input,
                       struct model_problem *out);
model_fit resnet_fits, preresnet_fits, vgg_fits, wrn_fits, vit_fits;

#endif
