/* The OpenAPI 3.1 description, out of the routes' table, the job's and the probes'. */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include "base/err.h"
#include "base/spec.h"
#include "base/text.h"

struct route;

/* The caller frees *json. */
int openapi_make(const struct spec_object *job, const struct spec_field *probe, char **json,
                 struct err *err);
/* The default of a field, as JSON. */
void openapi_default(struct text *out, const struct spec_field *field);
/* Members of components.schemas: JobSpec and ProbeSpec, what is submitted, with their kinds. */
void openapi_spec(struct text *out, const struct spec_object *job, const struct spec_field *probe);
/* A member of components.schemas: SweepSpec, what a sweep is submitted as. */
void openapi_sweep(struct text *out);
/* Members of components.schemas: what is answered. */
void openapi_answers(struct text *out);
/* Members of an operation's responses: the problems that the route may answer with. */
void openapi_problems(struct text *out, const struct route *route);
/* Members of components.responses: the problems. */
void openapi_problem_answers(struct text *out);

#endif
