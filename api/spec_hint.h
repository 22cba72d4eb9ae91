/* What to say of a member that is not there. */
#ifndef API_SPEC_HINT_H
#define API_SPEC_HINT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/spec.h"

/* Where the object has a member of this name: "name", or in one of its objects or in any kind of
 * its variants "augment/name". False: nowhere. */
bool spec_hint_place(const struct spec_object *object, const char *name, char *out, size_t size);

/* The kinds of the variant that have such a member, "a, b, c". False: none has, or too many for
 * `out`. */
bool spec_hint_kinds(const struct spec_field *variant, const char *name, char *out, size_t size);

/* The names of its members, "a, b, c". False: there are none, or too many for `out`. */
bool spec_hint_names(const struct spec_object *object, char *out, size_t size);

#endif
