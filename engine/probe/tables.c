/* What each kind of probe results in: names and meanings of tables and columns. */
#include "probe/tables.h"

#include "base/cleanup.h"
#include "engine/probe.h"

#define COLUMNS(table) .n_columns = ARRAY_LENGTH(table), .columns = (table)

#define LOSS                                                                                       \
    {                                                                                              \
        "loss", "Mean loss over the samples, at the checkpoint.", false                            \
    }
#define TOP1                                                                                       \
    {                                                                                              \
        "top1", "Share of the samples that the checkpoint classifies right.", false                \
    }
#define GRADIENT_NORM                                                                              \
    {                                                                                              \
        "gradient_norm", "‖∇L‖₂ of the mean loss at the checkpoint, without weight decay.", false  \
    }
#define SIZES                                                                                      \
    {"samples", "Samples that the loss is the mean over.", true},                                  \
    {                                                                                              \
        "parameters", "Trainable numbers of the model.", true                                      \
    }

/* spectrum */

#define PARAMETER(more)                                                                            \
    {                                                                                              \
        "parameter",                                                                               \
            "Number of the parameter, from 0, in the order of the checkpoint's file (and of "      \
            "vectors) without batch norm's statistics: running_mean, running_var and "             \
            "num_batches_tracked do not count" more,                                               \
            true                                                                                   \
    }

static const struct probe_column spectrum_summary[] = {
    LOSS,
    TOP1,
    GRADIENT_NORM,
    {"lambda_max", "Largest eigenvalue, of the last run.", false},
    {"lambda_max_residual",
     "‖Hv − λv‖₂ of it, as the iteration has it: an eigenvalue is at most that far away, and what "
     "the products' rounding adds (in fp32 about a millionth of the largest).",
     false},
    {"lambda_min", "Smallest eigenvalue, of the last run.", false},
    {"lambda_min_residual", "‖Hv − λv‖₂ of it.", false},
    {"trace", "Estimate of the trace.", false},
    {"trace_standard_error", "Its standard error, over the draws.", false},
    SIZES,
    {"products", "Products of the Hessian with a vector that it took.", true},
};

static const struct probe_column nodes[] = {
    {"run", "Lanczos run, from 0.", true},
    {"value", "Node of the quadrature: a Ritz value.", false},
    {"weight", "Its weight; those of a run sum to 1.", false},
    {"residual", "‖Hv − λv‖₂ of the Ritz pair.", false},
};

static const struct probe_column density[] = {
    {"value", "λ.", false},
    {"density", "Density of the eigenvalues there; integrates to 1.", false},
};

static const struct probe_column eigenvalues[] = {
    {"number", "From 1, the largest.", true},
    {"value", "λ, from the last run.", false},
    {"residual", "‖Hv − λv‖₂, as lambda_max_residual.", false},
};

static const struct probe_column steps[] = {
    {"run", "Lanczos run, from 0.", true},
    {"step", "From 1.", true},
    {"alpha", "Diagonal element of the tridiagonal matrix.", false},
    {"beta", "Element beside it, between this step and the next.", false},
};

static const struct probe_column draws[] = {
    {"draw", "From 0.", true},
    {"part",
     "0: qᵀHq of a vector of hutch++'s subspace, which adds up; 1: a random vector's "
     "estimate, which is averaged.",
     true},
    PARAMETER("; the one that it is the block of; −1: the whole Hessian."),
    {"value", "Estimate of the trace (of its part).", false},
};

static const struct probe_column layers[] = {
    PARAMETER("."),
    {"size", "Numbers that it has.", true},
    {"trace", "Estimate of the trace of its block of the Hessian; NaN with trace_draws 0.", false},
    {"trace_standard_error", "Its standard error.", false},
    {"lambda_max",
     "Largest eigenvalue of its block; it and what follows are NaN, as not measured, unless layers "
     "is spectrum.",
     false},
    {"lambda_max_residual", "Its residual.", false},
    {"lambda_min", "Smallest eigenvalue of its block.", false},
    {"lambda_min_residual", "Its residual.", false},
};

