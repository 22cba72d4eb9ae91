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

void spec_set_default(const struct spec_field *field, void *out)
{
    switch (field->type) {
    case SPEC_INT:
        *(int64_t *)out = (int64_t)field->number;
        break;
    case SPEC_REAL:
        *(double *)out = field->number;
        break;
    case SPEC_BOOL:
        *(bool *)out = field->number != 0;
        break;
    case SPEC_STRING:
        snprintf(out, field->max_length + 1, "%s", field->text ? field->text : "");
        break;
    case SPEC_CHOICE:
        *(int *)out = (int)field->number;
        break;
    case SPEC_INT_LIST:
        *(struct spec_int_list *)out = field->list;
        break;
    case SPEC_VARIANT_LIST:
        *(int *)out = 0;
        break;
    case SPEC_OBJECT:
    case SPEC_VARIANT:
        break;
    }
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
