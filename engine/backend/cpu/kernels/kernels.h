/* The loops that this backend does itself: everything but some convolutions.
 *
 * The files of this folder are compiled once for each instruction set and never call the system or
 * OpenMP: each kernel does the part [begin, end) of its work and is threaded by its caller. No
 * result depends on how the work was divided: sums are taken tile by tile, and the tiles' sums
 * are merged in one fixed order in double. Fused multiply-add is never used, so that only LANES
 * could tell two instruction sets apart.
 *
 * Activations are stored [images][blocks][pixels][LANES], in one of two ways:
 *   by channel: channel c is lane c mod LANES of block c / LANES (oneDNN's nChw16c or nChw8c);
 *   by image:   image n is lane n mod LANES of row n / LANES, and each channel is a block.
 * By channel, lanes past the last channel hold zeros. By image, lanes past the last image hold
 * anything in a forward pass and zeros in derivatives, so that sums over derivatives are right.
 */
#ifndef ENGINE_BACKEND_CPU_KERNELS_KERNELS_H
#define ENGINE_BACKEND_CPU_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct activation {
    size_t images, blocks, pixels;
    size_t tail; /* lanes that count in the last row of images; by channel: LANES */
    bool by_image;
};

/* A tile is what one sum is first taken over: some pixels of an image, or, by channel, some whole
 * images. */
#define TILE_VECTORS 256

static inline size_t tile_images(const struct activation *a)
{
    return a->by_image || a->pixels >= TILE_VECTORS ? 1 : TILE_VECTORS / a->pixels;
}

static inline size_t tile_columns(const struct activation *a)
{
    return a->pixels >= TILE_VECTORS ? (a->pixels + TILE_VECTORS - 1) / TILE_VECTORS : 1;
}

static inline size_t tile_count(const struct activation *a)
{
    return (a->images + tile_images(a) - 1) / tile_images(a) * tile_columns(a);
}

/* Work: (tile, block), number tile·blocks + block. partial[work][2][LANES] = mean, Σ(x − mean)². */
struct norm_statistics {
    struct activation shape;
    const float *x;
    float *partial;
};

/* Coefficients of a normalisation, by block: [blocks][3][LANES] = mean, scale, shift (by image the
 * same in all lanes):
 * y = (x − mean)·scale + shift, scale = gamma/√(var + eps), shift = beta. */
enum { COEF_MEAN, COEF_SCALE, COEF_SHIFT, COEFS };

/* Work: block. mean, var: made from `partial`, [blocks·LANES], or given if that is NULL. */
struct norm_coefficients {
    struct activation shape;
    size_t channels;
    double eps;
    const float *partial;
    const float *gamma, *beta; /* [channels]; beta may be NULL: zeros */
    const float *bias;         /* [channels], of what was not added to x: taken off a given mean;
                                  may be NULL */
    float *mean, *var;
    float *coef;
};

enum norm_residual { RESIDUAL_NONE, RESIDUAL_PLAIN, RESIDUAL_NORM };

/* y = norm(x) [+ other | + norm(other)], then ReLU if asked. Work: (image, block). */
struct norm_apply {
    struct activation shape;
    const float *x, *coef;
    enum norm_residual residual;
    const float *other, *other_coef;
    bool relu;
    float *y;
};

enum norm_mask {
    MASK_NONE,
    MASK_Y, /* d where y > 0 */
    MASK_X  /* the same, y taken from x and coef anew */
};

/* The derivative that comes into a normalisation: d = (dy [+ more]), masked. */
struct norm_derivative {
    const float *dy, *more; /* more may be NULL */
    enum norm_mask mask;
    const float *y;    /* MASK_Y */
    const float *coef; /* of the normalisation, as its forward pass made it */
};

/* Work: (tile, block). partial[work][2][LANES] = Σ d, Σ d·(x − mean). Writes d if `store`. */
struct norm_grad_sums {
    struct activation shape;
    struct norm_derivative d;
    const float *x;
    float *store;
    float *partial;
};

/* dx = d·scale − c1 − (x − mean)·c2; by block [blocks][4][LANES]. */
enum { GRAD_MEAN, GRAD_SCALE, GRAD_C1, GRAD_C2, GRADS };

