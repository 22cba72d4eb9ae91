/* A model is a graph of primitive operations, as data. Nodes are in topological order; each value
 * is made by one node. Shapes are inferred and checked as a node is added.
 *
 * Builders return the new value's id. The first mistake is kept in the graph, later calls return
 * -1 and do nothing; `graph_check` at the end tells. So a builder reads as the network does.
 * Layouts named here (NCHW, …) say what dimensions mean, not how a backend stores them.
 */
#ifndef ENGINE_GRAPH_GRAPH_H
#define ENGINE_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/tensor.h"

enum op {
    /* sources */
    OP_INPUT,     /* → host data given with each pass; attr.index = number of the input */
    OP_PARAM,     /* → trainable weights; attr.index = number of the parameter */
    OP_STATE,     /* → running statistics; attr.index = number of the state */
    OP_DIRECTION, /* → a parameter's part of the direction along which a pass differentiates;
                     attr.index = number of the parameter */
    /* forward */
    OP_CONV,            /* x[N,C,H,W], w[K,C,R,S] → y[N,K,P,Q]; attr.stride, attr.pad */
    OP_BATCH_NORM,      /* x, gamma[C], beta[C] → y, mean[C], var[C] (biased), of the batch */
    OP_BATCH_NORM_EVAL, /* x, gamma, beta, mean[C], var[C] → y */
    OP_RELU,            /* x → y */
    OP_ADD,             /* a, b (same shape) → a + b */
    OP_GLOBAL_AVG_POOL, /* x[N,C,H,W] → y[N,C] */
    OP_BIAS,            /* x[N,C,H,W], b[C] → y = x + b, channel by channel */
    OP_MAX_POOL,        /* x[N,C,H,W] → y[N,C,P,Q], the largest of each window of attr.k×attr.k;
                           attr.stride, attr.pad (with −∞); NaN counts as the largest */
    OP_DROPOUT, /* x → y: each element 0 with probability attr.rate, else x/(1 − rate). The
                   mask depends on the pass and attr.index alone, so that the same node on
                   dy is the derivative */
    OP_LINEAR, /* x[…,I], w[O,…] with I numbers a row, b[O] or none → y[…,O] = x·wᵀ + b */
    OP_PATCHES, /* x[N,C,H,W] → y[N,T,P·P·C]: patches of P×P pixels (attr.k), row by row; within a
                   patch by channel, row, column, or with attr.channels_last by row, column,
                   channel */
    OP_PREPEND,  /* x[N,T,D], token[1,1,D] → y[N,T+1,D]: the same token before each sample's */
    OP_TOKEN,    /* x[N,T,D] → y[N,D]: token number attr.index */
    OP_ADD_EACH, /* x[N,…], b[1,…] → y = x + b, sample by sample */
    OP_LAYER_NORM, /* x[…,D], gamma[D], beta[D] → y, mean[…], var[…] (biased), over D; attr.eps */
    OP_GELU,       /* x → y = x·Φ(x), Φ the normal distribution (by erf, no approximation) */
    OP_SOFTMAX,     /* x[…,D] → y, over D */
    OP_SPLIT_HEADS, /* x[N,T,P·H·D] → P = attr.parts results [N,H,T,D]; H = attr.k */
    OP_MERGE_HEADS, /* 1 to 3 of [N,H,T,D] → y[N,T,P·H·D]: undoes OP_SPLIT_HEADS */
    OP_MATMUL, /* a[…,M,K], b[…,K,N] → y[…,M,N] = attr.scale·a·b, matrix by matrix; with
                  attr.transpose_a a is [K,M], with attr.transpose_b b is [N,K] */
    OP_CROSS_ENTROPY, /* logits[N,K], labels[N] → loss[1], mean over N, against the target
                         (1 − attr.smoothing)·onehot + attr.smoothing/K */
    OP_CORRECT,       /* logits[N,K], labels[N] → count[1] of samples whose label is among the
                         attr.k highest logits (equal logits: the lower class first) */
    /* gradients */
    OP_CONV_GRAD_X,          /* dy[N,K,P,Q], w → dx (of attr.shape) */
    OP_CONV_GRAD_W,          /* x, dy → dw (of attr.shape) */
    OP_BATCH_NORM_GRAD,      /* dy, x, gamma, mean, var → dx, dgamma, dbeta */
    OP_RELU_GRAD,            /* dy, y → dx = dy where y > 0 */
    OP_GLOBAL_AVG_POOL_GRAD, /* dy[N,C] → dx (of attr.shape) */
    OP_SUM_CHANNELS,         /* dy[N,C,H,W] → db[C] */
    OP_MAX_POOL_GRAD,        /* dy, x → dx: each dy where its window has its maximum, the first of
                                equal ones (in PyTorch's order: row by row) */
    OP_LINEAR_GRAD_X,        /* dy[…,O], w → dx[…,I] */
    OP_LINEAR_GRAD_W,        /* x[…,I], dy[…,O] → dw of attr.shape; without one [O,I] */
    OP_SUM_ROWS,             /* dy[…,O] → db[O] */
    OP_PATCHES_GRAD,         /* dy → dx (of attr.shape) */
    OP_DROP_FIRST,           /* dy[N,T,D] → dx[N,T−1,D]: all tokens but the first */
    OP_TOKEN_GRAD,           /* dy[N,D] → dx (of attr.shape), zeros but for token attr.index */
    OP_SUM_EACH,           /* dy[N,…] → db of attr.shape [1,…], which has as many numbers as a
                              sample of dy */
    OP_LAYER_NORM_GRAD,    /* dy, x, gamma, mean, var → dx, dgamma, dbeta */
    OP_GELU_GRAD,          /* dy, x → dx */
    OP_SOFTMAX_GRAD,       /* dy, y → dx */
    OP_CROSS_ENTROPY_GRAD, /* logits, labels → dlogits = (softmax − target)/N */
    /* of batch norm in given statistics, which do not depend on x; x̂ = (x − mean)/√(var + eps) */
    OP_BATCH_NORM_SCALE, /* x, gamma, var → y = x·gamma/√(var + eps), channel by channel: what
                            BATCH_NORM_EVAL does to a derivative, and to a tangent of x */
    OP_BATCH_NORM_EVAL_GRAD, /* dy, x, mean, var → dgamma = Σ dy·x̂, dbeta = Σ dy */
    /* tangents: RX is how X changes along a direction, dX/dt at t = 0 */
    OP_BATCH_NORM_DOT,     /* dy, x, var → [C]: Σ dy·x/√(var + eps), channel by channel */
    OP_BATCH_NORM_TANGENT, /* x, Rx, gamma, Rgamma, Rbeta, mean, var → Ry; mean and var are those
                              of the batch x, and move with it, here and in the next */
    OP_BATCH_NORM_GRAD_TANGENT, /* dy, Rdy, x, Rx, gamma, Rgamma, mean, var → Rdx, Rdgamma,
                                   Rdbeta */
    OP_LAYER_NORM_TANGENT,      /* as the two above, over D */
    OP_LAYER_NORM_GRAD_TANGENT,
    OP_MAX_POOL_TANGENT, /* Rx, x → Ry: Rx where each window of x has its maximum */
    OP_GELU_CURVE,       /* dy, x, Rx → dy·Rx·gelu''(x): GELU_GRAD's tangent along x */
    OP_SOFTMAX_CURVE, /* dy, y, Ry → Ry·(dy − ⟨dy,y⟩) − y·⟨dy,Ry⟩: SOFTMAX_GRAD's along y */
    OP_CROSS_ENTROPY_CURVE, /* logits, Rlogits → p·(Rlogits − ⟨p,Rlogits⟩)/N, p = softmax(logits) */
    OP_COUNT
};

