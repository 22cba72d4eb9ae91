/* The reference backend: float64, plain loops, one thread whatever it is offered, nothing fused,
 * nothing clever. It is what the others are held against. Vectors are arrays of double. */
#include "backend/backend.h"

#include <stdlib.h>
#include <string.h>

#include "backend/reference/reference.h"

static int backend_open(struct backend **out, const struct backend_options *options,
                        struct err *err)
{
    struct backend *backend = calloc(1, sizeof *backend);

    (void)options;
    if (!backend)
        return err_no_memory(err);
    backend->class = &backend_reference;
    *out = backend;
    return 0;
}

static void backend_close(struct backend *backend)
{
    free(backend);
}

static int vector_open(struct backend *backend, size_t n, struct vector **out, struct err *err)
{
    struct vector *vector = NULL;

    (void)backend;
    if (n <= (SIZE_MAX - sizeof *vector) / sizeof vector->data[0])
        vector = calloc(1, sizeof *vector + n * sizeof vector->data[0]);
    if (!vector)
        return err_no_memory(err);
    vector->n = n;
    *out = vector;
    return 0;
}

static void vector_close(struct vector *vector)
{
    free(vector);
}

static int check_range(const struct vector *vector, size_t offset, size_t n, struct err *err)
{
    if (offset <= vector->n && n <= vector->n - offset)
        return 0;
    return err_set(err, ERR_INVALID, "vector: %zu elements from %zu on, of %zu", n, offset,
                   vector->n);
}

static int vector_write(struct vector *vector, size_t offset, size_t n, const void *from,
                        struct err *err)
{
    int code = check_range(vector, offset, n, err);

    if (code == 0 && n > 0)
        memcpy(vector->data + offset, from, n * sizeof vector->data[0]);
    return code;
}

static int vector_read(const struct vector *vector, size_t offset, size_t n, void *to,
                       struct err *err)
{
    int code = check_range(vector, offset, n, err);

    if (code == 0 && n > 0)
        memcpy(to, vector->data + offset, n * sizeof vector->data[0]);
    return code;
}

static int materialise(struct backend *backend, const struct layout *layout,
                       const struct vector *weights, const struct perturbation *perturbation,
                       struct vector *to, struct err *err)
{
    (void)backend;
    if (weights->n != layout->size || to->n != layout->size)
        return err_set(err, ERR_INVALID, "materialise: a vector does not have the layout's size");
    reference_materialise(layout, weights, perturbation, to->data);
    return 0;
}

const struct backend_class backend_reference = {
    .name = "reference",
    .real = REAL_F64,
    .open = backend_open,
    .close = backend_close,
    .vector_open = vector_open,
    .vector_close = vector_close,
    .vector_write = vector_write,
    .vector_read = vector_read,
    .program_open = reference_program_open,
    .program_close = reference_program_close,
    .execute = reference_execute,
    .step = reference_step,
    .materialise = materialise,
};
