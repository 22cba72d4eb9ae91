/* A settable struct as JSON, every member that applies, in the order of its table. */
#include <stdlib.h>

#include "api/spec_json.h"
#include "json_write.h"

static void write_object(struct text *out, const struct spec_object *object, const char *in,
                         const char *kind);

static void write_list(struct text *out, const struct spec_int_list *list)
{
    json_open(out, '[');
    for (int i = 0; i < list->n; i++)
        json_int(out, list->item[i]);
    json_close(out, ']');
}

static void write_variant(struct text *out, const struct spec_field *field, const char *in)
{
    const struct spec_object *kind = &field->kinds[*(const int *)(const void *)in];

    write_object(out, kind, in, kind->name);
}

static void write_value(struct text *out, const struct spec_field *field, const char *in)
{
    const void *value = in;

    switch (field->type) {
    case SPEC_INT:
        json_int(out, *(const int64_t *)value);
        break;
    case SPEC_REAL:
        json_real(out, *(const double *)value);
        break;
    case SPEC_BOOL:
        json_bool(out, *(const bool *)value);
        break;
    case SPEC_STRING:
        json_string(out, value);
        break;
    case SPEC_CHOICE:
        json_string(out, field->choices[*(const int *)value]);
        break;
    case SPEC_INT_LIST:
        write_list(out, value);
        break;
    case SPEC_OBJECT:
        write_object(out, field->object, in, NULL);
        break;
    case SPEC_VARIANT:
        write_variant(out, field, in);
        break;
    case SPEC_VARIANT_LIST:
        json_open(out, '[');
        for (int i = 0; i < *(const int *)value; i++)
            write_variant(out, field, in + field->item_offset + (size_t)i * field->item_bytes);
        json_close(out, ']');
        break;
    }
}

static void write_object(struct text *out, const struct spec_object *object, const char *in,
                         const char *kind)
{
    json_open(out, '{');
    if (kind)
        json_put_string(out, "kind", kind);
    for (int i = 0; i < object->n_fields; i++) {
        json_key(out, object->fields[i].name);
        write_value(out, &object->fields[i], in + object->fields[i].offset);
    }
    json_close(out, '}');
}

static int take(struct text *out, char **json, struct err *err)
{
    char *text = text_take(out);

    if (!text)
        return err_no_memory(err);
    *json = text;
    return 0;
}

int spec_json_write(const struct spec_object *spec, const void *in, char **json, struct err *err)
{
    struct text out = {0};

    write_object(&out, spec, in, NULL);
    return take(&out, json, err);
}

int spec_json_write_variant(const struct spec_field *field, const void *in, char **json,
                            struct err *err)
{
    struct text out = {0};

    write_variant(&out, field, in);
    return take(&out, json, err);
}
