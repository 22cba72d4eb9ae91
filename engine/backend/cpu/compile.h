/* Compiling a graph into commands: what the files that do it share.
 *
 * The first mistake is kept in `code` and `err`; after it, calls do nothing. */
#ifndef ENGINE_BACKEND_CPU_COMPILE_H
#define ENGINE_BACKEND_CPU_COMPILE_H

#include "backend/cpu/program.h"
#include "graph/uses.h"

/* What is done in one sweep over a normalisation in given statistics, on its way back: the nodes
 * beside the batch_norm_eval_grad, -1 where there is none. */
struct sweep {
    bool there;
    int scale;      /* batch_norm_scale of the same derivative: dx, or its first part */
    int other, sum; /* of a tangent: the second part of dx, from the derivative that moves, and
                       their sum */
    int dot, total; /* the second part of dgamma, and the sum of both */
    int plus;       /* the add that dx goes into */
};

struct compiler {
    struct program *program;
    const struct graph *graph;
    struct value_use *use; /* by value */
    bool *absorbed;        /* by node: whether a later node's command does its work */
    bool *early;           /* by node: whether an earlier node's command has done its work */
    int *sum_of;           /* by node: the add that a batch_norm_grad does too, or -1 */
    int *gradient_of;      /* by value: the parameter whose gradient it is, or -1 */
    int *product_of;       /* by value: the parameter whose product it is, or -1 */
    bool *varies;          /* by value: whether it depends on a direction */
    int *onto;             /* by node: the add whose other side its command adds to, or -1 */
    struct sweep *sweep;   /* by node */
    int node;              /* being compiled */
    int code;
    struct err *err;
};

/* fusion.c: fills use and absorbed. */
void compile_fusions(struct compiler *c);

static inline const struct node *compile_maker(const struct compiler *c, int value)
{
    return &c->graph->nodes[c->graph->values[value].node];
}

/* Whether the value's maker leaves its work to the node that reads it. */
static inline bool compile_is_absorbed(const struct compiler *c, int value)
{
    return c->absorbed[c->graph->values[value].node];
}

/* What a normalisation reads for `x`, and the bias (a value) that it lacks there, or -1. */
static inline int compile_norm_source(const struct compiler *c, int x, int *bias)
{
    const struct node *maker = compile_maker(c, x);
    bool left = maker->op == OP_BIAS && compile_is_absorbed(c, x);

    *bias = left ? maker->input[1] : -1;
    return left ? maker->input[0] : x;
}

static inline bool compile_is_norm(const struct node *node)
{
    return node->op == OP_BATCH_NORM || node->op == OP_BATCH_NORM_EVAL;
}

/* Whether the value is a normalisation's result that its reader has yet to compute. */
static inline bool compile_is_pending_norm(const struct compiler *c, int value)
{
    const struct node *maker = compile_maker(c, value);

    return (compile_is_norm(maker) || maker->op == OP_BATCH_NORM_SCALE) &&
           compile_is_absorbed(c, value);
}

/* The only reader of a value, or NULL. */
static inline const struct node *compile_only_reader(const struct compiler *c, int value)
{
    return graph_only_reader(c->graph, &c->use[value]);
}

/* fusion_tangent.c: for each node in turn, what of a tangent is done together. */
void compile_tangent_fusions(struct compiler *c, int node);
/* Whether this relu_grad goes into one sweep with what reads it first. */
bool compile_relu_grad_swept(const struct compiler *c, const struct node *node);
/* The terms of a sum that is done at once, at most AFFINE_TERMS of them; returns how many. */
int compile_terms(const struct compiler *c, int value, int *out);

/* slots.c. Reading: the slot that holds `value` in a form, made from another form if need be. */
int compile_read(struct compiler *c, int value, enum form form);
int compile_read_packed(struct compiler *c, int value, const struct packing *packing);
/* Writing: a new slot; the next command is to fill it. */
int compile_write(struct compiler *c, int value, enum form form);
int compile_write_packed(struct compiler *c, int value, const struct packing *packing);
int compile_scratch(struct compiler *c, size_t bytes);
/* The slot of a form that exists already, or -1. */
int compile_find(const struct compiler *c, int value, enum form form);
/* Where the command of the node being compiled writes `value`: a new slot; or, where it adds to the
 * other side of a sum, that one's, which becomes the sum's and an input of the command. */
int compile_result(struct compiler *c, struct command *command, int value, enum form form);

struct activation compile_activation(const struct compiler *c, int value);
/* Where an elementwise operation on these values is done without conversions, if it can be. */
enum form compile_common_form(const struct compiler *c, const int *values, int n);

/* Appends a command for the node being compiled. */
void compile_emit(struct compiler *c, const struct command *command);

/* Each compiles node `c->node`. */
void compile_norm(struct compiler *c, const struct node *node);
void compile_norm_apply(struct compiler *c, int y, int normalised, int other, bool relu);
void compile_norm_grad(struct compiler *c, const struct node *node);
/* The derivative of a max_pool that a batch_norm_grad is to take on its way, or NULL. */
const struct node *compile_pool_grad_of(const struct compiler *c, const struct node *node);
void compile_norm_pool(struct compiler *c, const struct node *pool);
struct max_pool compile_windows(const struct compiler *c, const struct node *node);
void compile_conv(struct compiler *c, const struct node *node);
/* Whether a batch_norm_grad's mean and variance are those of its x, taken by a node of the graph:
 * that node, else NULL. */
const struct node *compile_forward_norm(const struct compiler *c, const struct node *node);
void compile_bias(struct compiler *c, const struct node *node);
void compile_sum_channels(struct compiler *c, const struct node *node);
void compile_max_pool(struct compiler *c, const struct node *node);
void compile_dropout(struct compiler *c, const struct node *node);
void compile_direct(struct compiler *c, const struct node *node);
/* False if this convolution is to be done otherwise. */
bool compile_winograd(struct compiler *c, const struct node *node, enum direction direction,
                      const struct convolution_shape *shape);
/* compile_tangent.c: the coefficients of a batch_norm_scale; normalisations on their way back;
 * tangents. False if the operation is none of these. */
void compile_norm_scale(struct compiler *c, const struct node *node);
bool compile_tangent(struct compiler *c, const struct node *node);
/* y = the sum of the terms of `value`, masked by `mask_of` (-1: not). */
void compile_affine_sum(struct compiler *c, int y, int value, int mask_of);
/* compile_tokens.c: false if the operation is none of a transformer's. */
bool compile_tokens(struct compiler *c, const struct node *node);
/* Whether products of matrices do the work of this split_heads or merge_heads. */
bool compile_heads_absorbed(const struct compiler *c, const struct node *node);
/* compile_conv.c: whether the derivative by x is made as a convolution where it adds to another. */
bool compile_turns(const struct compiler *c, const struct node *conv_grad_x);
/* slots.c: two layouts that are the same are one packing; `turned`: of the weights turned round, as
 * packing.c has it. */
const struct packing *compile_packing(struct compiler *c, const dnnl_memory_desc_t *md,
                                      const struct shape *dense, bool turned);

#endif
