/* What changes from update to update, and what an update leaves behind. */
#include "backend/cuda/kernels/device.h"
#include "backend/cuda/kernels/update.h"

static __global__ void advance_kernel(const struct turn *turns, int64_t n, struct turn_clock *clock)
{
    int64_t index = clock->advanced;

    clock->advanced = index + 1;
    if (index >= n)
        return;
    clock->index = index;
    clock->now = turns[index];
    clock->next = turns[index + 1 < n ? index + 1 : index];
}

int launch_advance(struct CUstream_st *stream, const struct turn *turns, int64_t n,
                   struct turn_clock *clock)
{
    return LAUNCH(advance_kernel, 1, 1, 0, stream, turns, n, clock);
}

static __global__ void record_kernel(struct record r)
{
    int i = (int)threadIdx.x;

    if (i < r.n)
        r.ring[r.clock->index % r.ring_rows * r.n + i] = *r.value[i];
}

int launch_record(struct CUstream_st *stream, const struct record *r)
{
    return LAUNCH(record_kernel, 1, RECORD_VALUES_MAX, 0, stream, *r);
}
