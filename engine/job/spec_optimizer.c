/* The tables of the optimizers and of the learning rate's schedules. */
#include "job/tables.h"

#define LR(value)                                                                                  \
    {                                                                                              \
        .name = "lr", .type = SPEC_REAL, .offset = offsetof(struct job_optimizer, lr), .min = 0,   \
        .max = 1e10, .above_min = true, .number = (value),                                         \
        .doc = "Learning rate that the schedule begins with.",                                     \
    }
#define WEIGHT_DECAY(value, text)                                                                  \
    {                                                                                              \
        .name = "weight_decay", .type = SPEC_REAL,                                                 \
        .offset = offsetof(struct job_optimizer, weight_decay), .min = 0, .max = 1,                \
        .number = (value), .doc = text,                                                            \
    }
#define CLIP_NORM                                                                                  \
    {                                                                                              \
        .name = "clip_norm", .type = SPEC_REAL,                                                    \
        .offset = offsetof(struct job_optimizer, clip_norm), .min = 0, .max = 1e10,                \
        .doc = "The update's mixed gradient is scaled down to this norm over all parameters, as "  \
               "PyTorch's clip_grad_norm_ does; 0: it is not.",                                    \
    }
#define AVERAGE(field, value, text)                                                                \
    {                                                                                              \
        .name = #field, .type = SPEC_REAL, .offset = offsetof(struct job_optimizer, field),        \
        .min = 0, .max = 1, .below_max = true, .number = (value), .doc = text,                     \
    }
#define ADAM_FIELDS                                                                                \
    LR(0.001), AVERAGE(beta1, 0.9, "β₁: memory of the mean of the gradients."),                    \
        AVERAGE(beta2, 0.999, "β₂: memory of the mean of their squares."),                         \
    {                                                                                              \
        .name = "eps", .type = SPEC_REAL, .offset = offsetof(struct job_optimizer, eps), .min = 0, \
        .max = 1, .above_min = true, .number = 1e-8,                                               \
        .doc = "ε: added to the root of the mean square.",                                         \
    }

static const struct spec_field sgd_fields[] = {
    LR(0.1),
    {.name = "momentum",
     .type = SPEC_REAL,
     .offset = offsetof(struct job_optimizer, momentum),
     .min = 0,
     .max = 1,
     .below_max = true,
     .number = 0.9,
     .doc = "μ: m becomes μ·m + gradient, without dampening, as in PyTorch."},
    {.name = "nesterov",
     .type = SPEC_BOOL,
     .offset = offsetof(struct job_optimizer, nesterov),
     .doc = "Nesterov's momentum: the step is gradient + μ·m in place of m."},
    WEIGHT_DECAY(0.001, "Added to the gradient as weight_decay·w, for every parameter."),
    CLIP_NORM,
};

static const struct spec_field adam_fields[] = {
    ADAM_FIELDS,
    WEIGHT_DECAY(0, "Added to the gradient as weight_decay·w, for every parameter."),
    CLIP_NORM,
};

static const struct spec_field adamw_fields[] = {
    ADAM_FIELDS,
    WEIGHT_DECAY(0.01, "Each update takes lr·weight_decay of every parameter away."),
    CLIP_NORM,
};

const struct spec_object job_optimizers[OPTIMIZER_KINDS] = {
    [OPTIMIZER_SGD] = {.name = "sgd",
                       .doc = "Gradient descent with momentum and weight decay, as PyTorch's.",
                       FIELDS(sgd_fields)},
    [OPTIMIZER_ADAM] = {.name = "adam",
                        .doc = "Adam (Kingma and Ba 2015), as PyTorch's.",
                        FIELDS(adam_fields)},
    [OPTIMIZER_ADAMW] = {.name = "adamw",
                         .doc = "Adam with decoupled weight decay (Loshchilov and Hutter 2019), "
                                "as PyTorch's.",
                         FIELDS(adamw_fields)},
};

/* schedule */

static const char *const schedule_steps[] = {
    [SCHEDULE_PER_UPDATE] = "update", [SCHEDULE_PER_EPOCH] = "epoch", NULL};

#define WARMUP(then)                                                                               \
    {                                                                                              \
        .name = "warmup_updates",                                                                  \
        .type = SPEC_INT,                                                                          \
        .offset = offsetof(struct job_schedule, warmup_updates),                                   \
        .min = 0,                                                                                  \
        .max = 1e9,                                                                                \
        .doc = "W: update u of the first W has the share (u + 1)/W of lr; " then,                  \
    },                                                                                             \
    {                                                                                              \
        .name = "warmup_epochs", .type = SPEC_INT,                                                 \
        .offset = offsetof(struct job_schedule, warmup_epochs), .min = 0, .max = 100000,           \
        .doc = "The same in epochs; at most one of the two is above 0.",                           \
    }

static const struct spec_field constant_fields[] = {WARMUP("the others have lr.")};

static const struct spec_field cosine_fields[] = {
    {.name = "step",
     .type = SPEC_CHOICE,
     .offset = offsetof(struct job_schedule, step),
     .choices = schedule_steps,
     .number = SCHEDULE_PER_UPDATE,
     .doc = "When the rate changes: each update, or once a pass over the data (of which the "
            "mixed methods make two an epoch)."},
    WARMUP("the cosine then takes the updates that are left."),
};

static const struct spec_field step_fields[] = {
    {.name = "every_epochs",
     .type = SPEC_INT,
     .offset = offsetof(struct job_schedule, every_epochs),
     .min = 1,
     .max = 100000,
     .number = 30,
     .doc = "Epochs between two drops, counted from the run's beginning."},
    {.name = "gamma",
     .type = SPEC_REAL,
     .offset = offsetof(struct job_schedule, gamma),
     .min = 0,
     .max = 1,
     .above_min = true,
     .number = 0.1,
     .doc = "Factor of a drop."},
    WARMUP("drops are counted from the run's beginning all the same."),
};

const struct spec_object job_schedules[SCHEDULE_KINDS] = {
    [SCHEDULE_COSINE] = {.name = "cosine",
                         .doc = "From lr to 0 along half a cosine.",
                         FIELDS(cosine_fields)},
    [SCHEDULE_STEP] = {.name = "step", .doc = "Drops by a factor.", FIELDS(step_fields)},
    [SCHEDULE_CONSTANT] = {.name = "constant", .doc = "lr throughout.", FIELDS(constant_fields)},
};
