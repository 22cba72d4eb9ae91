/* The backend as others see it: opening, closing, vectors. */
#include <stdlib.h>
#include <string.h>

#include "backend/check.h"
#include "backend/cpu/cpu.h"
#include "base/cleanup.h"

static void cpu_close(struct backend *backend)
{
    struct cpu_backend *cpu = (struct cpu_backend *)backend;

    if (!cpu)
        return;
    cpu_team_close(cpu->second);
    cpu_dismiss_workers(cpu);
    for (size_t i = 0; i < ARRAY_LENGTH(cpu->lane); i++) {
        cpu_lane_use(cpu, &cpu->lane[i], NULL);
        cpu_memory_close(cpu, &cpu->lane[i].arena);
    }
    cpu_memory_close(cpu, &cpu->squares);
    if (cpu->stream)
        dnnl_stream_destroy(cpu->stream);
    if (cpu->engine)
        dnnl_engine_destroy(cpu->engine);
    free(cpu);
}

static int open_with(const struct backend_class *class, enum cpu_layout layout,
                     struct backend **out, const struct backend_options *options, struct err *err)
{
    struct cpu_backend *cpu;
    dnnl_status_t status;

    if (options->threads < 1)
        return err_set(err, ERR_INVALID, "%d threads", options->threads);
    cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return err_no_memory(err);
    cpu->base.class = class;
    cpu->base.counts_only = options->counts_only;
    cpu->layout = layout;
    cpu->threads = options->threads;
    cpu->step_threads = 1;
    cpu->kernels = cpu_kernels();
    status = dnnl_engine_create(&cpu->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = dnnl_stream_create(&cpu->stream, cpu->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        cpu_close(&cpu->base);
        return cpu_dnnl_error(err, status, "opening the CPU backend");
    }
    *out = &cpu->base;
    return 0;
}

static int cpu_open(struct backend **out, const struct backend_options *options, struct err *err)
{
    return open_with(&backend_cpu, CPU_LAYOUT_BEST, out, options, err);
}

static int open_by_channel(struct backend **out, const struct backend_options *options,
                           struct err *err)
{
    return open_with(&cpu_by_channel, CPU_LAYOUT_BY_CHANNEL, out, options, err);
}

static int open_by_image(struct backend **out, const struct backend_options *options,
                         struct err *err)
{
    return open_with(&cpu_by_image, CPU_LAYOUT_BY_IMAGE, out, options, err);
}

static int cpu_vector_open(struct backend *backend, size_t n, struct vector **out, struct err *err)
{
    struct vector *vector = calloc(1, sizeof *vector);
    int rc;

    if (!vector)
        return err_no_memory(err);
    vector->backend = (struct cpu_backend *)backend;
    vector->n = n;
    rc = cpu_memory_open(vector->backend, &vector->memory, n * sizeof *vector->data, err);
    if (rc) {
        free(vector);
        return rc;
    }
    vector->data = vector->memory.data;
    *out = vector;
    return 0;
}

static void cpu_vector_close(struct vector *vector)
{
    if (!vector)
        return;
    cpu_memory_close(vector->backend, &vector->memory);
    free(vector);
}

static int cpu_vector_write(struct vector *vector, size_t offset, size_t n, const void *from,
                            struct err *err)
{
    int rc = backend_check_range(&vector->backend->base, vector, offset, n, err);

    if (!rc && n)
        memcpy(vector->data + offset, from, n * sizeof *vector->data);
    return rc;
}

static int cpu_vector_read(const struct vector *vector, size_t offset, size_t n, void *to,
                           struct err *err)
{
    int rc = backend_check_range(&vector->backend->base, vector, offset, n, err);

    if (!rc && n)
        memcpy(to, vector->data + offset, n * sizeof *vector->data);
    return rc;
}

static void *cpu_vector_data(struct vector *vector)
{
    return vector->data;
}

#define CPU_CLASS(open_function)                                                                   \
    {                                                                                              \
        .name = "cpu", .real = REAL_F32, .keeps_primal = true, .communicator = &communicator_host, \
        .open = open_function, .close = cpu_close, .vector_open = cpu_vector_open,                 \
        .vector_close = cpu_vector_close, .vector_write = cpu_vector_write,                        \
        .vector_read = cpu_vector_read, .vector_data = cpu_vector_data,                            \
        .program_open = cpu_program_open, .program_close = cpu_program_close,                      \
        .execute = cpu_execute, .step = cpu_step, .update = update_at_once,                        \
        .settle = settle_at_once, .materialise = cpu_materialise_vector,                           \
        .time_pass = cpu_time_pass,                                                                \
    }

const struct backend_class backend_cpu = CPU_CLASS(cpu_open);
const struct backend_class cpu_by_channel = CPU_CLASS(open_by_channel);
const struct backend_class cpu_by_image = CPU_CLASS(open_by_image);