static const struct probe_column layer_nodes[] = {
    PARAMETER("."),
    {"run", "Lanczos run, from 0.", true},
    {"value", "Node of the quadrature.", false},
    {"weight", "Its weight; those of a run sum to 1.", false},
    {"residual", "‖Hv − λv‖₂ of the Ritz pair.", false},
};

static const struct probe_table spectrum[SPECTRUM_TABLES] = {
    [SPECTRUM_SUMMARY] = {"summary", "The spectrum in a few numbers.", false,
                          COLUMNS(spectrum_summary)},
    [SPECTRUM_NODES] = {"nodes", "The quadrature's nodes, ascending in each run.", false,
                        COLUMNS(nodes)},
    [SPECTRUM_DENSITY] = {"density",
                          "The eigenvalues' density: the mean over the runs of "
                          "Gaussians at the nodes.",
                          false, COLUMNS(density)},
    [SPECTRUM_EIGENVALUES] = {"eigenvalues", "The largest eigenvalues.", false,
                              COLUMNS(eigenvalues)},
    [SPECTRUM_STEPS] = {"steps", "The runs' tridiagonal matrices, step by step.", false,
                        COLUMNS(steps)},
    [SPECTRUM_DRAWS] = {"draws", "What the trace is estimated from.", false, COLUMNS(draws)},
    [SPECTRUM_LAYERS] = {"layers", "The blocks of the Hessian that belong to one parameter.", false,
                         COLUMNS(layers)},
    [SPECTRUM_LAYER_NODES] = {"layer_nodes", "The quadratures' nodes of the blocks.", false,
                              COLUMNS(layer_nodes)},
};

/* landscape */

static const struct probe_column landscape_summary[] = {
    LOSS,
    TOP1,
    {"loss_min", "Lowest loss of the grid.", false},
    {"x_min", "Where it is.", false},
    {"y_min", "Where it is.", false},
    {"loss_max", "Highest loss of the grid.", false},
    {"x_norm", "‖·‖₂ of the first direction.", false},
    {"y_norm", "‖·‖₂ of the second direction.", false},
    {"cosine", "Of the angle between the two.", false},
    {"points", "Points of the grid.", true},
    SIZES,
};

static const struct probe_column landscape_points[] = {
    {"x", "Place along the first direction, in its lengths.", false},
    {"y", "Place along the second one; 0 where there is none.", false},
    {"loss", "Mean loss over the samples.", false},
    {"top1", "Share of the samples that are classified right.", false},
    {"top5", "Share whose label is among the best five.", false},
};

static const struct probe_table landscape[LANDSCAPE_TABLES] = {
    [LANDSCAPE_SUMMARY] = {"summary", "The grid in a few numbers.", false,
                           COLUMNS(landscape_summary)},
    [LANDSCAPE_POINTS] = {"points", "The grid, x running fastest.", false,
                          COLUMNS(landscape_points)},
};

/* radius */

static const struct probe_column radius_summary[] = {
    LOSS,
    TOP1,
    GRADIENT_NORM,
    {"weights_norm", "‖w‖₂ of all parameters.", false},
    {"suggested_sigma", "σ that is suggested for training.", false},
    {"suggested_radius", "‖ε‖₂ of the noise at that σ, on average.", false},
    {"training_loss",
     "For the suggestion: loss at the checkpoint as training sees it, batches "
     "with their own statistics.",
     false},
    {"guessing_loss", "For the suggestion: loss of one who knows nothing, ln(classes).", false},
    SIZES,
    {"draws", "Random perturbations a point.", true},
};

#define PERTURBATION                                                                               \
    {                                                                                              \
        "perturbation", "0: plain, 1: filterwise, 2: adaptive, 3: adversarial.", true              \
    }

static const struct probe_column radius_points[] = {
    PERTURBATION,
    {"radius", "‖ε‖₂ over all parameters.", false},
    {"relative_radius", "‖ε‖₂/‖w‖₂.", false},
    {"sigma", "σ that gives the filter-wise noise this length, on average over the draws.", false},
    {"loss", "Mean loss at w + ε, over samples and draws.", false},
    {"standard_error", "Of that loss, over the draws.", false},
    {"top1", "Share of the samples that are classified right, over the draws.", false},
    {"draws", "Passes over the samples that it is the mean of.", true},
};

