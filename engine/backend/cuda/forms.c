/* Tables of how weights and gradients lie on the device. */
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"

struct plain_forms {
    struct plain_forms *next;
    struct layout layout; /* a copy, to know it by */
    struct forms forms;
};

struct weight_tensor cuda_weight_tensor(const struct layout_tensor *t, int number)
{
    return (struct weight_tensor){.offset = (int64_t)t->offset,
                                  .size = (int64_t)t->size,
                                  .filters = (int64_t)t->filters,
                                  .filter_size = (int64_t)t->filter_size,
                                  .fisher_offset = (int64_t)t->fisher_offset,
                                  .number = number,
                                  .elementwise = t->elementwise,
                                  .scaled = t->weight};
}

static size_t rows_of(const struct weight_tensor *tensors, int n)
{
    size_t rows = 0;

    for (int i = 0; i < n; i++)
        rows += (size_t)tensors[i].filters;
    return rows;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

int cuda_forms_open(struct forms *forms, struct cuda_backend *cuda,
                    const struct weight_tensor *tensors, int n, struct err *err)
{
    size_t rows = rows_of(tensors, n), tensor_bytes = (size_t)n * sizeof *tensors;
    size_t row_bytes = rows * sizeof *forms->table.row;
    struct weight_row *host = malloc(row_bytes + 1);
    struct CUstream_st *stream = cuda->lanes[0].stream;
    char *at;
    int rc, end;

    *forms = (struct forms){.cuda = cuda, .tensors = malloc(tensor_bytes + 1)};
    if (!host || !forms->tensors) {
        free(host);
        cuda_forms_close(forms);
        return err_no_memory(err);
    }
    memcpy(forms->tensors, tensors, tensor_bytes);
    weight_rows_fill(tensors, n, host, &forms->table);
    rc = cuda_room_open(cuda, &forms->memory,
                        aligned(tensor_bytes) + aligned(row_bytes) + rows * sizeof *forms->scratch,
                        err);
    if (!rc && !cuda->base.counts_only) {
        at = forms->memory.data;
        forms->table.tensor = (const void *)at;
        forms->table.row = (const void *)(at + aligned(tensor_bytes));
        forms->scratch = (void *)(at + aligned(tensor_bytes) + aligned(row_bytes));
        rc = runtime_cuda.upload(at, tensors, tensor_bytes, stream, err);
        if (!rc)
            rc = runtime_cuda.upload(at + aligned(tensor_bytes), host, row_bytes, stream, err);
        /* Also where one of them failed: the other may be under way. */
        end = runtime_cuda.wait(stream, rc ? NULL : err);
        rc = rc ? rc : end;
    }
    free(host);
    if (rc)
        cuda_forms_close(forms);
    return rc;
}

void cuda_forms_close(struct forms *forms)
{
    if (forms->cuda)
        cuda_room_close(forms->cuda, &forms->memory);
    free(forms->tensors);
    *forms = (struct forms){0};
}

static bool same_layout(const struct layout *a, const struct layout *b)
{
    bool same = a->n == b->n && a->size == b->size && a->fisher_size == b->fisher_size;

    for (int i = 0; same && i < a->n; i++) {
        const struct layout_tensor *x = &a->tensor[i], *y = &b->tensor[i];

        same = x->offset == y->offset && x->size == y->size && x->filters == y->filters &&
               x->elementwise == y->elementwise && x->weight == y->weight &&
               x->fisher_offset == y->fisher_offset;
    }
    return same;
}

static int open_plain(struct plain_forms *plain, struct cuda_backend *cuda,
                      const struct layout *layout, struct err *err)
{
    struct weight_tensor *tensors = calloc((size_t)layout->n + 1, sizeof *tensors);
    int rc;

    plain->layout = *layout;
    plain->layout.tensor = malloc(((size_t)layout->n + 1) * sizeof *layout->tensor);
    if (!tensors || !plain->layout.tensor) {
        free(tensors);
        return err_no_memory(err);
    }
    memcpy(plain->layout.tensor, layout->tensor, (size_t)layout->n * sizeof *layout->tensor);
    for (int i = 0; i < layout->n; i++) {
        const struct layout_tensor *t = &layout->tensor[i];
        struct weight_form form = {.type = ELEMENT_F32,
                                   .taps = 1,
                                   .channels = (int32_t)t->filter_size,
                                   .pitch = (int32_t)t->filter_size,
                                   .at = (int64_t)(t->offset * sizeof(float))};

        tensors[i] = cuda_weight_tensor(t, i);
        tensors[i].cast = tensors[i].gradient = form;
    }
    rc = cuda_forms_open(&plain->forms, cuda, tensors, layout->n, err);
    free(tensors);
    return rc;
}

static void close_plain(struct plain_forms *plain)
{
    cuda_forms_close(&plain->forms);
    free(plain->layout.tensor);
    free(plain);
}

int cuda_plain_forms(struct cuda_backend *cuda, const struct layout *layout,
                     const struct forms **out, struct err *err)
{
    struct plain_forms *plain = cuda->plain;
    int rc;

    while (plain && !same_layout(&plain->layout, layout))
        plain = plain->next;
    if (!plain) {
        plain = calloc(1, sizeof *plain);
        if (!plain)
            return err_no_memory(err);
        rc = open_plain(plain, cuda, layout, err);
        if (rc) {
            close_plain(plain);
            return rc;
        }
        plain->next = cuda->plain;
        cuda->plain = plain;
    }
    *out = &plain->forms;
    return 0;
}

void cuda_plain_forms_close(struct cuda_backend *cuda)
{
    while (cuda->plain) {
        struct plain_forms *next = cuda->plain->next;

        close_plain(cuda->plain);
        cuda->plain = next;
    }
}
