#include "base/spec.h"

#include <stdio.h>

void spec_set_default(const struct spec_field *field, void *member)
{
    switch (field->type) {
    case SPEC_INT:
        *(int64_t *)member = (int64_t)field->number;
        break;
    case SPEC_REAL:
        *(double *)member = field->number;
        break;
    case SPEC_BOOL:
        *(bool *)member = field->number != 0;
        break;
    case SPEC_STRING:
        snprintf(member, field->max_length + 1, "%s", field->text ? field->text : "");
        break;
    case SPEC_CHOICE:
        *(int *)member = (int)field->number;
        break;
    case SPEC_INT_LIST:
        *(struct spec_int_list *)member = field->list;
        break;
    case SPEC_VARIANT_LIST:
        *(int *)member = 0;
        break;
    case SPEC_OBJECT:
    case SPEC_VARIANT:
        break;
    }
}
