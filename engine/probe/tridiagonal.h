#ifndef ENGINE_PROBE_TRIDIAGONAL_H
#define ENGINE_PROBE_TRIDIAGONAL_H

#include "base/err.h"

/* Eigenvalues of a symmetric tridiagonal matrix of order n, by QL iterations with implicit shifts
 * (Dubrulle, Martin and Wilkinson, The Implicit QL Algorithm, 1968).
 *
 * `diagonal`[n] holds the diagonal and becomes the eigenvalues, ascending. `beside`[n] holds the
 * n − 1 elements beside it and is overwritten. `rows` are rows of an orthogonal matrix, each [n],
 * that is multiplied with the matrix of eigenvectors: with all rows of the identity, row i column k
 * becomes component i of eigenvector k; with only some of them, those rows. ERR_DIVERGED when it
 * does not converge or meets what is no number. */
int tridiagonal_eigen(int n, double *diagonal, double *beside, double *const *rows, int n_rows,
                      struct err *err);

#endif
