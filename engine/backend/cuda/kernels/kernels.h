/* The CUDA backend's own kernels, as plain C functions: one a kind of operation, each of which
 * only enqueues on `stream` and returns 0 or the cudaError_t of the launch, never waits, allocates
 * or synchronises. All of them may be captured into a CUDA graph. Convolutions (cuDNN) and products
 * of matrices (cuBLASLt) are not here. What follows holds for all of them.
 *
 * Memory. Pointers are device memory, 16-byte aligned; inputs and outputs do not overlap unless it
 * says that they may be the same array. Nothing is read or written past the sizes that are given;
 * arrays have less than 2³² elements.
 * Images are dense NHWC; `c` is the number of channels as stored. Where a tensor is stored with
 * more channels than it has, the others are zero, and every kernel leaves them so, given that the
 * parameters and derivatives that it reads are zero there too (gaps of a layout are,
 * graph/layout.h). Any c works; 8 channels travel together where c is a multiple of 8.
 *
 * Types. Activations and their derivatives are of `type`; parameters that these kernels read
 * (gamma, beta, bias, token, each), derivatives by them, statistics, losses and counts are float.
 * Arithmetic is float, sums over more than a few thousand numbers end in double.
 *
 * Determinism. No atomics; each sum has one order, which depends on the sizes alone, so the same
 * inputs give the same bits on any GPU with any number of multiprocessors, whatever else runs.
 *
 * Workspace. `…_workspace` gives the number of floats that a launch may scribble on; it need not be
 * zero and may be shared by launches of one stream. */
#ifndef ENGINE_BACKEND_CUDA_KERNELS_H
#define ENGINE_BACKEND_CUDA_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* cudaStream_t is a pointer to it */
struct turn;        /* update.h */

enum element { ELEMENT_F32, ELEMENT_BF16 };

static inline size_t element_bytes(enum element type)
{
    return type == ELEMENT_F32 ? 4 : 2;
}

/* ---- elementwise.cu ---------------------------------------------------------------------- */

struct elementwise {
    enum element type;
    int64_t n;
    const void *a, *b; /* b: operations of two arguments */
    const void *c;     /* of three */
    void *y;           /* may be a or b */
    uint8_t *mask; /* relu, add: NULL, or out; relu_grad: in. Bit e mod 8 of byte ⌊e/8⌋ tells
                      whether element e of y is > 0; ⌈n/8⌉ bytes */
    bool relu;     /* add: max(a + b, 0), NaN stays NaN */
};

int launch_relu(struct CUstream_st *stream, const struct elementwise *e); /* a: x */
/* y = a where mask, or without a mask b (the ReLU's result), is > 0; else 0. a: dy. */
int launch_relu_grad(struct CUstream_st *stream, const struct elementwise *e);
int launch_add(struct CUstream_st *stream, const struct elementwise *e);
int launch_gelu(struct CUstream_st *stream, const struct elementwise *e);      /* a: x */
int launch_gelu_grad(struct CUstream_st *stream, const struct elementwise *e); /* a: dy, b: x */
/* OP_GELU_CURVE: a: dy, b: x, c: Rx */
int launch_gelu_curve(struct CUstream_st *stream, const struct elementwise *e);

/* n elements from one type to the other. */
int launch_cast(struct CUstream_st *stream, enum element from_type, const void *from,
                enum element to_type, void *to, int64_t n);

/* y[rows,c] = x + b[c], row by row: OP_BIAS with rows = N·H·W, the bias of OP_LINEAR, and
 * OP_ADD_EACH with rows = N and c as many as a sample has. y may be x. */
struct add_row {
    enum element type;
    int64_t rows, c;
    const void *x;
    const float *b;
    void *y;
};
int launch_add_row(struct CUstream_st *stream, const struct add_row *a);

/* Element e of mask `index` of the pass, e = (i·channels + channel)·plane + pixel, is kept where
 * random_keeps says so (random/philox.h, backend.h: pass_draws). x[n,plane,c], of whose c channels
 * the first `channels` are drawn for; rows of features are plane = 1, n = rows. */
