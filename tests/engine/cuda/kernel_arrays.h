/* Arrays between the reference backend's doubles and what kernels are given. The host's memory is
 * the device's here. */
#ifndef TESTS_ENGINE_CUDA_KERNEL_ARRAYS_H
#define TESTS_ENGINE_CUDA_KERNEL_ARRAYS_H

#include "kernel_call.h"

/* What is stored as `type` becomes of a number. */
double rounded_to(enum element type, double x);

/* An array of `n` elements, each of whose bytes is 0xff, or a copy of what is there. */
void *device_new(size_t bytes);
void *device_array(enum element type, const double *from, int64_t n);
float *device_floats(const double *from, int64_t n);

/* Back to doubles; frees `from`. */
void take_array(enum element type, void *from, double *to, int64_t n);

/* What follows is about inputs and outputs of a call, by number. `…_in` makes an array of an input,
 * `…_new` one for an output, `…_out` takes that to the output and frees it. */

/* Channels as stored. */
int64_t stored(const struct kernel_call *k, int64_t channels);

/* Pixels of a channel; rows of N·H·W, or of all dimensions but the last. */
int64_t plane_of(const struct shape *s);
int64_t rows_of(const struct shape *s);
int64_t features(const struct shape *s); /* the last dimension */
int64_t in_elements(const struct kernel_call *k, int input);
int64_t out_elements(const struct kernel_call *k, int output);

/* [N,C,H,W] or [N,C] ↔ [N,H,W,stored], whose padding must be zero when it is taken. */
void *image_in(const struct kernel_call *k, int input);
void *image_new(const struct kernel_call *k, int output);
void image_out(const struct kernel_call *k, int output, void *image);

/* Row-major arrays of the call's type. */
void *plain_in(const struct kernel_call *k, int input);
void *plain_new(const struct kernel_call *k, int output);
void plain_out(const struct kernel_call *k, int output, void *array);

/* Parameters and statistics: floats, with zeros after them as a layout's gaps have. */
float *floats_in(const struct kernel_call *k, int input);
float *floats_new(const struct kernel_call *k, int output);
void floats_out(const struct kernel_call *k, int output, float *array);

float *workspace(size_t floats);

/* All launches must succeed. */
#define launched(call) assert_int_equal((call), 0)

/* kernel_call.c: windows over something of shape x, with a result of shape y. It has a new `place`,
 * and no `x` and `y` yet. */
struct max_pool max_pool_of(const struct kernel_call *k, const struct shape *x,
                            const struct shape *y);

/* kernel_call_rows.c */
void do_sum_channels(const struct kernel_call *k);
void do_sum_rows(const struct kernel_call *k);
void do_layer_norm(const struct kernel_call *k);
void do_layer_norm_grad(const struct kernel_call *k);
void do_softmax(const struct kernel_call *k);
void do_scores(const struct kernel_call *k);
void do_patches(const struct kernel_call *k);
void do_token(const struct kernel_call *k);
void do_heads(const struct kernel_call *k);

/* kernel_call_tangent.c */
void do_batch_norm_scale(const struct kernel_call *k);
void do_batch_norm_sums(const struct kernel_call *k);
void do_norm_tangent(const struct kernel_call *k);
void do_max_pool_tangent(const struct kernel_call *k);
void do_curve(const struct kernel_call *k);
void do_scores_curve(const struct kernel_call *k);

#endif
