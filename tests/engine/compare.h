/* The same graph on two backends: what every backend's comparison with the reference has in common.
 */
#ifndef TESTS_ENGINE_COMPARE_H
#define TESTS_ENGINE_COMPARE_H

#include "support.h"

/* relative_error; 0 where the wanted is zero but for rounding, and so is what there is. */
double tensor_error(const double *got, const double *want, size_t n);
/* ‖got − want‖/‖want‖; NaN where both are nothing. */
double whole_error(const double *got, const double *want, size_t n);

/* What compare_tensors is about: "gradient of". */
struct compared {
    const char *what, *kind;
    const struct layout *layout;
    const struct graph_tensor *tensors; /* one a tensor of the layout, for their names */
};
/* Each tensor of a flat array: its tensor_error ≤ tolerance. */
void compare_tensors(const struct compared *compared, const double *got, const double *want,
                     double tolerance);

/* Runs one pass of each, both filled, and compares outputs, gradients and states, relative to the
 * largest number of each. Running statistics are moved where the graph has some. */
void compare_passes(const char *what, struct trial *got, struct trial *want, double tolerance);

/* Appends derivatives by all inputs so far of output 0, with dy as one more input; they become
 * outputs. Parameters get their gradients too. */
void add_derivatives(struct graph *graph);

#endif
