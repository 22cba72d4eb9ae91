/* A compiled graph: slots, commands over them, and where the slots lie.
 *
 * A slot is a value of the graph in one form, or a command's scratch memory. Most lie in a lane's
 * arena, where slots that are never alive at the same time share their place; sources,
 * parameter gradients and products lie where each pass says. A command reads `in` and writes
 * `out`; -1 is an operand that is not there. Commands are in an order in which each reads what
 * earlier ones wrote.
 *
 * Commands that depend on a direction *vary*; the others are the primal. A program that keeps its
 * primal has an arena of its own, runs the primal first, and lets nothing overwrite what varying
 * commands read of it; so they can be run again alone.
 */
#ifndef ENGINE_BACKEND_CPU_PROGRAM_H
#define ENGINE_BACKEND_CPU_PROGRAM_H

#include "backend/cpu/cpu.h"

enum form {
    FORM_DENSE,   /* row-major */
    FORM_BLOCKED, /* activations: kernels/kernels.h */
    FORM_PACKED,  /* weights, as a convolution wants them: `packing` */
    FORM_COEF,    /* the coefficients of the normalisation that makes the value */
    FORM_SCRATCH
};

enum place {
    PLACE_ARENA,
    PLACE_INPUT,    /* index: number of the graph's input */
    PLACE_WEIGHTS,  /* index: number of the parameter, in the weights that a pass computes with */
    PLACE_STATES,   /* index: number of the state */
    PLACE_GRADIENT, /* index: number of the parameter */
    PLACE_DIRECTION,
    PLACE_PRODUCT,
};

struct slot {
    int value; /* of the graph; -1: none */
    enum form form;
    enum place place;
    int index;
    size_t bytes;
    const struct packing *packing;
    bool varies;   /* a command that varies writes it, or it is a direction */
    bool primal;   /* a command that does not writes it */
    size_t offset; /* bytes in the arena */
    float *data;   /* set anew by each pass */
};

struct convolution_shape {
    int64_t n, c, h, w, k, r, s, p, q;
    int stride, pad;
    bool dense_source; /* x is the graph's input as it is, with few channels */
    bool onto;         /* y is added to; of FORWARD only */
};

/* Matrix number i·inner + j of a factor or of the result begins at `at` + i·outer_step +
 * j·inner_step and has its rows `row` apart. */
struct matrix_place {
    size_t at, outer_step, inner_step, row;
};

/* Products of matrices: result [rows][columns] = scale·a·b over `depth`, `outer`·`inner` times. */
struct matrices {
    size_t outer, inner, rows, columns, depth;
    bool a_turned, b_turned;
    float scale;
    struct matrix_place a, b, result;
};

enum { COMMAND_IN_MAX = 12, COMMAND_OUT_MAX = 7 };

struct command {
    int (*run)(const struct program *program, const struct command *command, struct err *err);
    const char *what;      /* for profiles: the operation, or what was fused */
    const char *algorithm; /* for profiles; NULL: that of `convolution` */
    int node;              /* of the graph: whose work this is */
    int n_in, n_out;
    int in[COMMAND_IN_MAX], out[COMMAND_OUT_MAX];
    int in_place; /* the `out` that may take over the memory of an `in` of its size; -1 */
    bool varies;  /* depends on the direction */
    bool for_result, for_gradient, for_product; /* what needs it: outputs or statistics, … */

    /* What `run` needs beside the slots; each uses some. */
    struct activation shape;
    size_t channels;
    double eps, smoothing;
    bool relu;
    enum norm_residual residual;
    enum norm_mask mask;
    int terms; /* of a sum */
    bool bias; /* of a linear layer: in[2] */
    bool onto; /* adds to what `out` holds already */
    const struct convolution *convolution;
    const struct packing *packing;
    const struct direct *direct;
    size_t rows, columns, inner, k;
    struct max_pool max_pool;      /* without its arrays */
    struct convolution_shape conv; /* of a convolution by rows */
    double rate;                   /* of dropout */
    struct patches patches;        /* without its arrays, as the next three */
    struct place_rows place;
    struct heads heads;
    struct matrices matrices;
    int mask_number;
};

/* What a pass moves the running statistics with. */
struct moments {
    int mean, var;                    /* slots */
    int bias;                         /* slot of what x lacked when its mean was taken, or -1 */
    size_t running_mean, running_var; /* elements in the states */
    size_t channels;
    double unbiased; /* n/(n − 1) */
};

struct program {
    struct cpu_backend *cpu;
    const struct layout *params, *states;
    struct graph *graph;
    int threads;
    bool exact;
    bool beside;     /* may run at the same time as another program */
    bool by_image;   /* how activations are stored (kernels/kernels.h) */
    bool slow;       /* by channel, oneDNN has only its plain loops for some convolution */
    int64_t samples; /* of a batch */
    int64_t
        chosen_for; /* the samples for which algorithms are chosen: those, or another program's */

    struct slot *slots;
    int n_slots;
    struct command *commands;
    int n_commands;
    struct moments *moments; /* graph->n_moments */
    int *outputs;            /* slots; graph->n_outputs */

    size_t arena_bytes;
    bool keep;         /* its primal */
    bool primal_there; /* the last pass left it */
    struct memory own; /* the arena of a program that keeps its primal */
    bool spares;       /* a pass that wants no gradient writes some all the same */

    struct packing **packings;
    int n_packings;
    struct convolution **convolutions;
    int n_convolutions;
    struct direct **directs;
    int n_directs;

