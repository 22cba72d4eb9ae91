/* The order of the rows of a table of weights. */
#include "backend/cuda/kernels/update.h"

static int64_t fill(const struct weight_tensor *tensors, int n, bool is_long,
                    struct weight_row *rows)
{
    int64_t count = 0;

    for (int i = 0; i < n; i++)
        for (int64_t j = 0; j < tensors[i].filters; j++)
            if ((tensors[i].filter_size > WEIGHT_ROW_MAX) == is_long)
                rows[count++] = (struct weight_row){.tensor = i, .filter = (int32_t)j};
    return count;
}

int64_t weight_rows_fill(const struct weight_tensor *tensors, int n, struct weight_row *rows,
                         struct weight_table *table)
{
    table->n_short = (int32_t)fill(tensors, n, false, rows);
    table->n_long = (int32_t)fill(tensors, n, true, rows + table->n_short);
    table->longest_short = 0;
    for (int i = 0; i < n; i++)
        if (tensors[i].filter_size <= WEIGHT_ROW_MAX &&
            tensors[i].filter_size > table->longest_short)
            table->longest_short = (int32_t)tensors[i].filter_size;
    return (int64_t)table->n_short + table->n_long;
}
