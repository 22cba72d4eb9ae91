/* Layers with their parameters, as PyTorch's modules have them: what the families' files build of.
 * Channels in are x's. Mistakes stay in the graph. */
#ifndef ENGINE_MODEL_LAYERS_H
#define ENGINE_MODEL_LAYERS_H

#include "graph/graph.h"

/* How a layer's weights start. */
enum layer_start {
    START_DEFAULT, /* PyTorch's: U(±1/√fan_in), biases too */
    START_FAN_OUT, /* Kaiming normal (He et al. 2015): N(0, 2/(size²·out)), biases 0 */
    START_FAN_IN,  /* N(0, 2/(size²·in)), biases 0 */
    START_NARROW,  /* timm's for transformers: N(0, 0.02²), biases 0 */
    START_ZERO
};

struct layer_conv {
    int64_t out;
    int size, stride; /* the padding is ⌊size/2⌋ */
    enum layer_start start;
    bool bias;
};

/* x [N,in,H,W] → [N,out,⌈H/stride⌉,⌈W/stride⌉] for odd sizes; parameters `name`.weight, and
 * `name`.bias where there is one. */
int layer_conv(struct graph *graph, int x, struct layer_conv conv, const char *name);

/* x [N,in] → [N,out]; parameters `name`.weight and `name`.bias. */
int layer_linear(struct graph *graph, int x, int64_t out, enum layer_start start, const char *name);

/* x [N,T,in] → [N,T,out]; parameters `name`.weight, and `name`.bias where there is one. */
struct layer_linear {
    int64_t out;
    enum layer_start start;
    bool bias;
};
int layer_features(struct graph *graph, int x, struct layer_linear linear, const char *name);

/* A convolution of stride `size` with a size×size kernel and bias, over patches that images were
 * taken apart into: [N,T,C·size·size] → [N,T,out]. PyTorch's default start. */
int layer_patches(struct graph *graph, int patches, int images, int64_t size, int64_t out,
                  const char *name);

/* A name put together; its text lives until the end of the full expression. */
struct layer_name {
    char text[TENSOR_NAME_MAX];
};
struct layer_name layer_name(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
