/* The grid of a sweep: lists of values by JSON pointer into the job. Its points are all
 * combinations, the last axis varying fastest; they are numbered from 1, as updates and epochs are.
 * Points that differ by their seed only are one row of the sweep's table; rows are numbered from 0.
 */
#ifndef API_SWEEP_GRID_H
#define API_SWEEP_GRID_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/problems.h"
#include "base/spec.h"

#define SWEEP_AXES_MAX     8
#define SWEEP_POINTER_MAX  64      /* bytes of an axis' pointer */
#define SWEEP_VALUES_BYTES 1000000 /* of the values of all rows together, as JSON */

struct sweep_axis {
    const char *pointer; /* borrowed from the tree, as are the values */
    const cJSON *values;
    int n, depth; /* depth: names in the pointer */
};

struct sweep_grid {
    int n_axes, n_points, n_rows;
    struct sweep_axis axis[SWEEP_AXES_MAX];
    int order[SWEEP_AXES_MAX]; /* axes by depth: an axis within another one is set after it */
    int seed;                  /* the axis "/seed", -1: there is none */
};

/* What is wrong is added with a pointer into the grid ("" is the grid itself). False: something
 * was. A grid that was taken once is so again. */
bool sweep_grid_read(const cJSON *grid, struct sweep_grid *out, struct problems *problems);

/* Which value of each axis the point has, from 0. */
void sweep_grid_point(const struct sweep_grid *grid, int point, int index[SWEEP_AXES_MAX]);
/* The point's value of an axis. */
const cJSON *sweep_grid_value(const struct sweep_grid *grid, int point, int axis);
/* The seeds of a row, and its point with the one of number `seed`, from 0. */
int sweep_grid_seeds(const struct sweep_grid *grid);
int sweep_grid_at(const struct sweep_grid *grid, int row, int seed);

enum sweep_set { SWEEP_SET, SWEEP_NO_PLACE, SWEEP_NO_MEMORY };

/* Puts the point's values into the job, in place of what stood there: a value replaces its member
 * wholly. Objects on the way to it that are missing are made; one with a default kind gets that.
 * *axis is the one that had no place. Points may be set one after the other in the same tree. */
enum sweep_set sweep_grid_set(const struct sweep_grid *grid, int point,
                              const struct spec_object *spec, cJSON *job, int *axis);

/* A name as it stands in a pointer: ~ and / escaped, cut where it does not fit. */
void sweep_grid_escape(const char *name, char *out, size_t size);

/* Where in the request a problem of the point's job comes from: a value of the grid or the base
 * job. */
void sweep_grid_blame(const struct sweep_grid *grid, int point, const char *pointer, char *out,
                      size_t size);

/* "sigma 0.01, seed 2", cut to what fits; `seed`: with the seed. */
void sweep_grid_label(const struct sweep_grid *grid, int point, bool seed, char *out, size_t size);

#endif
