/* Cases that run one after the other, each to its end or its first failure, and the report of
 * them: one JSON object. */
#ifndef TESTS_GPU_HARNESS_H
#define TESTS_GPU_HARNESS_H

#include <stdbool.h>

#include "backend/backend.h"

/* The module's backend with this precision; on the device that was asked for. */
const struct backend_class *gpu_backend(enum compute compute);
const char *compute_name(enum compute compute);

/* Opens the report and writes what device and versions it is of. `device` is the GPU's number. */
int harness_open(const char *report, int device, struct err *err);
/* Closes it; the number of cases that failed. */
int harness_close(void);

/* Runs a case and writes its line. Within it `harness_error` says how far it was off and how far
 * it may be; a larger error is a failure. */
void harness_case(const char *group, const char *name, void (*run)(void *context), void *context);
void harness_error(double error, double tolerance);

/* A measurement, which neither passes nor fails: `json` is its members. */
void harness_measured(const char *json);

/* The parts of the report. */
void check_operations(bool quick);
void check_graphs(void);
void check_runs(bool quick);
void measure_speed(void);

#endif
