/* Convolutions and products of the CUDA backend's interface, as plain loops over the layouts that
 * it documents. Sums are double; bfloat16 operands are widened, results rounded to nearest even. */
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/libraries.h"

struct libraries {
    enum element type;
};

struct convolution {
    enum element type;
    enum conv_direction direction;
    struct conv_shape shape;
};

struct product {
    enum element type;
    struct product_shape shape;
};

static double get(enum element type, const void *array, int64_t i)
{
    union {
        uint32_t bits;
        float value;
    } u;

    if (type == ELEMENT_F32)
        return (double)((const float *)array)[i];
    u.bits = (uint32_t)((const uint16_t *)array)[i] << 16;
    return (double)u.value;
}

static void put(enum element type, void *array, int64_t i, double x)
{
    union {
        float value;
        uint32_t bits;
    } u = {.value = (float)x};

    if (type == ELEMENT_F32)
        ((float *)array)[i] = u.value;
    else if ((u.bits & 0x7fffffffu) > 0x7f800000u)
        ((uint16_t *)array)[i] = (uint16_t)(u.bits >> 16 | 0x40u); /* NaN stays one */
    else
        ((uint16_t *)array)[i] = (uint16_t)((u.bits + 0x7fffu + (u.bits >> 16 & 1)) >> 16);
}

int libraries_open(struct libraries **out, const struct libraries_options *options, struct err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_no_memory(err);
    (*out)->type = options->compute == COMPUTE_BF16 ? ELEMENT_BF16 : ELEMENT_F32;
    return 0;
}

void libraries_close(struct libraries *libraries)
{
    free(libraries);
}

int convolution_open(struct convolution **out, struct libraries *libraries,
                     enum conv_direction direction, const struct conv_shape *shape, struct err *err)
{
    *out = malloc(sizeof **out);
    if (!*out)
        return err_no_memory(err);
    **out = (struct convolution){libraries->type, direction, *shape};
    return 0;
}

void convolution_close(struct convolution *convolution)
{
    free(convolution);
}

/* As large as cuDNN might want, so that its place is looked after. */
size_t convolution_workspace_bytes(const struct convolution *convolution)
{
    return (size_t)convolution->shape.c * 64;
}

/* Adds each product of the convolution to the sum of its direction's result. */
static void sum_up(const struct convolution *conv, const void *x, const void *w, const void *y,
                   double *sum)
{
    const struct conv_shape *s = &conv->shape;

    for (int64_t n = 0; n < s->n; n++)
        for (int64_t p = 0; p < s->p; p++)
            for (int64_t q = 0; q < s->q; q++)
                for (int64_t r = 0; r < s->r; r++)
                    for (int64_t t = 0; t < s->s; t++) {
                        int64_t h = p * s->stride + r - s->pad, v = q * s->stride + t - s->pad;
                        int64_t at_x = ((n * s->h + h) * s->w + v) * s->c;
                        int64_t at_y = ((n * s->p + p) * s->q + q) * s->k;

                        if (h < 0 || h >= s->h || v < 0 || v >= s->w)
                            continue;
                        for (int64_t k = 0; k < s->k; k++)
                            for (int64_t c = 0; c < s->c; c++) {
                                int64_t at_w = ((k * s->r + r) * s->s + t) * s->c + c;

                                if (conv->direction == CONV_FORWARD)
                                    sum[at_y + k] +=
                                        get(conv->type, x, at_x + c) * get(conv->type, w, at_w);
                                else if (conv->direction == CONV_GRAD_X)
                                    sum[at_x + c] +=
                                        get(conv->type, y, at_y + k) * get(conv->type, w, at_w);
                                else
                                    sum[at_w] +=
                                        get(conv->type, x, at_x + c) * get(conv->type, y, at_y + k);
                            }
                    }
}

int convolution_run(const struct convolution *conv, const struct lane *lane, void *x, void *w,
                    void *y, struct err *err)
{
    const struct conv_shape *s = &conv->shape;
    void *out = conv->direction == CONV_FORWARD ? y : conv->direction == CONV_GRAD_X ? x : w;
    int64_t n = conv->direction == CONV_FORWARD  ? s->n * s->p * s->q * s->k
                : conv->direction == CONV_GRAD_X ? s->n * s->h * s->w * s->c
                                                 : s->k * s->r * s->s * s->c;
    double *sum = calloc((size_t)n, sizeof *sum);

    if (!sum)
        return err_no_memory(err);
    memset(lane->workspace, 0xff, convolution_workspace_bytes(conv));
    sum_up(conv, x, w, y, sum);
    for (int64_t i = 0; i < n; i++)
        put(conv->type, out, i, sum[i]);
    free(sum);
    return 0;
}

int product_open(struct product **out, struct libraries *libraries,
                 const struct product_shape *shape, struct err *err)
{
    *out = malloc(sizeof **out);
    if (!*out)
        return err_no_memory(err);
    **out = (struct product){libraries->type, *shape};
    return 0;
}

void product_close(struct product *product)
{
    free(product);
}

size_t product_workspace_bytes(const struct product *product)
{
    (void)product;
    return 256;
}

int product_run(const struct product *product, const struct lane *lane, const void *a,
                const void *b, void *out, struct err *err)
{
    const struct product_shape *s = &product->shape;
    enum element type = s->out_f32 ? ELEMENT_F32 : product->type;

    (void)err;
    memset(lane->workspace, 0xff, product_workspace_bytes(product));
    for (int64_t m = 0; m < s->batch; m++)
        for (int64_t i = 0; i < s->rows; i++)
            for (int64_t j = 0; j < s->columns; j++) {
                double sum = 0;

                for (int64_t l = 0; l < s->depth; l++)
                    sum += get(product->type, a,
                               m * s->rows * s->depth +
                                   (s->a_turned ? l * s->rows + i : i * s->depth + l)) *
                           get(product->type, b,
                               m * s->depth * s->columns +
                                   (s->b_turned ? j * s->depth + l : l * s->columns + j));
                put(type, out, (m * s->rows + i) * s->columns + j, (double)s->scale * sum);
            }
    return 0;
}
