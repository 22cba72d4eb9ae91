/* Lanczos' iteration for a symmetric matrix that is known by its products only, with full
 * reorthogonalisation: after j steps the matrix is Q·T·Qᵀ + a rest, Q [n × j] orthonormal, T
 * tridiagonal. T's eigenvalues θ (Ritz values) with the squares of the first components of its
 * eigenvectors are the nodes and weights of a Gauss quadrature: for a random start v of length 1,
 * Σ weight·f(θ) ≈ vᵀf(A)v (Golub and Meurant; Ghorbani et al. 2019; Yao et al. 2020). */
#ifndef ENGINE_PROBE_LANCZOS_H
#define ENGINE_PROBE_LANCZOS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct lanczos;

/* y = A·x, both [n]. */
typedef int lanczos_product(void *context, const float *x, double *y, struct err *err);

struct lanczos_callbacks {
    lanczos_product *product;
    /* After each step, from 1; may be NULL. */
    int (*step)(void *context, int step, double alpha, double beta, struct err *err);
    /* Between two vectors, of which the later steps have many: 0 to go on. May be NULL. */
    int (*go_on)(const void *context);
    void *context;
};

/* Room for `steps` vectors of n floats. */
int lanczos_open(struct lanczos **out, size_t n, int steps, struct err *err);
void lanczos_close(struct lanczos *lanczos);

/* Runs from `start`, which need not have length 1 but a length, for at most `steps` steps (at most
 * those that there is room for); fewer when the vectors found span all that the start can reach.
 * Fails as the callbacks do (any value but 0 is handed on); ERR_DIVERGED for a product that is not
 * finite. */
int lanczos_run(struct lanczos *lanczos, const float *start, int steps,
                const struct lanczos_callbacks *callbacks, struct err *err);

/* Of the last run. */
int lanczos_steps(const struct lanczos *lanczos);

struct lanczos_node {
    double value, weight; /* the weights sum to 1 */
    double residual; /* ‖A·v − value·v‖₂ of the Ritz pair, v of length 1, by β·|last component|,
                        to which the products' rounding comes */
};

/* Fills nodes[lanczos_steps], ascending. */
int lanczos_nodes(const struct lanczos *lanczos, struct lanczos_node *nodes, struct err *err);

/* Writes the Ritz vectors of the k largest Ritz values, the largest first, each [n], length 1, to
 * `vectors`. k ≤ lanczos_steps. Its sign is such that its component of largest magnitude is
 * positive. */
int lanczos_vectors(const struct lanczos *lanczos, int k, float *const *vectors, struct err *err);

#endif
