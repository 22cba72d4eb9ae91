/* What happens to the weights: perturbing, casting, changing. See kernels.h for what holds for all
 * launches here.
 *
 * Master weights, moments and Fisher sums are float, in the order of graph/layout.h. Passes compute
 * with *casts* of them, in the order and type that cuDNN and cuBLASLt like, and gradients come back
 * in forms of their own: `struct weight_form` describes both. A table of forms whose every form is
 * plain floats at `offset` describes vectors in the layout's own order, so that one set of kernels
 * serves `backend.materialise` and gradients in the engine's order too.
 *
 * What changes from update to update stands in device memory (`struct turn`), so that a captured
 * update needs no changes of its graph: the host writes the turns of some updates ahead to a ring,
 * and `launch_advance` takes the next one. */
#ifndef ENGINE_BACKEND_CUDA_UPDATE_H
#define ENGINE_BACKEND_CUDA_UPDATE_H

#include "backend/cuda/kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UPDATE_TERMS_MAX   10
#define UPDATE_BATCHES_MAX 2

/* ---- clock.cu ----------------------------------------------------------------------------- */

/* One update. All rates are computed in double by the host and rounded once. */
struct turn {
    uint64_t update; /* from 0: what noise and dropout are drawn for */
    float lr, sigma;
    float kept;  /* AdamW: 1 − lr·weight_decay; else 1 */
    float rate;  /* Adam: lr/(1 − beta1ᵗ), t = update + 1 */
    float scale; /* Adam: 1/√(1 − beta2ᵗ) */
    float unused;
    struct {
        int64_t first; /* place of its first sample in the order (batch.h) */
        uint64_t pass; /* over the data, from 0 */
    } batch[UPDATE_BATCHES_MAX];
};

/* What the host writes of an update before it gives it to the device. Of `next`, the update after
 * it, there is what noise is drawn with. */
struct turn_row {
    struct turn now, next;
};

/* Device memory. The host writes `advanced`: the number of the first update. */
struct turn_clock {
    struct turn now, next;
    int64_t index;    /* of the update under way */
    int64_t advanced; /* of the one that the next advance begins */
};

/* The beginning of update `advanced`: its turns are those of row `advanced` mod `rows` of a ring in
 * host memory, which the device reads where it is. The host writes a row again when the update that
 * it was for is done. */
int launch_advance(struct CUstream_st *stream, const struct turn_row *table, int64_t rows,
                   struct turn_clock *clock);

#define RECORD_VALUES_MAX 32

/* Keeps scalars (losses, counts) of the update under way in its row of a ring in host memory, at
 * `first`: ring[(clock->index mod rows)·row_values + first + i] = *value[i]. */
struct record {
    const struct turn_clock *clock;
    int first, n;
    const float *value[RECORD_VALUES_MAX];
    float *ring;
    int64_t rows, row_values;
};
int launch_record(struct CUstream_st *stream, const struct record *r);

/* ---- the table of weights ----------------------------------------------------------------- */

/* Where and how the elements of a tensor lie. In the layout a filter is channels × taps numbers
 * (PyTorch's K,C,R,S: taps = R·S); here it is taps × pitch, pitch ≥ channels: K,R,S,C. Plain rows
 * are taps = 1. Numbers beyond the channels are zero in casts and not looked at in gradients. */
struct weight_form {
    enum element type;
    int32_t taps, channels, pitch; /* taps·channels = filter_size */
    int64_t at;                    /* bytes from the base; a multiple of 16 */
};

struct weight_tensor {
    int64_t offset, size, filters, filter_size; /* as struct layout_tensor */
    int64_t fisher_offset;
    int32_t number;      /* of the parameter: noise is drawn for it */
    int32_t elementwise; /* 1-D: one norm for the tensor, Fisher by element */
    int32_t scaled;      /* `weight` of struct layout_tensor: what ASAM scales */
    int32_t unused;
    struct weight_form cast, gradient;
};

struct weight_row {
    int32_t tensor, filter;
};

/* Filters of up to so many elements are handled in shared memory; longer ones (position embeddings,
 * classifiers) pass through device memory twice. */
#define WEIGHT_ROW_MAX 8192

/* A description in host memory of arrays in device memory. Rows are all filters of all tensors,
 * those of up to WEIGHT_ROW_MAX elements first. */
