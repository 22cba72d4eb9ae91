/* The device, and vectors on it. */
#include <stdlib.h>
#include <string.h>

#include "backend/check.h"
#include "backend/cuda/cuda.h"
#include "backend/cuda/nccl.h"

int cuda_enter(const struct cuda_backend *cuda, struct err *err)
{
    return runtime_cuda.choose(cuda->device, err);
}

static int open_lanes(struct cuda_backend *cuda, struct err *err)
{
    int rc = 0;

    if (cuda->base.counts_only)
        return 0;
    for (int i = 0; i < LANES && !rc; i++) {
        cuda->lanes[i].number = i;
        rc = runtime_cuda.stream_open(&cuda->lanes[i].stream, err);
    }
    if (!rc)
        rc = runtime_cuda.event_open(&cuda->forked, err);
    return rc ? rc : runtime_cuda.event_open(&cuda->joined, err);
}

static int open_scalars(struct cuda_backend *cuda, struct err *err)
{
    void *turns;
    int rc = cuda_room_open(cuda, &cuda->scalars, sizeof *cuda->step_turn + 64, err);

    if (rc || cuda->base.counts_only)
        return rc;
    rc = runtime_cuda.host_open(&turns, TURNS * sizeof *cuda->turns, err);
    if (rc)
        return rc;
    cuda->turns = turns;
    cuda->step_turn = cuda->scalars.data;
    cuda->clip = (float *)(void *)(cuda->step_turn + 1);
    cuda->factor = cuda->clip + 4; /* 16 bytes further */
    return 0;
}

static void backend_close(struct backend *backend)
{
    struct cuda_backend *cuda = (struct cuda_backend *)backend;

    if (!cuda)
        return;
    cuda_enter(cuda, NULL);
    cuda_settle(cuda, NULL);
    cuda_graphs_forget(cuda);
    cuda_plain_forms_close(cuda);
    cuda_flights_close(cuda);
    for (int i = 0; i < LANES; i++) {
        cuda_room_close(cuda, &cuda->workspace[i]);
        cuda_room_close(cuda, &cuda->arena[i]);
        if (cuda->lanes[i].stream)
            runtime_cuda.stream_close(cuda->lanes[i].stream);
    }
    if (cuda->forked)
        runtime_cuda.event_close(cuda->forked);
    if (cuda->joined)
        runtime_cuda.event_close(cuda->joined);
    runtime_cuda.host_close(cuda->turns);
    cuda_room_close(cuda, &cuda->scalars);
    libraries_close(cuda->libraries);
    free(cuda);
}

static int backend_open(struct backend **out, const struct backend_options *options,
                        struct err *err)
{
    struct libraries_options libraries = {.device = options->device,
                                          .deterministic = options->deterministic,
                                          .counts_only = options->counts_only,
                                          .compute = options->compute,
                                          .cache = options->cache};
    struct cuda_backend *cuda = calloc(1, sizeof *cuda);
    int rc;

    if (!cuda)
        return err_no_memory(err);
    cuda->base.class = &backend_cuda;
    cuda->base.counts_only = options->counts_only;
    cuda->device = options->device;
    cuda->compute = options->compute;
    rc = cuda_enter(cuda, err);
    if (!rc)
        rc = libraries_open(&cuda->libraries, &libraries, err);
    if (!rc)
        rc = open_lanes(cuda, err);
    if (!rc)
        rc = open_scalars(cuda, err);
    if (!rc)
        rc = cuda_flights_open(cuda, err);
    if (rc) {
        backend_close(&cuda->base);
        return rc;
    }
    *out = &cuda->base;
    return 0;
}

int cuda_turn_write(struct cuda_backend *cuda, const struct turn *turn, struct turn *to,
                    struct err *err)
{
    const struct lane *lane = &cuda->lanes[0];
    struct turn *from;
    int rc = 0;

    if (cuda->turn == TURNS) {
        rc = runtime_cuda.wait(lane->stream, err); /* the first of the ring may not be read yet */
        cuda->turn = 0;
    }
    if (rc)
        return rc;
    from = &cuda->turns[cuda->turn++];
    *from = *turn;
    return runtime_cuda.upload(to, from, sizeof *to, lane->stream, err);
}

void cuda_use(struct launch *launch, const void *at, size_t bytes, bool written)
{
    if (at && bytes > 0)
        launch->use[launch->n++] = (struct use){at, bytes, written};
}

