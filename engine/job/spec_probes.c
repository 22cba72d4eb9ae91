/* The tables of the probes. Each kind stands twice: asked for by itself, of a checkpoint, and as
 * part of a job, every so many epochs. */
#include "job/tables.h"

#define AT(member) offsetof(struct engine_probe, member)

#define UPDATE                                                                                     \
    {                                                                                              \
        .name = "update", .type = SPEC_INT, .offset = AT(update), .min = 0,                        \
        .max = 9007199254740991,                                                                   \
        .doc = "Update of the checkpoint that is measured; 0: the newest there is.",               \
    }
#define EVERY_EPOCHS                                                                               \
    {                                                                                              \
        .name = "every_epochs", .type = SPEC_INT, .offset = AT(every_epochs), .min = 1,            \
        .max = 100000, .number = 10,                                                               \
        .doc = "Epochs between two measurements; the last epoch is measured too.",                 \
    }

static const char *const splits[] = {[PROBE_TRAIN] = "train", [PROBE_TEST] = "test", NULL};
static const char *const batch_norms[] = {
    [PROBE_BATCH_NORM_EVAL] = "eval", [PROBE_BATCH_NORM_TRAINING] = "training", NULL};

#define SAMPLES                                                                                    \
    {                                                                                              \
        .name = "split",                                                                           \
        .type = SPEC_CHOICE,                                                                       \
        .offset = AT(split),                                                                       \
        .choices = splits,                                                                         \
        .number = PROBE_TRAIN,                                                                     \
        .doc = "Whose loss it is: train is the loss that training lowers, with the job's wrong "   \
               "labels and label smoothing, but without augmentation, dropout and weight decay; "  \
               "test is the plain cross-entropy of the test set.",                                 \
    },                                                                                             \
        {                                                                                          \
            .name = "samples",                                                                     \
            .type = SPEC_INT,                                                                      \
            .offset = AT(samples),                                                                 \
            .min = 0,                                                                              \
            .max = 1e9,                                                                            \
            .number = 1000,                                                                        \
            .doc = "The loss is the mean over so many samples of the split, drawn by the seed, "   \
                   "or over all where there are fewer; 0: all.",                                   \
        },                                                                                         \
        {                                                                                          \
            .name = "batch_size",                                                                  \
            .type = SPEC_INT,                                                                      \
            .offset = AT(batch_size),                                                              \
            .min = 0,                                                                              \
            .max = 65536,                                                                          \
            .doc = "Samples of a pass; 0: as many as the job's batches have. Changes the result "  \
                   "only where batch norm is in training mode, and by rounding.",                  \
        },                                                                                         \
        {                                                                                          \
            .name = "seed",                                                                        \
            .type = SPEC_INT,                                                                      \
            .offset = AT(seed),                                                                    \
            .min = 0,                                                                              \
            .max = 9007199254740991,                                                               \
            .number = 1,                                                                           \
            .doc = "Of all that the probe draws: samples, vectors, noise.",                        \
        },                                                                                         \
    {                                                                                              \
        .name = "batch_norm", .type = SPEC_CHOICE, .offset = AT(batch_norm),                       \
        .choices = batch_norms, .number = PROBE_BATCH_NORM_EVAL,                                   \
        .doc = "eval: with the checkpoint's running statistics; training: each batch with its "    \
               "own, where a last, shorter batch is left out.",                                    \
    }

#define SAVE_VECTORS(text)                                                                         \
    {                                                                                              \
        .name = "save_vectors", .type = SPEC_BOOL, .offset = AT(save_vectors), .doc = text,        \
    }
#define UPLOAD(text)                                                                               \
    {                                                                                              \
        .name = "upload", .type = SPEC_INT, .offset = AT(upload), .min = 0,                        \
        .max = 9007199254740991, .doc = text,                                                      \
    }

/* spectrum */

static const char *const pyhessian[] = {"none", "pyhessian", NULL};
static const char *const starts[] = {
    [START_RADEMACHER] = "rademacher", [START_NORMAL] = "normal", [START_GIVEN] = "given", NULL};
