/* Where each weight lies in a blocked layout of oneDNN's. In such a layout an element's offset is
 * a sum of one term a dimension, so three short tables say all. */
#include <stdlib.h>

#include "backend/cpu/program.h"

/* The share of dimension `dim`, index `i`, in an element's offset. */
static size_t offset_of(const dnnl_memory_desc_t *md, int dim, size_t i)
{
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    size_t step = 1, at = 0;

    for (int k = b->inner_nblks - 1; k >= 0; k--) {
        size_t size = (size_t)b->inner_blks[k];
        if (b->inner_idxs[k] == dim) {
            at += i % size * step;
            i /= size;
        }
        step *= size;
    }
    return at + i * (size_t)b->strides[dim];
}

int cpu_packing_open(struct packing **out, const dnnl_memory_desc_t *md, const struct shape *dense,
                     bool turned, struct err *err)
{
    size_t k = (size_t)dense->dim[0], c = (size_t)dense->dim[1];
    size_t r = (size_t)dense->dim[2], s = (size_t)dense->dim[3];
    struct packing *p;

    if (md->format_kind != dnnl_blocked)
        return err_set(err, ERR_UNSUPPORTED, "oneDNN wants weights in a layout that is not open");
    p = calloc(1, sizeof *p);
    if (!p)
        return err_no_memory(err);
    *p = (struct packing){.md = *md, .k = k, .c = c, .taps = r * s, .turned = turned};
    p->bytes = dnnl_memory_desc_get_size(md);
    p->padded = p->bytes != k * c * r * s * sizeof(float);
    p->at = malloc((k + c + r * s) * sizeof *p->at);
    if (!p->at) {
        free(p);
        return err_no_memory(err);
    }
    for (size_t i = 0; i < k; i++)
        p->at[i] = offset_of(md, turned ? 1 : 0, i);
    for (size_t i = 0; i < c; i++)
        p->at[k + i] = offset_of(md, turned ? 0 : 1, i);
    for (size_t i = 0; i < r * s; i++) {
        size_t tap = turned ? r * s - 1 - i : i;
        p->at[k + c + i] = offset_of(md, 2, tap / s) + offset_of(md, 3, tap % s);
    }
    *out = p;
    return 0;
}

void cpu_packing_close(struct packing *packing)
{
    if (!packing)
        return;
    free(packing->at);
    free(packing);
}
