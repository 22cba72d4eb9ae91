/* The tables that describe a job, where one file would be too long: an array a variant, in the
 * order of its enum in engine/job.h. */
#ifndef ENGINE_JOB_TABLES_H
#define ENGINE_JOB_TABLES_H

#include "base/cleanup.h"
#include "engine/job.h"

#define FIELDS(table) .fields = (table), .n_fields = ARRAY_LENGTH(table)
#define KINDS(table)  .kinds = (table), .n_kinds = ARRAY_LENGTH(table)

extern const struct spec_object job_model_kinds[MODEL_KINDS];
extern const struct spec_object job_methods[METHOD_KINDS];
extern const struct spec_object job_optimizers[OPTIMIZER_KINDS];
extern const struct spec_object job_schedules[SCHEDULE_KINDS];
extern const struct spec_object job_probe_kinds[PROBE_KINDS];
extern const struct spec_object job_probe_y; /* a landscape's second axis */

#endif
