/* The inside of a probe, shared by the files of this folder.
 *
 * What a probe measures follows from its job, itself, the checkpoint and the numbers of its draws
 * alone: a part that was told before, as rows, is not measured again, and whatever else is needed
 * is computed once more, to the same bits. Results that stand for several rows (means, densities)
 * are made from the rows.
 *
 * Functions return 0, an error, or PROBE_STOPPED (above 0), which is handed up like an error.
 */
#ifndef ENGINE_PROBE_STATE_H
#define ENGINE_PROBE_STATE_H

#include "backend/backend.h"
#include "data/dataset.h"
#include "engine/probe.h"
#include "job/resolve.h"
#include "model/model.h"
#include "probe/lanczos.h"
#include "probe/rows.h"
#include "probe/vectors.h"

#define PROBE_STOPPED 1

/* What a pass over the samples costs, in forward passes: for progress only. */
#define COST_FORWARD  1
#define COST_GRADIENT 3
#define COST_PRODUCT  7

#define SET_SIZES_MAX 2 /* a full batch and the last one */

struct size_programs {
    int n;
    int64_t samples[SET_SIZES_MAX];
    struct program *program[SET_SIZES_MAX];
};

/* The samples that a loss is the mean over, in batches, and the programs that compute it. */
struct probe_set {
    enum split split;
    bool batch_statistics;
    double label_smoothing;
    int64_t n, batch_size, batches;
    bool read;       /* pixels and labels are there: from the first batch on */
    uint8_t *pixels; /* [n,H,W,C], as a model sees them */
    int32_t *labels; /* [n] */
    void *images;    /* [batch_size,C,H,W] of the backend's real type: the batch under way */
    struct size_programs forward, slope; /* opened when they are first needed */
};

struct probe_loss {
    double loss;       /* mean */
    double top1, top5; /* shares */
};

struct curvature;

struct engine_probe_run {
    struct engine_job job;
    struct engine_probe probe; /* resolved */
    struct engine_probe_sink sink;
    int threads;
    struct probe_rows *rows;

    struct dataset *dataset;
    struct graph *graph; /* names, shapes and places of what is measured */
    struct layout *params, *states_layout;

    struct job_place place;            /* where the job runs */
    const struct backend_class *class; /* place's */
    struct backend *backend;
    struct vector *weights, *states;            /* the checkpoint's; never written again */
    struct vector *fisher;                      /* NULL but for adaptive noise */
    struct vector *moved, *moved_states;        /* weights of a point */
    struct vector *slope, *direction, *product; /* results and directions of passes */
    double *w, *s;                              /* the checkpoint's, in host memory */
    double *other_w, *other_s;                  /* the other end's; NULL: none */
    float *given[2];                            /* given vectors; NULL: none */
    double *sum;                                /* [params->size], for means over batches */
    void *room;       /* as many of the backend's reals as the larger of the two layouts has */
    double *gradient; /* of the mean loss, once it is known */

    struct probe_set set;
    struct curvature *curvature; /* opened when it is first needed */
    bool short_of_memory;        /* for tests: curvature keeps nothing from product to product */

    double summary[PROBE_COLUMNS_MAX];
    const atomic_int *request;
    double cost, total_cost; /* done, and of all */
};

/* open.c: host and device, rounded to the backend's type. */
int probe_write(struct engine_probe_run *run, struct vector *to, const double *from, size_t n,
                struct err *err);
int probe_write_f32(struct engine_probe_run *run, struct vector *to, const float *from,
                    struct err *err);
int probe_read(struct engine_probe_run *run, const struct vector *from, double *to,
               struct err *err);

/* tell.c */
int probe_tell(struct engine_probe_run *run, int table, int64_t number, const double *values,
               struct err *err);
/* Starts the summary anew, of n columns that are unknown; tells it as it is. */
int probe_tell_summary(struct engine_probe_run *run, struct err *err);
int probe_progress(struct engine_probe_run *run, double cost, struct err *err);
void probe_message(struct engine_probe_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* PROBE_STOPPED when somebody asked for it. */
int probe_continue(const struct engine_probe_run *run);
int probe_go_on(const void *run); /* the same, as a lanczos' or a density's go_on */

/* samples.c: for the probe's samples, or those of another split, from the same seed. */
int probe_set_open(struct engine_probe_run *run, struct probe_set *set, enum split split,
                   bool batch_statistics, struct err *err);
void probe_set_close(struct engine_probe_run *run, struct probe_set *set);
struct model_input probe_set_input(const struct engine_probe_run *run, const struct probe_set *set,
                                   int64_t batch);
int64_t probe_set_size(const struct probe_set *set, int64_t batch); /* samples in batch number … */
/* Makes a batch's images; the pointers are a pass's inputs, valid until the next call. The first
 * call reads all samples. */
int probe_set_load(struct engine_probe_run *run, struct probe_set *set, int64_t batch,
                   const void *inputs[MODEL_INPUTS], struct err *err);

/* loss.c: means over a set, batch by batch. NULL for a perturbation: none. */
struct probe_point {
    const struct vector *weights;
    struct vector *states;
    const struct perturbation *perturbation;
};
int probe_loss_at(struct engine_probe_run *run, struct probe_set *set,
                  const struct probe_point *point, struct probe_loss *out, struct err *err);
/* At the checkpoint; also fills `gradient`[params->size]. */
int probe_gradient(struct engine_probe_run *run, struct probe_set *set, double *gradient,
                   struct probe_loss *out, struct err *err);
/* SAM's perturbation from the checkpoint: w + rho·g/‖g‖, along run->gradient, which is known then,
 * or for each batch along its own. */
int probe_ascent_loss(struct engine_probe_run *run, struct probe_set *set, double rho,
                      struct probe_loss *out, struct err *err);

/* product.c: y = H·x at the checkpoint, H of the mean loss over the probe's samples, both
 * [params->size]. A lanczos_product whose context is the run. */
int probe_product(void *run, const float *x, double *y, struct err *err);
void curvature_close(struct engine_probe_run *run);

/* noise.c: random perturbations of the checkpoint. */
enum probe_noise { NOISE_PLAIN, NOISE_FILTERWISE, NOISE_ADAPTIVE };
/* The filter-wise noise of draw number … at sigma. */
struct perturbation probe_noise_perturbation(const struct engine_probe_run *run, bool adaptive,
                                             int64_t draw, double sigma);
/* *norm = ‖ε‖₂ of it. */
int probe_noise_norm(struct engine_probe_run *run, const struct perturbation *perturbation,
                     double *norm, struct err *err);

/* give.c: vectors to be taken away. Each of `vectors` is named and [params->size]. */
struct probe_vector {
    const char *name;
    const float *data;
};
int probe_give(struct engine_probe_run *run, const struct probe_vector *vectors, int n,
               struct err *err);

/* Mean and its standard error (NaN below two). */
struct probe_mean {
    double mean, standard_error;
};
struct probe_mean probe_mean_of(const double *values, int64_t n);
double *probe_numbers(int64_t n); /* n zeros; NULL when out of memory; the caller frees them */

/* The kinds. */
int spectrum_measure(struct engine_probe_run *run, struct err *err);
int landscape_measure(struct engine_probe_run *run, struct err *err);
int radius_measure(struct engine_probe_run *run, struct err *err);
int sharpness_measure(struct engine_probe_run *run, struct err *err);

#endif
