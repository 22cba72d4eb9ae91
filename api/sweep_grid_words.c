/* What is said of a grid's points: where a problem comes from, and what tells a point from others.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "sweep_grid.h"

/* ---- Blame ---- */

/* Whether `inner` is `outer` or a place within it. */
static bool lies_within(const char *inner, const char *outer)
{
    size_t n = strlen(outer);

    return strncmp(inner, outer, n) == 0 && (inner[n] == '\0' || inner[n] == '/');
}

/* The innermost axis that has the place within it; else one that lies within the place; -1. */
static int axis_of(const struct sweep_grid *grid, const char *pointer)
{
    for (int i = grid->n_axes - 1; i >= 0; i--)
        if (lies_within(pointer, grid->axis[grid->order[i]].pointer))
            return grid->order[i];
    for (int i = 0; *pointer && i < grid->n_axes; i++)
        if (lies_within(grid->axis[i].pointer, pointer))
            return i;
    return -1;
}

void sweep_grid_blame(const struct sweep_grid *grid, int point, const char *pointer, char *out,
                      size_t size)
{
    char name[2 * SWEEP_POINTER_MAX + 2];
    int index[SWEEP_AXES_MAX], axis = axis_of(grid, pointer);
    const char *rest = "";

    if (axis < 0) {
        snprintf(out, size, "/job%s", pointer);
        return;
    }
    sweep_grid_point(grid, point, index);
    sweep_grid_escape(grid->axis[axis].pointer, name, sizeof name);
    if (lies_within(pointer, grid->axis[axis].pointer))
        rest = pointer + strlen(grid->axis[axis].pointer);
    snprintf(out, size, "/grid/%s/%d%s", name, index[axis], rest);
}

/* ---- Labels ---- */

/* Enough of a text; what comes later is cut anyway. */
#define LABEL_ENOUGH 512

static void put_value(struct text *out, const cJSON *value);

/* "m-rwp (sigma 0.15, lambda 0.5)" */
static void put_kind(struct text *out, const cJSON *value, const cJSON *kind)
{
    const char *before = " (";
    const cJSON *item;

    text_append(out, "%s", kind->valuestring);
    cJSON_ArrayForEach(item, value)
    {
        if (item == kind || out->length > LABEL_ENOUGH)
            continue;
        text_append(out, "%s%.64s ", before, item->string);
        put_value(out, item);
        before = ", ";
    }
    if (*before == ',')
        text_append(out, ")");
}

static void put_value(struct text *out, const cJSON *value)
{
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(value, "kind");
    union {
        const cJSON *read_only;
        cJSON *any; /* the printer leaves it as it is */
    } item = {.read_only = value};
    char json[LABEL_ENOUGH];

    text_number(value->valuedouble, json);
    if (cJSON_IsString(value))
        text_append(out, "%s", value->valuestring);
    else if (cJSON_IsNumber(value))
        text_append(out, "%s", json);
    else if (cJSON_IsString(kind))
        put_kind(out, value, kind);
    else
        text_append(out, "%s",
                    cJSON_PrintPreallocated(item.any, json, sizeof json, false) ? json : "…");
}

void sweep_grid_label(const struct sweep_grid *grid, int point, bool seed, char *out, size_t size)
{
    struct text text = {0};
    size_t n;

    for (int i = 0; i < grid->n_axes && text.length < LABEL_ENOUGH; i++) {
        const cJSON *value = sweep_grid_value(grid, point, i);
        bool kind = cJSON_IsString(cJSON_GetObjectItemCaseSensitive(value, "kind"));

        if (i == grid->seed && !seed)
            continue;
        text_append(&text, "%s", text.length ? ", " : "");
        if (!kind)
            text_append(&text, "%s ", strrchr(grid->axis[i].pointer, '/') + 1);
        put_value(&text, value);
    }
    n = text.length < size ? text.length : size - 1;
    while (n < text.length && n > 0 && ((unsigned char)text.data[n] & 0xc0) == 0x80)
        n--; /* not in the middle of a UTF-8 sequence */
    memcpy(out, text.data ? text.data : "", n);
    out[n] = '\0';
    text_free(&text);
}