struct dropout {
    enum element type;
    int64_t n, plane, c, channels;
    double rate;
    uint64_t seed;
    uint32_t term, index;
    const struct turn *turn; /* turn->update */
    const void *x;
    void *y; /* may be x */
};
int launch_dropout(struct CUstream_st *stream, const struct dropout *d);

/* ---- norm.cu, norm_grad.cu: batch norm over rows = N·H·W ---------------------------------- */

struct batch_norm_statistics {
    enum element type;
    int64_t rows, c;
    const void *x;
    float *mean, *var;                 /* [c]; var is biased */
    float *running_mean, *running_var; /* [c]; NULL: they stay. var unbiased, rows > 1 */
    float momentum;                    /* running ← (1 − momentum)·running + momentum·batch */
    float *workspace;
};
size_t batch_norm_workspace(int64_t rows, int64_t c); /* of statistics and of the gradient */
int launch_batch_norm_statistics(struct CUstream_st *stream, const struct batch_norm_statistics *b);

/* (x − mean)/√(var + eps)·gamma + beta; mean and beta may be NULL, for zeros: OP_BATCH_NORM_SCALE
 */
struct normalised {
    const void *x; /* [rows,c] */
    const float *mean, *var, *gamma, *beta;
    float eps;
};

/* y = first + second + residual, then ReLU: OP_BATCH_NORM_EVAL, OP_BATCH_NORM after its statistics,
 * and what may be fused to them: the end of a residual block with or without a projection. */
struct batch_norm_apply {
    enum element type;
    int64_t rows, c;
    struct normalised first, second; /* second.x NULL: there is none */
    const void *residual;            /* [rows,c], or NULL */
    bool relu;
    uint8_t *mask; /* with relu: as in struct elementwise, or NULL; needs c mod 8 = 0 */
    void *y;       /* may be first.x, second.x or residual */
};
int launch_batch_norm_apply(struct CUstream_st *stream, const struct batch_norm_apply *b);

enum relu_known {
    RELU_NONE, /* no ReLU followed: dz = dy */
    RELU_MASK, /* dz = dy where the bit of `mask` is set; needs c mod 8 = 0 */
    RELU_Y,    /* dz = dy where y > 0 */
    RELU_AGAIN /* dz = dy where gamma·x̂ + beta > 0: no residual came between */
};

/* OP_BATCH_NORM_GRAD of dz; may give dz as well, the derivative by what was added to it. Without
 * dx (and dz, and gamma) it is OP_BATCH_NORM_EVAL_GRAD, and with mean NULL, for zeros, and dbeta
 * NULL OP_BATCH_NORM_DOT, whose result is dgamma; var NULL stands for √(var + eps) = 1. */
struct batch_norm_grad {
    enum element type;
    int64_t rows, c;
    const void *dy, *x;
    const float *gamma, *beta; /* beta: for RELU_AGAIN */
    const float *mean, *var;
    float eps;
    enum relu_known relu;
    const uint8_t *mask;
    const void *y;
    void *dx;              /* may be dy, unless dz is wanted too; NULL: neither is */
    void *dz;              /* NULL: not wanted; may be dy */
    float *dgamma, *dbeta; /* [c] */
    float *workspace;
};
int launch_batch_norm_grad(struct CUstream_st *stream, const struct batch_norm_grad *b);

/* ---- norm_tangent.cu: tangents of normalisations in the batch's statistics ------------------ */

/* OP_BATCH_NORM_TANGENT and OP_BATCH_NORM_GRAD_TANGENT over the columns of [rows,c],
 * OP_LAYER_NORM_TANGENT and OP_LAYER_NORM_GRAD_TANGENT over its rows. */
struct norm_tangent {
    enum element type;
    int64_t rows, c;
    const void *x, *rx;
    const void *dy, *rdy; /* of the gradients' tangents */
    const float *gamma, *rgamma;
    const float *rbeta; /* not of the gradients' */
    const float *mean, *var;
    float eps;
    void *ry;                /* gradients: Rdx; may be any of the inputs */
    float *rdgamma, *rdbeta; /* [c], of the gradients' */
    float *workspace;
};
size_t batch_norm_tangent_workspace(int64_t rows, int64_t c);
int launch_batch_norm_tangent(struct CUstream_st *stream, const struct norm_tangent *t);
int launch_batch_norm_grad_tangent(struct CUstream_st *stream, const struct norm_tangent *t);
size_t layer_norm_tangent_workspace(int64_t rows, int64_t c);
int launch_layer_norm_tangent(struct CUstream_st *stream, const struct norm_tangent *t);
int launch_layer_norm_grad_tangent(struct CUstream_st *stream, const struct norm_tangent *t);

