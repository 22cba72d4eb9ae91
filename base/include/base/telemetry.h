/* What is measured of a perturbation at some update, as it travels between engine, database and
 * API. */
#ifndef BASE_TELEMETRY_H
#define BASE_TELEMETRY_H

#include <stdbool.h>
#include <stdint.h>

enum telemetry_value {
    TELEMETRY_CLEAN_LOSS,     /* of the update's clean batch */
    TELEMETRY_PERTURBED_LOSS, /* of its perturbed batch, at the perturbed weights */
    TELEMETRY_PERTURBATION_NORM,
    TELEMETRY_GRADIENT_NORM, /* of the clean gradient */
    TELEMETRY_PERTURBED_GRADIENT_NORM,
    TELEMETRY_COSINE,           /* of the angle between the two gradients */
    TELEMETRY_FISHER_SCALE_MIN, /* 1/√(1 + eta·F), which a filter's noise is scaled by */
    TELEMETRY_FISHER_SCALE_MEDIAN,
    TELEMETRY_FISHER_SCALE_MAX,
    TELEMETRY_VALUES
};

/* Norms are L2 norms over all parameters; gradients are those before mixing and clipping. Where a
 * batch is read in parts, losses and gradients are the means over the batch, and the norm of the
 * perturbation is the root mean square over the parts. */
struct telemetry {
    uint64_t update; /* updates done, from 1; the values are of its passes */
    int64_t epoch;
    bool known[TELEMETRY_VALUES]; /* no method has all of them */
    double value[TELEMETRY_VALUES];
};

/* "clean_loss", …: in JSON, CSV and the database. */
extern const char *const telemetry_names[TELEMETRY_VALUES];

#endif
