/* A spectral density from the nodes of quadratures: the mean over the runs of Σ weight·Gaussian. */
#ifndef ENGINE_PROBE_DENSITY_H
#define ENGINE_PROBE_DENSITY_H

#include <stdbool.h>

struct density_node {
    int run;
    double value, weight;
};

struct density_options {
    int runs;
    int bins;        /* ≥ 1 */
    double variance; /* of the Gaussians; 0: 1e-5·max(1, range), PyHessian's */
    /* The grid and the values as PyHessian (density_plot.py) has them: from 0.01 below the mean of
     * the runs' smallest nodes to 0.01 above that of their largest, the Gaussians' values there,
     * scaled so that value·spacing sums to 1. Otherwise: bins of equal width that reach 6
     * deviations beyond all nodes, and the mean density of each over its width, which sums to 1 by
     * itself however wide the bins are; a grid's value is the bin's middle. */
    bool pyhessian;
    /* Between two bins, which have something of each node: 0 to go on. May be NULL. */
    int (*go_on)(const void *context);
    const void *context;
};

/* Fills value[bins] and density[bins]. n ≥ 1. What go_on returned where that is not 0. */
int density_make(const struct density_node *nodes, int n, const struct density_options *options,
                 double *value, double *density);

#endif
