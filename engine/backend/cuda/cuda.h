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

/* Device memory; all of it is opened through these (memory.c), so that it is counted. `data` is
 * NULL where it is only counted, `bytes` 0 where there is none. */
struct room {
    void *data;
    size_t bytes;
};

/* Descriptions of weights on the device, for forms that stand in a table (kernels/update.h). */
struct forms {
    struct weight_table table;
    struct cuda_backend *cuda;
    struct room memory;            /* of tensors and rows */
    float *scratch;                /* a float a row, for norms */
    struct weight_tensor *tensors; /* the host's copy */
};

/* A round that was captured; graphs.c. */
struct captured;

/* Updates that the device may be behind. */
enum { UPDATES_MAX = 8 };

/* An update that was begun: where its scalars go once it is done. */
struct in_flight {
    struct CUevent_st *done;
    int n;
    float *to[RECORD_VALUES_MAX];
};

/* Update i has row i mod UPDATES_MAX of what is a ring. */
struct flights {
    struct turn_row *table; /* host memory, which the device reads */
    float *ring;            /* host memory, which the device writes: RECORD_VALUES_MAX a row */
    struct room room;       /* of the clock */
    struct turn_clock *clock;
    bool clock_set;
    struct in_flight flight[UPDATES_MAX];
    uint64_t begun, finished;
    struct CUevent_st *sent[2]; /* inputs of update i, in i mod 2 */
    struct room staged;         /* see enum feed */
};

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

    struct room scalars;    /* step_turn, clip, factor */
    struct turn *turns;     /* host memory that the device reads: a ring */
    int turn;               /* next place of it */
    struct turn *step_turn; /* on the device */
    float *clip;            /* factor of a clipped gradient, on the device */
    float *factor;          /* of a direction, likewise */
    struct flights flights;
    uint64_t writings; /* of vectors, so far */
};

struct vector {
    size_t n;
    struct cuda_backend *cuda;
    struct room room;
    float *data;      /* the room's */
    uint64_t written; /* number of the last writing: no other contents of any vector have it */
};

enum { TURNS = 64 };

/* Chooses the backend's device for this thread. */
int cuda_enter(const struct cuda_backend *cuda, struct err *err);

/* Whoever gives the device something that writes to a vector says so. */
static inline void cuda_written(struct vector *vector)
{
    vector->written = ++vector->cuda->writings;
}

/* `bytes` with nothing in them. */
int cuda_room_open(struct cuda_backend *cuda, struct room *room, size_t bytes, struct err *err);
void cuda_room_close(struct cuda_backend *cuda, struct room *room);
/* What the device is taken to set aside for so many. */
size_t cuda_whole_bytes(size_t bytes);
/* Waits until all lanes have done what they were given. */
int cuda_settle(const struct cuda_backend *cuda, struct err *err);
/* At least `bytes`, with nothing in them. Captured graphs know the old place, so they go. */
int cuda_room_grow(struct cuda_backend *cuda, struct room *room, size_t bytes, struct err *err);

/* Writes a turn to the device in lane 0's order. */
int cuda_turn_write(struct cuda_backend *cuda, const struct turn *turn, struct turn *to,
                    struct err *err);

/* forms.c */
int cuda_forms_open(struct forms *forms, struct cuda_backend *cuda,
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
int cuda_update(struct backend *backend, const struct update *update, struct err *err);
int cuda_update_settle(struct backend *backend, int in_flight, int *left, struct err *err);

/* data.c; members of the class. */
int cuda_data_open(struct backend *backend, const struct data_samples *samples,
                   struct device_data **out, struct err *err);
void cuda_data_close(struct device_data *data);
int cuda_data_order(struct device_data *data, uint64_t pass, const int64_t *order, struct err *err);
int cuda_memory_left(struct backend *backend, size_t *out, struct err *err);
int cuda_host_open(struct backend *backend, size_t bytes, void **out, struct err *err);
void cuda_host_close(struct backend *backend, void *memory);

/* graphs.c */
void cuda_graphs_forget(struct cuda_backend *cuda);

/* update.c; closing takes what is half open. */
int cuda_flights_open(struct cuda_backend *cuda, struct err *err);
void cuda_flights_close(struct cuda_backend *cuda);

#endif
