/* Inside the CUDA backend: an open device, and vectors on it.
 *
 * Work goes to two lanes, each a stream with a workspace and an arena for activations; lane 0 also
 * takes what is done outside of passes. What a pass leaves behind it belongs to its program, so
 * that the next pass of its lane may overwrite the arena. */
#ifndef ENGINE_BACKEND_CUDA_CUDA_H
#define ENGINE_BACKEND_CUDA_CUDA_H

#include "backend/backend.h"
#include "backend/cuda/kernels/update.h"
#include "backend/cuda/libraries.h"
#include "backend/cuda/runtime.h"

extern const struct backend_class backend_cuda;

/* Channels of images as stored: 16 bytes of bfloat16. */
#define CHANNEL_BLOCK 8

static inline int64_t stored_channels(int64_t channels)
{
    return (channels + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK * CHANNEL_BLOCK;
}

/* Device memory that grows and never shrinks. */
struct room {
    void *data;
    size_t bytes;
};

/* Descriptions of weights on the device, for forms that stand in a table (kernels/update.h). */
struct forms {
    struct weight_table table;
    void *memory;   /* of tensors and rows */
    float *scratch; /* a float a row, for norms */
};

/* A wave of passes that was captured; graphs.c. */
struct captured;

struct cuda_backend {
    struct backend base;
    int device;
    enum compute compute;
    struct libraries *libraries;
    struct lane lanes[LANES];
    struct room workspace[LANES], arena[LANES];
    struct CUevent_st *forked, *joined;
    struct captured *captured;

    /* Vectors in the layout's order: tables of the layouts met so far. */
    struct plain_forms *plain;

    struct turn *turns;     /* host memory that the device reads: a ring */
    int turn;               /* next place of it */
    struct turn *step_turn; /* on the device */
    float *clip;            /* factor of a clipped gradient, on the device */
    float *factor;          /* of a direction, likewise */
};

struct vector {
    struct cuda_backend *cuda;
    size_t n;
    float *data;
};

enum { TURNS = 64 };

/* Chooses the backend's device for this thread. */
int cuda_enter(const struct cuda_backend *cuda, struct err *err);

/* At least `bytes`, with nothing in them. Captured graphs know the old place, so they go. */
int cuda_room_grow(struct cuda_backend *cuda, struct room *room, size_t bytes, struct err *err);

/* Writes a turn to the device in lane 0's order. */
int cuda_turn_write(struct cuda_backend *cuda, const struct turn *turn, struct turn *to,
                    struct err *err);

/* forms.c */
int cuda_forms_open(struct forms *forms, const struct cuda_backend *cuda,
                    const struct weight_tensor *tensors, int n, struct err *err);
void cuda_forms_close(struct forms *forms);
/* Table of plain floats in the layout's order, as casts and as gradients. */
int cuda_plain_forms(struct cuda_backend *cuda, const struct layout *layout,
                     const struct forms **out, struct err *err);
void cuda_plain_forms_close(struct cuda_backend *cuda);
/* What does not depend on the forms. */
struct weight_tensor cuda_weight_tensor(const struct layout_tensor *t, int number);

/* weights.c: enqueues w ⊕ perturbation in the casts of `forms`. `turn` (update and sigma) and
 * `factor` (a direction's) are on the device. */
struct materialisation {
    const struct forms *forms; /* whose gradient forms are the layout's: a direction is a vector */
    const struct layout *layout;
    const float *weights;
    struct perturbation perturbation;
    const struct turn *turn;
    float *factor;
    void *to;
    size_t to_bytes;
};
int cuda_materialise(const struct materialisation *m, struct CUstream_st *stream, struct err *err);

/* Adds a stretch of memory to those of a launch; NULL: none. */
void cuda_use(struct launch *launch, const void *at, size_t bytes, bool written);
/* What a launcher returned, as an error. */
int cuda_launched(int code, const char *what, struct err *err);

/* Members of the class. */
int cuda_program_open(struct backend *backend, const struct graph *graph,
                      const struct layout *params, const struct layout *states,
                      const struct program_options *options, struct program **out, struct err *err);
void cuda_program_close(struct program *program);
int cuda_execute(struct backend *backend, const struct pass *passes, int n, struct err *err);
int cuda_step(struct backend *backend, const struct step *step, struct err *err);

/* graphs.c */
void cuda_graphs_forget(struct cuda_backend *cuda);

#endif
