/* Cases that run one after the other, each to its end or its first failure, and the report of
 * them: a JSON object a line, so that what was done before an end that nobody planned is told.
 * First the device, then a case each, last how many passed and failed. */
#ifndef TESTS_GPU_HARNESS_H
#define TESTS_GPU_HARNESS_H

#include <stdbool.h>

#include "backend/backend.h"

/* The module's backend with this precision, on the device that was asked for, whose algorithms are
 * chosen without timing them; `gpu_backend_timed`: by timing them. */
const struct backend_class *gpu_backend(enum compute compute);
const struct backend_class *gpu_backend_timed(enum compute compute);
const char *compute_name(enum compute compute);

/* Opens the report and writes what device and versions it is of. `device` is the GPU's number. */
int harness_open(const char *report, int device, struct err *err);
/* Closes it; the number of cases that failed. */
int harness_close(void);

/* Runs a case and writes its line. Within it `harness_error` says how far it was off and how far
 * it may be; a larger error is a failure. */
void harness_case(const char *group, const char *name, void (*run)(void *context), void *context);
void harness_error(double error, double tolerance);

/* The parts of the check. `quick`: a few cases of each, for a host in the place of a GPU. */
void check_operations(bool quick);
void check_derivatives(bool quick);
void check_nets(bool quick);
void check_products(bool quick);
void check_graphs(bool quick);
void check_updates(bool quick);
void check_runs(bool quick);
void check_twice(bool quick);
void check_captured(bool quick);
void check_streams(bool quick);
void check_sizes(bool quick);

#endif