const char *op_name(enum op op); /* "conv", "batch_norm_grad", … */

struct shape {
    int rank;
    int64_t dim[TENSOR_RANK_MAX];
};

#define NODE_INPUTS_MAX  8
#define NODE_OUTPUTS_MAX 3

struct node {
    enum op op;
    int n_inputs, n_outputs;
    int input[NODE_INPUTS_MAX];   /* value ids */
    int output[NODE_OUTPUTS_MAX]; /* value ids */
    struct {
        int stride, pad; /* CONV, MAX_POOL and their gradients */
        int k;           /* CORRECT, MAX_POOL, PATCHES and their gradients; …_HEADS */
        int parts;       /* SPLIT_HEADS */
        int index; /* INPUT, PARAM, STATE, DIRECTION; TOKEN and its gradient; DROPOUT: number of the
                      mask in the graph */
        double rate;                   /* DROPOUT, below 1 */
        double eps;                    /* BATCH_NORM…, LAYER_NORM… */
        double scale;                  /* MATMUL */
        double smoothing;              /* CROSS_ENTROPY and its gradient: 0 … 1 */
        bool transpose_a, transpose_b; /* MATMUL */
        bool channels_last;            /* PATCHES and its gradient */
        struct shape shape;            /* the result, where inputs alone do not say it */
    } attr;
};

