/* A training job, as data: what to train, on what, how.
 *
 * The table that `engine_job_spec` returns describes each member (name, range, default, what it
 * means); whoever fills the struct from outside does it through that table, so that its values
 * are within their ranges. `engine_job_check` then says which combinations make no sense.
 */
#ifndef ENGINE_JOB_H
#define ENGINE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/device.h"
#include "base/problems.h"
#include "base/spec.h"

struct engine_job;
struct err;
struct tensor;

enum model_kind {
    MODEL_RESNET,
    MODEL_RESNET18,
    MODEL_RESNET34,
    MODEL_RESNET50,
    MODEL_RESNET101,
    MODEL_PRERESNET,
    MODEL_PRERESNET164,
    MODEL_VGG16_BN,
    MODEL_VGG19_BN,
    MODEL_WRN,
    MODEL_WRN16_8,
    MODEL_WRN28_10,
    MODEL_WRN22_8,
    MODEL_WRN34_10,
    MODEL_VIT,
    MODEL_VIT_S32,
    MODEL_VIT_S16,
    MODEL_VIT_B16,
    MODEL_KINDS
};
enum model_stem { STEM_AUTO, STEM_CIFAR, STEM_IMAGENET };

struct job_model {
    int kind;                    /* enum model_kind */
    int64_t width;               /* channels of the first stage, which each further one doubles;
                                    vit: features of a token */
    struct spec_int_list blocks; /* residual blocks a stage */
    int stem;                    /* resnets: enum model_stem */
    int64_t depth;               /* preresnet, wrn: layers with weights; vit: blocks */
    int64_t widen;               /* wrn: times 16 channels in the first group */
    double dropout;              /* vgg, wrn, vit: rate */
    double embedding_dropout;    /* vit: rate, after the embedding */
    int64_t patch;               /* vit: pixels of a patch's side */
    int64_t heads;               /* vit: attention heads, each of width/heads features */
    int64_t mlp;                 /* vit: hidden features of a block's linear layers */
};

enum dataset_kind {
    DATASET_DIGITS,
    DATASET_IDX,
    DATASET_CIFAR10,
    DATASET_CIFAR100,
    DATASET_IMAGE_FOLDER
};

enum augment_crop { CROP_CENTER, CROP_RANDOM, CROP_RANDOM_RESIZED };

#define JOB_RANDAUGMENT_MAX 30 /* the largest magnitude */

/* How training images are varied, in this order; all zero: not at all. Members that a kind of
 * dataset lacks are 0. */
struct job_augment {
    int crop;             /* enum augment_crop, of folders of images */
    double crop_area_min; /* random_resized: least share of the image's area */
    bool flip;            /* left to right, with probability 1/2 */
    int64_t crop_padding; /* black pixels around, before a random crop of the image's size */
    int64_t randaugment;  /* operations an image */
    int64_t randaugment_magnitude; /* 0 … JOB_RANDAUGMENT_MAX */
    int64_t cutout;                /* side of the square, after normalisation; 0: none */
    double cutout_probability;
};

#define JOB_PATH_MAX 1023

struct job_dataset {
    int kind; /* enum dataset_kind */
    char path[JOB_PATH_MAX + 1];
    int64_t size;   /* folders of images: side of the images that the model sees */
    int64_t resize; /* shorter side to which they are scaled before a crop of `size` */
    struct job_augment augment;
    int64_t train_limit; /* number of training samples, drawn by the seed; 0: all there are */
    double label_noise;  /* share of the training labels that are made wrong, seeded */
};

enum method_kind {
    METHOD_SGD,
    METHOD_SAM,
    METHOD_RWP,
    METHOD_ARWP,
    METHOD_M_RWP,
    METHOD_M_ARWP,
    METHOD_ASAM,
    METHOD_KINDS
};

/* Which passes move batch norm's running statistics. */
enum statistics { STATISTICS_CLEAN, STATISTICS_PERTURBED, STATISTICS_BOTH };

#define JOB_SAMPLES_MAX 8

struct job_method {
    int kind;        /* enum method_kind */
    double rho;      /* SAM, ASAM: radius */
    double sigma;    /* strength of the noise */
    double ramp;     /* sigma grows along a cosine from sigma to (1 + ramp)·sigma */
    double lambda;   /* weight of the perturbed gradient in the mix */
    double eta;      /* strength of the adaptation, ASAM: added to |w|; 0 for the methods without */
    double beta;     /* memory of the Fisher accumulator */
    int64_t samples; /* parts of the perturbed batch, each with noise of its own; 0: no noise */
    int statistics;  /* enum statistics */
};

