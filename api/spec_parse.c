/* JSON to settable struct. Every member of the struct is set first to its default, then to what
 * was given; what is wrong is noted and the walk goes on, so that one answer names everything. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/spec_json.h"
#include "json_scan.h"
#include "spec_hint.h"
#include "spec_tree.h"
#include "spec_value.h"
#include "utf8.h"

#define INTEGER_MAX 9007199254740991.0 /* 2^53 − 1: every integer up to it is exact in JSON */

/* The place in the document: a chain of names up to the root. */
struct place {
    const struct place *up;
    const char *name;
    const struct spec_object *object; /* that the name is of; NULL: of a list */
};

struct parse {
    struct spec_problems *problems;
};

static size_t put_pointer(const struct place *place, char *out, size_t size)
{
    size_t used;

    if (!place)
        return 0;
    used = put_pointer(place->up, out, size);
    if (used + 1 < size)
        out[used++] = '/';
    for (const char *at = place->name; *at;) {
        size_t n = utf8_length(at, strlen(at));
        char escaped[3] = {'~', *at == '~' ? '0' : '1', 0};
        bool special = *at == '~' || *at == '/';

        n = n ? n : 1;
        if (used + (special ? 2 : n) >= size)
            break;
        memcpy(out + used, special ? escaped : at, special ? 2 : n);
        used += special ? 2 : n;
        at += n;
    }
    out[used] = '\0';
    return used;
}

__attribute__((format(printf, 3, 4))) static void
report(struct parse *parse, const struct place *place, const char *format, ...)
{
    struct spec_problems *problems = parse->problems;
    struct spec_problem *problem;
    va_list arguments;

    if (problems->n == SPEC_PROBLEMS_MAX) {
        problems->more++;
        return;
    }
    problem = &problems->item[problems->n++];
    problem->pointer[0] = '\0';
    put_pointer(place, problem->pointer, sizeof problem->pointer);
    va_start(arguments, format);
    vsnprintf(problem->message, sizeof problem->message, format, arguments);
    va_end(arguments);
}

static bool number_in_range(struct parse *parse, const struct place *place,
                            const struct spec_field *field, const cJSON *item)
{
    bool whole = field->type != SPEC_REAL;
    double value = item->valuedouble;
    char range[128];

    if (!cJSON_IsNumber(item)) {
        report(parse, place, "must be %s", whole ? "an integer" : "a number");
        return false;
    }
    if (!isfinite(value)) {
        report(parse, place, "is too large for a number");
        return false;
    }
    if (whole && (value != floor(value) || fabs(value) > INTEGER_MAX)) {
        report(parse, place,
               value != floor(value)
                   ? "must be an integer"
                   : "is beyond 2^53 - 1, where JSON's integers stop being exact");
        return false;
    }
    if (value < field->min || value > field->max || (field->above_min && value == field->min) ||
        (field->below_max && value == field->max)) {
        spec_range_text(field, range);
        report(parse, place, "must be %s", range);
        return false;
    }
    return true;
}

static void parse_string(struct parse *parse, const struct place *place,
                         const struct spec_field *field, const cJSON *item, char *out)
{
    if (!cJSON_IsString(item)) {
        report(parse, place, "must be a string");
        return;
    }
    if (strlen(item->valuestring) > field->max_length) {
        report(parse, place, "is longer than %zu bytes", field->max_length);
        return;
    }
    for (const char *at = item->valuestring; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            report(parse, place, "has a control character");
            return;
        }
    strcpy(out, item->valuestring);
}

static void parse_choice(struct parse *parse, const struct place *place,
                         const struct spec_field *field, const cJSON *item, int *out)
{
    char names[200];

    if (cJSON_IsString(item))
        for (int i = 0; field->choices[i]; i++)
            if (strcmp(field->choices[i], item->valuestring) == 0) {
                *out = i;
                return;
            }
    spec_choices_text(field, names, sizeof names);
    report(parse, place, "must be one of %s", names);
}

static void parse_list(struct parse *parse, const struct place *place,
                       const struct spec_field *field, const cJSON *item, struct spec_int_list *out)
{
    struct spec_int_list list = {0};
    size_t most =
        field->max_length && field->max_length < SPEC_LIST_MAX ? field->max_length : SPEC_LIST_MAX;
    const cJSON *each;
    int index = 0;
    bool good = true;

    if (!cJSON_IsArray(item)) {
        report(parse, place, "must be a list of integers");
        return;
    }
    if ((size_t)cJSON_GetArraySize(item) > most) {
        report(parse, place, "has more than %zu items", most);
        return;
    }
    cJSON_ArrayForEach(each, item)
    {
        char number[16];
        struct place here = {.up = place, .name = number};

        snprintf(number, sizeof number, "%d", index++);
        if (!number_in_range(parse, &here, field, each))
            good = false;
        else
            list.item[list.n++] = (int64_t)each->valuedouble;
    }
    if (good)
        *out = list;
}

