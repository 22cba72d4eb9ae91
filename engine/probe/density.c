#include "probe/density.h"

#include <math.h>

#define PYHESSIAN_VARIANCE 1e-5
#define PYHESSIAN_OVERHEAD 0.01
#define DEVIATIONS         6

struct range {
    double from, to;
};

static struct range range_of_all(const struct density_node *nodes, int n)
{
    struct range range = {nodes[0].value, nodes[0].value};

    for (int i = 1; i < n; i++) {
        range.from = fmin(range.from, nodes[i].value);
        range.to = fmax(range.to, nodes[i].value);
    }
    return range;
}

/* The mean over the runs of each run's range. */
static struct range mean_range(const struct density_node *nodes, int n, int runs)
{
    struct range mean = {0, 0};

    for (int run = 0; run < runs; run++) {
        struct range own = {INFINITY, -INFINITY};

        for (int i = 0; i < n; i++)
            if (nodes[i].run == run) {
                own.from = fmin(own.from, nodes[i].value);
                own.to = fmax(own.to, nodes[i].value);
            }
        mean.from += own.from / runs;
        mean.to += own.to / runs;
    }
    return mean;
}

static double variance_of(const struct density_options *options, struct range range)
{
    if (options->variance > 0)
        return options->variance;
    return PYHESSIAN_VARIANCE * fmax(1, range.to - range.from);
}

static int go_on(const struct density_options *options)
{
    return options->go_on ? options->go_on(options->context) : 0;
}

static int make_pyhessian(const struct density_node *nodes, int n,
                          const struct density_options *options, double *value, double *density)
{
    struct range range = mean_range(nodes, n, options->runs);
    double spacing, variance, sum = 0;

    range.from -= PYHESSIAN_OVERHEAD;
    range.to += PYHESSIAN_OVERHEAD;
    variance = variance_of(options, range);
    spacing =
        options->bins > 1 ? (range.to - range.from) / (options->bins - 1) : range.to - range.from;
    for (int b = 0; b < options->bins; b++) {
        int rc = go_on(options);

        if (rc)
            return rc;
        value[b] = range.from + b * spacing;
        density[b] = 0;
        for (int i = 0; i < n; i++) {
            double far = value[b] - nodes[i].value;

            density[b] += nodes[i].weight * exp(-far * far / (2 * variance));
        }
        sum += density[b];
    }
    for (int b = 0; b < options->bins; b++)
        density[b] /= sum * spacing;
    return 0;
}

/* The share of a Gaussian around 0 that lies between two values. */
static double share_between(double from, double to, double deviation)
{
    double a = from / (deviation * sqrt(2)), b = to / (deviation * sqrt(2));

    if (a > 0) /* erfc keeps its digits far out */
        return (erfc(a) - erfc(b)) / 2;
    return b < 0 ? (erfc(-b) - erfc(-a)) / 2 : (erf(b) - erf(a)) / 2;
}

int density_make(const struct density_node *nodes, int n, const struct density_options *options,
                 double *value, double *density)
{
    struct range range = range_of_all(nodes, n);
    double deviation = sqrt(variance_of(options, range)), width;

    if (options->pyhessian)
        return make_pyhessian(nodes, n, options, value, density);
    range.from -= DEVIATIONS * deviation;
    range.to += DEVIATIONS * deviation;
    width = (range.to - range.from) / options->bins;
    for (int b = 0; b < options->bins; b++) {
        double from = range.from + b * width, sum = 0;
        int rc = go_on(options);

        if (rc)
            return rc;
        for (int i = 0; i < n; i++)
            sum += nodes[i].weight *
                   share_between(from - nodes[i].value, from + width - nodes[i].value, deviation);
        value[b] = from + width / 2;
        density[b] = sum / (options->runs * width);
    }
    return 0;
}
