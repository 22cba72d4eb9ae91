/* From a graph's nodes to commands. A value may be had in several forms; the first one is written
 * by the command that computes it, further ones are converted from it where they are first read.
 * After the first failure (`code`) what is compiled is thrown away, so everybody goes on. */
#ifndef ENGINE_BACKEND_CUDA_COMPILE_H
#define ENGINE_BACKEND_CUDA_COMPILE_H

#include "backend/cuda/program.h"
#include "graph/uses.h"

/* Of a node that ends a piece of attention: the one that ends it forward, which it is itself or
 * whose derivative it belongs to; -1: none. */
struct attention_of {
    int forward;
    int log_sums; /* slot, of the former; -1 */
};

struct compiler {
    struct program *program;
    const struct graph *graph;
    struct err *err;
    int code;
    struct value_use *use;          /* of each value */
    int *gradient_of;               /* each value: the parameter whose gradient it is, or -1 */
    int *output_of;                 /* each value: the output that it is, or -1 */
    bool *absorbed;                 /* each node: left to another's command */
    struct attention_of *attention; /* each node */
};

/* fusion.c: fills `use` and `absorbed`. */
void gpu_fusions(struct compiler *c);
const struct node *gpu_maker(const struct compiler *c, int value);
/* Whether the value is left to the commands of those who read it. */
bool gpu_is_absorbed(const struct compiler *c, int value);
/* Whether it is a batch norm's result that is. */
bool gpu_is_pending_norm(const struct compiler *c, int value);
/* Whether only losses and counts read a value. */
bool gpu_is_scores(const struct compiler *c, int value);
/* The batch norm whose derivative this is and of which nothing but a ReLU came before it; or NULL.
 */
const struct node *gpu_norm_before(const struct compiler *c, const struct node *norm_grad,
                                   const struct node *relu_grad);

/* attention.c: fills `attention`, and more of `absorbed`. */
void gpu_attention_fusions(struct compiler *c);
/* Whether the node's command is one for a piece of attention, which is then given. */
bool gpu_attention(struct compiler *c, const struct node *node);

/* Whether a batch norm's derivative asks where y, a ReLU's result, is positive, and cannot tell
 * from what it reads anyway: something was added in between. */
bool gpu_wants_mask(const struct compiler *c, int y);

/* compile_params.c: how parameters lie, before anything is compiled. */
int gpu_params(struct compiler *c);

/* slots.c. A new slot: its number, or -1. */
int gpu_slot(struct compiler *c, const struct slot *slot);
int gpu_find(const struct compiler *c, int value, enum order order, enum element type);
int gpu_read(struct compiler *c, int value, enum order order, enum element type);
int gpu_write(struct compiler *c, int value, enum order order, enum element type);
/* Reads an image; writes one. */
int gpu_image(struct compiler *c, int value);
int gpu_new_image(struct compiler *c, int value);
/* Rows in the compute type; and in float, as parameters and statistics are. */
int gpu_rows(struct compiler *c, int value);
int gpu_floats(struct compiler *c, int value);
/* Rows in whichever type they are there. */
int gpu_any_rows(struct compiler *c, int value);
int gpu_labels(struct compiler *c, int value);
int gpu_bytes(struct compiler *c, size_t bytes);
void gpu_emit(struct compiler *c, const struct command *command);
enum element gpu_type(const struct compiler *c, int slot);

/* n·h·w and stored channels of an image's value. */
int64_t gpu_pixels(const struct compiler *c, int value);
int64_t gpu_channels(const struct compiler *c, int value);

struct command gpu_command(const struct node *node, command_run *run);

/* compile_plain.c */
void gpu_elementwise(struct compiler *c, const struct node *node, command_run *run);
void gpu_relu(struct compiler *c, const struct node *node);
void gpu_add(struct compiler *c, const struct node *node);
void gpu_dropout(struct compiler *c, const struct node *node);
void gpu_bias(struct compiler *c, const struct node *node);
void gpu_sum(struct compiler *c, const struct node *node);
void gpu_global_pool(struct compiler *c, const struct node *node);
void gpu_max_pool(struct compiler *c, const struct node *node);

/* compile_products.c */
void gpu_conv(struct compiler *c, const struct node *node, enum conv_direction direction);
void gpu_linear(struct compiler *c, const struct node *node);
void gpu_linear_grad(struct compiler *c, const struct node *node);
void gpu_scores(struct compiler *c, const struct node *node, command_run *run);

/* compile_norm.c, compile_tokens.c; the latter says whether it knows the node. */
void gpu_norm(struct compiler *c, const struct node *node);
void gpu_norm_grad(struct compiler *c, const struct node *node);
/* y = norm (+ other) (then ReLU); `other` is a value or -1. */
void gpu_apply(struct compiler *c, int y, int norm, int other, bool relu);
/* The bits that the command which made y has kept of where it is positive, or -1. */
int gpu_kept_mask(const struct compiler *c, int y);
bool gpu_tokens(struct compiler *c, const struct node *node);
/* compile_tangents.c; likewise. */
bool gpu_tangents(struct compiler *c, const struct node *node);
/* A batch of products: out = scale·a·b. */
void gpu_product(struct compiler *c, const char *what, int a, int b, int out,
                 const struct product_shape *shape);

#endif
