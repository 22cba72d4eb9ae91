/* Convolutions and products of matrices: what is left to cuDNN and cuBLASLt.
 *
 * Both are opened for one shape, choose how they are computed then, and are run as often as
 * wanted. A test without a device links functions of its own in place of conv.c and product.c. */
#ifndef ENGINE_BACKEND_CUDA_LIBRARIES_H
#define ENGINE_BACKEND_CUDA_LIBRARIES_H

#include "backend/backend.h"

struct CUstream_st; /* cudaStream_t is a pointer to it */

enum conv_direction {
    CONV_FORWARD, /* x, w → y */
    CONV_GRAD_X,  /* dy, w → dx */
    CONV_GRAD_W   /* x, dy → dw */
};

struct conv_shape {
    int64_t n, c, h, w, k, r, s, p, q;
    int stride, pad;
};

/* A stream with the workspace that what runs on it shares. */
struct lane {
    int number; /* 0, 1 */
    struct CUstream_st *stream;
    void *workspace;
};

enum { LANES = 2 };
#define WORKSPACE_MAX ((size_t)256 << 20) /* bytes that a single operation may have */

struct libraries;
struct libraries_options {
    int device;
    bool deterministic; /* nothing is timed, and each engine gives the same bits */
    bool counts_only; /* nothing is run: a plan is the one that was chosen before, if any is known,
                         else the first that would be tried */
    enum compute compute;
    const char *cache; /* folder of chosen plans; NULL: none */
};
int libraries_open(struct libraries **out, const struct libraries_options *options,
                   struct err *err);
void libraries_close(struct libraries *libraries);

struct convolution;
/* The same shape opened twice is one plan. */
int convolution_open(struct convolution **out, struct libraries *libraries,
                     enum conv_direction direction, const struct conv_shape *shape,
                     struct err *err);
void convolution_close(struct convolution *convolution);
size_t convolution_workspace_bytes(const struct convolution *convolution);
/* Operands by role: x, w, y or their derivatives. */
int convolution_run(const struct convolution *convolution, const struct lane *lane, void *x,
                    void *w, void *y, struct err *err);

/* `batch` times: out [rows][columns] = scale·a·b over `depth`. a is [rows][depth], turned
 * [depth][rows]; b is [depth][columns], turned [columns][depth]. Matrices of a batch lie one after
 * the other. Operands have the compute type (bf16 or fp32); so has the result, or fp32. */
struct product_shape {
    int64_t batch, rows, columns, depth;
    bool a_turned, b_turned, out_f32;
    float scale;
};

struct product;
int product_open(struct product **out, struct libraries *libraries,
                 const struct product_shape *shape, struct err *err);
void product_close(struct product *product);
size_t product_workspace_bytes(const struct product *product);
int product_run(const struct product *product, const struct lane *lane, const void *a,
                const void *b, void *out, struct err *err);

#endif
