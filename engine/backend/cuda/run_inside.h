/* What the run_*.c files share. */
#ifndef ENGINE_BACKEND_CUDA_RUN_INSIDE_H
#define ENGINE_BACKEND_CUDA_RUN_INSIDE_H

#include "backend/cuda/program.h"

/* Operands and results of a command, as its arguments want them. */
static inline void *run_in(const struct program *program, const struct command *command, int i)
{
    return i < command->n_in ? cuda_data(program, command->in[i]) : NULL;
}

static inline void *run_out(const struct program *program, const struct command *command, int i)
{
    return i < command->n_out ? cuda_data(program, command->out[i]) : NULL;
}

/* A command that fills the pointers of its arguments `a` and launches them. */
#define RUN_COMMAND(name, type, member, launch, ...)                                               \
    int cuda_run_##name(const struct program *program, const struct command *command,              \
                        const struct lane *lane, struct err *err)                                  \
    {                                                                                              \
        struct type a = command->u.member;                                                         \
                                                                                                   \
        __VA_ARGS__;                                                                               \
        return cuda_launched(launch, command->what, err);                                          \
    }

#define IN(i)     run_in(program, command, (i))
#define OUT(i)    run_out(program, command, (i))
#define STREAM    lane->stream
#define WORKSPACE lane->workspace

#endif
