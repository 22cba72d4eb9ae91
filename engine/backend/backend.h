/* What a backend does: compile a graph into a program, run passes, change the weights.
 *
 * A backend owns memory layout, fusion, workspaces, the memory plan and its threads; nobody else
 * sees them. An operation that it lacks is an error of `program_open`, never a silent fallback.
 * All functions of one `struct backend` are called from one thread at a time. The same calls give
 * the same bits.
 */
#ifndef ENGINE_BACKEND_BACKEND_H
#define ENGINE_BACKEND_BACKEND_H

#include "communicator/communicator.h"
#include "graph/graph.h"
#include "graph/layout.h"

enum real_type { REAL_F32, REAL_F64 };

/* What a backend of REAL_F32 that has a choice computes convolutions and products in. Weights,
 * statistics and what is given to the host are fp32 with each. */
enum compute {
    COMPUTE_F32,
    COMPUTE_TF32, /* operands rounded to 10 bits of fraction, sums in fp32 */
    COMPUTE_BF16  /* activations and operands in bfloat16, sums in fp32 */
};

struct backend;     /* an open device */
struct vector;      /* a flat array of reals in the device's memory */
struct program;     /* a compiled graph with its activations */
struct device_data; /* images and labels in the device's memory */

/* How the weights that a pass computes with follow from the master weights w. */
enum perturbation_kind {
    PERTURB_NONE,
    PERTURB_NOISE,     /* w + ε: filter i of a tensor ε = z·sigma·‖w_i‖/√(1 + eta·F_i);
                          1-D: ε_j = z·sigma·(‖w‖ + 1e-16)/√(1 + eta·F_j); z ~ N(0,1) from Philox
                          (random/philox.h), keyed by seed, update, term and tensor */
    PERTURB_DIRECTION, /* w + rho·d/(‖d‖₂ + 1e-12), one norm over all parameters: SAM's ascent */
    PERTURB_SCALED_DIRECTION /* w + rho·T²d/(‖T·d‖₂ + 1e-16), element by element T = |w| + eta for
                                tensors that are weights (graph/layout.h), else 1: ASAM's ascent */
};

/* Whether a perturbation of this kind needs a direction. */
#define perturb_needs_direction(kind)                                                              \
    ((kind) == PERTURB_DIRECTION || (kind) == PERTURB_SCALED_DIRECTION)

struct perturbation {
    enum perturbation_kind kind;
    double sigma, eta;           /* eta 0: the noise is not adapted */
    const struct vector *fisher; /* of layout->fisher_size; needed when eta ≠ 0 */
    uint64_t seed, update;
    uint32_t term;
    double rho;
    const struct vector *direction;
};

/* What a pass's dropout masks are drawn by (random/philox.h); no two passes of a run have the same.
 * `term` is the number of the pass's term in the method's recipe (method/recipe.h). Element e of
 * mask m, counted in row-major order, is kept if random_keeps says so of word e mod 4 of block
 * ⌊e/4⌋, drawn with the purpose RANDOM_DROPOUT, this term, tensor m and step `update`. */
struct pass_draws {
    uint64_t seed, update;
    uint32_t term;
};

/* Images with their labels for `data_open`, and how batches of them are made: chosen by an order,
 * flipped, cropped and cut out by the draws of data/augment.h, then normalised, to the same bits as
 * data/sample.c and normalise.c make them. */
struct data_samples {
    int64_t n, height, width, channels;
    int classes;
    const uint8_t *pixels; /* [n,height,width,channels], as `labels` in host memory */
    const int32_t *labels; /* [n], from 0 to classes − 1 */
    const float *levels;   /* [channels,256]: what each byte of a channel becomes */
    bool ordered;          /* batches follow the orders of `data_order`; else that of `pixels` */
    /* How images are varied, as in struct job_augment; all 0: they are not. */
    uint64_t seed;
    bool flip;
    int crop_padding, cutout;
    double cutout_probability;
};

/* Batches of data in device memory that one update may have. */
enum { DATA_BATCHES_MAX = 2 };

/* The samples of a pass: as many as its program takes, from place first + begin of the order on.
 * `first` and `pass` may change from update to update; the rest is the same whenever the program
 * runs at that place of an update, as the pass's vectors are. */
