/* Parts of the job's description that have files of their own. */
#ifndef ENGINE_JOB_SPEC_PARTS_H
#define ENGINE_JOB_SPEC_PARTS_H

#include "engine/job.h"

#define FIELDS(table) .fields = (table), .n_fields = ARRAY_LENGTH(table)
#define KINDS(table)  .kinds = (table), .n_kinds = ARRAY_LENGTH(table)

extern const struct spec_object job_model_kinds[MODEL_KINDS];

#endif