enum value_type { VALUE_REAL, VALUE_INDEX /* int32_t: labels */ };

struct value {
    struct shape shape;
    enum value_type type;
    int node, slot; /* who makes it: nodes[node].output[slot] */
};

/* How a parameter or state starts. */
enum init_kind {
    INIT_ZERO,
    INIT_ONE,
    INIT_UNIFORM, /* U(−bound, bound) */
    INIT_NORMAL   /* N(0, deviation²) */
};

struct init {
    enum init_kind kind;
    double bound;
    double deviation;
};

/* A parameter or a state. Names are those of the PyTorch model. */
struct graph_tensor {
    char name[TENSOR_NAME_MAX];
    struct shape shape;
    struct init init;
    int value;     /* id of its value */
    int gradient;  /* parameters: id of the loss's derivative; -1 until `graph_gradient` */
    int direction; /* parameters: id of their part of the direction; -1 until `graph_tangent` */
    int product;   /* parameters: id of their part of the Hessian-vector product; -1 until
                      `graph_tangent`, and where it is 0 for every direction */
};

/* A batch norm's batch statistics, to move its running statistics with. */
struct graph_moments {
    int mean, var;                 /* value ids, of the batch; var is biased */
    int running_mean, running_var; /* numbers of the states */
    int64_t count;                 /* values that each statistic was taken over */
};

struct graph {
    bool training; /* batch norm uses the batch's statistics */
    int n_nodes, n_values, n_inputs, n_params, n_states, n_moments, n_outputs;
    int n_dropouts; /* masks that a pass draws */
    struct node *nodes;
    struct value *values;
    struct graph_tensor *params, *states;
    struct graph_moments *moments;
    int *inputs;        /* value ids */
    int *outputs;       /* ids of the values that a pass gives back to the host */
    struct err mistake; /* the first one; code 0: none */
};

/* An empty graph; NULL when out of memory. */
struct graph *graph_new(bool training);
void graph_free(struct graph *graph);

/* A copy that shares nothing with the original; NULL when out of memory. */
struct graph *graph_copy(const struct graph *graph);

/* 0, or the first mistake that was made in building. */
int graph_check(const struct graph *graph, struct err *err);

struct shape shape_of(int rank, ...); /* int64_t dimensions */
int64_t shape_elements(const struct shape *shape);
bool shape_equal(const struct shape *a, const struct shape *b);

int graph_input(struct graph *graph, struct shape shape, enum value_type type);
int graph_param(struct graph *graph, struct shape shape, struct init init, const char *name, ...)
    __attribute__((format(printf, 4, 5)));
int graph_state(struct graph *graph, struct shape shape, struct init init, const char *name, ...)
    __attribute__((format(printf, 4, 5)));

