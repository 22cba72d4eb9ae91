/* Nodes of quadratures as rows. */
#include <stdlib.h>

#include "probe/spectrum.h"

struct nodes nodes_find(const struct engine_probe_run *run, int table, int64_t first, int64_t steps)
{
    int n_tables;
    int columns = engine_probe_tables(run->probe.kind, &n_tables)[table].n_columns;

    return (struct nodes){.n = (int)rows_run(run->rows, table, first, steps),
                          .table = table,
                          .first = first,
                          .skip = columns - NODE_COLUMNS};
}

const double *node_at(const struct engine_probe_run *run, const struct nodes *nodes, int i)
{
    return rows_find(run->rows, nodes->table, nodes->first + i) + nodes->skip;
}

double nodes_mean(const struct engine_probe_run *run, const struct nodes *nodes)
{
    double sum = 0;

    for (int i = 0; i < nodes->n; i++)
        sum += node_at(run, nodes, i)[NODE_WEIGHT] * node_at(run, nodes, i)[NODE_VALUE];
    return sum;
}

int nodes_tell(struct engine_probe_run *run, const struct lanczos *lanczos,
               const struct nodes *where, const double *before, struct err *err)
{
    int n = lanczos_steps(lanczos), rc;
    struct lanczos_node *nodes = calloc((size_t)n, sizeof *nodes);

    if (!nodes)
        return err_no_memory(err);
    rc = lanczos_nodes(lanczos, nodes, err);
    for (int i = n - 1; i >= 0 && !rc; i--) {
        double row[PROBE_COLUMNS_MAX];

        for (int c = 0; c < where->skip; c++)
            row[c] = before[c];
        row[where->skip + NODE_VALUE] = nodes[i].value;
        row[where->skip + NODE_WEIGHT] = nodes[i].weight;
        row[where->skip + NODE_RESIDUAL] = nodes[i].residual;
        rc = probe_tell(run, where->table, where->first + i, row, err);
    }
    free(nodes);
    return rc;
}
