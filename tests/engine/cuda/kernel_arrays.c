/* Arrays between the reference backend's doubles and what kernels are given. */
#include "kernel_arrays.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/kernels/arithmetic.h"

double rounded_to(enum element type, double x)
{
    return type == ELEMENT_F32 ? (double)(float)x : (double)bf16_widen(bf16_round((float)x));
}

void *device_new(size_t bytes)
{
    void *array = NULL;

    assert_int_equal(posix_memalign(&array, 16, bytes ? bytes : 1), 0);
    memset(array, 0xff, bytes);
    return array;
}

void *device_array(enum element type, const double *from, int64_t n)
{
    void *array = device_new((size_t)n * element_bytes(type));

    for (int64_t i = 0; i < n; i++)
        if (type == ELEMENT_F32)
            ((float *)array)[i] = (float)from[i];
        else
            ((uint16_t *)array)[i] = bf16_round((float)from[i]);
    return array;
}

float *device_floats(const double *from, int64_t n)
{
    return device_array(ELEMENT_F32, from, n);
}

void take_array(enum element type, void *from, double *to, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = type == ELEMENT_F32 ? (double)((float *)from)[i]
                                    : (double)bf16_widen(((uint16_t *)from)[i]);
    free(from);
}

/* ---- images -------------------------------------------------------------------------------- */

int64_t stored(const struct kernel_call *k, int64_t channels)
{
    return (channels + k->multiple - 1) / k->multiple * k->multiple;
}

int64_t plane_of(const struct shape *s)
{
    return s->rank == 4 ? s->dim[2] * s->dim[3] : 1;
}

int64_t rows_of(const struct shape *s)
{
    return s->dim[0] * plane_of(s);
}

static size_t image_bytes(const struct kernel_call *k, const struct shape *s)
{
    return (size_t)(rows_of(s) * stored(k, s->dim[1])) * element_bytes(k->type);
}

/* [N,C,H,W] or [N,C] of doubles to the device. */
void *image_in(const struct kernel_call *k, int input)
{
    const struct shape *s = k->o.in_shape[input];
    float *from = device_floats(k->o.in[input], shape_elements(s));
    struct reorder r = {.type = k->type,
                        .n = s->dim[0],
                        .channels = s->dim[1],
                        .plane = plane_of(s),
                        .c = stored(k, s->dim[1]),
                        .from = from,
                        .to = device_new(image_bytes(k, s))};

    launched(launch_from_nchw(NULL, &r));
    free(from);
    return r.to;
}

void *image_new(const struct kernel_call *k, int output)
{
    return device_new(image_bytes(k, k->o.out_shape[output]));
}

/* Padding must have stayed zero. */
static void check_padding(const struct kernel_call *k, const struct shape *s, const void *image)
{
    int64_t c = stored(k, s->dim[1]);
    double *all = calloc((size_t)(rows_of(s) * c) + 1, sizeof *all);
    void *copy = device_new(image_bytes(k, s));

    memcpy(copy, image, image_bytes(k, s));
    take_array(k->type, copy, all, rows_of(s) * c);
    for (int64_t row = 0; row < rows_of(s); row++)
        for (int64_t i = s->dim[1]; i < c; i++)
            assert_true(all[row * c + i] == 0);
    free(all);
}

void image_out(const struct kernel_call *k, int output, void *image)
{
    const struct shape *s = k->o.out_shape[output];
    struct reorder r = {.type = k->type,
                        .n = s->dim[0],
                        .channels = s->dim[1],
                        .plane = plane_of(s),
                        .c = stored(k, s->dim[1]),
                        .from = image,
                        .to = device_new((size_t)shape_elements(s) * sizeof(float))};

    check_padding(k, s, image);
    launched(launch_to_nchw(NULL, &r));
    take_array(ELEMENT_F32, r.to, k->o.out[output], shape_elements(s));
    free(image);
}

/* ---- plain arrays and parameters ----------------------------------------------------------- */

int64_t in_elements(const struct kernel_call *k, int input)
{
    return shape_elements(k->o.in_shape[input]);
}

int64_t out_elements(const struct kernel_call *k, int output)
{
    return shape_elements(k->o.out_shape[output]);
}

void *plain_in(const struct kernel_call *k, int input)
{
    return device_array(k->type, k->o.in[input], in_elements(k, input));
}

void *plain_new(const struct kernel_call *k, int output)
{
    return device_new((size_t)out_elements(k, output) * element_bytes(k->type));
}

void plain_out(const struct kernel_call *k, int output, void *array)
{
    take_array(k->type, array, k->o.out[output], out_elements(k, output));
}

/* Parameters and statistics: floats, zero past their end as in a layout's gaps. */
float *floats_in(const struct kernel_call *k, int input)
{
    int64_t n = in_elements(k, input), room = stored(k, n);
    double *padded = calloc((size_t)room, sizeof *padded);
    float *array;

    memcpy(padded, k->o.in[input], (size_t)n * sizeof *padded);
    array = device_floats(padded, room);
    free(padded);
    return array;
}

float *floats_new(const struct kernel_call *k, int output)
{
    return device_new((size_t)stored(k, out_elements(k, output)) * sizeof(float));
}

void floats_out(const struct kernel_call *k, int output, float *array)
{
    take_array(ELEMENT_F32, array, k->o.out[output], out_elements(k, output));
}

float *workspace(size_t floats)
{
    return device_new(floats * sizeof(float));
}

int64_t features(const struct shape *s)
{
    return s->dim[s->rank - 1];
}
