/* Where a program's time goes. For benchmarks; a pass reads the clock only while this is on. */
#ifndef ENGINE_BACKEND_CPU_PROFILE_H
#define ENGINE_BACKEND_CPU_PROFILE_H

#include "backend/backend.h"

/* What was measured of one command, summed over the passes since profiling began. */
struct cpu_profile_row {
    const char *what;      /* the operation, or the fused ones: "conv", "norm+relu" */
    const char *algorithm; /* oneDNN's name of a convolution's; NULL for others */
    struct shape shape;    /* of the operation's result */
    double seconds;
};

int cpu_profile_start(struct program *program, struct err *err);
/* Row `i`, in the order of execution; false past the last one. */
bool cpu_profile_row(const struct program *program, int i, struct cpu_profile_row *out);

#endif
