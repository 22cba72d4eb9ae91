/* Device memory, counted where it is taken. A backend that only counts takes none: its rooms have
 * sizes and no place, and nobody reads or writes them.
 *
 * Two others take memory that is not counted: timing.c while a plan is looked for (and does without
 * where there is none left), nccl.c while ranks connect. Both give it back before the first update,
 * so that it is no part of what a run holds. */
#include "backend/cuda/cuda.h"

/* cudaMalloc sets whole pages aside for what is large, and parts of one for the rest. */
#define SMALL_PIECE ((size_t)512)
#define LARGE_FROM  ((size_t)1 << 20)
#define LARGE_PAGE  ((size_t)2 << 20)

size_t cuda_whole_bytes(size_t bytes)
{
    size_t piece = bytes >= LARGE_FROM ? LARGE_PAGE : SMALL_PIECE;

    return ((bytes ? bytes : 1) + piece - 1) / piece * piece;
}

int cuda_room_open(struct cuda_backend *cuda, struct room *room, size_t bytes, struct err *err)
{
    struct room made = {.bytes = bytes ? bytes : 1};
    int rc = cuda->base.counts_only ? 0 : runtime_cuda.memory_open(&made.data, made.bytes, err);

    if (rc)
        return rc;
    *room = made;
    backend_take(&cuda->base, cuda_whole_bytes(made.bytes));
    return 0;
}

void cuda_room_close(struct cuda_backend *cuda, struct room *room)
{
    if (room->bytes == 0)
        return;
    if (!cuda->base.counts_only)
        runtime_cuda.memory_close(room->data);
    backend_give(&cuda->base, cuda_whole_bytes(room->bytes));
    *room = (struct room){0};
}

int cuda_settle(const struct cuda_backend *cuda, struct err *err)
{
    int rc = 0;

    for (int i = 0; i < LANES && !cuda->base.counts_only; i++)
        if (cuda->lanes[i].stream) {
            int failed = runtime_cuda.wait(cuda->lanes[i].stream, rc ? NULL : err);

            rc = rc ? rc : failed;
        }
    return rc;
}

int cuda_room_grow(struct cuda_backend *cuda, struct room *room, size_t bytes, struct err *err)
{
    int rc;

    if (bytes <= room->bytes)
        return 0;
    rc = cuda_settle(cuda, err);
    if (rc)
        return rc;
    cuda_graphs_forget(cuda);
    cuda_room_close(cuda, room);
    return cuda_room_open(cuda, room, bytes, err);
}
