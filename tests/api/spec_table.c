#include <stddef.h>

#include "spec_table.h"

#define N(table) (int)(sizeof(table) / sizeof *(table))

static const struct spec_field plain_model[] = {
    {.name = "width",
     .doc = "Channels.",
     .type = SPEC_INT,
     .offset = offsetof(struct sample_model, width),
     .min = 1,
     .max = 64,
     .number = 8},
    {.name = "blocks",
     .doc = "Blocks a stage.",
     .type = SPEC_INT_LIST,
     .offset = offsetof(struct sample_model, blocks),
     .min = 1,
     .max = 9,
     .max_length = 4,
     .list = {.n = 2, .item = {1, 2}}},
};
static const struct spec_object models[] = {
    {.name = "net", .doc = "A net.", .fields = plain_model, .n_fields = N(plain_model)},
    {.name = "line", .doc = "A line."},
};
static const struct spec_field folder_fields[] = {
    {.name = "path",
     .doc = "A folder.",
     .type = SPEC_STRING,
     .offset = offsetof(struct sample_dataset, path),
     .required = true,
     .max_length = 32},
};
static const struct spec_object datasets[] = {
    {.name = "toy", .doc = "Built in."},
    {.name = "folder", .doc = "Files.", .fields = folder_fields, .n_fields = N(folder_fields)},
};
static const struct spec_field noisy[] = {
    {.name = "sigma",
     .doc = "Noise.",
     .type = SPEC_REAL,
     .offset = offsetof(struct sample_method, sigma),
     .min = 0,
     .max = 100,
     .number = 0.015},
    {.name = "lambda",
     .doc = "Weight.",
     .type = SPEC_REAL,
     .offset = offsetof(struct sample_method, lambda),
     .min = 0,
     .max = 1,
     .below_max = true,
     .number = 0.5},
};
static const struct spec_object methods[] = {
    {.name = "sgd", .doc = "Plain."},
    {.name = "m-rwp", .doc = "Mixed.", .fields = noisy, .n_fields = N(noisy)},
};
static const struct spec_field keep_fields[] = {
    {.name = "every",
     .doc = "Epochs.",
     .type = SPEC_INT,
     .offset = offsetof(struct sample_keep, every),
     .min = 0,
     .max = 100,
     .number = 1},
    {.name = "keep",
     .doc = "How many.",
     .type = SPEC_INT,
     .offset = offsetof(struct sample_keep, keep),
     .min = 1,
     .max = 100,
     .number = 2},
};
static const struct spec_object keep_object = {
    .doc = "When.", .fields = keep_fields, .n_fields = N(keep_fields)};
#define STEPS                                                                                      \
    {                                                                                              \
        .name = "steps", .doc = "Steps.", .type = SPEC_INT,                                        \
        .offset = offsetof(struct sample_probe, steps), .min = 1, .max = 100, .number = 10,        \
    }
#define RHO                                                                                        \
    {                                                                                              \
        .name = "rho", .doc = "Radius.", .type = SPEC_REAL,                                        \
        .offset = offsetof(struct sample_probe, rho), .max = 1, .number = 0.5,                     \
    }
#define EVERY                                                                                      \
    {                                                                                              \
        .name = "every", .doc = "Epochs.", .type = SPEC_INT,                                       \
        .offset = offsetof(struct sample_probe, every), .min = 1, .max = 100, .number = 2,         \
    }
#define UPDATE                                                                                     \
    {                                                                                              \
        .name = "update", .doc = "Which.", .type = SPEC_INT,                                       \
        .offset = offsetof(struct sample_probe, update), .max = 1e15,                              \
    }
static const struct spec_field lines[] = {UPDATE, STEPS}, balls[] = {UPDATE, RHO};
static const struct spec_field job_lines[] = {EVERY, STEPS}, job_balls[] = {EVERY, RHO};
static const struct spec_object probes[] = {
    {.name = "lines", .doc = "Lines.", .fields = lines, .n_fields = N(lines)},
    {.name = "ball", .doc = "A ball.", .fields = balls, .n_fields = N(balls)},
};
static const struct spec_object job_probes[] = {
    {.name = "lines", .doc = "Lines.", .fields = job_lines, .n_fields = N(job_lines)},
    {.name = "ball", .doc = "A ball.", .fields = job_balls, .n_fields = N(job_balls)},
};
const struct spec_field sample_probe_field = {.name = "probe",
                                              .doc = "A probe.",
                                              .type = SPEC_VARIANT,
                                              .required = true,
                                              .kinds = probes,
                                              .n_kinds = N(probes)};
static const char *const devices[] = {"auto", "cpu", NULL};
static const struct spec_field fields[] = {
    {.name = "name",
     .doc = "A name.",
     .type = SPEC_STRING,
     .offset = offsetof(struct sample_job, name),
     .max_length = 16,
     .text = "nobody"},
    {.name = "model",
     .doc = "What.",
     .type = SPEC_VARIANT,
     .offset = offsetof(struct sample_job, model),
     .required = true,
     .kinds = models,
     .n_kinds = N(models)},
    {.name = "dataset",
     .doc = "On what.",
     .type = SPEC_VARIANT,
     .offset = offsetof(struct sample_job, dataset),
     .kinds = datasets,
     .n_kinds = N(datasets)},
    {.name = "method",
     .doc = "How.",
     .type = SPEC_VARIANT,
     .offset = offsetof(struct sample_job, method),
     .kinds = methods,
     .n_kinds = N(methods),
     .default_kind = 1},
    {.name = "epochs",
     .doc = "Epochs.",
     .type = SPEC_INT,
     .offset = offsetof(struct sample_job, epochs),
     .min = 1,
     .max = 1000,
     .number = 3},
    {.name = "seed",
     .doc = "Seed.",
     .type = SPEC_INT,
     .offset = offsetof(struct sample_job, seed),
     .min = 0,
     .max = 9007199254740991,
     .number = 1},
    {.name = "lr",
     .doc = "Rate.",
     .type = SPEC_REAL,
     .offset = offsetof(struct sample_job, lr),
     .min = 0,
     .max = 10,
     .above_min = true,
     .number = 0.1},
    {.name = "loud",
     .doc = "Loud.",
     .type = SPEC_BOOL,
     .offset = offsetof(struct sample_job, loud),
     .number = 1},
    {.name = "device",
     .doc = "Where.",
     .type = SPEC_CHOICE,
     .offset = offsetof(struct sample_job, device),
     .choices = devices},
    {.name = "checkpoint",
     .doc = "When.",
     .type = SPEC_OBJECT,
     .offset = offsetof(struct sample_job, checkpoint),
     .object = &keep_object},
    {.name = "probes",
     .doc = "What is measured.",
     .type = SPEC_VARIANT_LIST,
     .offset = offsetof(struct sample_job, probes),
     .item_offset = offsetof(struct sample_probes, item),
     .item_bytes = sizeof(struct sample_probe),
     .max_length = 2,
     .kinds = job_probes,
     .n_kinds = N(job_probes)},
};
const struct spec_object sample_spec = {
    .name = "job", .doc = "A job.", .fields = fields, .n_fields = N(fields)};