/* `variant`: of which the object is a kind; NULL: of none. */
static void parse_object(struct parse *parse, const struct place *place,
                         const struct spec_object *object, const cJSON *json,
                         const struct spec_field *variant, char *out);

static void parse_variant(struct parse *parse, const struct place *place,
                          const struct spec_field *field, const cJSON *item, char *out)
{
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(item, "kind");
    struct place here = {.up = place, .name = "kind"};
    char names[200];

    if (!cJSON_IsObject(item)) {
        report(parse, place, "must be an object with a \"kind\"");
        return;
    }
    for (int i = 0; cJSON_IsString(kind) && i < field->n_kinds; i++)
        if (strcmp(field->kinds[i].name, kind->valuestring) == 0) {
            *(int *)(void *)out = i;
            parse_object(parse, place, &field->kinds[i], item, field, out);
            return;
        }
    spec_choices_text(field, names, sizeof names);
    report(parse, &here, "%s one of %s", kind ? "must be" : "is missing: it must be", names);
}

/* An item that is wrong leaves the list as short as the items before it, and the walk goes on. */
static void parse_variants(struct parse *parse, const struct place *place,
                           const struct spec_field *field, const cJSON *item, char *out)
{
    int *n = (int *)(void *)out, before = parse->problems->n;
    const cJSON *each;
    int index = 0;

    if (!cJSON_IsArray(item)) {
        report(parse, place, "must be a list of objects with a \"kind\"");
        return;
    }
    if ((size_t)cJSON_GetArraySize(item) > field->max_length) {
        report(parse, place, "has more than %zu items", field->max_length);
        return;
    }
    cJSON_ArrayForEach(each, item)
    {
        char number[16];
        struct place here = {.up = place, .name = number};

        snprintf(number, sizeof number, "%d", index);
        parse_variant(parse, &here, field, each,
                      out + field->item_offset + (size_t)index++ * field->item_bytes);
        if (parse->problems->n == before)
            *n = index;
    }
}

/* A member that was not given. */
static void set_absent(struct parse *parse, const struct place *place,
                       const struct spec_field *field, char *out)
{
    if (field->required) {
        report(parse, place, "is missing");
        return;
    }
    if (field->type == SPEC_OBJECT) {
        parse_object(parse, place, field->object, NULL, NULL, out);
    } else if (field->type == SPEC_VARIANT) {
        *(int *)(void *)out = field->default_kind;
        parse_object(parse, place, &field->kinds[field->default_kind], NULL, field, out);
    }
}

static void parse_field(struct parse *parse, const struct place *place,
                        const struct spec_field *field, const cJSON *item, char *out)
{
    switch (field->type) {
    case SPEC_INT:
        if (number_in_range(parse, place, field, item))
            *(int64_t *)(void *)out = (int64_t)item->valuedouble;
        break;
    case SPEC_REAL:
        if (number_in_range(parse, place, field, item))
            *(double *)(void *)out = item->valuedouble;
        break;
    case SPEC_BOOL:
        if (cJSON_IsBool(item))
            *(bool *)out = cJSON_IsTrue(item);
        else
            report(parse, place, "must be true or false");
        break;
    case SPEC_STRING:
        parse_string(parse, place, field, item, out);
        break;
    case SPEC_CHOICE:
        parse_choice(parse, place, field, item, (int *)(void *)out);
        break;
    case SPEC_INT_LIST:
        parse_list(parse, place, field, item, (struct spec_int_list *)(void *)out);
        break;
    case SPEC_OBJECT:
        if (cJSON_IsObject(item))
            parse_object(parse, place, field->object, item, NULL, out);
        else
            report(parse, place, "must be an object");
        break;
    case SPEC_VARIANT:
        parse_variant(parse, place, field, item, out);
        break;
    case SPEC_VARIANT_LIST:
        parse_variants(parse, place, field, item, out);
        break;
    }
}

/* The nearest place that has such a member: beside it, or further out, but not out of a list. */
static bool find_elsewhere(const struct place *place, char out[160])
{
    char beyond[80];

    for (const struct place *at = place; at && at->object; at = at->up)
        if (spec_hint_place(at->object, place->name, beyond, sizeof beyond)) {
            size_t used = put_pointer(at->up, out, 80);

            snprintf(out + used, 160 - used, "/%s", beyond);
            return true;
        }
    return false;
}

static void report_unknown(struct parse *parse, const struct place *place,
                           const struct spec_field *variant)
{
    const char *says = variant ? " has no such member" : "unknown member", *more = "; known are ";
    char hint[160];

    if (variant && spec_hint_kinds(variant, place->name, hint, sizeof hint))
        more = "; it belongs to ";
    else if (find_elsewhere(place, hint))
        more = "; there is ";
    else if (!spec_hint_names(place->object, hint, sizeof hint))
        more = "", hint[0] = '\0';
    report(parse, place, "%s%s%s%s", variant ? place->object->name : "", says, more, hint);
}

