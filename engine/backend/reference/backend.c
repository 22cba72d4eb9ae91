/* The reference backend: float64, plain loops, one thread whatever it is offered, nothing fused,
 * nothing clever. It is what the others are held against. Vectors are arrays of double. */
#include "backend/backend.h"

#include <stdlib.h>
#include <string.h>

#include "backend/check.h"
#include "backend/reference/reference.h"

static int backend_open(struct backend **out, const struct backend_options *options,
                        struct err *err)
{
    struct backend *backend = calloc(1, sizeof *backend);

    if (!backend)
        return err_no_memory(err);
    backend->class = &backend_reference;
    backend->counts_only = options->counts_only;
    *out = backend;
    return 0;
}

static void backend_close(struct backend *backend)
{
    free(backend);
}

static size_t data_bytes(size_t n)
{
    return n * sizeof((struct vector *)NULL)->data[0];
}

static int vector_open(struct backend *backend, size_t n, struct vector **out, struct err *err)
{
    struct vector *vector = NULL;

    if (n <= (SIZE_MAX - sizeof *vector) / sizeof vector->data[0])
        vector = calloc(1, sizeof *vector + (backend->counts_only ? 0 : data_bytes(n)));
    if (!vector)
        return err_no_memory(err);
    vector->backend = backend;
    vector->n = n;
    backend_take(backend, data_bytes(n));
    *out = vector;
    return 0;
}

static void vector_close(struct vector *vector)
{
    if (vector)
        backend_give(vector->backend, data_bytes(vector->n));
    free(vector);
}

static int vector_write(struct vector *vector, size_t offset, size_t n, const void *from,
                        struct err *err)
{
    int code = backend_check_range(vector->backend, vector, offset, n, err);

    if (code == 0 && n > 0)
        memcpy(vector->data + offset, from, n * sizeof vector->data[0]);
    return code;
}

static int vector_read(const struct vector *vector, size_t offset, size_t n, void *to,
                       struct err *err)
{
    int code = backend_check_range(vector->backend, vector, offset, n, err);

    if (code == 0 && n > 0)
        memcpy(to, vector->data + offset, n * sizeof vector->data[0]);
    return code;
}

static void *vector_data(struct vector *vector)
{
    return vector->data;
}

static int materialise(struct backend *backend, const struct layout *layout,
                       const struct vector *weights, const struct perturbation *perturbation,
                       struct vector *to, struct err *err)
{
    int code = backend_check_materialise(layout, weights, to, err);

    if (code || backend->counts_only)
        return code;
    reference_materialise(layout, weights, perturbation, to->data);
    return 0;
}

const struct backend_class backend_reference = {
    .name = "reference",
    .real = REAL_F64,
    .keeps_primal = true,
    .communicator = &communicator_host,
    .open = backend_open,
    .close = backend_close,
    .vector_open = vector_open,
    .vector_close = vector_close,
    .vector_write = vector_write,
    .vector_read = vector_read,
    .vector_data = vector_data,
    .program_open = reference_program_open,
    .program_close = reference_program_close,
    .execute = reference_execute,
    .step = reference_step,
    .update = update_at_once,
    .settle = settle_at_once,
    .materialise = materialise,
    .time_pass = reference_time_pass,
};
