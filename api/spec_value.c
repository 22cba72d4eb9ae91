/* What the tables of base/spec.h say, as values and as words. */
#include "spec_value.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

int spec_field_find(const struct spec_object *object, const char *name)
{
    for (int i = 0; i < object->n_fields; i++)
        if (strcmp(object->fields[i].name, name) == 0)
            return i;
    return -1;
}

void spec_range_text(const struct spec_field *field, char out[128])
{
    char low[TEXT_NUMBER_BYTES], high[TEXT_NUMBER_BYTES];

    if (field->type == SPEC_REAL) {
        text_number(field->min, low);
        text_number(field->max, high);
    } else {
        snprintf(low, sizeof low, "%lld", (long long)field->min);
        snprintf(high, sizeof high, "%lld", (long long)field->max);
    }
    snprintf(out, 128, "%s %s and %s %s", field->above_min ? "above" : "at least", low,
             field->below_max ? "below" : "at most", high);
}

void spec_choices_text(const struct spec_field *field, char *out, size_t size)
{
    size_t used = 0;
    bool variant = field->type == SPEC_VARIANT || field->type == SPEC_VARIANT_LIST;

    out[0] = '\0';
    for (int i = 0; variant ? i < field->n_kinds : field->choices[i] != NULL; i++) {
        const char *name = variant ? field->kinds[i].name : field->choices[i];
        int n = snprintf(out + used, size - used, "%s%s", i ? ", " : "", name);

        if (n < 0 || (size_t)n >= size - used)
            return;
        used += (size_t)n;
    }
}