enum optimizer_kind { OPTIMIZER_SGD, OPTIMIZER_ADAM, OPTIMIZER_ADAMW, OPTIMIZER_KINDS };

struct job_optimizer {
    int kind; /* enum optimizer_kind */
    double lr;
    double momentum;          /* SGD */
    bool nesterov;            /* SGD */
    double beta1, beta2, eps; /* Adam and AdamW */
    double weight_decay;
    double clip_norm; /* largest norm that the mixed gradient may have; 0: no limit */
};

enum schedule_kind { SCHEDULE_COSINE, SCHEDULE_STEP, SCHEDULE_CONSTANT, SCHEDULE_KINDS };
enum schedule_step { SCHEDULE_PER_UPDATE, SCHEDULE_PER_EPOCH };

struct job_schedule {
    int kind;             /* enum schedule_kind */
    int step;             /* cosine: enum schedule_step; PER_EPOCH: once a pass over the data */
    int64_t every_epochs; /* step: epochs between two drops */
    double gamma;         /* step: factor of a drop */
    int64_t warmup_updates, warmup_epochs; /* at most one is above 0 */
};

struct job_batch_norm {
    double momentum; /* running ← (1 − momentum)·running + momentum·batch */
};

struct job_checkpoint {
    int64_t every_epochs;  /* 0: not by epochs */
    int64_t every_seconds; /* 0: not by time */
    int64_t keep;          /* how many of the newest stay; the last of a finished job always does */
};

struct job_evaluate {
    int64_t every_epochs; /* on the whole test set; after the last epoch in any case */
};

/* Where the weights and running statistics begin; all 0: drawn from the seed. */
struct job_init_from {
    int64_t job, update; /* a checkpoint; update 0: the newest at the job's submission */
    int64_t upload;
};

struct job_telemetry {
    int64_t every_updates; /* 0: never */
};

/* DEVICE_CUDA + 1 + n is GPU number n. */
enum device_kind { DEVICE_AUTO, DEVICE_CPU, DEVICE_REFERENCE, DEVICE_CUDA };
enum precision { PRECISION_AUTO, PRECISION_FP32, PRECISION_FP64, PRECISION_TF32, PRECISION_BF16 };

/* ---- Probes: measurements of the loss surface at a checkpoint (engine/probe.h) ---- */

enum probe_kind { PROBE_SPECTRUM, PROBE_LANDSCAPE, PROBE_RADIUS, PROBE_SHARPNESS, PROBE_KINDS };
enum probe_split { PROBE_TRAIN, PROBE_TEST };
enum probe_batch_norm { PROBE_BATCH_NORM_EVAL, PROBE_BATCH_NORM_TRAINING };
/* What defaults are taken from. */
enum probe_preset { PRESET_NONE, PRESET_NAMED /* spectrum: pyhessian; landscape: goldstein */ };
enum probe_start { START_RADEMACHER, START_NORMAL, START_GIVEN };
enum probe_trace { TRACE_HUTCHINSON, TRACE_HUTCHPP };
enum probe_layers { LAYERS_NONE, LAYERS_TRACE, LAYERS_SPECTRUM };
/* The gradient that a step up follows: of the mean loss over all samples of the probe, or, as in
 * training with SAM, for each batch of its own loss. */
enum probe_ascent { ASCENT_SAMPLES, ASCENT_BATCH };
enum probe_direction {
    DIRECTION_NONE, /* of a second axis: there is none */
    DIRECTION_RANDOM,
    DIRECTION_GRADIENT,
    DIRECTION_EIGENVECTOR,
    DIRECTION_GIVEN,
    DIRECTION_LINE, /* to the other checkpoint, which is 1 */
};
enum probe_normalise { NORMALISE_AUTO, NORMALISE_FILTER, NORMALISE_UNIT, NORMALISE_NONE };
enum probe_vectors_1d { VECTORS_1D_AUTO, VECTORS_1D_KEEP, VECTORS_1D_ZERO };

struct probe_axis {
    int direction;   /* enum probe_direction */
    int normalise;   /* enum probe_normalise */
    double from, to; /* in lengths of the direction */
    int64_t points;
};

/* Another set of weights; all 0: none. */
struct probe_other {
    int64_t job, update, upload; /* job 0: the probe's own; update 0: the newest */
};

