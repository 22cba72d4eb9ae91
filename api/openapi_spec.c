/* JSON Schema of a settable struct. Each kind of a variant is a schema of its own among the
 * components, named "member.kind": a discriminator can only map to those. */
#include <stdio.h>

#include "db/sweep.h"
#include "json_write.h"
#include "openapi.h"
#include "sweep_grid.h"

static void default_object(struct text *out, const struct spec_object *object, const char *kind)
{
    json_open(out, '{');
    if (kind)
        json_put_string(out, "kind", kind);
    for (int i = 0; i < object->n_fields; i++)
        if (!object->fields[i].required) {
            json_key(out, object->fields[i].name);
            openapi_default(out, &object->fields[i]);
        }
    json_close(out, '}');
}

void openapi_default(struct text *out, const struct spec_field *field)
{
    switch (field->type) {
    case SPEC_INT:
        json_int(out, (int64_t)field->number);
        break;
    case SPEC_REAL:
        json_real(out, field->number);
        break;
    case SPEC_BOOL:
        json_bool(out, field->number != 0);
        break;
    case SPEC_STRING:
        json_string(out, field->text ? field->text : "");
        break;
    case SPEC_CHOICE:
        json_string(out, field->choices[(int)field->number]);
        break;
    case SPEC_INT_LIST:
        json_open(out, '[');
        for (int i = 0; i < field->list.n; i++)
            json_int(out, field->list.item[i]);
        json_close(out, ']');
        break;
    case SPEC_OBJECT:
        default_object(out, field->object, NULL);
        break;
    case SPEC_VARIANT:
        default_object(out, &field->kinds[field->default_kind],
                       field->kinds[field->default_kind].name);
        break;
    case SPEC_VARIANT_LIST:
        json_raw(out, "[]");
        break;
    }
}

static void put_range(struct text *out, const struct spec_field *field)
{
    json_put_string(out, "type", field->type == SPEC_REAL ? "number" : "integer");
    json_put_real(out, field->above_min ? "exclusiveMinimum" : "minimum", field->min);
    json_put_real(out, field->below_max ? "exclusiveMaximum" : "maximum", field->max);
}

static void put_variant(struct text *out, const struct spec_field *field)
{
    json_key(out, "oneOf");
    json_open(out, '[');
    for (int i = 0; i < field->n_kinds; i++) {
        json_open(out, '{');
        json_key(out, "$ref");
        text_append(out, "\"#/components/schemas/%s.%s\"", field->name, field->kinds[i].name);
        json_close(out, '}');
    }
    json_close(out, ']');
    json_key(out, "discriminator");
    json_open(out, '{');
    json_put_string(out, "propertyName", "kind");
    json_key(out, "mapping");
    json_open(out, '{');
    for (int i = 0; i < field->n_kinds; i++) {
        json_key(out, field->kinds[i].name);
        text_append(out, "\"#/components/schemas/%s.%s\"", field->name, field->kinds[i].name);
    }
    json_close(out, '}');
    json_close(out, '}');
}

static void put_list(struct text *out, const struct spec_field *field)
{
    json_put_string(out, "type", "array");
    json_put_int(out, "maxItems", field->max_length ? (int64_t)field->max_length : SPEC_LIST_MAX);
    json_key(out, "items");
    json_open(out, '{');
    put_range(out, field);
    json_close(out, '}');
}

static void put_choice(struct text *out, const struct spec_field *field)
{
    json_put_string(out, "type", "string");
    json_key(out, "enum");
    json_open(out, '[');
    for (int i = 0; field->choices[i]; i++)
        json_string(out, field->choices[i]);
    json_close(out, ']');
}

static void put_members(struct text *out, const struct spec_object *object, const char *kind);

static void put_type(struct text *out, const struct spec_field *field)
{
    switch (field->type) {
    case SPEC_INT:
    case SPEC_REAL:
        put_range(out, field);
        break;
    case SPEC_BOOL:
        json_put_string(out, "type", "boolean");
        break;
    case SPEC_STRING:
        json_put_string(out, "type", "string");
        json_put_int(out, "maxLength", (int64_t)field->max_length);
        break;
    case SPEC_CHOICE:
        put_choice(out, field);
        break;
    case SPEC_INT_LIST:
        put_list(out, field);
        break;
    case SPEC_OBJECT:
        put_members(out, field->object, NULL);
        break;
    case SPEC_VARIANT:
        put_variant(out, field);
        break;
    case SPEC_VARIANT_LIST:
        json_put_string(out, "type", "array");
        json_put_int(out, "maxItems", (int64_t)field->max_length);
        json_key(out, "items");
        json_open(out, '{');
        put_variant(out, field);
        json_close(out, '}');
        break;
    }
}

