/* What is chosen by rule: an algorithm a convolution, layout and threads a program. The rules stand
 * in algorithm.c with the measurements that they follow. They depend on the graph, the processor's
 * instruction set and the number of threads alone, so that a run which is resumed computes the same
 * bits; nothing is timed while running. */
#ifndef ENGINE_BACKEND_CPU_ALGORITHM_H
#define ENGINE_BACKEND_CPU_ALGORITHM_H

#include "backend/cpu/program.h"

enum algorithm {
    ALGORITHM_DIRECT,
    ALGORITHM_WINOGRAD,       /* ours, for activations by channel */
    ALGORITHM_ONEDNN_WINOGRAD /* a wish: not every processor has it */
};

/* How a convolution is done where activations are stored by channel. */
enum algorithm cpu_algorithm(const struct program *program, enum direction direction,
                             const struct convolution_shape *shape);

/* Time of Winograd's algorithm over that of the direct one; infinite where it has none. */
double cpu_winograd_share(enum direction direction, const struct convolution_shape *shape,
                          size_t lanes);

/* Sets threads, beside and by_image; `side_by_side` as in the program's options. */
void cpu_choose(struct program *program, enum cpu_layout layout, int side_by_side);

#endif
