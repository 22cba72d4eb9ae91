#include "probe/tridiagonal.h"

#include <float.h>
#include <math.h>

#define ITERATIONS_MAX 60 /* an eigenvalue; about two are usual */

/* From `first` on, the place of the first element beside the diagonal that counts as zero; n − 1
 * when there is none. */
static int block_end(int n, int first, const double *d, const double *e)
{
    int m = first;

    while (m < n - 1 && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1])) &&
           fabs(e[m]) > DBL_MIN)
        m++;
    return m;
}

/* Columns i and i + 1 of each row are turned by the angle with this cosine and sine. */
static void turn(double *const *rows, int n_rows, int i, double cosine, double sine)
{
    for (int r = 0; r < n_rows; r++) {
        double left = rows[r][i], right = rows[r][i + 1];

        rows[r][i + 1] = sine * left + cosine * right;
        rows[r][i] = cosine * left - sine * right;
    }
}

/* One sweep over the block first … last with Wilkinson's shift: a bulge is chased from its lower
 * end to its upper one. */
static void sweep(int first, int last, double *d, double *e, double *const *rows, int n_rows)
{
    double half = (d[first + 1] - d[first]) / (2 * e[first]);
    double shift = d[first] - e[first] / (half + copysign(hypot(half, 1), half));
    double bulge = d[last] - shift, sine = 1, cosine = 1, moved = 0;

    for (int i = last - 1; i >= first; i--) {
        double f = sine * e[i], b = cosine * e[i], length = hypot(f, bulge), next;

        e[i + 1] = length;
        if (length == 0) { /* the block falls apart here: what was moved is put back */
            d[i + 1] -= moved;
            e[last] = 0;
            return;
        }
        sine = f / length;
        cosine = bulge / length;
        bulge = d[i + 1] - moved;
        next = (d[i] - bulge) * sine + 2 * cosine * b;
        moved = sine * next;
        d[i + 1] = bulge + moved;
        bulge = cosine * next - b;
        turn(rows, n_rows, i, cosine, sine);
    }
    d[first] -= moved;
    e[first] = bulge;
    e[last] = 0;
}

static void sort(int n, double *d, double *const *rows, int n_rows)
{
    for (int i = 0; i < n - 1; i++) {
        int least = i;

        for (int j = i + 1; j < n; j++)
            if (d[j] < d[least])
                least = j;
        if (least == i)
            continue;
        double kept = d[i];
        d[i] = d[least];
        d[least] = kept;
        for (int r = 0; r < n_rows; r++) {
            kept = rows[r][i];
            rows[r][i] = rows[r][least];
            rows[r][least] = kept;
        }
    }
}

int tridiagonal_eigen(int n, double *diagonal, double *beside, double *const *rows, int n_rows,
                      struct err *err)
{
    if (n > 0)
        beside[n - 1] = 0;
    for (int i = 0; i < n; i++)
        if (!isfinite(diagonal[i]) || !isfinite(beside[i]))
            return err_set(err, ERR_DIVERGED, "a tridiagonal matrix has an element %g",
                           isfinite(diagonal[i]) ? beside[i] : diagonal[i]);
    for (int first = 0; first < n; first++) {
        int iterations = 0, last;

        while ((last = block_end(n, first, diagonal, beside)) != first) {
            if (iterations++ == ITERATIONS_MAX)
                return err_set(err, ERR_DIVERGED, "eigenvalue %d of %d does not converge", first,
                               n);
            sweep(first, last, diagonal, beside, rows, n_rows);
        }
    }
    sort(n, diagonal, rows, n_rows);
    return 0;
}