/* Work: block. */
struct norm_grad_coefficients {
    struct activation shape;
    size_t tiles; /* sums of a block; 0: as many as the shape has tiles */
    size_t channels;
    double eps;
    const float *partial;
    const float *gamma;      /* [channels] */
    const float *mean, *var; /* [channels] */
    float *dgamma, *dbeta;   /* [channels] */
    float *coef;
};

/* Work: (image, block). dx may be dy, more, x or plus. */
struct norm_grad_apply {
    struct activation shape;
    struct norm_derivative d;
    const float *x, *grad_coef;
    const float *plus; /* added to the result; may be NULL */
    float *dx;
};

/* y = Σ terms, each x as it is (coef NULL) or normalised, then masked by `by` (as d is in
 * norm_derivative); zeros in lanes that are no images. Work: (image, block). y may be any x. */
#define AFFINE_TERMS 4
struct affine_sum {
    struct activation shape;
    int n;
    const float *x[AFFINE_TERMS], *coef[AFFINE_TERMS];
    enum norm_mask mask;
    const float *by, *by_coef; /* by_coef: of MASK_X */
    float *y;
};

/* By block [blocks][3][LANES] = mean − bias, gamma/√(var + eps), other/√(var + eps); what is NULL
 * counts as zeros. Work: block. */
struct norm_scales {
    struct activation shape;
    size_t channels;
    double eps;
    const float *mean, *bias, *gamma, *other, *var; /* [channels] */
    float *coef;
};

/* The way back through a normalisation in given statistics, with `coef` of norm_scales:
 * d = Σ dy, masked; dx = d·scale + other·(the other scale) + plus. Work: (tile, block).
 * partial[work][2][LANES] = Σ d, Σ d·(x − mean) + other·rx. dx may be any operand. */
struct norm_eval_grad {
    struct activation shape;
    int n;
    const float *dy[AFFINE_TERMS];
    enum norm_mask mask;
    const float *y, *forward; /* of MASK_Y; coefficients for MASK_X */
    const float *x, *coef;
    const float *other, *rx; /* may be NULL, both or rx */
    const float *plus;       /* may be NULL */
    float *store;            /* for d; may be NULL */
    float *dx;               /* may be NULL */
    float *partial;
};

/* dgamma = (its sum)/√(var + eps), dbeta. Work: block. */
struct norm_eval_sums {
    struct activation shape;
    size_t channels;
    double eps;
    const float *partial, *var;
    float *dgamma, *dbeta; /* [channels]; dbeta may be NULL */
};

/* Tangents of a normalisation by the batch's statistics (norm_tangent.c). `norm_tangent` sums:
 * partial[work][NORM_TANGENT_SUMS][LANES]; work: (tile, block). `norm_tangent_terms` makes of it
 * coefficients of an affine sum of rx, x and, where there is a dy, dy and rdy; work: block. */
#define NORM_TANGENT_SUMS 7
struct norm_tangent {
    struct activation shape;
    size_t channels;
    double eps;
    const float *x, *rx, *dy, *rdy; /* dy NULL: Ry; else Rdx */
    const float *scales;            /* of norm_scales, for the mean */
    const float *gamma, *rgamma, *rbeta, *mean, *var;
    float *partial;
    float *coef[AFFINE_TERMS];
    float *rdgamma, *rdbeta; /* [channels]; with dy */
};

/* Elementwise; work: elements. y may be an operand. */
struct elementwise {
    const float *a, *b, *c;
    float *y;
};

/* Work: (image, block). Dense side [N][channels][pixels], or [N][channels] for pools. */
struct rearrange {
    struct activation shape;
    size_t channels;
    const float *from;
    float *to;
};

/* y = x + bias. Work: (image, block). */
struct channel_bias {
    struct activation shape;
    size_t channels;
    const float *x, *bias; /* bias: [channels] */
    float *y;
};

/* Σ dy of each channel. Work: block. */
struct channel_sums {
    struct activation shape;
    size_t channels;
    const float *dy;
    float *sum; /* [channels] */
};