struct data_batch {
    const struct device_data *data; /* NULL: there is none */
    int number;                     /* of the batch in its update, below DATA_BATCHES_MAX */
    int64_t begin;                  /* where a pass that takes a part of the batch begins in it */
    int64_t first;                  /* where in the order the batch begins */
    uint64_t pass;                  /* over the data, from 0 */
};

/* One forward pass and, where the graph has them, the gradients of its parameters and the tangents
 * of those gradients. The tangents along a direction d are the product of the loss's Hessian and d,
 * at the weights that the pass computes with. */
struct pass {
    struct program *program;
    const struct vector *weights; /* master, read-only */
    struct perturbation perturbation;
    struct pass_draws draws;
    struct vector *states;      /* running statistics: read by evaluation, moved when asked to */
    bool move_statistics;       /* running ← (1 − m)·running + m·batch, variance unbiased */
    double statistics_momentum; /* m: 0.1 in PyTorch */
    /* Either `inputs`, one for each graph input: dense host memory of the backend's real type, or
     * of int32_t for VALUE_INDEX. Or `batch`, for graphs that take images [N,C,H,W] and labels [N].
     */
    const void *const *inputs;
    struct data_batch batch;
    void *const *outputs;    /* one for each graph output: host memory, the backend's real type */
    struct vector *gradient; /* layout of the weights; NULL: not wanted */
    /* Layout of the weights, gaps 0; both or neither. NULL: nothing that depends on a direction is
     * computed, and graph outputs that depend on it are not set. */
    const struct vector *direction;
    struct vector *product;
    /* The program's last pass had the same weights, perturbation, states and inputs, and the
     * program keeps its primal: only what depends on the direction is computed. `inputs` have to be
     * given all the same; outputs that depend on no direction are set again, but `gradient` (if
     * any) may be left as it is. ERR_INVALID when there was no such pass, or when it failed. */
    bool primal_kept;
};

struct gradient_term {
    const struct vector *gradient;
    double weight;       /* in the mix */
    double feeds_fisher; /* F ← beta·F + Σ h² (by filter, or by element for 1-D), where h is the sum
                            of the terms' gradients, weighed by this */
};

/* clang-format off */
/* How the weights follow from the gradient g = Σ weight·gₖ, as PyTorch's optimizers have it:
 *
 *   SGD      d = g + weight_decay·w
 *            m ← momentum·m + d
 *            w ← w − lr·m, or with nesterov w − lr·(d + momentum·m)
 *
 *   Adam     d = g + weight_decay·w
 *            m ← beta1·m + (1 − beta1)·d
 *            v ← beta2·v + (1 − beta2)·d²
 *            w ← w − lr/(1 − beta1ᵗ) · m/(√v/√(1 − beta2ᵗ) + eps)
 *
 *   AdamW    w ← w − lr·weight_decay·w, then as Adam with d = g
 */
/* clang-format on */
enum step_rule { STEP_SGD, STEP_ADAM, STEP_ADAMW };

/* One change of the weights. Before all else, where clip_norm > 0, g is scaled by
 * min(1, clip_norm/(‖g‖₂ + 1e-6)), one norm over all parameters (clip_grad_norm_).
 * `fisher` may be NULL when no term feeds it, `squares` for SGD. Gaps of the layout stay zero. */
struct step {
    enum step_rule rule;
    const struct layout *layout;
    struct vector *weights;
    struct vector *momentum_vector; /* m */
    struct vector *squares;         /* v */
    struct vector *fisher;
    const struct gradient_term *terms;
    int n_terms;
    uint64_t number; /* t: of this change among those of the run, from 1; for Adam */
    bool nesterov;
    double lr, momentum, weight_decay, clip_norm;
    double beta1, beta2, eps;
    double beta; /* of the Fisher accumulator */
};

static inline bool step_has_squares(enum step_rule rule)
{
    return rule != STEP_SGD;
}

static inline bool step_feeds_fisher(const struct step *step)
{
    for (int k = 0; k < step->n_terms; k++)
        if (step->terms[k].feeds_fisher != 0)
            return true;
    return false;
}

/* The factor that clipping multiplies a gradient of this norm with. */
static inline double step_clip_factor(double clip_norm, double norm)
{
    double factor = clip_norm / (norm + 1e-6);

    return factor > 1 ? 1 : factor; /* NaN stays NaN */
}

