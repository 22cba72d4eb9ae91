/* Fills a job from its own tables. */
#include <string.h>

#include "engine/job.h"

static void fill_object(void *at, const struct spec_object *object);

static void fill_field(char *member, const struct spec_field *field)
{
    switch (field->type) {
    case SPEC_OBJECT:
        fill_object(member, field->object);
        break;
    case SPEC_VARIANT:
        if (!field->required)
            *(int *)(void *)member = field->default_kind;
        fill_object(member, &field->kinds[*(int *)(void *)member]);
        break;
    default:
        spec_set_default(field, member);
    }
}

static void fill_object(void *at, const struct spec_object *object)
{
    for (int i = 0; i < object->n_fields; i++)
        fill_field((char *)at + object->fields[i].offset, &object->fields[i]);
}

void engine_job_defaults(struct engine_job *out, int model, int dataset, int method)
{
    memset(out, 0, sizeof *out);
    out->model.kind = model;
    out->dataset.kind = dataset;
    out->method.kind = method;
    fill_object(out, engine_job_spec());
}
