/* Reading a grid and setting a point's values. What is said of points is in sweep_grid_words.c. */
#include "sweep_grid.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "db/sweep.h"
#include "json_tree.h"
#include "spec_value.h"

/* ---- Reading ---- */

void sweep_grid_escape(const char *name, char *out, size_t size)
{
    size_t used = 0;

    for (; *name && used + 3 <= size; name++) {
        bool special = *name == '~' || *name == '/';

        if (special)
            out[used++] = '~';
        out[used++] = *name == '~' ? '0' : *name == '/' ? '1' : *name;
    }
    out[used] = '\0';
}

static void blame_axis(struct problems *problems, const char *axis, const char *message)
{
    char pointer[2 * SWEEP_POINTER_MAX + 8], name[2 * SWEEP_POINTER_MAX + 2];

    sweep_grid_escape(axis, name, sizeof name);
    snprintf(pointer, sizeof pointer, "/%s", name);
    problems_add(problems, pointer, "%s", message);
}

/* The number of names in an RFC 6901 pointer; 0 for what is none, or points at the whole job. */
static int depth_of(const char *pointer)
{
    int depth = 0;

    if (*pointer && *pointer != '/')
        return 0;
    for (const char *at = pointer; *at; at++) {
        depth += *at == '/';
        if (*at == '~' && at[1] != '0' && at[1] != '1')
            return 0;
    }
    return depth;
}

static void read_axis(struct problems *problems, struct sweep_grid *grid, const cJSON *item)
{
    struct sweep_axis *axis = &grid->axis[grid->n_axes];

    *axis = (struct sweep_axis){.pointer = item->string, .values = item};
    axis->depth = depth_of(item->string);
    for (int i = 0; i < grid->n_axes; i++)
        if (strcmp(grid->axis[i].pointer, item->string) == 0) {
            blame_axis(problems, item->string, "is given twice");
            return;
        }
    if (strlen(item->string) > SWEEP_POINTER_MAX || axis->depth == 0) {
        blame_axis(problems, item->string,
                   "must be a JSON pointer to a member of the job, such as \"/method/sigma\"");
    } else if (!cJSON_IsArray(item) || !item->child) {
        blame_axis(problems, item->string, "must be a list of at least one value");
    } else {
        axis->n = cJSON_GetArraySize(item);
        if (strcmp(item->string, "/seed") == 0)
            grid->seed = grid->n_axes;
        grid->n_axes++;
    }
}

static void sort_axes(struct sweep_grid *grid)
{
    for (int i = 0; i < grid->n_axes; i++) {
        int at = i;

        for (; at > 0 && grid->axis[grid->order[at - 1]].depth > grid->axis[i].depth; at--)
            grid->order[at] = grid->order[at - 1];
        grid->order[at] = i;
    }
}

/* The values are shown with each row, so that all of that has a bound, too. */
static bool rows_are_short(const struct sweep_grid *grid)
{
    double bytes = 0;

    for (int i = 0; i < grid->n_axes; i++) {
        struct text json = {0};

        if (i == grid->seed)
            continue;
        json_tree(&json, grid->axis[i].values);
        bytes += (double)json.length * grid->n_rows / grid->axis[i].n;
        text_free(&json);
    }
    return bytes <= SWEEP_VALUES_BYTES;
}

static void count_points(struct problems *problems, struct sweep_grid *grid)
{
    double points = 1;

    for (int i = 0; i < grid->n_axes; i++)
        points *= grid->axis[i].n;
    if (points > DB_SWEEP_JOBS_MAX) {
        problems_add(problems, "", "has %.0f points; a sweep has at most %d", points,
                     DB_SWEEP_JOBS_MAX);
        return;
    }
    grid->n_points = (int)points;
    grid->n_rows = grid->n_points / sweep_grid_seeds(grid);
    if (!rows_are_short(grid))
        problems_add(problems, "", "its values are too long for so many points");
}

bool sweep_grid_read(const cJSON *json, struct sweep_grid *out, struct problems *problems)
{
    int before = problems->n;
    const cJSON *item;

    *out = (struct sweep_grid){.seed = -1};
    if (!cJSON_IsObject(json) || !json->child) {
        problems_add(problems, "", "must be an object of lists by JSON pointer, and not empty");
        return false;
    }
    if (cJSON_GetArraySize(json) > SWEEP_AXES_MAX) {
        problems_add(problems, "", "has more than %d axes", SWEEP_AXES_MAX);
        return false;
    }
    cJSON_ArrayForEach(item, json)
    {
        read_axis(problems, out, item);
    }
    if (problems->n == before)
        count_points(problems, out);
    sort_axes(out);
    return problems->n == before;
}

/* ---- Points and rows ---- */

void sweep_grid_point(const struct sweep_grid *grid, int point, int index[SWEEP_AXES_MAX])
{
    int rest = point - 1;

    for (int i = grid->n_axes - 1; i >= 0; i--) {
        index[i] = rest % grid->axis[i].n;
        rest /= grid->axis[i].n;
    }
}

int sweep_grid_seeds(const struct sweep_grid *grid)
{
    return grid->seed >= 0 ? grid->axis[grid->seed].n : 1;
}