/* A whole change of the weights: passes wave by wave, then the step that follows from all of them.
 * The passes of one wave do not depend on each other, and each has a program of its own, which may
 * serve again in another wave. Each pass has its own vector for its gradient. */
struct update {
    const struct pass *passes; /* without directions and products */
    const int *wave;           /* of each pass, from 0 on, in ascending order */
    int n_passes;
    /* What the ranks of a run exchange after their passes of a wave, in the order of waves. A rank
     * may have no passes in a wave. */
    struct communicator *communicator;
    int rank;
    const struct exchange *exchanges;
    int n_exchanges;
    const struct step *step;
    /* Sigma of the next update, whose noise is drawn for `perturbation.update` + 1. With these a
     * backend may make the weights for that update's first passes together with this change; it
     * makes them again if another update comes. */
    double next_sigma;
};

/* The passes of a wave: from `first`, where it begins, to before the value. */
static inline int update_wave_end(const struct update *update, int first)
{
    int end = first;

    while (end < update->n_passes && update->wave[end] == update->wave[first])
        end++;
    return end;
}

/* Makes the exchanges that come before the passes of `wave`, from number *next on. */
static inline int update_exchange(const struct update *update, int *next, int wave, struct err *err)
{
    int rc = 0;

    for (; *next < update->n_exchanges && update->exchanges[*next].wave < wave && !rc; ++*next)
        rc = update->communicator->class->exchange(update->communicator, update->rank,
                                                   &update->exchanges[*next], err);
    return rc;
}

struct program_options {
    bool exact; /* no Winograd or other algorithms of lower accuracy */
    /* How many programs with gradients the caller runs in one `execute`, so that a backend can
     * share its threads among them. 1 if in doubt. */
    int side_by_side;
    /* After a pass, all that its graph's tangents read stays, for passes with `primal_kept`. */
    bool keep_primal;
    /* A program of this class for the same model with another number of samples: algorithms, layout
     * and threads are chosen as they were for that one. NULL: as is best. */
    const struct program *like;
};

/* The seconds of a pass, forecast. */
struct pass_seconds {
    double forward, all; /* without and with gradients */
    bool beside;         /* two of them run side by side in that time */
};

struct pass_sample {
    const struct program *whole; /* the pass's program; its backend may be one that only counts */
    /* Makes its graph with another number of samples, which may be refused where they are few. */
    int (*graph)(const void *context, int64_t samples, struct graph **out, struct err *err);
    const void *context;
    double seconds; /* to spend on it, about */
};

struct backend_options {
    int threads; /* ≥ 1 */
    /* Memory is counted and not taken. Programs are compiled; `execute`, `step` and `materialise`
     * count what they would take and do nothing else; nothing can be read or written. */
    bool counts_only;
    /* For backends of GPUs; others have no such choice. */
    int device; /* number, as the driver counts */
    enum compute compute;
    bool deterministic; /* algorithms are chosen without timing them, so that the choice is the
                           same each time and wherever it is made on a GPU of this kind */
    const char *cache;  /* folder of what was found out about the device; NULL: none */
};

struct backend_class {
    const char *name; /* "cpu", "reference", "cuda" */
    enum real_type real;
    bool keeps_primal; /* passes with primal_kept cost less. Otherwise they compute the primal anew,
                          and nothing is gained by keeping a program for each batch */
    const struct communicator_class *communicator; /* among several backends; NULL: there is none */

    int (*open)(struct backend **out, const struct backend_options *options, struct err *err);
    void (*close)(struct backend *backend);

    /* n zeros. */
    int (*vector_open)(struct backend *backend, size_t n, struct vector **out, struct err *err);
    void (*vector_close)(struct vector *vector);
    /* Host memory of the backend's real type. Waits until it is done. */
    int (*vector_write)(struct vector *vector, size_t offset, size_t n, const void *from,
                        struct err *err);
    int (*vector_read)(const struct vector *vector, size_t offset, size_t n, void *to,
                       struct err *err);
    /* Its elements; NULL in the place of the function: they are not in the host's memory. */
    void *(*vector_data)(struct vector *vector);