static void put_field(struct text *out, const struct spec_field *field)
{
    json_key(out, field->name);
    json_open(out, '{');
    if (field->doc)
        json_put_string(out, "description", field->doc);
    put_type(out, field);
    if (!field->required) {
        json_key(out, "default");
        openapi_default(out, field);
    }
    json_close(out, '}');
}

static void put_members(struct text *out, const struct spec_object *object, const char *kind)
{
    json_put_string(out, "type", "object");
    json_put_bool(out, "additionalProperties", false);
    json_key(out, "properties");
    json_open(out, '{');
    if (kind) {
        json_key(out, "kind");
        json_open(out, '{');
        json_put_string(out, "const", kind);
        json_close(out, '}');
    }
    for (int i = 0; i < object->n_fields; i++)
        put_field(out, &object->fields[i]);
    json_close(out, '}');
    json_key(out, "required");
    json_open(out, '[');
    if (kind)
        json_string(out, "kind");
    for (int i = 0; i < object->n_fields; i++)
        if (object->fields[i].required)
            json_string(out, object->fields[i].name);
    json_close(out, ']');
}

static void put_schema(struct text *out, const struct spec_object *object, const char *kind)
{
    json_open(out, '{');
    if (object->doc)
        json_put_string(out, "description", object->doc);
    put_members(out, object, kind);
    json_close(out, '}');
}

static void put_variants(struct text *out, const struct spec_field *field);

static void put_kinds(struct text *out, const struct spec_object *object)
{
    for (int i = 0; i < object->n_fields; i++) {
        const struct spec_field *field = &object->fields[i];

        put_variants(out, field);
        if (field->type == SPEC_OBJECT)
            put_kinds(out, field->object);
    }
}

/* Nothing where it is no variant. */
static void put_variants(struct text *out, const struct spec_field *field)
{
    for (int j = 0; j < field->n_kinds; j++) {
        char name[80];

        snprintf(name, sizeof name, "%s.%s", field->name, field->kinds[j].name);
        json_key(out, name);
        put_schema(out, &field->kinds[j], field->kinds[j].name);
        put_kinds(out, &field->kinds[j]);
    }
}

void openapi_spec(struct text *out, const struct spec_object *job, const struct spec_field *probe)
{
    json_key(out, "JobSpec");
    put_schema(out, job, NULL);
    put_kinds(out, job);
    json_key(out, "ProbeSpec");
    json_open(out, '{');
    json_put_string(out, "description", probe->doc);
    put_variant(out, probe);
    json_close(out, '}');
    put_variants(out, probe);
}

void openapi_sweep(struct text *out)
{
    json_key(out, "SweepSpec");
    text_append(
        out,
        "{\"description\":\"A base job and a grid of changes: a job for each combination of "
        "values.\","
        "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
        "\"name\":{\"type\":\"string\",\"maxLength\":200,\"default\":\"\"},"
        "\"max_running\":{\"description\":\"Most of its jobs that run at a time; 0: as many as "
        "there "
        "are workers.\",\"type\":\"integer\",\"minimum\":0,\"maximum\":%d,\"default\":0},"
        "\"job\":{\"description\":\"As JobSpec, but for what the grid gives. Jobs without a name "
        "are "
        "named after their values.\",\"type\":\"object\"},"
        "\"grid\":{\"description\":\"Lists of values by JSON pointer into the job: "
        "{\\\"/method/sigma\\\":[0.01,0.02],\\\"/seed\\\":[1,2]}. A value replaces its member "
        "wholly, whatever that is; a pointer within another's is set after it. The points are all "
        "combinations, the last list varying fastest; together at most %d.\","
        "\"type\":\"object\",\"minProperties\":1,\"maxProperties\":%d,\"additionalProperties\":"
        "{\"type\":\"array\",\"minItems\":1,\"maxItems\":%d}}},\"required\":[\"job\",\"grid\"]}",
        DB_SWEEP_JOBS_MAX, DB_SWEEP_JOBS_MAX, SWEEP_AXES_MAX, DB_SWEEP_JOBS_MAX);
}
