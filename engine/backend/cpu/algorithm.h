/* What is chosen by rule: an algorithm a convolution, layout and threads a program. The rules stand
 * in algorithm.c with the measurements that they follow. They depend on the graph, the processor's
 * instruction set and the number of threads alone, so that a run which is resumed computes the same
 * bits; nothing is timed while running. */
#ifndef ENGINE_BACKEND_CPU_ALGORITHM_H
#define ENGINE_BACKEND_CPU_ALGORITHM_H

#include "backend/cpu/program.h"

/* dnnl_convolution_winograd or dnnl_convolution_direct. */
dnnl_alg_kind_t cpu_algorithm(const struct program *program, enum direction direction,
                              const struct convolution_shape *shape);

/* Sets threads, beside and by_image; `side_by_side` as in the program's options. */
void cpu_choose(struct program *program, enum cpu_layout layout, int side_by_side);

#endif
