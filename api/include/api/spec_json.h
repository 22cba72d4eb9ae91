/* JSON to settable struct and back, by the tables of base/spec.h. */
#ifndef API_SPEC_JSON_H
#define API_SPEC_JSON_H

#include <stddef.h>

#include "base/err.h"
#include "base/spec.h"

/* All that is wrong with a text, each with an RFC 6901 pointer. */
struct spec_problem {
    char pointer[160];
    char message[256];
};

#define SPEC_PROBLEMS_MAX 64

struct spec_problems {
    int n; /* those beyond SPEC_PROBLEMS_MAX are counted in `more` only */
    int more;
    struct spec_problem item[SPEC_PROBLEMS_MAX];
};

/* Sets each member of *out that its kinds have, to what is given or to its default; the others are
 * left alone, so the caller zeroes them before. 0; ERR_INVALID when the text is no JSON object or
 * has problems: unknown and doubled members, wrong types, values out of range, missing members.
 * *problems need not be initialised. */
int spec_json_parse(const struct spec_object *spec, const char *json, size_t length, void *out,
                    struct spec_problems *problems, struct err *err);

/* The same for a text that is a VARIANT; its members are set from *out on, not from
 * field->offset. */
int spec_json_parse_variant(const struct spec_field *field, const char *json, size_t length,
                            void *out, struct spec_problems *problems, struct err *err);
int spec_json_write_variant(const struct spec_field *field, const void *in, char **json,
                            struct err *err);

/* The struct as one line of JSON with every member that applies. The caller frees *json. */
int spec_json_write(const struct spec_object *spec, const void *in, char **json, struct err *err);

#endif
