#include "graph/layout.h"

#include <stdlib.h>
#include <string.h>

static size_t round_up(size_t n)
{
    return (n + LAYOUT_ALIGN - 1) / LAYOUT_ALIGN * LAYOUT_ALIGN;
}

static void place(struct layout_tensor *out, const struct shape *shape, size_t offset,
                  size_t fisher_offset)
{
    out->offset = offset;
    out->size = (size_t)shape_elements(shape);
    out->elementwise = shape->rank == 1;
    out->filters = out->elementwise ? 1 : (size_t)shape->dim[0];
    out->filter_size = out->size / out->filters;
    out->fisher_offset = fisher_offset;
    out->fisher_size = out->elementwise ? out->size : out->filters;
}

int layout_open(struct layout **out, const struct graph_tensor *tensors, int n, struct err *err)
{
    struct layout *layout = calloc(1, sizeof *layout);

    if (!layout)
        return err_no_memory(err);
    layout->n = n;
    layout->tensor = calloc(n ? (size_t)n : 1, sizeof *layout->tensor);
    if (!layout->tensor) {
        layout_close(layout);
        return err_no_memory(err);
    }
    for (int i = 0; i < n; i++) {
        struct layout_tensor *tensor = &layout->tensor[i];
        place(tensor, &tensors[i].shape, layout->size, layout->fisher_size);
        tensor->weight = strstr(tensors[i].name, "weight") != NULL;
        layout->size += round_up(tensor->size);
        layout->fisher_size += tensor->fisher_size;
    }
    *out = layout;
    return 0;
}

void layout_close(struct layout *layout)
{
    if (!layout)
        return;
    free(layout->tensor);
    free(layout);
}
