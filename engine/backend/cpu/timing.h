/* Inside the forecast of a pass's time. */
#ifndef ENGINE_BACKEND_CPU_TIMING_H
#define ENGINE_BACKEND_CPU_TIMING_H

#include "backend/cpu/program.h"

struct timing {
    const struct pass_sample *sample;
    const struct program *whole;
    struct cpu_backend *cpu;
    struct graph *graph; /* of the part */
    struct program *part;
    struct vector *weights, *states, *gradient;
    const void **inputs;
    float *cold; /* cold_bytes for each thread: more than a core's own cache */
    size_t cold_bytes;
    int *kind;       /* by command: the first one that does the same work */
    double *seconds; /* by command that is the first of its kind, at best; 0: not run */
};

/* timing_scale.c: for each command of a program the first one that does the same work. */
void cpu_timing_kinds(const struct program *program, int *kind);
/* The seconds that a command would take by what the processor is taken to do. */
double cpu_timing_supposed(const struct program *program, const struct command *command);
/* The whole pass's, from what was measured of its part. */
struct pass_seconds cpu_timing_sum(const struct timing *timing);

#endif
