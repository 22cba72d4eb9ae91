/* The vectors of Q are float; what is summed is double. Two passes of reorthogonalisation are
 * enough (Giraud, Langou and Rozložník 2005). */
#include "probe/lanczos.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probe/tridiagonal.h"
#include "probe/vectors.h"

/* A rest that is shorter than this, next to the largest element of T, is rounding. */
#define NOTHING_LEFT 1e-7

struct lanczos {
    size_t n;
    int room, steps;
    float *basis;         /* [room, n] */
    double *rest;         /* [n] */
    double *alpha, *beta; /* [room]; beta[j] stands between steps j and j + 1 */
};

int lanczos_open(struct lanczos **out, size_t n, int steps, struct err *err)
{
    struct lanczos *lanczos = calloc(1, sizeof *lanczos);

    if (!lanczos)
        return err_no_memory(err);
    lanczos->n = n;
    lanczos->room = steps;
    if (n <= SIZE_MAX / sizeof(float) / (size_t)steps)
        lanczos->basis = malloc(n * (size_t)steps * sizeof *lanczos->basis);
    lanczos->rest = calloc(n, sizeof *lanczos->rest);
    lanczos->alpha = calloc((size_t)steps, sizeof *lanczos->alpha);
    lanczos->beta = calloc((size_t)steps, sizeof *lanczos->beta);
    if (!lanczos->basis || !lanczos->rest || !lanczos->alpha || !lanczos->beta) {
        lanczos_close(lanczos);
        return err_no_memory(err);
    }
    *out = lanczos;
    return 0;
}

void lanczos_close(struct lanczos *lanczos)
{
    if (!lanczos)
        return;
    free(lanczos->basis);
    free(lanczos->rest);
    free(lanczos->alpha);
    free(lanczos->beta);
    free(lanczos);
}

int lanczos_steps(const struct lanczos *lanczos)
{
    return lanczos->steps;
}

static float *vector_at(const struct lanczos *lanczos, int j)
{
    return lanczos->basis + (size_t)j * lanczos->n;
}

/* The largest element of T so far. */
static double scale_of(const struct lanczos *lanczos, int steps)
{
    double scale = 0;

    for (int j = 0; j < steps; j++)
        scale = fmax(scale, fmax(fabs(lanczos->alpha[j]), j < steps - 1 ? lanczos->beta[j] : 0));
    return scale;
}

/* Takes all that lies in the span of q_0 … q_j out of the rest. */
static int make_orthogonal(struct lanczos *lanczos, int j,
                           const struct lanczos_callbacks *callbacks)
{
    for (int i = j; i >= 0; i--) {
        int rc = callbacks->go_on ? callbacks->go_on(callbacks->context) : 0;

        if (rc)
            return rc;
        vectors_add(lanczos->rest, -vectors_dot(vector_at(lanczos, i), lanczos->rest, lanczos->n),
                    vector_at(lanczos, i), lanczos->n);
    }
    return 0;
}

/* rest = A·q_j, less all that lies in the span of q_0 … q_j. */
static int step(struct lanczos *lanczos, int j, const struct lanczos_callbacks *callbacks,
                struct err *err)
{
    double *rest = lanczos->rest;
    int rc = callbacks->product(callbacks->context, vector_at(lanczos, j), rest, err);

    if (rc)
        return rc;
    lanczos->alpha[j] = vectors_dot(vector_at(lanczos, j), rest, lanczos->n);
    vectors_add(rest, -lanczos->alpha[j], vector_at(lanczos, j), lanczos->n);
    if (j > 0)
        vectors_add(rest, -lanczos->beta[j - 1], vector_at(lanczos, j - 1), lanczos->n);
    for (int again = 0; again < 2 && !rc; again++)
        rc = make_orthogonal(lanczos, j, callbacks);
    if (rc)
        return rc;
    lanczos->beta[j] = vectors_norm(rest, lanczos->n);
    if (!isfinite(lanczos->alpha[j]) || !isfinite(lanczos->beta[j]))
        return err_set(err, ERR_DIVERGED, "step %d: a product of the matrix is not finite", j + 1);
    return 0;
}