struct weight_table {
    const struct weight_tensor *tensor;
    const struct weight_row *row;
    int32_t n_short, n_long; /* rows */
    int32_t longest_short;   /* elements of the longest of the short ones */
};

/* Fills `rows` (host memory, room for the sum of all `filters`) and the numbers of `table` from
 * tensors in host memory; pointers stay. Returns the number of rows. */
int64_t weight_rows_fill(const struct weight_tensor *tensors, int n, struct weight_row *rows,
                         struct weight_table *table);

/* ---- weights.cu --------------------------------------------------------------------------- */

enum weight_change {
    WEIGHTS_CLEAN,            /* w */
    WEIGHTS_NOISE,            /* PERTURB_NOISE of backend.h */
    WEIGHTS_DIRECTION,        /* w + factor·d */
    WEIGHTS_SCALED_DIRECTION, /* w + factor·T²·d */
};

struct materialise_weights {
    const struct weight_table *table; /* `cast` says what is written, `gradient` what d is */
    const float *weights;
    enum weight_change change;
    /* noise */
    const struct turn *turn; /* update, sigma */
    uint64_t seed;
    uint32_t term;
    float eta;           /* also ASAM's */
    const float *fisher; /* NULL: not adapted */
    /* directions */
    const void *direction;
    const float *factor; /* launch_weight_norm's */
    void *to;            /* the casts' base. Gaps between casts are not written */
};
int launch_materialise(struct CUstream_st *stream, const struct materialise_weights *m);

/* Σₖ weight[k]·gradient[k], all in the table's gradient forms. */
struct gradient_mix {
    int n;
    const void *gradient[UPDATE_TERMS_MAX];
    float weight[UPDATE_TERMS_MAX];
};

enum norm_kind {
    NORM_DIRECTION,        /* factor = size/(‖d‖ + 1e-12): SAM */
    NORM_SCALED_DIRECTION, /* factor = size/(‖T·d‖ + 1e-16): ASAM */
    NORM_CLIP              /* factor = min(1, size/(‖d‖ + 1e-6)); NaN stays NaN */
};

/* One norm over all parameters of d = mix. */
struct weight_norm {
    const struct weight_table *table;
    enum norm_kind kind;
    struct gradient_mix mix;
    double size;          /* rho or clip_norm */
    const float *weights; /* ASAM */
    float eta;            /* ASAM */
    float *factor;        /* out, device memory */
    float *norm;          /* out, device memory; NULL: not wanted */
    float *workspace;     /* n_short + n_long floats */
};
int launch_weight_norm(struct CUstream_st *stream, const struct weight_norm *w);

enum weight_rule { RULE_SGD, RULE_ADAM, RULE_ADAMW };

/* One change of the weights (struct step of backend.h) and, in the same pass over them, casts of
 * the new ones: with noise of the next update, and clean. */
struct weight_step {
    const struct weight_table *table;
    enum weight_rule rule;
    bool nesterov;
    float momentum, weight_decay;          /* AdamW: the turn's `kept` has the decay */
    float beta1, rest1, beta2, rest2, eps; /* Adam; rest = 1 − beta */
    const struct turn *turn;               /* lr, kept, rate, scale */
    float *weights, *m, *v;                /* v: Adam */
    struct gradient_mix mix;
    const float *clip; /* factor of NORM_CLIP, device memory; NULL: not clipped */
    /* Fisher: F ← beta·F + Σ(Σₖ feeds[k]·gradient[k])²; NULL: none is fed. The noise below is
     * adapted by it if eta ≠ 0 */
    float *fisher;
    float feeds[UPDATE_TERMS_MAX];
    float beta;
    /* casts */
    void *clean;                  /* base; NULL: not wanted */
    void *noisy;                  /* base; NULL: not wanted */
    const struct turn *next;      /* of the noise: update, sigma */
    const float *adapting_fisher; /* NULL: the noise is not adapted; else `fisher`, or one that is
                                     not fed */
    uint64_t seed;
    uint32_t term;
    float eta;
};
int launch_weight_step(struct CUstream_st *stream, const struct weight_step *s);

/* A gradient from its forms to floats in the layout's order. Gaps are not written. */
int launch_gradient_unpack(struct CUstream_st *stream, const struct weight_table *table,
                           const void *gradient, float *to);

#ifdef __cplusplus
}
#endif

#endif