static const struct probe_column radius_draws[] = {
    PERTURBATION,
    {"point", "Number of the radius, from 0.", true},
    {"draw", "From 0.", true},
    {"sigma", "σ of this draw.", false},
    {"loss", "Mean loss over the samples.", false},
    {"top1", "Share of the samples that are classified right.", false},
};

static const struct probe_column radius_sigmas[] = {
    {"sigma", "σ of the noise.", false},
    {"radius", "‖ε‖₂, on average over the draws.", false},
    {"loss", "Mean loss at w + ε, as training sees it.", false},
    {"standard_error", "Of that loss, over the draws.", false},
    {"rise", "That loss less the checkpoint's.", false},
    {"share", "The rise as a share of what the checkpoint has learnt.", false},
};

static const struct probe_column radius_sigma_draws[] = {
    {"point", "Number of the sigma, from 0; −1: no noise.", true},
    {"draw", "From 0.", true},
    {"radius", "‖ε‖₂.", false},
    {"loss", "Mean loss over the samples.", false},
};

static const struct probe_table radius[RADIUS_TABLES] = {
    [RADIUS_SUMMARY] = {"summary", "The checkpoint, and the suggestion.", false,
                        COLUMNS(radius_summary)},
    [RADIUS_POINTS] = {"points", "Expected loss over the radius.", false, COLUMNS(radius_points)},
    [RADIUS_DRAWS] = {"draws", "Each perturbation that was measured.", false,
                      COLUMNS(radius_draws)},
    [RADIUS_SIGMAS] = {"sigmas", "What the suggestion follows from: expected loss over sigma.",
                       false, COLUMNS(radius_sigmas)},
    [RADIUS_SIGMA_DRAWS] = {"sigma_draws", "Each perturbation that the suggestion has measured.",
                            true, COLUMNS(radius_sigma_draws)},
};

/* sharpness */

static const struct probe_column sharpness_summary[] = {
    LOSS,
    TOP1,
    GRADIENT_NORM,
    {"rho", "ρ.", false},
    {"worst_loss", "Mean loss a step of length rho up along the gradient.", false},
    {"worst_rise", "By how much that is above the loss: SAM's sharpness.", false},
    {"sigma", "σ.", false},
    {"average_loss", "Mean loss at w + ε, over samples and draws.", false},
    {"average_rise", "By how much that is above the loss.", false},
    {"average_standard_error", "Standard error of the two, over the draws.", false},
    {"average_top1", "Share of the samples that are classified right at w + ε.", false},
    SIZES,
    {"draws", "Random perturbations.", true},
};

static const struct probe_column sharpness_draws[] = {
    {"draw", "From 0.", true},
    {"radius", "‖ε‖₂.", false},
    {"loss", "Mean loss over the samples at w + ε.", false},
    {"top1", "Share of the samples that are classified right there.", false},
};

static const struct probe_table sharpness[SHARPNESS_TABLES] = {
    [SHARPNESS_SUMMARY] = {"summary", "The rises.", false, COLUMNS(sharpness_summary)},
    [SHARPNESS_DRAWS] = {"draws", "Each random perturbation.", false, COLUMNS(sharpness_draws)},
};

const struct probe_table *engine_probe_tables(int kind, int *n)
{
    static const struct {
        int n;
        const struct probe_table *tables;
    } kinds[PROBE_KINDS] = {
        [PROBE_SPECTRUM] = {SPECTRUM_TABLES, spectrum},
        [PROBE_LANDSCAPE] = {LANDSCAPE_TABLES, landscape},
        [PROBE_RADIUS] = {RADIUS_TABLES, radius},
        [PROBE_SHARPNESS] = {SHARPNESS_TABLES, sharpness},
    };

    *n = kinds[kind].n;
    return kinds[kind].tables;
}