static const char *const traces[] = {
    [TRACE_HUTCHINSON] = "hutchinson", [TRACE_HUTCHPP] = "hutch++", NULL};
static const char *const layers[] = {
    [LAYERS_NONE] = "none", [LAYERS_TRACE] = "trace", [LAYERS_SPECTRUM] = "spectrum", NULL};

#define SPECTRUM_LANCZOS                                                                           \
    {                                                                                              \
        .name = "preset",                                                                          \
        .type = SPEC_CHOICE,                                                                       \
        .offset = AT(preset),                                                                      \
        .choices = pyhessian,                                                                      \
        .doc = "pyhessian: what is not given is as in PyHessian (Yao et al. 2020): 1 run of 100 "  \
               "steps, and a density of 10,000 points, on its grid and normalised as there.",      \
    },                                                                                             \
        {                                                                                          \
            .name = "runs",                                                                        \
            .type = SPEC_INT,                                                                      \
            .offset = AT(runs),                                                                    \
            .min = 0,                                                                              \
            .max = 1000,                                                                           \
            .doc = "Lanczos runs, each from a start of its own; 0: 4, with pyhessian or a given "  \
                   "start 1.",                                                                     \
        },                                                                                         \
        {                                                                                          \
            .name = "steps",                                                                       \
            .type = SPEC_INT,                                                                      \
            .offset = AT(steps),                                                                   \
            .min = 0,                                                                              \
            .max = 2000,                                                                           \
            .doc = "Steps of a run, each one product of the Hessian; all its vectors are kept "    \
                   "in memory. 0: 60, with pyhessian 100.",                                        \
        },                                                                                         \
    {                                                                                              \
        .name = "start", .type = SPEC_CHOICE, .offset = AT(start), .choices = starts,              \
        .number = START_RADEMACHER,                                                                \
        .doc = "Distribution of a run's first vector; given: the uploaded one, in one run.",       \
    }
#define SPECTRUM_RESULTS                                                                            \
    {                                                                                               \
        .name = "top_k",                                                                            \
        .type = SPEC_INT,                                                                           \
        .offset = AT(top_k),                                                                        \
        .min = 0,                                                                                   \
        .max = 100,                                                                                 \
        .number = 5,                                                                                \
        .doc = "So many of the largest eigenvalues are given by themselves, with residuals; more "  \
               "steps make the residuals smaller.",                                                 \
    },                                                                                              \
        {                                                                                           \
            .name = "trace",                                                                        \
            .type = SPEC_CHOICE,                                                                    \
            .offset = AT(trace),                                                                    \
            .choices = traces,                                                                      \
            .number = TRACE_HUTCHINSON,                                                             \
            .doc = "How the trace is estimated: hutchinson: the mean of zᵀHz over Rademacher "    \
                   "vectors z; hutch++ (Meyer et al. 2021): exactly on a subspace, which takes "    \
                   "two thirds of the products, and so on the rest.",                               \
        },                                                                                          \
        {                                                                                           \
            .name = "trace_draws",                                                                  \
            .type = SPEC_INT,                                                                       \
            .offset = AT(trace_draws),                                                              \
            .min = 0,                                                                               \
            .max = 100000,                                                                          \
            .number = 30,                                                                           \
            .doc = "Products of the Hessian that the trace may take; 0: no trace.",                 \
        },                                                                                          \
        {                                                                                           \
            .name = "layers",                                                                       \
            .type = SPEC_CHOICE,                                                                    \
            .offset = AT(layers),                                                                   \
            .choices = layers,                                                                      \
            .number = LAYERS_NONE,                                                                  \
            .doc = "trace: also the trace of each parameter's block of the Hessian, from the "      \
                   "same products; spectrum: Lanczos runs on each parameter's block, which takes "  \
                   "runs × steps products a parameter.",                                            \
        },                                                                                          \
        {                                                                                           \
            .name = "bins",                                                                         \
            .type = SPEC_INT,                                                                       \
            .offset = AT(bins),                                                                     \
            .min = 0,                                                                               \
            .max = 100000,                                                                          \
            .doc = "Points of the density; 0: 1,000, with pyhessian 10,000.",                       \
        },                                                                                          \
        {                                                                                           \
            .name = "variance",                                                                     \
            .type = SPEC_REAL,                                                                      \
            .offset = AT(variance),                                                                 \
            .min = 0,                                                                               \
            .max = 1e12,                                                                            \
            .doc = "Variance of the Gaussians that make the density; 0: 1e-5·max(1, range of the " \
                   "eigenvalues), as PyHessian.",                                                   \
        },                                                                                          \
        SAVE_VECTORS("Gives the vectors at the end: the gradient, the start of the last run with "  \
                     "its product, and the eigenvectors of top_k."),                                \
        UPLOAD("Uploaded tensors with the given start: named as the parameters, or start/ and "     \
               "their names; 0: none.")