/* ---- rows.cu ------------------------------------------------------------------------------ */

/* db[c] = Σ over rows of dy[rows,c]: OP_SUM_CHANNELS with rows = N·H·W, OP_SUM_ROWS, OP_SUM_EACH
 * with rows = N. */
struct sum_rows {
    enum element type;
    int64_t rows, c;
    const void *dy;
    float *db;
    float *workspace;
};
size_t sum_rows_workspace(int64_t rows, int64_t c);
int launch_sum_rows(struct CUstream_st *stream, const struct sum_rows *s);

/* Over the last of [rows,d]; mean and var [rows], biased. */
struct layer_norm {
    enum element type;
    int64_t rows, d;
    const void *x;
    const float *gamma, *beta; /* [d] */
    float eps;
    void *y;
    float *mean, *var;
};
int launch_layer_norm(struct CUstream_st *stream, const struct layer_norm *l);

struct layer_norm_grad {
    enum element type;
    int64_t rows, d;
    const void *dy, *x;
    const float *gamma, *mean, *var;
    float eps;
    void *dx; /* may be dy */
    float *dgamma, *dbeta;
    float *workspace;
};
size_t layer_norm_grad_workspace(int64_t rows, int64_t d);
int launch_layer_norm_grad(struct CUstream_st *stream, const struct layer_norm_grad *l);

/* Over the last of [rows,d]. */
struct softmax {
    enum element type;
    int64_t rows, d;
    const void *x;  /* softmax_grad: y, the softmax's result */
    const void *dy; /* softmax_grad, softmax_curve */
    const void *ry; /* softmax_curve */
    void *y;        /* softmax_grad: dx; may be any input */
};
int launch_softmax(struct CUstream_st *stream, const struct softmax *s);
int launch_softmax_grad(struct CUstream_st *stream, const struct softmax *s);
int launch_softmax_curve(struct CUstream_st *stream, const struct softmax *s);

/* ---- loss.cu ------------------------------------------------------------------------------ */

/* logits[rows,pitch], of which the first `classes` of a row count; labels[rows]. */
struct class_scores {
    enum element type;
    int64_t rows, classes, pitch;
    const void *logits;
    const int32_t *labels;
    float smoothing;  /* of the loss and its gradient */
    int k;            /* correct: among the k best */
    float *workspace; /* rows floats; not for the gradient */
};
int launch_cross_entropy(struct CUstream_st *stream, const struct class_scores *s, float *loss);
/* dlogits[rows,pitch]; zero beyond the classes. May be logits. */
int launch_cross_entropy_grad(struct CUstream_st *stream, const struct class_scores *s,
                              void *dlogits);
/* OP_CROSS_ENTROPY_CURVE; rlogits as logits; `to` as dlogits, may be either. */
int launch_cross_entropy_curve(struct CUstream_st *stream, const struct class_scores *s,
                               const void *rlogits, void *to);
/* Exact up to 2²⁴ rows. */
int launch_correct(struct CUstream_st *stream, const struct class_scores *s, float *count);

/* ---- pool.cu ------------------------------------------------------------------------------ */

/* x[n,plane,c] ↔ y[n,c]: the mean over the plane, and its derivative. */
struct global_pool {
    enum element type;
    int64_t n, plane, c;
    const void *from; /* x; grad: dy */
    void *to;         /* y; grad: dx */
};
int launch_global_avg_pool(struct CUstream_st *stream, const struct global_pool *p);
int launch_global_avg_pool_grad(struct CUstream_st *stream, const struct global_pool *p);

/* x[n,h,w,c] → y[n,p,q,c]. `place`: for each element of y, which pixel of its window (row·size +
 * column) holds the maximum, the first of equal ones; size ≤ 15. */
