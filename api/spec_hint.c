#include "spec_hint.h"

#include <stdio.h>

#include "spec_value.h"

static bool has_within(const struct spec_field *field, const char *name)
{
    if (field->type == SPEC_OBJECT)
        return spec_field_find(field->object, name) >= 0;
    for (int i = 0; field->type == SPEC_VARIANT && i < field->n_kinds; i++)
        if (spec_field_find(&field->kinds[i], name) >= 0)
            return true;
    return false;
}

bool spec_hint_place(const struct spec_object *object, const char *name, char *out, size_t size)
{
    if (spec_field_find(object, name) >= 0) {
        snprintf(out, size, "%s", name);
        return true;
    }
    for (int i = 0; i < object->n_fields; i++)
        if (has_within(&object->fields[i], name)) {
            snprintf(out, size, "%s/%s", object->fields[i].name, name);
            return true;
        }
    return false;
}

static bool add(char *out, size_t size, size_t *used, const char *name)
{
    int n = snprintf(out + *used, size - *used, "%s%s", *used ? ", " : "", name);

    if (n < 0 || (size_t)n >= size - *used)
        return false;
    *used += (size_t)n;
    return true;
}

bool spec_hint_kinds(const struct spec_field *variant, const char *name, char *out, size_t size)
{
    size_t used = 0;

    for (int i = 0; i < variant->n_kinds; i++)
        if (spec_field_find(&variant->kinds[i], name) >= 0 &&
            !add(out, size, &used, variant->kinds[i].name))
            return false;
    return used > 0;
}

bool spec_hint_names(const struct spec_object *object, char *out, size_t size)
{
    size_t used = 0;

    for (int i = 0; i < object->n_fields; i++)
        if (!add(out, size, &used, object->fields[i].name))
            return false;
    return used > 0;
}
