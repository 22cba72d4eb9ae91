/* The tables of the methods. */
#include "job/tables.h"

#define RHO(value)                                                                                 \
    {                                                                                              \
        .name = "rho", .type = SPEC_REAL, .offset = offsetof(struct job_method, rho), .min = 0,    \
        .max = 100, .number = (value), .doc = "ρ: length of the step up along the gradient.",      \
    }
#define SIGMA(value)                                                                               \
    {                                                                                              \
        .name = "sigma", .type = SPEC_REAL, .offset = offsetof(struct job_method, sigma),          \
        .min = 0, .max = 100, .number = (value),                                                   \
        .doc = "σ: strength of the noise, relative to each filter's norm.",                        \
    }
#define RAMP(value)                                                                                \
    {                                                                                              \
        .name = "ramp", .type = SPEC_REAL, .offset = offsetof(struct job_method, ramp), .min = 0,  \
        .max = 10000, .number = (value),                                                           \
        .doc = "Sigma grows along a cosine from sigma to (1 + ramp)·sigma; 0: it is constant.",    \
    }
#define LAMBDA                                                                                     \
    {                                                                                              \
        .name = "lambda", .type = SPEC_REAL, .offset = offsetof(struct job_method, lambda),        \
        .min = 0, .max = 1, .number = 0.5,                                                         \
        .doc = "λ: weight of the perturbed gradient; the clean one has 1 − λ.",                    \
    }
#define ETA                                                                                        \
    {                                                                                              \
        .name = "eta", .type = SPEC_REAL, .offset = offsetof(struct job_method, eta), .min = 0,    \
        .max = 1e9, .number = 0.1,                                                                 \
        .doc = "η: how much the accumulated squared gradients (F) weaken a filter's noise.",       \
    }
#define BETA                                                                                       \
    {                                                                                              \
        .name = "beta", .type = SPEC_REAL, .offset = offsetof(struct job_method, beta), .min = 0,  \
        .max = 1, .number = 0.99, .doc = "β: memory of F, which becomes β·F + g² each update.",    \
    }

#define SAMPLES                                                                                    \
    {                                                                                              \
        .name = "samples", .type = SPEC_INT, .offset = offsetof(struct job_method, samples),       \
        .min = 1, .max = JOB_SAMPLES_MAX, .number = 1,                                             \
        .doc = "M: the perturbed batch is split into so many parts of about equal size, each "     \
               "with noise of its own, as LPF-SGD (Bisla et al. 2022) does it; the gradient is "   \
               "the mean over the whole batch.",                                                   \
    }
#define STATISTICS(value)                                                                          \
    {                                                                                              \
        .name = "statistics", .type = SPEC_CHOICE,                                                 \
        .offset = offsetof(struct job_method, statistics), .choices = statistics,                  \
        .number = (value),                                                                         \
        .doc = "Which passes move batch norm's running statistics. Where a method has no clean "   \
               "pass and this asks for one, a forward pass over the same batch is added, whose "   \
               "loss is then the one that is told.",                                               \
    }

static const char *const statistics[] = {[STATISTICS_CLEAN] = "clean",
                                         [STATISTICS_PERTURBED] = "perturbed",
                                         [STATISTICS_BOTH] = "both",
                                         NULL};

static const struct spec_field sam_fields[] = {RHO(0.05), STATISTICS(STATISTICS_CLEAN)};
static const struct spec_field asam_fields[] = {
    RHO(0.5),
    {.name = "eta",
     .type = SPEC_REAL,
     .offset = offsetof(struct job_method, eta),
     .min = 0,
     .max = 1e9,
     .number = 0.01,
     .doc = "η: added to each weight's magnitude, which its part of the step is scaled by."},
    STATISTICS(STATISTICS_CLEAN),
};
static const struct spec_field rwp_fields[] = {SIGMA(0.001), RAMP(10), SAMPLES,
                                               STATISTICS(STATISTICS_PERTURBED)};
static const struct spec_field arwp_fields[] = {
    SIGMA(0.001), RAMP(10), ETA, BETA, SAMPLES, STATISTICS(STATISTICS_PERTURBED)};
static const struct spec_field m_rwp_fields[] = {SIGMA(0.015), LAMBDA, RAMP(0), SAMPLES,
                                                 STATISTICS(STATISTICS_CLEAN)};
static const struct spec_field m_arwp_fields[] = {
    SIGMA(0.015), LAMBDA, RAMP(0), ETA, BETA, SAMPLES, STATISTICS(STATISTICS_CLEAN)};

const struct spec_object job_methods[METHOD_KINDS] = {
    [METHOD_SGD] = {.name = "sgd", .doc = "Plain stochastic gradient descent: one clean gradient."},
    [METHOD_SAM] = {.name = "sam",
                    .doc = "Sharpness-aware minimisation (Foret et al. 2021): the gradient a step "
                           "up the slope, two passes one after the other.",
                    FIELDS(sam_fields)},
    [METHOD_RWP] = {.name = "rwp",
                    .doc = "Random weight perturbation: one gradient, at noisy weights.",
                    FIELDS(rwp_fields)},
    [METHOD_ARWP] = {.name = "arwp",
                     .doc = "RWP whose noise adapts to the accumulated squared gradients.",
                     FIELDS(arwp_fields)},
    [METHOD_M_RWP] = {.name = "m-rwp",
                      .doc = "Mixed RWP (Li et al. 2024): a clean and a perturbed gradient on two "
                             "batches, side by side.",
                      FIELDS(m_rwp_fields)},
    [METHOD_M_ARWP] = {.name = "m-arwp",
                       .doc = "Mixed RWP with adaptive noise (Li et al. 2024).",
                       FIELDS(m_arwp_fields)},
    [METHOD_ASAM] = {.name = "asam",
                     .doc = "Adaptive SAM (Kwon et al. 2021): a step whose shape follows the "
                            "weights' magnitudes; biases are not scaled, as in its authors' code.",
                     FIELDS(asam_fields)},
};