static const struct spec_field spectrum_fields[] = {UPDATE, SAMPLES, SPECTRUM_LANCZOS,
                                                    SPECTRUM_RESULTS};
static const struct spec_field job_spectrum_fields[] = {EVERY_EPOCHS, SAMPLES, SPECTRUM_LANCZOS,
                                                        SPECTRUM_RESULTS};

/* landscape */

static const char *const goldstein[] = {"none", "goldstein", NULL};
static const char *const x_directions[] = {[DIRECTION_NONE] = "none",
                                           [DIRECTION_RANDOM] = "random",
                                           [DIRECTION_GRADIENT] = "gradient",
                                           [DIRECTION_EIGENVECTOR] = "eigenvector",
                                           [DIRECTION_GIVEN] = "given",
                                           [DIRECTION_LINE] = "line",
                                           NULL};
static const char *const normalisations[] = {[NORMALISE_AUTO] = "auto",
                                             [NORMALISE_FILTER] = "filter",
                                             [NORMALISE_UNIT] = "unit",
                                             [NORMALISE_NONE] = "none",
                                             NULL};
static const char *const vectors_1d[] = {
    [VECTORS_1D_AUTO] = "auto", [VECTORS_1D_KEEP] = "keep", [VECTORS_1D_ZERO] = "zero", NULL};

#define AXIS_AT(member) offsetof(struct probe_axis, member)
#define AXIS(first)                                                                                \
    {                                                                                              \
        .name = "direction",                                                                       \
        .type = SPEC_CHOICE,                                                                       \
        .offset = AXIS_AT(direction),                                                              \
        .choices = x_directions,                                                                   \
        .number = (first),                                                                         \
        .doc = "random: normal numbers; gradient: of the loss at the checkpoint; eigenvector: of " \
               "the Hessian's largest eigenvalue there (of the second largest, where x has the "   \
               "first); given: uploaded; line: from the checkpoint to the other one, which is at " \
               "1. none: this axis is left out, which x cannot be.",                               \
    },                                                                                             \
        {                                                                                          \
            .name = "normalise",                                                                   \
            .type = SPEC_CHOICE,                                                                   \
            .offset = AXIS_AT(normalise),                                                          \
            .choices = normalisations,                                                             \
            .number = NORMALISE_AUTO,                                                              \
            .doc = "filter: each filter of the direction gets the length of the weights' filter "  \
                   "(Li et al. 2018); unit: the whole direction has length 1; none: as it is. "    \
                   "auto: filter for random, unit for gradient and eigenvector, else none.",       \
        },                                                                                         \
        {                                                                                          \
            .name = "from",                                                                        \
            .type = SPEC_REAL,                                                                     \
            .offset = AXIS_AT(from),                                                               \
            .min = -1e6,                                                                           \
            .max = 1e6,                                                                            \
            .number = -1,                                                                          \
            .doc = "Where the axis begins, in lengths of the direction; 0 is the checkpoint.",     \
        },                                                                                         \
        {                                                                                          \
            .name = "to",                                                                          \
            .type = SPEC_REAL,                                                                     \
            .offset = AXIS_AT(to),                                                                 \
            .min = -1e6,                                                                           \
            .max = 1e6,                                                                            \
            .number = 1,                                                                           \
            .doc = "Where it ends.",                                                               \
        },                                                                                         \
    {                                                                                              \
        .name = "points", .type = SPEC_INT, .offset = AXIS_AT(points), .min = 0, .max = 1001,      \
        .doc = "Points, the ends among them; 0: 21, with goldstein 51.",                           \
    }