    struct pass_draws draws; /* of the running pass */
    double *seconds;         /* by command, while it is profiled; NULL otherwise */
};

/* algorithm.c: of a convolution, or a derivative of one, from the values of the graph that are its
 * x, its weights and its y, or have their shapes. */
struct convolution_shape cpu_conv_shape(const struct graph *graph, const struct node *node, int x,
                                        int w, int y);

/* compile.c: fills commands and slots. */
int cpu_compile(struct program *program, struct err *err);

/* plan.c: lifetimes, memory, and which commands a pass needs for what. */
int cpu_plan(struct program *program, struct err *err);

/* `slot` may be -1: NULL. */
static inline float *cpu_data(const struct program *program, int slot)
{
    return slot < 0 ? NULL : program->slots[slot].data;
}

/* Elements of row-major weights [k][c][taps] in a convolution's layout. */
struct packing {
    dnnl_memory_desc_t md;
    size_t k, c, taps;
    size_t bytes;
    bool padded; /* it has room for channels that are none; they must be zero */
    bool turned; /* the layout is of weights [c][k] with the taps in reverse */
    size_t *at;  /* k_at[k], c_at[c], tap_at[taps] */
};

struct convolution;
enum direction { FORWARD, GRAD_X, GRAD_W };

/* convolution.c */
int cpu_convolution_open(struct convolution **out, const struct program *program,
                         enum direction direction, const struct convolution_shape *shape,
                         struct err *err);
void cpu_convolution_close(struct convolution *convolution);
const dnnl_memory_desc_t *cpu_convolution_weights(const struct convolution *convolution);
size_t cpu_convolution_scratch_bytes(const struct convolution *convolution);
const char *cpu_convolution_name(const struct convolution *convolution); /* oneDNN's name */
/* Of a convolution: oneDNN's name, or ours; NULL for other commands. */
static inline const char *cpu_command_algorithm(const struct command *c)
{
    return c->algorithm     ? c->algorithm
           : c->convolution ? cpu_convolution_name(c->convolution)
                            : NULL;
}
/* Whether oneDNN found nothing better than its plain loops. */
bool cpu_convolution_is_slow(const struct convolution *convolution);
/* Operands by role: x, w, y (or their derivatives). */
int cpu_convolution_run(const struct convolution *convolution, float *x, float *w, float *y,
                        float *scratch, struct err *err);

/* direct.c: convolutions of our own, by image. Offsets and sizes for the kernels' arguments. */
struct direct {
    enum direction direction;
    struct direct_conv conv;     /* sizes and tables; for GRAD_W only the border is of use */
    struct direct_grad_w grad_w; /* for GRAD_W */
    size_t rows;                 /* of images */
    size_t room_bytes;           /* for the source with its border; 0: none needed */
    struct direct_class *classes;
    size_t *tables;
};

int cpu_direct_open(struct direct **out, size_t lanes, enum direction direction,
                    const struct convolution_shape *shape, struct err *err);
void cpu_direct_close(struct direct *direct);

/* packing.c */
int cpu_packing_open(struct packing **out, const dnnl_memory_desc_t *md, const struct shape *dense,
                     bool turned, struct err *err);
void cpu_packing_close(struct packing *packing);

/* run_*.c: `run` of the commands. */
typedef int command_run(const struct program *program, const struct command *command,
                        struct err *err);
command_run cpu_run_norm_statistics, cpu_run_norm_eval, cpu_run_norm_apply, cpu_run_norm_grad_sums,
    cpu_run_norm_grad_apply;
command_run cpu_run_conv, cpu_run_conv_grad_x, cpu_run_conv_grad_w, cpu_run_pack, cpu_run_unpack;
command_run cpu_run_winograd, cpu_run_winograd_grad_x, cpu_run_winograd_grad_w;
command_run cpu_run_direct, cpu_run_direct_grad_w, cpu_run_rows_grad_w;
command_run cpu_run_to_blocked, cpu_run_to_dense, cpu_run_copy, cpu_run_relu, cpu_run_relu_grad,
    cpu_run_add, cpu_run_pool, cpu_run_pool_grad;
command_run cpu_run_norm_pool, cpu_run_norm_pool_sums, cpu_run_norm_pool_grad;
command_run cpu_run_norm_scales, cpu_run_affine_sum, cpu_run_norm_eval_grad, cpu_run_norm_tangent;
command_run cpu_run_max_pool_tangent, cpu_run_layer_norm_tangent, cpu_run_layer_norm_grad_tangent,
    cpu_run_gelu_curve, cpu_run_softmax_curve, cpu_run_cross_entropy_curve;
command_run cpu_run_bias, cpu_run_sum_channels, cpu_run_clear, cpu_run_max_pool,
    cpu_run_max_pool_grad, cpu_run_dropout, cpu_run_dropout_blocked;
command_run cpu_run_patches, cpu_run_place, cpu_run_add_each, cpu_run_split_heads,
    cpu_run_merge_heads, cpu_run_layer_norm, cpu_run_layer_norm_grad, cpu_run_gelu,
    cpu_run_gelu_grad, cpu_run_softmax, cpu_run_softmax_grad, cpu_run_matmul;
command_run cpu_run_linear, cpu_run_linear_grad_x, cpu_run_linear_grad_w, cpu_run_sum_rows,
    cpu_run_cross_entropy, cpu_run_cross_entropy_grad, cpu_run_correct;

#endif