int cuda_launched(int code, const char *what, struct err *err)
{
    return cuda_failed(code, what, err);
}

static int vector_open(struct backend *backend, size_t n, struct vector **out, struct err *err)
{
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct vector *vector;
    int rc = cuda_enter(cuda, err);

    if (rc)
        return rc;
    if (n > SIZE_MAX / sizeof *vector->data)
        return err_no_memory(err);
    vector = calloc(1, sizeof *vector);
    if (!vector)
        return err_no_memory(err);
    vector->cuda = cuda;
    vector->n = n;
    vector->written = ++cuda->writings;
    rc = cuda_room_open(cuda, &vector->room, n * sizeof *vector->data, err);
    vector->data = vector->room.data;
    if (!rc && !backend->counts_only)
        rc = runtime_cuda.clear(vector->data, n * sizeof *vector->data, cuda->lanes[0].stream, err);
    if (rc) {
        cuda_room_close(cuda, &vector->room);
        free(vector);
        return rc;
    }
    *out = vector;
    return 0;
}

static void vector_close(struct vector *vector)
{
    if (!vector)
        return;
    cuda_enter(vector->cuda, NULL);
    cuda_settle(vector->cuda, NULL);
    cuda_room_close(vector->cuda, &vector->room);
    free(vector);
}

static int check_range(const struct vector *vector, size_t offset, size_t n, struct err *err)
{
    int rc = backend_check_range(&vector->cuda->base, vector, offset, n, err);

    return rc ? rc : cuda_enter(vector->cuda, err);
}

static int vector_write(struct vector *vector, size_t offset, size_t n, const void *from,
                        struct err *err)
{
    struct CUstream_st *stream = vector->cuda->lanes[0].stream;
    int rc = check_range(vector, offset, n, err);

    cuda_written(vector);
    if (!rc && n > 0)
        rc =
            runtime_cuda.upload(vector->data + offset, from, n * sizeof *vector->data, stream, err);
    return rc ? rc : runtime_cuda.wait(stream, err);
}

static int vector_read(const struct vector *vector, size_t offset, size_t n, void *to,
                       struct err *err)
{
    struct CUstream_st *stream = vector->cuda->lanes[0].stream;
    int rc = check_range(vector, offset, n, err);

    if (!rc && n > 0)
        rc =
            runtime_cuda.download(to, vector->data + offset, n * sizeof *vector->data, stream, err);
    return rc ? rc : runtime_cuda.wait(stream, err);
}

static int materialise(struct backend *backend, const struct layout *layout,
                       const struct vector *weights, const struct perturbation *perturbation,
                       struct vector *to, struct err *err)
{
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct turn turn = {.update = perturbation->update, .sigma = (float)perturbation->sigma};
    struct materialisation m = {.layout = layout,
                                .weights = weights->data,
                                .perturbation = *perturbation,
                                .turn = cuda->step_turn,
                                .factor = cuda->factor,
                                .to = to->data,
                                .to_bytes = to->n * sizeof *to->data};
    int rc = cuda_enter(cuda, err);

    if (!rc)
        rc = backend_check_materialise(layout, weights, to, err);
    if (rc)
        return rc;
    cuda_written(to);
    rc = cuda_plain_forms(cuda, layout, &m.forms, err);
    if (rc || backend->counts_only)
        return rc;
    rc = cuda_turn_write(cuda, &turn, cuda->step_turn, err);
    return rc ? rc : cuda_materialise(&m, cuda->lanes[0].stream, err);
}

const struct backend_class backend_cuda = {
    .name = "cuda",
    .real = REAL_F32,
    .communicator = &communicator_nccl,
    .open = backend_open,
    .close = backend_close,
    .vector_open = vector_open,
    .vector_close = vector_close,
    .vector_write = vector_write,
    .vector_read = vector_read,
    .program_open = cuda_program_open,
    .program_close = cuda_program_close,
    .execute = cuda_execute,
    .step = cuda_step,
    .update = cuda_update,
    .settle = cuda_update_settle,
    .materialise = materialise,
    .data_open = cuda_data_open,
    .data_close = cuda_data_close,
    .data_order = cuda_data_order,
    .memory_left = cuda_memory_left,
    .host_open = cuda_host_open,
    .host_close = cuda_host_close,
};