/* The largest of each window of size×size pixels, and its derivative. Work: (image, block). */
struct max_pool {
    size_t height, width, out_height, out_width;
    size_t size, stride, pad;
    const float *x, *dy; /* dy: of the derivative only */
    const float *rx;     /* of the tangent only */
    float *to;           /* y, or dx, or Ry */
};

/* max_pool(relu(norm(x))) for windows of size×size that do not overlap, and the way back. Work:
 * (image, block). */
struct norm_pool {
    struct activation shape; /* of x */
    size_t height, width, out_height, out_width, size;
    const float *x, *coef;
    float *y;               /* forward */
    const float *dy;        /* backward */
    float *partial;         /* sums: as norm_grad_sums has them, an image a tile */
    const float *grad_coef; /* grad */
    float *dx;
};

/* y = x·scale where the element's word (random/philox.h) has (word >> 8) ≥ threshold, else 0.
 * Work: elements of a dense array, or (image, block). */
struct dropout {
    struct activation shape; /* blocked only, as `channels` */
    size_t channels;
    uint64_t seed, step;
    uint32_t stream, threshold;
    float scale;
    const float *x;
    float *y;
};

/* A weight tensor [k][c][taps] between row-major and a blocked layout, in which element (k, c, t)
 * lies at k_at[k] + c_at[c] + tap_at[t]. Work: (16 of k) · ⌈c/16⌉ + (16 of c). */
#define WEIGHT_TILE 16
struct weights_pack {
    size_t k, c, taps;
    bool onto; /* unpacking adds to what `to` holds */
    const size_t *k_at, *c_at, *tap_at;
    const float *from;
    float *to;
};

/* By channel, [images][blocks][pixels][LANES] → [pixels][images][channels]. Work: image. */
struct pixel_rows {
    struct activation shape;
    size_t channels;
    const float *from;
    float *to;
};

/* dw [k][c][taps] from [taps][k][c]. Work: k. */
struct taps_inside {
    size_t k, c, taps;
    bool onto; /* adds to what `to` holds */
    const float *from;
    float *to;
};

/* Direct convolutions by image, for small nets: weights stay row-major, each is multiplied with
 * a vector of images. Offsets are in floats.
 *
 * The results of a class are Σ over its terms of x·w. A forward pass has one class; a derivative by
 * x has one for each remainder of a pixel's place by the stride. */
struct direct_class {
    size_t terms, pixels;
    /* Each table repeats its last entry up to the end of a tile and beyond. */
    const size_t *term_x, *term_w;   /* [terms]: (channel, tap) */
    const size_t *pixel_x, *pixel_y; /* [pixels] */
};

/* The source with a border of zeros, [rows of images][channels][height][width][LANES]. */
struct direct_border {
    size_t channels, from_height, from_width;
    size_t top, left, height, width;
    bool needed; /* else the source is read as it is */
};

/* Work: row of images. */
struct direct_conv {
    struct direct_border border;
    size_t out_channels, out_pixels;
    size_t w_out; /* from one result channel's weights to the next one's */
    int n_classes;
    const struct direct_class *classes;
    const float *x, *w;
    float *room; /* for the source with its border */
    float *y;
    bool onto; /* adds to what y holds */
};

/* dw[k][term] = Σ dy·x over the pixels of all images. `x` has its border. Work: DIRECT_TILE of k.
 */
#define DIRECT_TILE 4
struct direct_grad_w {
    size_t k, y_plane;
    struct direct_class class;
    const float *x, *dy;
    float *dw;
    bool onto; /* adds to what dw holds */
};

/* Convolutions of 3×3, stride 1, border 1, activations by channel. Work: part; each takes its share
 * of the tiles and has `part_room` floats of room of its own. The derivative by the weights is
 * summed part by part, so that its last bits depend on their number. */
struct winograd {
    size_t images, height, width;
    size_t in_blocks, out_blocks; /* of channels of x and y */
    const float *x, *dy;
    const float *u; /* by winograd_weights */
    float *y;
    size_t parts, part_room;
    float *room;
};

enum { WINOGRAD_POINTS = 36, WINOGRAD_SIDE = 4 };

/* Floats of room that a part needs, and those of u. */
static inline size_t winograd_filters(size_t in_blocks, size_t out_blocks, size_t lanes)
{
    return WINOGRAD_POINTS * in_blocks * out_blocks * lanes * lanes;
}