struct max_pool {
    enum element type;
    int64_t n, h, w, c, p, q;
    int size, stride, pad;
    const void *x;  /* grad: dy */
    void *y;        /* grad: dx. Forward: NULL where the places alone are wanted */
    uint8_t *place; /* forward: out, or NULL; grad: in */
};
int launch_max_pool(struct CUstream_st *stream, const struct max_pool *m);
int launch_max_pool_grad(struct CUstream_st *stream, const struct max_pool *m);
/* OP_MAX_POOL_TANGENT: x is Rx, y Ry; `place` is in. */
int launch_max_pool_tangent(struct CUstream_st *stream, const struct max_pool *m);

/* ---- tokens.cu ---------------------------------------------------------------------------- */

/* x[n,h,w,c] of which `channels` count ↔ y[n,t,size·size·channels] (OP_PATCHES and its gradient).
 */
struct patches {
    enum element type;
    int64_t n, h, w, c, channels;
    int size;
    bool channels_last; /* the order within a patch */
    const void *from;   /* x; grad: dy */
    void *to;           /* y; grad: dx */
};
int launch_patches(struct CUstream_st *stream, const struct patches *p);
int launch_patches_grad(struct CUstream_st *stream, const struct patches *p);

/* t is the number of tokens of the larger side: of y for prepend, of x for token, of dy for
 * drop_first, of dx for token_grad. */
struct token_move {
    enum element type;
    int64_t n, t, d;
    int64_t number;     /* token, token_grad: which */
    const float *token; /* prepend: [d] */
    const void *from;
    void *to;
};
int launch_prepend(struct CUstream_st *stream, const struct token_move *m);
int launch_drop_first(struct CUstream_st *stream, const struct token_move *m);
int launch_token(struct CUstream_st *stream, const struct token_move *m);
int launch_token_grad(struct CUstream_st *stream, const struct token_move *m);

/* merged[n,t,parts·heads·d] ↔ parts × part[n,heads,t,d]; parts ≤ 3. */
struct heads {
    enum element type;
    int64_t n, t, heads, d;
    int parts;
    void *merged;  /* split: in; merge: out */
    void *part[3]; /* split: out; merge: in */
};
int launch_split_heads(struct CUstream_st *stream, const struct heads *h);
int launch_merge_heads(struct CUstream_st *stream, const struct heads *h);

/* ---- attention.cu, attention_grad.cu -----------------------------------------------------------
 */

/* y[n,t,heads·d] = softmax(scale·q·kᵀ)·v, head by head, of qkv[n,t,3·heads·d]: queries, keys and
 * values side by side, as OP_SPLIT_HEADS takes them apart. 1 ≤ d ≤ ATTENTION_FEATURES_MAX; scores
 * and probabilities are in no memory. bfloat16: probabilities, and their derivatives, are rounded
 * before a product, sums are float. */
#define ATTENTION_FEATURES_MAX 128
struct attention {
    enum element type;
    bool tf32; /* float: products may round what they multiply to TF32 */
    int64_t n, t, heads, d;
    float scale;
    const void *qkv;
    void *y;         /* out; grad: in */
    float *log_sums; /* [n,heads,t], for the gradient: out, or NULL; grad: in */
    const void *dy;  /* grad */
    void *dqkv;      /* grad: out, as qkv */
    float *workspace;
};
int launch_attention(struct CUstream_st *stream, const struct attention *a);
size_t attention_grad_workspace(const struct attention *a);
int launch_attention_grad(struct CUstream_st *stream, const struct attention *a);

/* ---- convert.cu: between the host's order and the device's --------------------------------- */

/* from[n,channels,plane] float ↔ to[n,plane,c] of `type`; channels beyond `channels` become 0.
 * Plane 1 pads or cuts rows. */
struct reorder {
    enum element type;
    int64_t n, channels, plane, c;
    const void *from;
    void *to;
};
int launch_from_nchw(struct CUstream_st *stream, const struct reorder *r);
int launch_to_nchw(struct CUstream_st *stream, const struct reorder *r); /* `type` is from's */

#ifdef __cplusplus
}
#endif

#endif