/* Members that the object does not have, and those that come twice. */
static void check_names(struct parse *parse, const struct place *place,
                        const struct spec_object *object, const cJSON *json,
                        const struct spec_field *variant)
{
    uint64_t seen = 0;
    const cJSON *item;

    cJSON_ArrayForEach(item, json)
    {
        struct place here = {.up = place, .name = item->string, .object = object};
        int index = spec_field_find(object, item->string);

        if (variant && strcmp(item->string, "kind") == 0)
            index = 63;
        if (index < 0)
            report_unknown(parse, &here, variant);
        else if (seen >> index & 1)
            report(parse, &here, "is given twice");
        else
            seen |= UINT64_C(1) << index;
    }
}

static bool is_blamed(const struct parse *parse, const struct place *place)
{
    char pointer[sizeof parse->problems->item[0].pointer] = "";

    put_pointer(place, pointer, sizeof pointer);
    for (int i = 0; i < parse->problems->n; i++)
        if (strcmp(parse->problems->item[i].pointer, pointer) == 0)
            return true;
    return false;
}

static bool given_above_zero(const struct spec_object *object, const char *name, const cJSON *json,
                             const char *out)
{
    int index = spec_field_find(object, name);

    return index >= 0 && cJSON_GetObjectItemCaseSensitive(json, name) &&
           *(const int64_t *)(const void *)(out + object->fields[index].offset) > 0;
}

/* A member that another one is given in place of is 0. Where that other one is 0, it says nothing;
 * where it is wrong, this keeps its default, so that nobody complains of what follows from that. */
static void clear_replaced(struct parse *parse, const struct place *place,
                           const struct spec_object *object, const cJSON *json, char *out)
{
    for (int i = 0; i < object->n_fields; i++) {
        const struct spec_field *field = &object->fields[i];
        struct place here = {.up = place, .name = field->name};
        struct place other = {.up = place, .name = field->instead};
        bool good = cJSON_GetObjectItemCaseSensitive(json, field->name) && !is_blamed(parse, &here);

        if (field->instead && !good && given_above_zero(object, field->instead, json, out) &&
            !is_blamed(parse, &other))
            *(int64_t *)(void *)(out + field->offset) = 0;
    }
}

static void parse_object(struct parse *parse, const struct place *place,
                         const struct spec_object *object, const cJSON *json,
                         const struct spec_field *variant, char *out)
{
    if (json)
        check_names(parse, place, object, json, variant);
    for (int i = 0; i < object->n_fields; i++) {
        const struct spec_field *field = &object->fields[i];
        struct place here = {.up = place, .name = field->name, .object = object};
        const cJSON *item = json ? cJSON_GetObjectItemCaseSensitive(json, field->name) : NULL;

        spec_set_default(field, out + field->offset);
        if (item)
            parse_field(parse, &here, field, item, out + field->offset);
        else
            set_absent(parse, &here, field, out + field->offset);
    }
    if (json)
        clear_replaced(parse, place, object, json, out);
}

void spec_tree_parse(const struct spec_object *spec, const cJSON *tree, void *out,
                     struct spec_problems *problems)
{
    struct parse parse = {.problems = problems};

    if (cJSON_IsObject(tree))
        parse_object(&parse, NULL, spec, tree, NULL, out);
    else
        report(&parse, NULL, "must be a JSON object");
}

/* `spec` or, where that is NULL, `variant` says what it is. */
static int parse_text(const struct spec_object *spec, const struct spec_field *variant,
                      const char *json, size_t length, void *out, struct spec_problems *problems,
                      struct err *err)
{
    struct parse parse = {.problems = problems};
    cJSON *tree;
    int rc;

    memset(problems, 0, sizeof *problems);
    rc = json_scan(json, length, err);
    if (rc)
        return rc;
    tree = cJSON_ParseWithLength(json, length);
    if (!tree)
        return err_no_memory(err);
    if (variant)
        parse_variant(&parse, NULL, variant, tree, out);
    else
        spec_tree_parse(spec, tree, out, problems);
    cJSON_Delete(tree);
    if (problems->n > 0)
        return err_set(err, ERR_INVALID, "%s %s", problems->item[0].pointer,
                       problems->item[0].message);
    return 0;
}

int spec_json_parse(const struct spec_object *spec, const char *json, size_t length, void *out,
                    struct spec_problems *problems, struct err *err)
{
    return parse_text(spec, NULL, json, length, out, problems, err);
}

int spec_json_parse_variant(const struct spec_field *field, const char *json, size_t length,
                            void *out, struct spec_problems *problems, struct err *err)
{
    return parse_text(NULL, field, json, length, out, problems, err);
}
