/* What changes from update to update, and what an update leaves behind. */
#include "backend/cuda/kernels/device.h"
#include "backend/cuda/kernels/update.h"

static __global__ void advance_kernel(const struct turn_row *table, int64_t rows,
                                      struct turn_clock *clock)
{
    int64_t index = clock->advanced;

    clock->advanced = index + 1;
    clock->index = index;
    clock->now = table[index % rows].now;
    clock->next = table[index % rows].next;
}

int launch_advance(struct CUstream_st *stream, const struct turn_row *table, int64_t rows,
                   struct turn_clock *clock)
{
    return LAUNCH(advance_kernel, 1, 1, 0, stream, table, rows, clock);
}

static __global__ void record_kernel(struct record r)
{
    int i = (int)threadIdx.x;

    if (i < r.n)
        r.ring[r.clock->index % r.rows * r.row_values + r.first + i] = *r.value[i];
}

int launch_record(struct CUstream_st *stream, const struct record *r)
{
    return LAUNCH(record_kernel, 1, RECORD_VALUES_MAX, 0, stream, *r);
}
