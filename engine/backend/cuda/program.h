/* A compiled graph: slots, commands over them, and where the slots lie.
 *
 * A slot is a value of the graph in one form: how its numbers lie and what type they have. Most
 * lie in the lane's arena, where slots that are never alive at the same time share their place. A
 * command reads `in` and writes `out`; -1 is an operand that is not there. Commands are in an order
 * in which each reads what earlier ones wrote, and each pass gives all of them, in this order, to
 * one stream. */
#ifndef ENGINE_BACKEND_CUDA_PROGRAM_H
#define ENGINE_BACKEND_CUDA_PROGRAM_H

#include "backend/cuda/cuda.h"

enum order {
    ORDER_DENSE,  /* row-major */
    ORDER_IMAGE,  /* [n,c,h,w] as n,h,w,c; c a multiple of CHANNEL_BLOCK, zeros past the channels */
    ORDER_FILTER, /* [k,c,r,s] likewise, and k a multiple of CHANNEL_BLOCK too */
    ORDER_BYTES   /* what a command keeps for another */
};

enum place {
    PLACE_ARENA,
    PLACE_INPUT,     /* index: number of the graph's input; dense floats or labels */
    PLACE_OUTPUT,    /* index: number of the graph's output; dense floats */
    PLACE_CAST,      /* index: number of the parameter, in the weights that a pass computes with */
    PLACE_GRADIENT,  /* index: number of the parameter */
    PLACE_STATE,     /* index: number of the state */
    PLACE_DIRECTION, /* index: number of the parameter, as PLACE_CAST */
    PLACE_PRODUCT    /* index: number of the parameter, in the pass's vector */
};

struct slot {
    int value; /* of the graph; -1: none */
    enum order order;
    enum element type;
    enum place place;
    int index;
    size_t bytes;
    size_t offset; /* bytes, in the arena or in the program's memory */
};

struct command;
typedef int command_run(const struct program *program, const struct command *command,
                        const struct lane *lane, struct err *err);

enum { COMMAND_IN_MAX = 10, COMMAND_OUT_MAX = 5 };

struct cast_elements {
    enum element from, to;
    int64_t n;
};

struct command {
    command_run *run;
    const char *what;
    int n_in, n_out;
    int in[COMMAND_IN_MAX], out[COMMAND_OUT_MAX];
    int in_place; /* the `out` that may take over the memory of one of the first
                     `in_place_of` operands, if they have its size; -1 */
    int in_place_of;
    bool for_outputs, for_products; /* who needs it, beside gradients */
    bool directed;                  /* it depends on a direction */
    int moments;                    /* of the graph, that it moves running statistics with; -1 */
    size_t workspace_bytes;

    /* Arguments of `run` without their pointers. */
    union {
        struct elementwise elementwise;
        struct add_row add_row;
        struct dropout dropout;
        struct batch_norm_statistics statistics;
        struct batch_norm_apply apply;
        struct batch_norm_grad norm_grad;
        struct sum_rows sum_rows;
        struct layer_norm layer_norm;
        struct layer_norm_grad layer_norm_grad;
        struct softmax softmax;
        struct class_scores scores;
        struct global_pool global_pool;
        struct max_pool max_pool;
        struct patches patches;
        struct token_move token_move;
        struct heads heads;
        struct attention attention;
        struct reorder reorder;
        struct cast_elements cast;
        struct {
            struct convolution *convolution;
            enum conv_direction direction;
        } conv;
        struct product *product;
        struct norm_tangent tangent;
    } u;
};

/* What casts were made of; casts.c. */
struct cast_source {
    bool known;
    enum perturbation_kind kind;
    uint64_t weights, fisher; /* vector.written */
    uint64_t seed, update;
    uint32_t term;
    float sigma, eta;
};

/* Where a parameter's cast and gradient lie in the program's memory, in bytes. */
struct param_place {
    size_t cast, cast_bytes, gradient, gradient_bytes;
};

struct program {
    struct cuda_backend *cuda;
    const struct layout *params, *states;
    struct graph *graph;
    enum element type; /* of activations */

    struct slot *slots;
    int n_slots;
    struct command *commands;
    int n_commands;
    int *outputs; /* slots; graph->n_outputs */

    size_t arena_bytes, workspace_bytes;

    /* The program's own memory, which outlives a pass: casts of weights, packed gradients, inputs,
     * outputs, turns. */
    struct room own;
    struct param_place *param; /* graph->n_params */
    size_t casts_at, casts_bytes, gradients_at, gradients_bytes, directions_at;
    bool has_directions, *directed; /* the latter of each value of the graph */
    bool keep_primal, kept;         /* `kept`: the last pass went well */
    size_t *input_at, *output_at;
    int images, labels; /* the command that reads images from the host's form, the graph's input of
                           labels: for batches of data on the device; -1: they cannot be had */
    struct turn *noise_turn, *draw_turn; /* on the device */
    float *factor;
    struct forms casts; /* its gradient forms are the layout's */
    struct cast_source cast;
    struct forms gradients; /* its gradient forms are the packed ones */
    void *host;             /* outputs, where the device writes them */
    size_t host_bytes;

    /* Of the pass that is being given to its stream. */
    char *arena;
    float *state_data;
    const struct pass *pass;
    const struct turn *draws; /* on the device */
};

/* compile.c: fills commands, slots and forms. */
int cuda_compile(struct program *program, struct err *err);
/* plan.c: lifetimes, memory, and which commands a pass without gradient leaves out. */
int cuda_plan(struct program *program, struct err *err);

/* data.c: sets `images` and `labels`. */
void cuda_data_find(struct program *program);

/* shapes.c */
struct conv_shape cuda_conv_shape(const struct graph *graph, const struct node *node);
/* Whether a node is a convolution, and then which. */
bool cuda_conv_direction(enum op op, enum conv_direction *out);

/* Where a slot lies; `slot` may be -1: NULL. */
void *cuda_data(const struct program *program, int slot);

/* run.c, run_norm.c, run_tokens.c: `run` of the commands. */
command_run cuda_run_relu, cuda_run_relu_grad, cuda_run_add, cuda_run_gelu, cuda_run_gelu_grad,
    cuda_run_cast, cuda_run_add_row, cuda_run_dropout, cuda_run_sum_rows, cuda_run_from_nchw,
    cuda_run_to_nchw, cuda_run_conv, cuda_run_product, cuda_run_global_pool,
    cuda_run_global_pool_grad, cuda_run_max_pool, cuda_run_max_pool_grad, cuda_run_cross_entropy,
    cuda_run_cross_entropy_grad, cuda_run_correct, cuda_run_copy, cuda_run_gelu_curve,
    cuda_run_softmax_curve, cuda_run_cross_entropy_curve, cuda_run_max_pool_tangent,
    cuda_run_batch_norm_tangent, cuda_run_batch_norm_grad_tangent, cuda_run_layer_norm_tangent,
    cuda_run_layer_norm_grad_tangent;
command_run cuda_run_statistics, cuda_run_apply, cuda_run_norm_grad, cuda_run_layer_norm,
    cuda_run_layer_norm_grad;
command_run cuda_run_softmax, cuda_run_softmax_grad, cuda_run_patches, cuda_run_patches_grad,
    cuda_run_prepend, cuda_run_drop_first, cuda_run_token, cuda_run_token_grad,
    cuda_run_split_heads, cuda_run_merge_heads, cuda_run_attention, cuda_run_attention_grad;

#endif
