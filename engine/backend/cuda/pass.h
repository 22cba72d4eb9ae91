/* Passes and the graphs that they are captured in. */
#ifndef ENGINE_BACKEND_CUDA_PASS_H
#define ENGINE_BACKEND_CUDA_PASS_H

#include "backend/cuda/program.h"

/* pass.c: gives the work of all passes to the lanes; lane 0 ends after all of it. */
int cuda_give_passes(struct cuda_backend *cuda, const struct pass *passes, int n, struct err *err);

/* graphs.c: the same as it was captured, if the same passes were given before. */
int cuda_graphs_run(struct cuda_backend *cuda, const struct pass *passes, int n, struct err *err);

#endif