#define JOB_PROBES_MAX     8
#define JOB_PROBE_RUNS_MAX 1000 /* how often the probes of a job's list may run, all together */

/* Members that a kind lacks are 0. The numbers of checkpoints and uploads mean nothing to the
 * engine: whoever opens the probe gives it what they stand for (struct engine_probe_start). */
struct engine_probe {
    int kind; /* enum probe_kind */

    /* all kinds */
    int64_t update; /* a probe that was asked for by itself: of its checkpoint; 0: the newest */
    int64_t every_epochs; /* a probe that is part of a job: how often; never 0 */
    int split;            /* enum probe_split */
    int64_t samples;      /* how many of them at most, drawn by the seed; 0: all */
    int64_t batch_size;   /* 0: the job's */
    int64_t seed;
    int batch_norm;    /* enum probe_batch_norm */
    bool save_vectors; /* spectrum, landscape: give the vectors at the end */
    int64_t upload;    /* spectrum, landscape: the given vectors; 0: none */
    int preset;        /* spectrum, landscape: enum probe_preset */

    /* spectrum; landscape has `steps` */
    int64_t runs, steps;
    int start; /* enum probe_start */
    int64_t top_k;
    int trace; /* enum probe_trace */
    int64_t trace_draws;
    int layers; /* enum probe_layers */
    int64_t bins;
    double variance; /* 0: as PyHessian, by the range */

    /* landscape */
    struct probe_axis x, y;
    int vectors_1d; /* enum probe_vectors_1d */
    struct probe_other other;

    /* radius, sharpness */
    bool plain, filterwise, adversarial; /* radius: what is measured */
    bool adaptive;                       /* radius: also; sharpness: whether the noise is */
    int64_t draws;
    double radius_min, radius_max;
    int64_t points;
    bool suggest;
    double suggest_share;
    double rho, sigma; /* sharpness */
    int ascent;        /* enum probe_ascent */
};

/* The list that a job has. */
struct job_probes {
    int n;
    struct engine_probe item[JOB_PROBES_MAX];
};

/* Descriptions of the kinds, for a SPEC_VARIANT whose struct is an engine_probe, in the order of
 * enum probe_kind: of a probe that is asked for by itself (with `update`), and of one that is part
 * of a job (with `every_epochs`). Static. */
const struct spec_object *engine_probe_kinds(int *n);
const struct spec_object *engine_job_probe_kinds(int *n);

/* Sets members that were left at 0 or auto to what the preset says. Idempotent; to be called before
 * a probe is shown to people. */
void engine_probe_resolve(struct engine_probe *probe);

/* Adds to *problems each combination of values that makes no sense for this job, with the pointer
 * of the member to blame within the probe ("/top_k"). Looks at no file. */
void engine_probe_check(const struct engine_job *job, const struct engine_probe *probe,
                        struct problems *problems);

/* What else a probe has to be given when it is opened. */
static inline bool engine_probe_needs_other(const struct engine_probe *probe)
{
    return probe->kind == PROBE_LANDSCAPE && probe->x.direction == DIRECTION_LINE;
}
bool engine_probe_needs_vectors(const struct engine_probe *probe);
bool engine_probe_needs_fisher(const struct engine_probe *probe);

/* ---- The job ---- */

#define JOB_NAME_MAX       200
#define JOB_WORLD_SIZE_MAX 8

struct engine_job {
    char name[JOB_NAME_MAX + 1];
    struct job_model model;
    struct job_dataset dataset;
    struct job_method method;
    struct job_optimizer optimizer;
    struct job_schedule schedule;
    int64_t epochs, updates; /* one is above 0 */
    int64_t batch_size;
    int64_t seed;       /* 0 … 2^53 − 1 */
    int device;         /* enum device_kind */
    int precision;      /* enum precision */
    bool deterministic; /* GPUs: algorithms are chosen without timing them */
    int64_t threads;    /* CPU threads; 0: the job's share of the cores */
    int64_t world_size; /* ranks that an update is spread over: GPUs from `device` on, or groups of
                           the CPU threads */
    int64_t priority;   /* higher runs first; the queue's, not the engine's */
    double label_smoothing;
    struct job_batch_norm batch_norm;
    struct job_checkpoint checkpoint;
    struct job_evaluate evaluate;
    struct job_telemetry telemetry;
    struct job_init_from init_from; /* whoever opens the run gives it the weights */
    /* When one of them is due, and after the last epoch in any case, a checkpoint is written.
     * Whoever opens the run runs the probes. */
    struct job_probes probes;
};

