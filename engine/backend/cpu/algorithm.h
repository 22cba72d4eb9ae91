/* What is chosen by rule: an algorithm a convolution, threads a program. The rules stand in
 * algorithm.c with the measurements that they follow. */
#ifndef ENGINE_BACKEND_CPU_ALGORITHM_H
#define ENGINE_BACKEND_CPU_ALGORITHM_H

#include "backend/cpu/program.h"

/* dnnl_convolution_winograd or dnnl_convolution_direct. */
dnnl_alg_kind_t cpu_algorithm(const struct program *program, enum direction direction,
                              const struct convolution_shape *shape);

/* Sets program->threads and program->beside; `side_by_side` as in the program's options. */
void cpu_share_threads(struct program *program, int side_by_side);

#endif
