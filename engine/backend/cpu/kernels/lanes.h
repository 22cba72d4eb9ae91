/* Vectors of LANES floats. The build gives LANES, KERNEL_ISA and the compiler's flags. */
#ifndef ENGINE_BACKEND_CPU_KERNELS_LANES_H
#define ENGINE_BACKEND_CPU_KERNELS_LANES_H

#include <stddef.h>
#include <stdint.h>

#include "backend/cpu/kernels/kernels.h"

#define KERNEL_PASTE_(name, isa) name##_##isa
#define KERNEL_PASTE(name, isa)  KERNEL_PASTE_(name, isa)
#define KERNEL(name)             KERNEL_PASTE(kernel_##name, KERNEL_ISA)

#define KERNEL_TEXT_(x) #x
#define KERNEL_TEXT(x)  KERNEL_TEXT_(x)

#define KERNEL_DECLARE(name) kernel KERNEL(name);
KERNEL_LIST(KERNEL_DECLARE)

#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(LANES * 4), may_alias));
typedef int32_t lanes_mask __attribute__((vector_size(LANES * 4), may_alias));
typedef double wide __attribute__((vector_size(LANES * 8)));
typedef int64_t wide_mask __attribute__((vector_size(LANES * 8)));
typedef float loose __attribute__((vector_size(LANES * 4), may_alias, aligned(4)));

/* `at` is aligned to a whole vector. */
INLINE lanes load(const float *at)
{
    return *(const lanes *)at;
}

INLINE void store(float *at, lanes value)
{
    *(lanes *)at = value;
}

INLINE lanes load_loose(const float *at)
{
    return *(const loose *)at;
}

INLINE void store_loose(float *at, lanes value)
{
    *(loose *)at = value;
}

/* x where the mask is set, else 0. */
INLINE lanes keep(lanes x, lanes_mask mask)
{
    return (lanes)((lanes_mask)x & mask);
}

/* Where `value` takes the place of the largest so far, of which a NaN is one. */
INLINE lanes_mask larger(lanes value, lanes so_far)
{
    return (lanes_mask)(value > so_far) | (lanes_mask)(value != value);
}

INLINE lanes choose(lanes_mask mask, lanes yes, lanes no)
{
    return (lanes)(((lanes_mask)yes & mask) | ((lanes_mask)no & ~mask));
}

/* 0 only where x ≤ 0: a NaN stays one, so that a diverged pass is seen. */
INLINE lanes rectify(lanes x)
{
    return keep(x, ~(lanes_mask)(x <= 0.0f));
}

INLINE lanes splat(float x)
{
    return x - (lanes){0};
}

/* All lanes, or the first `n`. */
INLINE lanes_mask first_lanes(size_t n)
{
    lanes_mask mask = {0};

    for (size_t i = 0; i < LANES; i++)
        mask[i] = i < n ? -1 : 0;
    return mask;
}

INLINE wide widen(lanes x)
{
    return __builtin_convertvector(x, wide);
}

INLINE wide keep_wide(wide x, lanes_mask mask)
{
    return (wide)((wide_mask)x & __builtin_convertvector(mask, wide_mask));
}

/* Where the lanes of a plane of an activation lie on the dense side. */
struct dense_lanes {
    size_t at, step; /* number of the first lane's (image, channel), and from one to the next */
    size_t n;        /* lanes that exist */
};

INLINE struct dense_lanes dense_lanes_of(const struct activation *shape, size_t channels,
                                         size_t plane)
{
    size_t row = plane / shape->blocks, block = plane % shape->blocks;
    size_t left = channels - block * LANES;

    if (shape->by_image)
        return (struct dense_lanes){.at = row * LANES * channels + block,
                                    .step = channels,
                                    .n = row == shape->images - 1 ? shape->tail : LANES};
    return (struct dense_lanes){
        .at = row * channels + block * LANES, .step = 1, .n = left < LANES ? left : LANES};
}

/* Lanes in a fixed order. */
INLINE float lanes_sum(lanes x)
{
    float part[LANES];

    *(loose *)part = x;
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            part[i] += part[i + step];
    return part[0];
}

#endif
