/* What every backend refuses before it begins: graphs and vectors that do not fit together. */
#ifndef ENGINE_BACKEND_CHECK_H
#define ENGINE_BACKEND_CHECK_H

#include "backend/backend.h"

/* Of `program_open`: a graph with a mistake, or layouts of another graph. */
int backend_check_program(const struct graph *graph, const struct layout *params,
                          const struct layout *states, struct err *err);

/* What a pass's program was opened with. */
struct checked_program {
    const struct graph *graph;
    const struct layout *params, *states;
};

/* Vectors of a pass that are missing or too short, directions that its graph does not have. */
int backend_check_pass(const struct pass *pass, const struct checked_program *program,
                       struct err *err);

/* Labels among the host's `inputs` that are no class: they index rows of logits. */
int backend_check_labels(const struct pass *pass, const struct graph *graph, struct err *err);

/* Vectors of a step that are missing or do not have the layout's size. */
int backend_check_step(const struct step *step, struct err *err);

int backend_check_materialise(const struct layout *layout, const struct vector *weights,
                              const struct vector *to, struct err *err);

/* Elements that are read or written; none of a vector whose backend only counts. */
int backend_check_range(const struct backend *backend, const struct vector *vector, size_t offset,
                        size_t n, struct err *err);

#endif
