/* Where each parameter and state of a graph lies in a flat vector.
 *
 * Each tensor starts at a multiple of LAYOUT_ALIGN elements and is dense and row-major (PyTorch's
 * order) from there; the gaps are always zero. Fisher numbers are kept one a *filter* (slice along
 * the first dimension) for tensors of more than one dimension and one an element for the others,
 * which is exact (only the filter's sum is ever used), packed without gaps.
 */
#ifndef ENGINE_GRAPH_LAYOUT_H
#define ENGINE_GRAPH_LAYOUT_H

#include <stddef.h>

#include "graph/graph.h"

#define LAYOUT_ALIGN 16

struct layout_tensor {
    size_t offset;        /* in elements, in weights, momentum, gradient */
    size_t size;          /* in elements */
    size_t filters;       /* slices along dimension 0; 1-D tensors: 1 */
    size_t filter_size;   /* elements of one; 1-D tensors: size */
    bool elementwise;     /* 1-D: one norm for the tensor, Fisher by element */
    bool weight;          /* its name has "weight" in it: what ASAM scales */
    size_t fisher_offset; /* in the Fisher vector */
    size_t fisher_size;   /* filters, or size when elementwise */
};

struct layout {
    int n;
    struct layout_tensor *tensor;
    size_t size;        /* of a weights-like vector */
    size_t fisher_size; /* of a Fisher vector */
};

int layout_open(struct layout **out, const struct graph_tensor *tensors, int n, struct err *err);
void layout_close(struct layout *layout);

#endif