int lanczos_run(struct lanczos *lanczos, const float *start, int steps,
                const struct lanczos_callbacks *callbacks, struct err *err)
{
    double length = vectors_norm_f32(start, lanczos->n);

    lanczos->steps = 0;
    if (!(length > 0) || !isfinite(length))
        return err_set(err, ERR_INVALID, "a start of length %g", length);
    for (size_t i = 0; i < lanczos->n; i++)
        lanczos->rest[i] = (double)start[i];
    vectors_scale(vector_at(lanczos, 0), 1 / length, lanczos->rest, lanczos->n);
    for (int j = 0; j < steps; j++) {
        int rc = step(lanczos, j, callbacks, err);

        if (!rc && callbacks->step)
            rc = callbacks->step(callbacks->context, j + 1, lanczos->alpha[j], lanczos->beta[j],
                                 err);
        if (rc)
            return rc;
        lanczos->steps = j + 1;
        if (lanczos->beta[j] <= NOTHING_LEFT * scale_of(lanczos, j + 1))
            break;
        if (j + 1 < steps)
            vectors_scale(vector_at(lanczos, j + 1), 1 / lanczos->beta[j], lanczos->rest,
                          lanczos->n);
    }
    return 0;
}

/* Eigenvalues of T in *values[steps]; `rows` as tridiagonal_eigen has them. */
static int solve(const struct lanczos *lanczos, double *values, double *const *rows, int n_rows,
                 struct err *err)
{
    size_t bytes = (size_t)lanczos->steps * sizeof(double);
    double *beside = malloc(bytes);
    int rc;

    if (!beside)
        return err_no_memory(err);
    memcpy(values, lanczos->alpha, bytes);
    memcpy(beside, lanczos->beta, bytes);
    rc = tridiagonal_eigen(lanczos->steps, values, beside, rows, n_rows, err);
    free(beside);
    return rc;
}

int lanczos_nodes(const struct lanczos *lanczos, struct lanczos_node *nodes, struct err *err)
{
    int n = lanczos->steps, rc;
    double *values = calloc(3 * (size_t)n, sizeof *values);
    double *rows[2]; /* first and last */

    if (!values)
        return err_no_memory(err);
    rows[0] = values + n;
    rows[1] = values + 2 * n;
    rows[0][0] = 1;
    rows[1][n - 1] = 1;
    rc = solve(lanczos, values, rows, 2, err);
    for (int i = 0; i < n && !rc; i++)
        nodes[i] = (struct lanczos_node){values[i], rows[0][i] * rows[0][i],
                                         lanczos->beta[n - 1] * fabs(rows[1][i])};
    free(values);
    return rc;
}

static void combine(const struct lanczos *lanczos, double *const *rows, int column, double *sum,
                    float *out)
{
    double largest = 0, length;

    memset(sum, 0, lanczos->n * sizeof *sum);
    for (int j = 0; j < lanczos->steps; j++)
        vectors_add(sum, rows[j][column], vector_at(lanczos, j), lanczos->n);
    for (size_t i = 0; i < lanczos->n; i++)
        if (fabs(sum[i]) > fabs(largest))
            largest = sum[i];
    length = vectors_norm(sum, lanczos->n);
    vectors_scale(out, (largest < 0 ? -1 : 1) / length, sum, lanczos->n);
}

int lanczos_vectors(const struct lanczos *lanczos, int k, float *const *vectors, struct err *err)
{
    size_t n = (size_t)lanczos->steps;
    double *values = calloc(n, sizeof *values), *square = calloc(n * n, sizeof *square);
    double **rows = calloc(n, sizeof *rows), *sum = calloc(lanczos->n, sizeof *sum);
    int rc = values && square && rows && sum ? 0 : err_no_memory(err);

    for (size_t j = 0; j < n && !rc; j++) {
        rows[j] = square + j * n;
        rows[j][j] = 1;
    }
    if (!rc)
        rc = solve(lanczos, values, rows, (int)n, err);
    for (int i = 0; i < k && !rc; i++)
        combine(lanczos, rows, (int)n - 1 - i, sum, vectors[i]);
    free(values);
    free(square);
    free(rows);
    free(sum);
    return rc;
}
