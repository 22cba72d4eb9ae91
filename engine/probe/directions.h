/* directions.c: the axes of a landscape. */
#ifndef ENGINE_PROBE_DIRECTIONS_H
#define ENGINE_PROBE_DIRECTIONS_H

#include "probe/state.h"

/* Fills the axes, [params->size] each; axis[1] NULL: there is none. run->gradient is known. */
int directions_find(struct engine_probe_run *run, float *axis[2], struct err *err);
double directions_cost(const struct engine_probe_run *run);

/* Each filter of the direction gets the length of w's (Li et al., Visualizing the Loss Landscape
 * of Neural Nets, 2018); a parameter of one dimension is one filter. */
void directions_filter_normalise(const struct layout *layout, const double *w, float *direction);

/* Parameters of one dimension stay as they are. */
void directions_zero_1d(const struct layout *layout, float *direction);

#endif