static const struct spec_field x_fields[] = {AXIS(DIRECTION_RANDOM)};
static const struct spec_field y_fields[] = {AXIS(DIRECTION_NONE)};
static const struct spec_object x_object = {.doc = "The first axis.", FIELDS(x_fields)};
const struct spec_object job_probe_y = {.doc = "The second axis.", FIELDS(y_fields)};

static const struct spec_field other_fields[] = {
    {.name = "job",
     .type = SPEC_INT,
     .offset = offsetof(struct probe_other, job),
     .min = 0,
     .max = 9007199254740991,
     .doc = "The job whose checkpoint it is; 0: this one."},
    {.name = "update",
     .type = SPEC_INT,
     .offset = offsetof(struct probe_other, update),
     .min = 0,
     .max = 9007199254740991,
     .doc = "That checkpoint's update; 0: the newest there is."},
    {.name = "upload",
     .type = SPEC_INT,
     .offset = offsetof(struct probe_other, upload),
     .min = 0,
     .max = 9007199254740991,
     .doc = "Weights that were uploaded, in place of a checkpoint; 0: none."},
};
static const struct spec_object other_object = {.doc = "Weights at the other end of a line.",
                                                FIELDS(other_fields)};

#define LANDSCAPE                                                                                  \
    {                                                                                              \
        .name = "preset",                                                                          \
        .type = SPEC_CHOICE,                                                                       \
        .offset = AT(preset),                                                                      \
        .choices = goldstein,                                                                      \
        .doc = "goldstein: what is not given is as in the loss landscapes of Li et al. (2018): "   \
               "51 points an axis, and parameters of one dimension (batch norm, biases) stay as "  \
               "they are.",                                                                        \
    },                                                                                             \
        {                                                                                          \
            .name = "x",                                                                           \
            .type = SPEC_OBJECT,                                                                   \
            .offset = AT(x),                                                                       \
            .object = &x_object,                                                                   \
            .doc = "The first axis.",                                                              \
        },                                                                                         \
        {                                                                                          \
            .name = "y",                                                                           \
            .type = SPEC_OBJECT,                                                                   \
            .offset = AT(y),                                                                       \
            .object = &job_probe_y,                                                                \
            .doc = "The second axis; direction none: there is none, and the grid is a line.",      \
        },                                                                                         \
        {                                                                                          \
            .name = "vectors_1d",                                                                  \
            .type = SPEC_CHOICE,                                                                   \
            .offset = AT(vectors_1d),                                                              \
            .choices = vectors_1d,                                                                 \
            .number = VECTORS_1D_AUTO,                                                             \
            .doc = "What directions do to parameters of one dimension (batch norm, biases): "      \
                   "zero: they stay as they are; keep: they move as one filter. auto: zero with "  \
                   "goldstein, else keep. Says nothing of a line.",                                \
        },                                                                                         \
        {                                                                                          \
            .name = "steps",                                                                       \
            .type = SPEC_INT,                                                                      \
            .offset = AT(steps),                                                                   \
            .min = 2,                                                                              \
            .max = 2000,                                                                           \
            .number = 50,                                                                          \
            .doc = "Lanczos steps that eigenvectors are found with.",                              \
        },                                                                                         \
        {                                                                                          \
            .name = "other",                                                                       \
            .type = SPEC_OBJECT,                                                                   \
            .offset = AT(other),                                                                   \
            .object = &other_object,                                                               \
            .doc = "The other end of a line. Running statistics are mixed as the weights are.",    \
        },                                                                                         \
        SAVE_VECTORS("Gives the directions at the end, as x and y, at the lengths they had."),     \
        UPLOAD("Uploaded tensors with the given directions: x/ and y/ before the parameters' "     \
               "names, or the names alone where only one is given; 0: none.")

