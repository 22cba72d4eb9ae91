/* The tables of the methods. */
#include "job/tables.h"

#define RHO                                                                                        \
    {                                                                                              \
        .name = "rho", .type = SPEC_REAL, .offset = offsetof(struct job_method, rho), .min = 0,    \
        .max = 100, .number = 0.05, .doc = "ρ: length of the step up along the gradient.",         \
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

static const struct spec_field sam_fields[] = {RHO};
static const struct spec_field rwp_fields[] = {SIGMA(0.001), RAMP(10)};
static const struct spec_field arwp_fields[] = {SIGMA(0.001), RAMP(10), ETA, BETA};
static const struct spec_field m_rwp_fields[] = {SIGMA(0.015), LAMBDA, RAMP(0)};
static const struct spec_field m_arwp_fields[] = {SIGMA(0.015), LAMBDA, RAMP(0), ETA, BETA};

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
};