    /* The program keeps what it needs of `graph`; `params` and `states` are the layouts of the
     * vectors that its passes are given, and outlive it. */
    int (*program_open)(struct backend *backend, const struct graph *graph,
                        const struct layout *params, const struct layout *states,
                        const struct program_options *options, struct program **out,
                        struct err *err);
    void (*program_close)(struct program *program);

    /* Runs passes that do not depend on each other, side by side or one after the other, whichever
     * is faster here; each has a program of its own. Host outputs are set when it returns. */
    int (*execute)(struct backend *backend, const struct pass *passes, int n, struct err *err);

    int (*step)(struct backend *backend, const struct step *step, struct err *err);

    /* Gives the same bits as `execute` of each wave and then `step`. It may return before that is
     * done: the caller leaves `inputs` as they are until the next update has been begun or this one
     * is settled, and outputs belong to the backend until `settle` has set them. All other
     * functions take effect after the updates that were begun before them. What goes wrong on the
     * device may be reported by any later call. */
    int (*update)(struct backend *backend, const struct update *update, struct err *err);
    /* Waits until no more than `in_flight` updates are unfinished: *left, the latest ones. Outputs
     * of all others are set. */
    int (*settle)(struct backend *backend, int in_flight, int *left, struct err *err);

    /* Writes the weights that a pass with this perturbation computes with to `to`, of layout->size.
     */
    int (*materialise)(struct backend *backend, const struct layout *layout,
                       const struct vector *weights, const struct perturbation *perturbation,
                       struct vector *to, struct err *err);

    /* Samples in the device's memory, which is counted. All three functions are NULL where nothing
     * would be gained by that. ERR_INVALID when a label is none of the classes. A backend that only
     * counts reads no samples.
     * A pass may take its batch from data that is open, and needs the order of its own pass over
     * the data (order[n]: numbers of samples; read before data_order returns). Two orders are kept,
     * one of an even and one of an odd pass: a new one replaces the order of two passes before, as
     * soon as the device has done what it was given until then. */
    int (*data_open)(struct backend *backend, const struct data_samples *samples,
                     struct device_data **out, struct err *err);
    void (*data_close)(struct device_data *data);
    int (*data_order)(struct device_data *data, uint64_t pass, const int64_t *order,
                      struct err *err);

    /* Bytes of the device's memory that are free. NULL: that cannot be known. */
    int (*memory_left)(struct backend *backend, size_t *out, struct err *err);

    /* Host memory from which `inputs` are copied to the device while the host goes on. NULL, both:
     * any memory will do. */
    int (*host_open)(struct backend *backend, size_t bytes, void **out, struct err *err);
    void (*host_close)(struct backend *backend, void *memory);

    /* Forecasts a pass by timing its operations, on a part of its samples where it is large, with
     * the memory and the threads of `backend`. May be NULL: this device cannot say. */
    int (*time_pass)(struct backend *backend, const struct pass_sample *sample,
                     struct pass_seconds *out, struct err *err);
};

/* Every backend's `struct vector` begins with the number of its elements. */
static inline size_t vector_elements(const struct vector *vector)
{
    return *(const size_t *)(const void *)vector;
}

/* Every backend begins with this. It counts the bytes of the device's memory that the backend, its
 * vectors and its programs hold; what describes a program (commands, code) is not counted. */
struct backend {
    const struct backend_class *class;
    bool counts_only;
    size_t held, peak;
};

static inline void backend_take(struct backend *backend, size_t bytes)
{
    backend->held += bytes;
    if (backend->held > backend->peak)
        backend->peak = backend->held;
}

static inline void backend_give(struct backend *backend, size_t bytes)
{
    backend->held -= bytes;
}

extern const struct backend_class backend_cpu;       /* fp32, oneDNN */
extern const struct backend_class backend_reference; /* float64, plain loops */

/* backend_cpu, or NULL in a build without it. */
const struct backend_class *backend_of_cpu(void);

/* update.c: for backends whose functions return when everything is done. */
int update_at_once(struct backend *backend, const struct update *update, struct err *err);
int settle_at_once(struct backend *backend, int in_flight, int *left, struct err *err);

static inline size_t real_bytes(enum real_type type)
{
    return type == REAL_F32 ? sizeof(float) : sizeof(double);
}

#endif
