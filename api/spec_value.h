/* Small questions about the tables of base/spec.h. */
#ifndef API_SPEC_VALUE_H
#define API_SPEC_VALUE_H

#include <stddef.h>

#include "base/spec.h"

/* Its place in the object; -1: it has none of that name. */
int spec_field_find(const struct spec_object *object, const char *name);

/* "from 0 to 1", "above 0 and at most 100", … */
void spec_range_text(const struct spec_field *field, char out[128]);

/* The names of a CHOICE or of a VARIANT's kinds, "sgd, sam, rwp"; cut where it is too long. */
void spec_choices_text(const struct spec_field *field, char *out, size_t size);

#endif
