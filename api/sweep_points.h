/* The jobs of a sweep's points, out of the base job and the grid. */
#ifndef API_SWEEP_POINTS_H
#define API_SWEEP_POINTS_H

#include "api/spec_json.h"
#include "http.h"
#include "sweep_grid.h"

struct sweep_points {
    const struct api *api;
    const struct sweep_grid *grid;
    cJSON *base; /* the points are set in it, one after the other */
    int n;
    char *asked;         /* n jobs as they were asked for */
    char *jobs;          /* the same with what the service fills in */
    char **specs;        /* those as JSON */
    char (*digests)[65]; /* of the jobs as asked for, without names of ours */
    struct api_submission *submissions;
    struct spec_problems *found;      /* of one point */
    struct spec_problems *off;        /* settings that say nothing in any point so far */
    struct spec_problems *silent;     /* those that say nothing in a point where they are set */
    int silent_at[SPEC_PROBLEMS_MAX]; /* the first such point */
};

int sweep_points_open(struct sweep_points *out, const struct api *api,
                      const struct sweep_grid *grid, cJSON *base, struct err *err);
void sweep_points_close(struct sweep_points *points);

/* Makes the jobs as they are asked for. What is wrong is added to *problems, with pointers into the
 * request and the first point that it is of. */
int sweep_points_make(struct sweep_points *points, struct spec_problems *problems, struct err *err);

/* Names the jobs "NAME: sigma 0.01, seed 2", where the request names none. After making. */
void sweep_points_name(struct sweep_points *points, const char *name);

/* Fills in what only the service knows and writes the submissions. To be called again when what a
 * job begins with was replaced meanwhile. Problems as above. */
int sweep_points_prepare(struct sweep_points *points, struct spec_problems *problems,
                         struct err *err);

#endif