int sweep_grid_at(const struct sweep_grid *grid, int row, int seed)
{
    int index[SWEEP_AXES_MAX], point = 0;

    for (int i = grid->n_axes - 1; i >= 0; i--) {
        index[i] = i == grid->seed ? seed : row % grid->axis[i].n;
        row = i == grid->seed ? row : row / grid->axis[i].n;
    }
    for (int i = 0; i < grid->n_axes; i++)
        point = point * grid->axis[i].n + index[i];
    return point + 1;
}

const cJSON *sweep_grid_value(const struct sweep_grid *grid, int point, int axis)
{
    int index[SWEEP_AXES_MAX];

    sweep_grid_point(grid, point, index);
    return cJSON_GetArrayItem(grid->axis[axis].values, index[axis]);
}

/* ---- Setting ---- */

/* The next name of a pointer at its '/', unescaped. */
static const char *next_name(const char *at, char out[SWEEP_POINTER_MAX + 1])
{
    size_t n = 0;

    for (at++; *at && *at != '/' && n < SWEEP_POINTER_MAX; at++) {
        if (*at == '~') {
            at++;
            out[n++] = *at == '0' ? '~' : '/';
        } else {
            out[n++] = *at;
        }
    }
    out[n] = '\0';
    return at;
}

/* An index into a list, written as RFC 6901 wants it; -1: none. */
static int list_index(const cJSON *list, const char *name)
{
    int index = 0;

    if (!*name || strlen(name) > 4 || strspn(name, "0123456789") != strlen(name) ||
        (*name == '0' && name[1]))
        return -1;
    for (; *name; name++)
        index = index * 10 + *name - '0';
    return index < cJSON_GetArraySize(list) ? index : -1;
}

static cJSON *member(const cJSON *at, const char *name)
{
    if (cJSON_IsArray(at))
        return list_index(at, name) < 0 ? NULL : cJSON_GetArrayItem(at, list_index(at, name));
    return cJSON_GetObjectItemCaseSensitive(at, name);
}

static const struct spec_field *field_of(const struct spec_object *spec, const char *name)
{
    int index = spec ? spec_field_find(spec, name) : -1;

    return index < 0 ? NULL : &spec->fields[index];
}

/* What describes the member `json`, as far as that is known. */
static const struct spec_object *spec_of(const struct spec_field *field, const cJSON *json)
{
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(json, "kind");

    if (field && field->type == SPEC_OBJECT)
        return field->object;
    if (!field || field->type != SPEC_VARIANT || !cJSON_IsString(kind))
        return NULL;
    for (int i = 0; i < field->n_kinds; i++)
        if (strcmp(field->kinds[i].name, kind->valuestring) == 0)
            return &field->kinds[i];
    return NULL;
}

static cJSON *add_missing(cJSON *at, const char *name, const struct spec_field *field)
{
    cJSON *made = cJSON_AddObjectToObject(at, name);

    if (made && field && field->type == SPEC_VARIANT && !field->required)
        cJSON_AddStringToObject(made, "kind", field->kinds[field->default_kind].name);
    return made;
}

/* Takes `value` over, unless it fails. */
static enum sweep_set put(cJSON *at, const char *name, cJSON *value)
{
    bool done;

    if (cJSON_IsArray(at) && list_index(at, name) >= 0)
        done = cJSON_ReplaceItemInArray(at, list_index(at, name), value);
    else if (!cJSON_IsObject(at))
        return SWEEP_NO_PLACE;
    else if (cJSON_GetObjectItemCaseSensitive(at, name))
        done = cJSON_ReplaceItemInObjectCaseSensitive(at, name, value);
    else
        done = cJSON_AddItemToObject(at, name, value);
    return done ? SWEEP_SET : SWEEP_NO_MEMORY;
}

static enum sweep_set set_axis(const struct sweep_axis *axis, const cJSON *value,
                               const struct spec_object *spec, cJSON *at)
{
    char name[SWEEP_POINTER_MAX + 1];
    const char *rest = next_name(axis->pointer, name);
    enum sweep_set done;
    cJSON *copy;

    for (; *rest; rest = next_name(rest, name)) {
        const struct spec_field *field = field_of(spec, name);
        cJSON *next = member(at, name);

        if (!next && !cJSON_IsObject(at))
            return SWEEP_NO_PLACE;
        if (!next)
            next = add_missing(at, name, field);
        if (!next)
            return SWEEP_NO_MEMORY;
        spec = spec_of(field, next);
        at = next;
    }
    copy = cJSON_Duplicate(value, true);
    if (!copy)
        return SWEEP_NO_MEMORY;
    done = put(at, name, copy);
    if (done != SWEEP_SET)
        cJSON_Delete(copy);
    return done;
}

enum sweep_set sweep_grid_set(const struct sweep_grid *grid, int point,
                              const struct spec_object *spec, cJSON *job, int *axis)
{
    enum sweep_set done = SWEEP_SET;

    for (int i = 0; done == SWEEP_SET && i < grid->n_axes; i++) {
        *axis = grid->order[i];
        done = set_axis(&grid->axis[*axis], sweep_grid_value(grid, point, *axis), spec, job);
    }
    return done;
}
