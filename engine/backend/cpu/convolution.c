/* Convolutions by oneDNN. Activations have whole blocks of channels: sizes given to oneDNN are
 * rounded up, and the channels that are none stay zero through every operation. */
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/algorithm.h"
#include "backend/cpu/program.h"

struct convolution {
    struct cpu_backend *cpu;
    enum direction direction;
    dnnl_primitive_desc_t descriptor;
    dnnl_primitive_t primitive;
    dnnl_memory_t x, w, y, scratch;
    dnnl_memory_desc_t weights;
    size_t scratch_bytes;
    const char *name; /* the descriptor's */
};

struct descriptors {
    dnnl_memory_desc_t x, w, y;
    dnnl_dims_t stride, pad;
};

static int64_t whole_blocks(const struct cpu_backend *cpu, int64_t channels)
{
    int64_t lanes = (int64_t)cpu->kernels->lanes;

    return (channels + lanes - 1) / lanes * lanes;
}

static dnnl_status_t describe(struct descriptors *d, const struct cpu_backend *cpu,
                              const struct convolution_shape *s)
{
    int64_t k = whole_blocks(cpu, s->k), c = s->dense_source ? s->c : whole_blocks(cpu, s->c);
    dnnl_dims_t x = {s->n, c, s->h, s->w}, w = {k, c, s->r, s->s}, y = {s->n, k, s->p, s->q};
    dnnl_format_tag_t blocked = cpu->kernels->lanes == 16 ? dnnl_nChw16c : dnnl_nChw8c;
    dnnl_status_t status;

    d->stride[0] = d->stride[1] = s->stride;
    d->pad[0] = d->pad[1] = s->pad;
    status =
        dnnl_memory_desc_init_by_tag(&d->x, 4, x, dnnl_f32, s->dense_source ? dnnl_nchw : blocked);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&d->w, 4, w, dnnl_f32, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&d->y, 4, y, dnnl_f32, blocked);
    return status;
}

static dnnl_status_t forward_descriptor(dnnl_primitive_desc_t *out, struct cpu_backend *cpu,
                                        dnnl_alg_kind_t algorithm, const struct descriptors *d,
                                        const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t status =
        dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, algorithm, &d->x, &d->w,
                                           NULL, &d->y, d->stride, d->pad, d->pad);

    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(out, &desc, attr, cpu->engine, NULL);
    return status;
}

/* A gradient's descriptor wants a forward one as a hint, which decides nothing here. */
static dnnl_status_t gradient_descriptor(struct convolution *v, dnnl_alg_kind_t algorithm,
                                         const struct descriptors *d,
                                         const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = forward_descriptor(&hint, v->cpu, dnnl_convolution_auto, d, attr);

    if (status == dnnl_success && v->direction == GRAD_X)
        status = dnnl_convolution_backward_data_desc_init(&desc, algorithm, &d->x, &d->w, &d->y,
                                                          d->stride, d->pad, d->pad);
    else if (status == dnnl_success)
        status = dnnl_convolution_backward_weights_desc_init(&desc, algorithm, &d->x, &d->w, NULL,
                                                             &d->y, d->stride, d->pad, d->pad);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(&v->descriptor, &desc, attr, v->cpu->engine, hint);
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    return status;
}

/* The result is added to what is there. */
static dnnl_status_t set_onto(dnnl_primitive_attr_t attr)
{
    dnnl_post_ops_t after = NULL;
    dnnl_status_t status = dnnl_post_ops_create(&after);

    if (status == dnnl_success)
        status = dnnl_post_ops_append_sum(after, 1);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(attr, after);
    if (after)
        dnnl_post_ops_destroy(after);
    return status;
}

static dnnl_status_t create_descriptor(struct convolution *v, dnnl_alg_kind_t algorithm,
                                       const struct descriptors *d, bool onto)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);

    if (status == dnnl_success && onto)
        status = set_onto(attr);

    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = v->direction == FORWARD
                     ? forward_descriptor(&v->descriptor, v->cpu, algorithm, d, attr)
                     : gradient_descriptor(v, algorithm, d, attr);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return status;
}

