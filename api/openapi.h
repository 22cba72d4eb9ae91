/* The OpenAPI 3.1 description, out of the routes' table and the job's. */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include "base/err.h"
#include "base/spec.h"
#include "base/text.h"

/* The caller frees *json. */
int openapi_make(const struct spec_object *job, char **json, struct err *err);
/* The default of a field, as JSON. */
void openapi_default(struct text *out, const struct spec_field *field);
/* The schema of what a job is submitted as. */
void openapi_spec(struct text *out, const struct spec_object *object, const char *kind);
/* components.schemas of the answers. */
void openapi_answers(struct text *out);

#endif