static const struct spec_field landscape_fields[] = {UPDATE, SAMPLES, LANDSCAPE};
static const struct spec_field job_landscape_fields[] = {EVERY_EPOCHS, SAMPLES, LANDSCAPE};

/* radius, sharpness */

static const char *const ascents[] = {[ASCENT_SAMPLES] = "samples", [ASCENT_BATCH] = "batch", NULL};

#define DRAWS                                                                                      \
    {                                                                                              \
        .name = "draws", .type = SPEC_INT, .offset = AT(draws), .min = 1, .max = 10000,            \
        .number = 10,                                                                              \
        .doc = "Random perturbations, each a pass over the samples; standard errors are over "     \
               "them.",                                                                            \
    }
#define ASCENT                                                                                     \
    {                                                                                              \
        .name = "ascent", .type = SPEC_CHOICE, .offset = AT(ascent), .choices = ascents,           \
        .number = ASCENT_SAMPLES,                                                                  \
        .doc = "Whose gradient the adversarial perturbation follows: samples: that of the mean "   \
               "loss over all of them; batch: each batch its own, as in training with SAM.",       \
    }
#define SERIES(member, value, text)                                                                \
    {                                                                                              \
        .name = #member, .type = SPEC_BOOL, .offset = AT(member), .number = (value), .doc = text,  \
    }

#define RADIUS                                                                                     \
    SERIES(plain, 1, "Measures random directions from the uniform distribution on the sphere."),   \
        SERIES(filterwise, 1,                                                                      \
               "Measures RWP's noise: each filter's by its norm, scaled to the radius."),          \
        SERIES(adaptive, 0,                                                                        \
               "Measures ARWP's noise, weakened by the checkpoint's Fisher numbers; for jobs of "  \
               "methods that have them."),                                                         \
        SERIES(adversarial, 1, "Measures SAM's perturbation: a step up along the gradient."),      \
        {                                                                                          \
            .name = "radius_min",                                                                  \
            .type = SPEC_REAL,                                                                     \
            .offset = AT(radius_min),                                                              \
            .min = 0,                                                                              \
            .above_min = true,                                                                     \
            .max = 1e6,                                                                            \
            .number = 0.01,                                                                        \
            .doc = "‖ε‖₂ of the first point.",                                                     \
        },                                                                                         \
        {                                                                                          \
            .name = "radius_max",                                                                  \
            .type = SPEC_REAL,                                                                     \
            .offset = AT(radius_max),                                                              \
            .min = 0,                                                                              \
            .above_min = true,                                                                     \
            .max = 1e6,                                                                            \
            .number = 10,                                                                          \
            .doc = "‖ε‖₂ of the last point.",                                                      \
        },                                                                                         \
        {                                                                                          \
            .name = "points",                                                                      \
            .type = SPEC_INT,                                                                      \
            .offset = AT(points),                                                                  \
            .min = 1,                                                                              \
            .max = 1000,                                                                           \
            .number = 13,                                                                          \
            .doc = "Radii, at equal distances of their logarithms.",                               \
        },                                                                                         \
        DRAWS, ASCENT,                                                                             \
        {                                                                                          \
            .name = "suggest",                                                                     \
            .type = SPEC_BOOL,                                                                     \
            .offset = AT(suggest),                                                                 \
            .doc = "Also suggests a sigma for training this model on these data, and says how it " \
                   "came to it: the largest one whose noise costs no more than suggest_share of "  \
                   "what the checkpoint has learnt (its loss below that of guessing), measured "   \
                   "as training would see it: on the training split, batches with their own "      \
                   "statistics. Ask an early checkpoint.",                                         \
        },                                                                                         \
    {                                                                                              \
        .name = "suggest_share", .type = SPEC_REAL, .offset = AT(suggest_share), .min = 0,         \
        .above_min = true, .max = 1, .below_max = true, .number = 0.5,                             \
        .doc = "Share of what has been learnt that the suggested noise may cost.",                 \
    }

