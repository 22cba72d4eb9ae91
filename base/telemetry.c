#include "base/telemetry.h"

const char *const telemetry_names[TELEMETRY_VALUES] = {
    [TELEMETRY_CLEAN_LOSS] = "clean_loss",
    [TELEMETRY_PERTURBED_LOSS] = "perturbed_loss",
    [TELEMETRY_PERTURBATION_NORM] = "perturbation_norm",
    [TELEMETRY_GRADIENT_NORM] = "gradient_norm",
    [TELEMETRY_PERTURBED_GRADIENT_NORM] = "perturbed_gradient_norm",
    [TELEMETRY_COSINE] = "cosine",
    [TELEMETRY_FISHER_SCALE_MIN] = "fisher_scale_min",
    [TELEMETRY_FISHER_SCALE_MEDIAN] = "fisher_scale_median",
    [TELEMETRY_FISHER_SCALE_MAX] = "fisher_scale_max",
};