int graph_conv(struct graph *graph, int x, int w, int stride, int pad);
/* `name` "bn1" makes parameters bn1.weight, bn1.bias and states bn1.running_mean, bn1.running_var;
 * in a training graph also an entry of `moments`. eps 1e-5. */
int graph_batch_norm(struct graph *graph, int x, const char *name);
int graph_relu(struct graph *graph, int x);
int graph_add(struct graph *graph, int a, int b);
int graph_global_avg_pool(struct graph *graph, int x);
int graph_bias(struct graph *graph, int x, int b);
int graph_max_pool(struct graph *graph, int x, int size, int stride, int pad);
/* `rate` in [0, 1). x itself where nothing is dropped: at rate 0, and outside of training. */
int graph_dropout(struct graph *graph, int x, double rate);
/* b may be -1: no bias. */
int graph_linear(struct graph *graph, int x, int w, int b);
int graph_patches(struct graph *graph, int x, int size, bool channels_last);
int graph_prepend(struct graph *graph, int x, int token);
int graph_token(struct graph *graph, int x, int number);
int graph_add_each(struct graph *graph, int x, int b);
/* `name` "norm" makes parameters norm.weight and norm.bias. */
int graph_layer_norm(struct graph *graph, int x, double eps, const char *name);
int graph_gelu(struct graph *graph, int x);
int graph_softmax(struct graph *graph, int x);
/* The first of `parts` consecutive values. */
int graph_split_heads(struct graph *graph, int x, int parts, int heads);
int graph_merge_heads(struct graph *graph, int x);
struct matmul {
    bool transpose_a, transpose_b;
    double scale;
};
int graph_matmul(struct graph *graph, int a, int b, struct matmul how);
int graph_cross_entropy(struct graph *graph, int logits, int labels);
int graph_smoothed_cross_entropy(struct graph *graph, int logits, int labels, double smoothing);
int graph_correct(struct graph *graph, int logits, int labels, int k);

/* Marks a value as given back to the host by each pass; returns its place among the outputs. */
int graph_output(struct graph *graph, int value);

/* Appends any node with checked inputs and inferred shapes: what the builders above and the
 * transforms use. `attr` may be NULL. Returns the id of its first output. */
int graph_node(struct graph *graph, enum op op, const int *inputs, int n_inputs,
               const struct node *attr);

/* Reverse mode: appends the nodes that compute the derivative of `loss` with respect to each
 * parameter and sets each `params[i].gradient`. `loss` must be a value made by OP_CROSS_ENTROPY. */
int graph_gradient(struct graph *graph, int loss);
/* For tests: the same from any value, whose derivative is given as another value. Also fills
 * wrt_gradient[i] with the derivative with respect to value wrt[i] (-1 if there is none). */
int graph_gradient_from(struct graph *graph, int value, int derivative, const int *wrt, int n_wrt,
                        int *wrt_gradient);

/* Parameter `param`'s part of the direction; the same value each time. */
int graph_direction(struct graph *graph, int param);

/* Forward mode, after `graph_gradient`: appends the nodes that compute the tangent of each
 * parameter's gradient along a direction d, that is H·d with the loss's Hessian H (Pearlmutter,
 * Fast Exact Multiplication by the Hessian, 1994), and sets each `params[i].product`. Nothing that
 * was in the graph before depends on a direction. A ReLU's derivative at 0 is 0, a maximum's is
 * that of the first of equal ones, and neither has a second one; that is PyTorch's double backward.
 */
int graph_tangent(struct graph *graph);
/* For tests: the same for any values. moving[i].value changes by moving[i].tangent, a value of its
 * shape; fills of_tangent[i] with how of[i] changes then (-1: not at all). */
struct graph_motion {
    int value, tangent;
};
int graph_tangent_from(struct graph *graph, const struct graph_motion *moving, int n_moving,
                       const int *of, int n_of, int *of_tangent);

#endif