static const struct spec_field radius_fields[] = {UPDATE, SAMPLES, RADIUS};
static const struct spec_field job_radius_fields[] = {EVERY_EPOCHS, SAMPLES, RADIUS};

#define SHARPNESS                                                                                  \
    {                                                                                              \
        .name = "rho",                                                                             \
        .type = SPEC_REAL,                                                                         \
        .offset = AT(rho),                                                                         \
        .min = 0,                                                                                  \
        .max = 1e6,                                                                                \
        .number = 0.05,                                                                            \
        .doc = "ρ: length of SAM's step up along the gradient.",                                   \
    },                                                                                             \
        {                                                                                          \
            .name = "sigma",                                                                       \
            .type = SPEC_REAL,                                                                     \
            .offset = AT(sigma),                                                                   \
            .min = 0,                                                                              \
            .max = 100,                                                                            \
            .number = 0.01,                                                                        \
            .doc = "σ: strength of RWP's noise, relative to each filter's norm.",                  \
        },                                                                                         \
        SERIES(adaptive, 0,                                                                        \
               "Whether the noise is ARWP's, weakened by the checkpoint's Fisher numbers; for "    \
               "jobs of methods that have them."),                                                 \
        DRAWS, ASCENT

static const struct spec_field sharpness_fields[] = {UPDATE, SAMPLES, SHARPNESS};
static const struct spec_field job_sharpness_fields[] = {EVERY_EPOCHS, SAMPLES, SHARPNESS};

#define SPECTRUM_DOC                                                                               \
    "The eigenvalues of the Hessian of the loss, by stochastic Lanczos quadrature with full "      \
    "reorthogonalisation, from exact products: density, largest and smallest eigenvalue, trace."
#define LANDSCAPE_DOC                                                                              \
    "Loss and accuracy along one or two directions through the weights, or on the line to other "  \
    "weights."
#define RADIUS_DOC                                                                                  \
    "The expected loss over the radius ‖ε‖₂ of random and adversarial perturbations of the " \
    "weights; suggests a sigma."
#define SHARPNESS_DOC                                                                              \
    "By how much the loss rises in SAM's worst case at rho and on average over RWP's noise at "    \
    "sigma, and the gradient's norm."

static const struct spec_object kinds[PROBE_KINDS] = {
    [PROBE_SPECTRUM] = {.name = "spectrum", .doc = SPECTRUM_DOC, FIELDS(spectrum_fields)},
    [PROBE_LANDSCAPE] = {.name = "landscape", .doc = LANDSCAPE_DOC, FIELDS(landscape_fields)},
    [PROBE_RADIUS] = {.name = "radius", .doc = RADIUS_DOC, FIELDS(radius_fields)},
    [PROBE_SHARPNESS] = {.name = "sharpness", .doc = SHARPNESS_DOC, FIELDS(sharpness_fields)},
};
const struct spec_object job_probe_kinds[PROBE_KINDS] = {
    [PROBE_SPECTRUM] = {.name = "spectrum", .doc = SPECTRUM_DOC, FIELDS(job_spectrum_fields)},
    [PROBE_LANDSCAPE] = {.name = "landscape", .doc = LANDSCAPE_DOC, FIELDS(job_landscape_fields)},
    [PROBE_RADIUS] = {.name = "radius", .doc = RADIUS_DOC, FIELDS(job_radius_fields)},
    [PROBE_SHARPNESS] = {.name = "sharpness", .doc = SHARPNESS_DOC, FIELDS(job_sharpness_fields)},
};

const struct spec_object *engine_probe_kinds(int *n)
{
    *n = PROBE_KINDS;
    return kinds;
}

const struct spec_object *engine_job_probe_kinds(int *n)
{
    *n = PROBE_KINDS;
    return job_probe_kinds;
}