/* Whether probe `i` of the job's list is due when `update` updates are done: at the end of each
 * `every_epochs` epochs and of the run. The other numbers are those of engine_job_facts. */
bool engine_job_probe_due(const struct engine_job *job, int i, int64_t updates_per_epoch,
                          int64_t updates, uint64_t update);

/* The root description. Static. */
const struct spec_object *engine_job_spec(void);

/* A job of these kinds (enum model_kind, dataset_kind, method_kind) with every default; members
 * that its kinds lack are 0. */
void engine_job_defaults(struct engine_job *out, int model, int dataset, int method);

/* Adds to *problems each combination of values that makes no sense (model too deep for the images,
 * a dataset folder that cannot be read, a precision that the device lacks, …). Opens and checks the
 * dataset's files but trains nothing. */
void engine_job_check(const struct engine_job *job, struct problems *problems);

/* Adds each setting that says nothing because of another one, if it is set or, with `plain_too`,
 * whatever it is. For new jobs: stored ones have run with it. */
void engine_job_check_silent(const struct engine_job *job, bool plain_too,
                             struct problems *problems);

/* Adds, with the pointer "/init_from", each way in which these tensors do not fit the job's model:
 * a parameter or running statistic that is missing, has another shape, or is none of the model's.
 * Their data is not looked at; tensors of other roles and num_batches_tracked are ignored. Fails
 * when the model cannot be built. */
int engine_job_check_weights(const struct engine_job *job, const struct tensor *tensors, int n,
                             struct problems *problems, struct err *err);

/* The same, with the pointer "/upload", for vectors that a probe is given: each parameter's part
 * has to be there, in its shape, named as engine/probe.h says. */
int engine_probe_check_vectors(const struct engine_job *job, const struct engine_probe *probe,
                               const struct tensor *tensors, int n, struct problems *problems,
                               struct err *err);

/* Between these two calls a thread looks at the files of a dataset once, as long as one job after
 * the other has the same one: for checks of many jobs, and for a run while it is opened, which asks
 * for the same facts several times. Listing a folder of a million images takes seconds. What
 * changes in the folder meanwhile is not seen. */
void engine_look_begin(void);
void engine_look_end(void);

/* What follows from a job without running it. */
struct engine_job_facts {
    int64_t parameters; /* trainable numbers of the model */
    int64_t train_samples, test_samples;
    int classes, channels, height, width; /* of the dataset */
    int64_t updates_per_epoch, updates;
    int gradients_per_update;
    const char *device;    /* the device that will be used: "cpu", "reference", "cuda:0" */
    const char *precision; /* "fp32", "fp64", "tf32", "bf16" */
};

int engine_job_facts(const struct engine_job *job, struct engine_job_facts *out, struct err *err);

/* A device of this machine. */
struct engine_device {
    const char *name; /* as in the job's "device" */
    const char *doc;
    const char *description;   /* the processor's or GPU's model name */
    int cores;                 /* of the processor, usable by this process */
    int64_t memory_bytes;      /* the device's own */
    const char *precisions[4]; /* NULL-terminated */
    const char *uuid;          /* GPUs: as the driver writes it; NULL */
};

/* False if that is not known. From any thread. */
bool engine_device_load(const struct engine_device *device, struct device_load *out);

/* ---- Whether a device can be given a job. From any thread. What is no GPU is always ready ---- */

/* `name` is that of a device. */
void engine_device_health(const char *name, struct device_health *out);

/* Before a job or probe: chooses its device, tests it (that of each rank) unless it is known to be
 * ready, and makes it the job's `device`. Where the job leaves open which GPU it gets, that is one
 * with the fewest jobs, or the next one if the test fails. 0, and the caller releases the job when
 * it has run; ERR_DEVICE: the device is set aside or gone; ERR_DEVICE_LOST: this process has to end
 * first. Too little memory is no error here: the job itself will run into it. */
int engine_device_take(struct engine_job *job, struct err *err);
void engine_device_release(const struct engine_job *job);

/* The test alone, with the same errors. */
int engine_device_ready(const struct engine_job *job, struct err *err);

/* The job failed with this error; its device is blamed for ERR_DEVICE and ERR_DEVICE_LOST only. */
void engine_device_failed(const struct engine_job *job, const struct err *err);

/* How many of them are GPUs; 0: none, with *err saying why. */
int engine_gpus(struct err *err);

/* The devices that can be asked for here, best first. Static; *n is their number. */
const struct engine_device *engine_devices(int *n);

#endif
