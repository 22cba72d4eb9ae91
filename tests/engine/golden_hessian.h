/* Second derivatives as PyTorch's double backward in float64 has them (tests/torch/curvature.py),
 * for a test of any backend. Whatever differs fails the running cmocka test. */
#ifndef TESTS_ENGINE_GOLDEN_HESSIAN_H
#define TESTS_ENGINE_GOLDEN_HESSIAN_H

#include "support.h"

/* Each net of hessians.txt: loss, gradient, and the Hessian, a column a product. `tolerance` is
 * relative to the largest number of each. With options->keep_primal all columns but the first are
 * computed with the primal of that. */
void golden_hessians_check(const struct backend_class *class, const struct support_options *options,
                           double tolerance);

/* Each model of products.txt and its direction d: loss, d·H·d, and each parameter's part of H·d,
 * `tolerance` being relative to the part's norm or a thousandth of H·d's. Then for another
 * direction e that e·H·d = d·H·e, to `symmetry`, relative to √Σ(eᵢ·(H·d)ᵢ)². */
void golden_products_check(const struct backend_class *class, const struct support_options *options,
                           double tolerance, double symmetry);

/* hessian_nets.c: the graph of a net of hessians.txt, with its tangents; its inputs are images and
 * labels, its first output is the loss. The caller frees it. */
struct graph *hessian_net(const char *name);

#endif