static inline size_t winograd_room(size_t in_blocks, size_t lanes)
{
    return WINOGRAD_POINTS * (in_blocks + 1) * lanes * lanes;
}

static inline size_t winograd_grad_w_room(size_t in_blocks, size_t out_blocks, size_t lanes)
{
    return winograd_filters(in_blocks, out_blocks, lanes) +
           WINOGRAD_POINTS * (in_blocks + out_blocks) * lanes * lanes;
}

/* Weights as its points, and their derivative from its sums. Work: (block of y, block of x). The
 * weight of channels i of x and o of y begins at i·in_step + o·out_step. */
struct winograd_weights {
    size_t in, out, in_blocks; /* channels, and blocks of them */
    size_t in_step, out_step;
    bool turned; /* by 180 degrees: for the derivative by x */
    const float *w;
    float *u;
    size_t parts, part_room; /* of the sums */
    float *dw;
};

/* y[n][o] = x·wᵀ + b (NULL: none) and its derivatives. Work: forward and grad_x: n; grad_w: o. */
struct linear {
    size_t n, in, out;
    bool onto; /* adds to what the result holds */
    const float *x, *w, *b, *dy;
    float *result;
};

/* Sums over the rows of dy [n][out], `step` apart. Work: SUM_COLUMNS columns. */
#define SUM_COLUMNS 64
struct sum_rows {
    size_t n, out, step;
    const float *dy;
    float *result;
};

/* Images [n][channels][height][width] into patches of size×size pixels, or back. Work: rows of
 * patches. */
struct patches {
    size_t channels, height, width, size;
    bool channels_last, back;
    const float *from;
    float *to;
};

/* to[to_step] = `before` (NULL: zeros), `size` numbers of from[from_step], zeros; again and again.
 * Work: times. */
struct place_rows {
    size_t size, from_at, from_step, to_at, to_step;
    const float *before, *from;
    float *to;
};

/* y = x + b, sample by sample. Work: samples of `size` numbers. */
struct add_each {
    size_t size;
    const float *x, *b;
    float *y;
};

/* Between whole [n][tokens][parts][heads][size] and parts [n][heads][tokens][size]. Work: (sample,
 * token). */
struct heads {
    size_t tokens, parts, heads, size;
    bool merge; /* parts → whole */
    float *whole, *part[3];
};

/* Work: rows of `columns`. */
struct layer_norm {
    size_t columns;
    double eps;
    const float *x, *gamma, *beta;
    float *y, *mean, *var; /* mean, var: a number a row */
};

/* partial[chunk][2][columns] = Σ dy·x̂, Σ dy over so many rows. Work: chunks. */
#define LAYER_NORM_ROWS 32
struct layer_norm_grad {
    size_t rows, columns;
    double eps;
    const float *dy, *x, *gamma, *mean, *var;
    float *dx, *partial;
};

/* Ry of a layer norm. Work: rows of `columns`. */
struct layer_norm_tangent {
    size_t columns;
    double eps;
    const float *x, *rx, *gamma, *rgamma, *rbeta, *mean, *var;
    float *y;
};

/* partial[chunk][2][columns] = Rdgamma, Rdbeta over LAYER_NORM_ROWS rows. Work: chunks. */
struct layer_norm_grad_tangent {
    size_t rows, columns;
    double eps;
    const float *dy, *rdy, *x, *rx, *gamma, *rgamma, *mean, *var;
    float *dx, *partial;
};

/* Work: rows of `columns`. In the derivative x is the forward pass's result, and y dx; in that
 * one's tangent along x, rx is how x changes. */
struct softmax {
    size_t columns;
    const float *x, *dy, *rx;
    float *y;
};

/* Squares of x in double, one number a row of `columns`. Work: rows. */
struct row_squares {
    const float *x;
    size_t columns;
    double *sum;
};

#define STEP_TERMS_MAX 10

/* Σ weight·gradient. */
struct mix {
    int n_terms;
    const float *gradient[STEP_TERMS_MAX];
    float weight[STEP_TERMS_MAX];
};