static dnnl_status_t create_memory(struct convolution *v, const struct descriptors *d)
{
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(v->descriptor, dnnl_query_scratchpad_md, 0);
    dnnl_engine_t engine = v->cpu->engine;
    dnnl_status_t status = dnnl_memory_create(&v->x, &d->x, engine, DNNL_MEMORY_NONE);

    v->weights = *dnnl_primitive_desc_query_md(
        v->descriptor, v->direction == GRAD_W ? dnnl_query_diff_weights_md : dnnl_query_weights_md,
        0);
    v->scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    if (status == dnnl_success)
        status = dnnl_memory_create(&v->w, &v->weights, engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success)
        status = dnnl_memory_create(&v->y, &d->y, engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success && v->scratch_bytes)
        status = dnnl_memory_create(&v->scratch, scratch, engine, DNNL_MEMORY_NONE);
    return status;
}

static dnnl_status_t create(struct convolution *v, const struct program *program,
                            const struct convolution_shape *shape)
{
    struct descriptors d = {0};
    dnnl_alg_kind_t algorithm =
        cpu_algorithm(program, v->direction, shape) == ALGORITHM_ONEDNN_WINOGRAD
            ? dnnl_convolution_winograd
            : dnnl_convolution_direct;
    dnnl_status_t status = describe(&d, v->cpu, shape);

    if (status == dnnl_success)
        status = create_descriptor(v, algorithm, &d, shape->onto);
    /* Winograd is a wish: not every processor has it. */
    if (status == dnnl_unimplemented && algorithm != dnnl_convolution_direct)
        status = create_descriptor(v, dnnl_convolution_direct, &d, shape->onto);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_query(v->descriptor, dnnl_query_impl_info_str, 0, &v->name);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&v->primitive, v->descriptor);
    if (status == dnnl_success)
        status = create_memory(v, &d);
    return status;
}

int cpu_convolution_open(struct convolution **out, const struct program *program,
                         enum direction direction, const struct convolution_shape *shape,
                         struct err *err)
{
    struct convolution *v = calloc(1, sizeof *v);
    dnnl_status_t status;

    if (!v)
        return err_no_memory(err);
    v->cpu = program->cpu;
    v->direction = direction;
    status = create(v, program, shape);
    if (status != dnnl_success) {
        cpu_convolution_close(v);
        return cpu_dnnl_error(err, status, "a convolution");
    }
    *out = v;
    return 0;
}

static void destroy_memory(dnnl_memory_t memory)
{
    if (memory)
        dnnl_memory_destroy(memory);
}

void cpu_convolution_close(struct convolution *v)
{
    if (!v)
        return;
    destroy_memory(v->x);
    destroy_memory(v->w);
    destroy_memory(v->y);
    destroy_memory(v->scratch);
    if (v->primitive)
        dnnl_primitive_destroy(v->primitive);
    if (v->descriptor)
        dnnl_primitive_desc_destroy(v->descriptor);
    free(v);
}

const dnnl_memory_desc_t *cpu_convolution_weights(const struct convolution *v)
{
    return &v->weights;
}

size_t cpu_convolution_scratch_bytes(const struct convolution *v)
{
    return v->scratch_bytes;
}

const char *cpu_convolution_name(const struct convolution *v)
{
    return v->name;
}

bool cpu_convolution_is_slow(const struct convolution *v)
{
    return strncmp(v->name, "ref", 3) == 0;
}

/* oneDNN's names of the three operands, by direction. */
static const int argument[][3] = {
    [FORWARD] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
    [GRAD_X] = {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
    [GRAD_W] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST},
};

int cpu_convolution_run(const struct convolution *v, float *x, float *w, float *y, float *scratch,
                        struct err *err)
{
    const int *name = argument[v->direction];
    dnnl_exec_arg_t args[] = {
        {name[0], v->x}, {name[1], v->w}, {name[2], v->y}, {DNNL_ARG_SCRATCHPAD, v->scratch}};
    dnnl_status_t status = dnnl_memory_set_data_handle(v->x, x);

    if (status == dnnl_success)
        status = dnnl_memory_set_data_handle(v->w, w);
    if (status == dnnl_success)
        status = dnnl_memory_set_data_handle(v->y, y);
    if (status == dnnl_success && v->scratch)
        status = dnnl_memory_set_data_handle(v->scratch, scratch);
    if (status == dnnl_success)
        status = dnnl_primitive_execute(v->primitive, v->cpu->stream, v->scratch ? 4 : 3, args);
    return cpu_dnnl_error(err, status, "a convolution");
}