/* F ← beta·F + Σ mix², one number a row of `columns`. Work: rows. */
struct feed_fisher {
    struct mix mix;
    size_t columns;
    double beta;
    float *fisher;
};

/* Normal numbers for elements 4·first_block + i. Work: i; begin is a multiple of 4. */
struct random_normal {
    uint64_t seed, step, first_block;
    uint32_t stream;
    float *out;
};

/* to = w + z·scale, z from Philox; scale by row or by element. Work: elements. */
struct add_noise {
    const float *w;
    float *to;
    size_t columns; /* elements that share one scale */
    const float *scale;
    uint64_t seed, step;
    uint32_t stream;
};

/* to = w + factor·d. Work: elements. */
struct add_scaled {
    const float *w, *d;
    float *to;
    float factor;
};

/* to = w + factor·T²·d, T = |w| + eta. Work: elements. */
struct add_adaptive {
    const float *w, *d;
    float *to;
    float eta, factor;
};

/* Squares of (|w| + eta)·d in double, as row_squares has them, of `size` elements in rows of
 * `columns`, the last of which may be shorter. Work: rows. */
struct adaptive_squares {
    const float *w, *d;
    size_t size, columns;
    float eta;
    double *sum;
};

/* Squares of a mix in double, one number a row of `columns`, the last of which may be shorter, of
 * `size` elements. Work: rows. */
struct mix_squares {
    struct mix mix;
    size_t size, columns;
    double *sum;
};

/* d = mix + decay·w; m ← momentum·m + d; w ← w − lr·m, nesterov: w − lr·(d + momentum·m). Work:
 * elements. */
struct sgd_step {
    struct mix mix;
    float *w, *m;
    float lr, momentum, decay;
    bool nesterov;
};

/* w ← kept·w; d = mix + decay·w; m ← beta1·m + (1 − beta1)·d; v ← beta2·v + (1 − beta2)·d²;
 * w ← w − rate·m/(√v·scale + eps). Work: elements. */
struct adam_step {
    struct mix mix;
    float *w, *m, *v;
    float kept, decay, beta1, rest1, beta2, rest2, rate, scale, eps;
};

/* [begin, end) of the work that `arguments` (one of the structs above) describes. */
typedef void kernel(const void *arguments, size_t begin, size_t end);

/* All kernels, for the table and for their declarations. */
/* clang-format off */
#define KERNEL_LIST(do) \
    do(norm_statistics) do(norm_coefficients) do(norm_apply) do(norm_grad_sums) \
    do(norm_grad_coefficients) do(norm_grad_apply) do(norm_pool) do(norm_pool_sums) \
    do(affine_sum) do(norm_scales) do(norm_eval_grad) do(norm_eval_sums) do(norm_tangent) \
    do(norm_tangent_terms) do(max_pool_tangent) do(layer_norm_tangent) \
    do(layer_norm_grad_tangent) do(gelu_curve) do(softmax_curve) \
    do(norm_pool_grad) do(relu) do(relu_grad) do(add) \
    do(to_blocked) do(to_dense) do(pool) do(pool_grad) do(channel_bias) do(channel_sums) \
    do(pixel_rows) do(taps_inside) do(max_pool) do(max_pool_grad) do(dropout) do(dropout_blocked) do(weights_pack) do(weights_unpack) \
    do(winograd_weights) do(winograd_conv) do(winograd_grad_w) do(winograd_grad_w_sum) \
    do(direct_border) do(direct_conv) do(direct_grad_w) do(linear) do(linear_grad_x) \
    do(linear_grad_w) do(sum_rows) do(row_squares) do(feed_fisher) do(random_normal) \
    do(patches) do(place) do(add_each) do(heads) do(layer_norm) do(layer_norm_grad) do(gelu) \
    do(gelu_grad) do(softmax) do(softmax_grad) do(add_noise) do(add_scaled) \
    do(adaptive_squares) do(add_adaptive) do(mix_squares) do(sgd_step) do(adam_step)
/* clang-format on */

#define KERNEL_MEMBER(name) kernel *name;

struct kernels {
    const char *isa;
    size_t lanes;
    bool blocked; /* whether oneDNN has convolutions for blocks of `lanes` channels here */
    KERNEL_LIST(KERNEL_MEMBER)
};

#endif
